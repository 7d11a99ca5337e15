//! Trails in other accounts: the role that is assumed there, the organization's list, its trails, and the pace.

use std::time::Duration;

use serde_json::{Value, json};
use trailkeeper::args::Args;
use trailkeeper::clock;

use crate::support::aws::{ACCOUNT, Aws, Fault, REGION, attribute};
use crate::support::cloudtrail::Trail;
use crate::support::events::{account, stop, stop_in};
use crate::support::eventually;
use crate::support::organization::{Account, EXTERNAL_ID, MANAGEMENT, Organization, ROLE};
use crate::support::slack::Slack;
use crate::support::worker::{Worker, args};

const ORGANIZATION: &str = "version = 1\n[accounts]\nsource = \"organization\"\n";
const PAYMENTS: &str = "444455556666";

/// A worker for an organization.
struct Stage {
    aws: Aws,
    slack: Slack,
    organization: Organization,
    args: Args,
}

impl Stage {
    async fn of(accounts: impl IntoIterator<Item = Account>) -> Self {
        let (aws, slack) = (Aws::start().await, Slack::start().await);
        let organization = Organization::of(&aws, accounts);
        let mut args = args(&aws, &slack);
        args.set("TRAILKEEPER_MEMBER_ROLE", ROLE);
        args.set("TRAILKEEPER_EXTERNAL_ID", EXTERNAL_ID);
        args.set("TRAILKEEPER_POLICY_TOML", ORGANIZATION);
        Self { aws, slack, organization, args }
    }

    /// With one member, whose trail is off.
    async fn with_payments() -> Self {
        let stage = Self::of([Account::new(PAYMENTS, "payments-prod")]).await;
        stage.organization.add_trail(off(PAYMENTS, "audit"));
        stage
    }

    /// A worker, once it has listed the accounts.
    async fn worker(&self) -> Worker {
        let worker = Worker::start_with(&self.aws, &self.args);
        eventually("the list", async || self.aws.calls("ListAccounts").pop()).await;
        worker
    }

    /// Sends events, and waits until they have left the queue.
    async fn handle(&self, events: impl IntoIterator<Item = Value>) {
        for event in events {
            self.aws.send(event.to_string()).await;
        }
        self.settled().await;
    }

    async fn settled(&self) {
        let empty = async || (self.aws.depth("events") == 0).then_some(());
        eventually("the queue to be empty", empty).await;
    }

    fn is_on(&self, account: &str, name: &str) -> bool {
        self.organization.is_logging(&arn(account, name))
    }

    async fn letter(&self) -> (String, String) {
        let letters = self.aws.dead_letters().await;
        assert_eq!(letters.len(), 1, "dead letters");
        let of = |name| attribute(&letters[0], name).expect("an attribute").to_owned();
        (of("reason"), of("detail"))
    }
}

fn arn(account: &str, name: &str) -> String {
    format!("arn:aws:cloudtrail:{REGION}:{account}:trail/{name}")
}

fn off(account: &str, name: &str) -> Trail {
    Trail::at(&arn(account, name)).stopped(clock::now())
}

#[tokio::test]
async fn a_trail_in_another_account_is_restarted_through_its_role() {
    let mut stage = Stage::with_payments().await;
    stage.organization.add_trail(off(PAYMENTS, "second"));
    stage.organization.add_trail(off(ACCOUNT, "own"));
    stage.args.set("TRAILKEEPER_NAME", "eu");
    let worker = stage.worker().await;
    let events = [stop_in(PAYMENTS, "e-1", "audit"), stop_in(PAYMENTS, "e-2", "second"), stop("e-3", "own")];
    stage.handle(events).await;
    assert!(stage.is_on(PAYMENTS, "audit") && stage.is_on(PAYMENTS, "second") && stage.is_on(ACCOUNT, "own"));
    let texts = stage.slack.texts().await;
    assert!(texts.iter().all(|text| text.contains("Logging was restarted and verified")), "{texts:?}");
    let posts = stage.slack.posts().await;
    let posts = serde_json::to_string(&posts).expect("JSON");
    assert!(posts.contains("444455556666 (payments-prod)") && posts.contains(" · by eu"), "{posts}");
    let assumed = stage.aws.calls("AssumeRole");
    assert_eq!(assumed.len(), 1, "one session for all that is done in an account");
    assert_eq!(
        assumed[0].body,
        json!({
            "Action": "AssumeRole", "Version": "2011-06-15", "RoleArn": format!("arn:aws:iam::{PAYMENTS}:role/{ROLE}"),
            "RoleSessionName": "trailkeeper-eu", "ExternalId": EXTERNAL_ID, "DurationSeconds": "3600",
        })
    );
    let starts = stage.aws.calls("StartLogging");
    let by_role = starts.iter().filter(|call| call.key.starts_with("ASIA")).count();
    assert_eq!((starts.len(), by_role), (3, 2), "the own account needs no role");
    worker.stop().await;
}

/// STS gives one answer for a role that is not there and for one that lets nobody in.
#[tokio::test]
async fn an_account_that_denies_the_role_is_reported_and_its_event_kept() {
    type Change = fn(&mut Account);
    let changes: [(Change, &str); 3] = [
        (|account| account.has_role = false, "(payments-prod)"),
        (|account| account.external_id = "another".to_owned(), "(payments-prod)"),
        (|account| account.state = "SUSPENDED".to_owned(), "(payments-prod, its state is SUSPENDED)"),
    ];
    for (change, named) in changes {
        let stage = Stage::with_payments().await;
        stage.organization.change(PAYMENTS, change);
        let worker = stage.worker().await;
        stage.handle([stop_in(PAYMENTS, "e-1", "audit")]).await;
        assert!(!stage.is_on(PAYMENTS, "audit"));
        let (reason, detail) = stage.letter().await;
        assert_eq!(reason, "restore-refused");
        let role = format!(
            "AssumeRole of arn:aws:iam::{PAYMENTS}:role/{ROLE} in account {PAYMENTS}: AccessDenied: there is no such role"
        );
        assert!(detail.starts_with(&role), "{detail}");
        let texts = stage.slack.texts().await;
        assert!(texts[0].contains(&role) && !texts[0].contains("STILL OFF"), "{texts:?}");
        let posts = serde_json::to_string(&stage.slack.posts().await).expect("JSON");
        assert!(posts.contains(named), "{posts}");
        worker.stop().await;
    }
}

#[tokio::test]
async fn an_account_that_has_left_is_outside() {
    let stage = Stage::with_payments().await;
    stage.organization.remove(PAYMENTS);
    // Sent before the accounts were listed.
    stage.aws.send(stop_in(PAYMENTS, "e-1", "audit").to_string()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let worker = stage.worker().await;
    stage.settled().await;
    assert!(!stage.is_on(PAYMENTS, "audit"));
    let texts = stage.slack.texts().await;
    assert!(
        texts[0].contains("account 444455556666 is not in the organization, as it was listed at"),
        "{texts:?}"
    );
    assert!(stage.aws.calls("AssumeRole").is_empty() && stage.aws.dead_letters().await.is_empty());
    worker.stop().await;
}

/// Its event waits until the list is read again, which is once a minute at most however many ask for it.
#[tokio::test]
async fn an_account_that_was_made_a_minute_ago_is_looked_up_before_it_is_judged() {
    let stage = Stage::of([]).await;
    let worker = stage.worker().await;
    stage.organization.add(Account::new(PAYMENTS, "new"));
    stage.organization.add_trail(off(PAYMENTS, "audit"));
    stage.aws.send(stop_in(PAYMENTS, "e-1", "audit").to_string()).await;
    stage.aws.send(stop_in("555566667777", "e-2", "audit").to_string()).await;
    let on = async || {
        while !stage.is_on(PAYMENTS, "audit") {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(2), on()).await.expect("restarted");
    stage.settled().await;
    let lists = stage.aws.calls("ListAccounts").len();
    assert_eq!(lists, 2, "at the start, and once for both");
    let texts = stage.slack.texts().await;
    assert_eq!(
        texts.iter().filter(|text| text.contains("is not in the organization")).count(),
        1,
        "{texts:?}"
    );
    worker.stop().await;
}

#[tokio::test]
async fn a_thousand_accounts_are_listed_page_by_page() {
    let stage = Stage::of((0..1_000).map(|number| Account::new(&account(number), "one of many"))).await;
    stage.organization.with_empty_pages();
    stage.organization.add_trail(off(&account(999), "audit"));
    let worker = stage.worker().await;
    stage.handle([stop_in(&account(999), "e-1", "audit")]).await;
    assert!(stage.is_on(&account(999), "audit"));
    // 1,002 accounts, twenty a page, and a page without any after each but the last.
    assert!(stage.aws.calls("ListAccounts").len() >= 101);
    worker.stop().await;
}

/// The own account waits for no list; what happens elsewhere does, and is given up loudly before SQS gives it up.
#[tokio::test]
async fn without_a_list_other_accounts_wait_and_the_own_one_does_not() {
    let stage = Stage::with_payments().await;
    stage.organization.undelegate();
    stage.organization.add_trail(off(ACCOUNT, "own"));
    let redrive = format!(
        "{{\"deadLetterTargetArn\":\"arn:aws:sqs:{REGION}:{ACCOUNT}:poison\",\"maxReceiveCount\":8}}"
    );
    stage.aws.set_queue("events", &[("RedrivePolicy", &redrive)]).await;
    let worker = stage.worker().await;
    stage.handle([stop_in(PAYMENTS, "e-1", "audit"), stop("e-2", "own")]).await;
    assert!(stage.is_on(ACCOUNT, "own") && !stage.is_on(PAYMENTS, "audit"));
    let (reason, detail) = stage.letter().await;
    assert_eq!(reason, "attempts-exhausted");
    assert!(detail.starts_with("the accounts of the organization could not be listed"), "{detail}");
    let texts = stage.slack.texts().await;
    let told: Vec<_> =
        texts.iter().filter(|text| text.contains("Whether logging is on was not looked at")).collect();
    assert_eq!((texts.len(), told.len()), (2, 1), "{texts:?}");
    worker.stop().await;
}

#[tokio::test]
async fn a_region_that_is_not_enabled_is_named_as_that() {
    let stage = Stage::with_payments().await;
    stage.organization.change(PAYMENTS, |account| account.without = [REGION.to_owned()].into());
    let worker = stage.worker().await;
    stage.handle([stop_in(PAYMENTS, "e-1", "audit")]).await;
    let (reason, detail) = stage.letter().await;
    assert_eq!(reason, "restore-refused");
    assert!(
        detail.contains("UnrecognizedClientException") && detail.contains("enable that Region"),
        "{detail}"
    );
    worker.stop().await;
}

#[tokio::test]
async fn an_sts_that_is_down_delays_other_accounts_alone() {
    let stage = Stage::with_payments().await;
    stage.organization.add_trail(off(ACCOUNT, "own"));
    let worker = stage.worker().await;
    stage.aws.break_down("AssumeRole", Fault::Refuse(503, "ServiceUnavailable"));
    stage.aws.send(stop_in(PAYMENTS, "e-1", "audit").to_string()).await;
    stage.aws.send(stop("e-2", "own").to_string()).await;
    eventually("the own trail", async || stage.is_on(ACCOUNT, "own").then_some(())).await;
    assert!(!stage.is_on(PAYMENTS, "audit"));
    stage.aws.heal();
    stage.settled().await;
    assert!(stage.is_on(PAYMENTS, "audit"));
    worker.stop().await;
}

/// A STS that hangs for one account holds its events up together, and not one after the other.
#[tokio::test]
async fn an_sts_that_hangs_takes_no_place_from_others_for_long() {
    let mut stage = Stage::with_payments().await;
    // What has failed is out of the way for a while: this queue gives the oldest first.
    for name in ["TRAILKEEPER_RETRY_BASE_SECONDS", "TRAILKEEPER_RETRY_MAX_SECONDS"] {
        stage.args.set(name, "300");
    }
    stage.organization.add_trail(off(ACCOUNT, "own"));
    let worker = stage.worker().await;
    stage.aws.break_down("AssumeRole", Fault::Delay(Duration::from_mins(10)));
    // Twice as many as are worked on at once, and then the own account's.
    for number in 0..64 {
        stage.aws.send(stop_in(PAYMENTS, &format!("e-{number}"), "audit").to_string()).await;
    }
    eventually("a session asked for", async || stage.aws.calls("AssumeRole").pop()).await;
    stage.aws.send(stop("e-own", "own").to_string()).await;
    eventually("the own trail", async || stage.is_on(ACCOUNT, "own").then_some(())).await;
    worker.stop().await;
}

/// Who has waited for a turn looks again: nobody starts what somebody else has started meanwhile.
#[tokio::test]
async fn many_stops_of_one_trail_are_one_start() {
    let stage = Stage::with_payments().await;
    for number in 0..8 {
        stage.aws.send(stop_in(PAYMENTS, &format!("e-{number}"), "audit").to_string()).await;
    }
    let worker = stage.worker().await;
    stage.settled().await;
    assert_eq!(stage.organization.starts().len(), 1);
    assert_eq!(stage.slack.posts().await.len(), 8);
    worker.stop().await;
}

#[tokio::test]
async fn one_account_that_throttles_everything_keeps_no_other_from_its_restart() {
    let members = (0..40).map(|number| Account::new(&account(number), "member"));
    let stage = Stage::of(members).await;
    stage.organization.change(&account(0), |account| account.throttles = true);
    let mut events = Vec::new();
    for number in 0..40 {
        stage.organization.add_trail(off(&account(number), "audit"));
        events.push(stop_in(&account(number), &format!("e-{number}"), "audit"));
    }
    // More than are worked on at once.
    events.extend((0..40).map(|number| stop_in(&account(0), &format!("more-{number}"), "audit")));
    events.reverse();
    let worker = stage.worker().await;
    for event in events {
        stage.aws.send(event.to_string()).await;
    }
    let others = || (1..40).all(|number| stage.is_on(&account(number), "audit"));
    eventually("all others", async || others().then_some(())).await;
    assert!(!stage.is_on(&account(0), "audit"));
    stage.organization.change(&account(0), |account| account.throttles = false);
    eventually("that one", async || stage.is_on(&account(0), "audit").then_some(())).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_session_that_ends_in_the_middle_is_followed_by_another() {
    let stage = Stage::with_payments().await;
    stage.organization.add_trail(off(PAYMENTS, "second"));
    let worker = stage.worker().await;
    stage.handle([stop_in(PAYMENTS, "e-1", "audit")]).await;
    stage.organization.end_sessions();
    stage.handle([stop_in(PAYMENTS, "e-2", "second")]).await;
    assert!(stage.is_on(PAYMENTS, "second"));
    assert_eq!(stage.aws.calls("AssumeRole").len(), 2);
    worker.stop().await;
}

#[tokio::test]
async fn a_session_is_renewed_before_it_ends() {
    let stage = Stage::with_payments().await;
    stage.organization.change(PAYMENTS, |account| account.session_lasts = Duration::from_secs(4));
    stage.organization.add_trail(off(PAYMENTS, "second"));
    let worker = stage.worker().await;
    stage.handle([stop_in(PAYMENTS, "e-1", "audit")]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    stage.aws.forget();
    stage.handle([stop_in(PAYMENTS, "e-2", "second")]).await;
    assert!(stage.is_on(PAYMENTS, "second"));
    assert_eq!(stage.slack.texts().await.len(), 2, "nobody hears of it");
    assert!(!stage.aws.calls("AssumeRole").is_empty());
    worker.stop().await;
}

/// Through the role of the management account; without one, as a delegated administrator.
#[tokio::test]
async fn an_organizations_trail_is_restarted_from_where_it_may_be() {
    for has_role in [true, false] {
        let stage = Stage::of([]).await;
        stage.organization.change(MANAGEMENT, |account| account.has_role = has_role);
        stage.organization.add_organization_trail(off(MANAGEMENT, "everyone"));
        let worker = stage.worker().await;
        stage.handle([stop_in(MANAGEMENT, "e-1", "everyone")]).await;
        assert!(stage.is_on(MANAGEMENT, "everyone"), "has a role: {has_role}");
        let starts = stage.aws.calls("StartLogging");
        assert_eq!(starts[0].key.starts_with("ASIA"), has_role);
        worker.stop().await;
    }
}

#[tokio::test]
async fn a_stop_that_names_no_trail_is_looked_for_in_its_own_account() {
    let stage = Stage::of([Account::new(PAYMENTS, "payments-prod")]).await;
    let stop = stop_in(PAYMENTS, "e-1", "audit");
    let at = time::OffsetDateTime::parse(
        stop["detail"]["eventTime"].as_str().expect("a time"),
        &time::format_description::well_known::Rfc3339,
    );
    stage.organization.add_trail(Trail::at(&arn(PAYMENTS, "audit")).stopped(at.expect("a time")));
    let worker = stage.worker().await;
    let mut nameless = stop;
    nameless["detail"]["requestParameters"] = json!(null);
    stage.handle([nameless]).await;
    assert!(stage.is_on(PAYMENTS, "audit"));
    worker.stop().await;
}

/// With the worker's role, or the member role in whatever account; a session's name proves nothing.
#[tokio::test]
async fn a_call_by_a_role_of_ours_is_critical() {
    let stage = Stage::with_payments().await;
    let worker = stage.worker().await;
    let by = |id: &str, account: &str, role: &str| {
        let mut event = stop_in(PAYMENTS, id, "audit");
        event["detail"]["userIdentity"] = json!({
            "type": "AssumedRole", "accountId": account,
            "arn": format!("arn:aws:sts::{account}:assumed-role/{role}/trailkeeper"),
            "sessionContext": { "sessionIssuer": {
                "type": "Role", "arn": format!("arn:aws:iam::{account}:role/{role}"), "userName": role,
            } },
        });
        event
    };
    let ours = "The call was made with an identity of trailkeeper's own";
    for (id, account, role, is_ours) in [
        ("e-1", PAYMENTS, ROLE, true),
        ("e-2", ACCOUNT, "worker", true),
        ("e-3", PAYMENTS, "worker", false),
        ("e-4", PAYMENTS, "deploy", false),
    ] {
        let before = stage.slack.texts().await.len();
        stage.handle([by(id, account, role)]).await;
        let texts = stage.slack.texts().await;
        assert_eq!(texts[before].contains(ours), is_ours, "{role}: {texts:?}");
        let post = stage.slack.posts().await[before].to_string();
        assert_eq!(post.contains("CRITICAL"), is_ours, "{post}");
    }
    let mut refused = by("e-5", PAYMENTS, ROLE);
    refused["detail"]["errorCode"] = json!("AccessDenied");
    stage.handle([refused]).await;
    assert!(stage.slack.texts().await.last().expect("a post").contains(ours), "an attempt as well");
    worker.stop().await;
}

/// CloudTrail takes one start a second of an account in a Region: nobody is throttled, and other accounts do not wait.
#[tokio::test]
async fn starts_are_paced_by_account_and_region() {
    let stage =
        Stage::of([Account::new(PAYMENTS, "payments-prod"), Account::new(&account(1), "other")]).await;
    let mut events = Vec::new();
    for number in 0..5 {
        let name = format!("trail-{number}");
        stage.organization.add_trail(off(PAYMENTS, &name));
        events.push(stop_in(PAYMENTS, &format!("e-{number}"), &name));
    }
    stage.organization.add_trail(off(&account(1), "audit"));
    events.push(stop_in(&account(1), "e-other", "audit"));
    let worker = stage.worker().await;
    stage.handle(events).await;
    assert!((0..5).all(|number| stage.is_on(PAYMENTS, &format!("trail-{number}"))));
    assert_eq!(stage.organization.throttled(), 0);
    let starts = stage.organization.starts();
    assert_eq!(starts.len(), 6);
    let took = *starts.last().expect("a start") - starts[0];
    assert!(took >= Duration::from_millis(3_600), "{took:?}");
    worker.stop().await;
}

/// Somebody else uses the quota as well: it is waited for, and uses up no attempt.
#[tokio::test]
async fn a_throttle_is_waited_for_and_uses_up_no_attempt() {
    let mut stage = Stage::with_payments().await;
    stage.args.set("TRAILKEEPER_MAX_ATTEMPTS", "1");
    let worker = stage.worker().await;
    stage.aws.fault("StartLogging", 2, Fault::Refuse(400, "ThrottlingException"));
    stage.aws.fault("GetTrailStatus", 1, Fault::Refuse(400, "ThrottlingException"));
    stage.handle([stop_in(PAYMENTS, "e-1", "audit")]).await;
    assert!(stage.is_on(PAYMENTS, "audit"));
    assert!(stage.aws.dead_letters().await.is_empty());
    worker.stop().await;
}

#[tokio::test]
async fn a_list_of_accounts_and_no_organization() {
    let mut stage = Stage::with_payments().await;
    stage.organization.add_trail(off(&account(1), "audit"));
    stage.organization.add_trail(off(ACCOUNT, "own"));
    let policy = format!(
        "version = 1\n[accounts]\nsource = \"list\"\nlist = [\"{PAYMENTS}\"]\nname = {{ \"{PAYMENTS}\" = \"the shop\" }}\n"
    );
    stage.args.set("TRAILKEEPER_POLICY_TOML", policy);
    let worker = Worker::start_with(&stage.aws, &stage.args);
    let events =
        [stop_in(PAYMENTS, "e-1", "audit"), stop_in(&account(1), "e-2", "audit"), stop("e-3", "own")];
    stage.handle(events).await;
    assert!(
        stage.is_on(PAYMENTS, "audit") && stage.is_on(ACCOUNT, "own") && !stage.is_on(&account(1), "audit")
    );
    let texts = stage.slack.texts().await;
    assert!(texts.iter().any(|text| text.contains("is not in the policy's list")), "{texts:?}");
    let posts = serde_json::to_string(&stage.slack.posts().await).expect("JSON");
    assert!(posts.contains("444455556666 (the shop)"), "{posts}");
    assert!(stage.aws.calls("ListAccounts").is_empty());
    worker.stop().await;
}

/// It may be the own account's, and is found out.
#[tokio::test]
async fn who_does_not_know_its_own_account_calls_nothing_outside_and_assumes_no_role() {
    let list = format!("version = 1\n[accounts]\nsource = \"list\"\nlist = [\"{}\"]\n", account(1));
    for policy in [list.as_str(), ORGANIZATION] {
        let mut stage = Stage::with_payments().await;
        stage.organization.undelegate();
        stage.organization.add_trail(off(ACCOUNT, "own"));
        stage.args.set("TRAILKEEPER_POLICY_TOML", policy);
        stage.aws.break_down("GetCallerIdentity", Fault::Refuse(503, "ServiceUnavailable"));
        let worker = Worker::start_with(&stage.aws, &stage.args);
        stage.aws.send(stop("e-1", "own").to_string()).await;
        stage.aws.send(stop_in(PAYMENTS, "e-2", "audit").to_string()).await;
        eventually("the own trail", async || stage.is_on(ACCOUNT, "own").then_some(())).await;
        assert!(stage.aws.calls("AssumeRole").is_empty() && !stage.is_on(PAYMENTS, "audit"));
        worker.stop().await;
    }
}

/// One without the worker's own account is none.
#[tokio::test]
async fn a_list_that_cannot_be_is_not_believed() {
    let stage = Stage::with_payments().await;
    stage.aws.fault("ListAccounts", 1, Fault::Answer(json!({ "Accounts": [] })));
    let worker = stage.worker().await;
    stage.aws.send(stop_in(PAYMENTS, "e-1", "audit").to_string()).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(stage.slack.posts().await.is_empty() && stage.aws.depth("events") == 1);
    worker.stop().await;
}

/// The role alone lets trailkeeper act nowhere.
#[tokio::test]
async fn without_a_policy_the_role_is_not_used() {
    let mut stage = Stage::with_payments().await;
    stage.args.set("TRAILKEEPER_POLICY_TOML", "");
    let worker = Worker::start_with(&stage.aws, &stage.args);
    stage.handle([stop_in(PAYMENTS, "e-1", "audit")]).await;
    assert!(!stage.is_on(PAYMENTS, "audit") && stage.aws.calls("AssumeRole").is_empty());
    assert_eq!(stage.letter().await.0, "restore-refused");
    worker.stop().await;
}

mod checking {
    use trailkeeper::config::CheckConfig;
    use trailkeeper::operate::check;
    use trailkeeper::operate::finding::{Check, Status};

    use super::*;

    async fn found(stage: &Stage, sample: Option<usize>) -> Vec<(Check, Status, String)> {
        let config = CheckConfig::read(&stage.args, |_| None).expect("a configuration that holds");
        let config = CheckConfig { sample, ..config };
        let found = check::run(&config, stage.aws.sdk_config()).await.into_iter();
        let ours = found.filter(|finding| matches!(finding.check, Check::Accounts | Check::MemberRole));
        ours.map(|one| (one.check, one.status, one.subject.unwrap_or_default() + " " + &one.found)).collect()
    }

    /// In each account, side by side; those that do not let it in by name.
    #[tokio::test]
    async fn the_member_role_is_tried_in_each_account() {
        let mut stage = Stage::of((0..30).map(|number| Account::new(&account(number), "member"))).await;
        stage.organization.change(&account(7), |account| account.has_role = false);
        stage.organization.change(&account(8), |account| account.state = "SUSPENDED".to_owned());
        let policy = format!("{ORGANIZATION}exclude = [\"{}\"]", account(9));
        stage.args.set("TRAILKEEPER_POLICY_TOML", policy);
        let (listed, outside, suspended) = ("32 in the organization", account(9), account(8));
        let listed = format!(" {listed}; outside by the policy: {outside}; SUSPENDED: {suspended}");
        let all = found(&stage, None).await;
        assert_eq!(all[0], (Check::Accounts, Status::Ok, listed));
        // All but the own, the one outside and the one that is suspended.
        let works = " it may look at trails and restart them in 28 of 29 accounts".to_owned();
        assert_eq!(all[1], (Check::MemberRole, Status::Warning, works));
        assert_eq!((all[2].0, all[2].1, all.len()), (Check::MemberRole, Status::Failed, 3));
        assert!(all[2].2.starts_with(&format!("{} AssumeRole of", account(7))), "{all:?}");
        stage.organization.change(&account(7), |account| account.has_role = true);
        let some = found(&stage, Some(3)).await;
        assert!(some[1].2.ends_with("in 3 of 3 accounts, of 29 that there are"), "{some:?}");
        assert!(stage.aws.calls("StartLogging").is_empty());
        // The rights as well, where there is a trail to ask about.
        stage.organization.add_trail(off(&account(1), "audit"));
        stage.aws.break_down("StartLogging", Fault::Deny("because no identity-based policy allows it"));
        let denied = found(&stage, None).await;
        assert!(
            denied[2].2.contains("allow cloudtrail:StartLogging on this trail to the member role in account"),
            "{denied:?}"
        );
    }

    #[tokio::test]
    async fn accounts_that_cannot_be_listed_and_a_role_that_is_not_named_fail() {
        let mut stage = Stage::with_payments().await;
        stage.args.set("TRAILKEEPER_EXTERNAL_ID", "");
        stage.args.set("TRAILKEEPER_MEMBER_ROLE", "");
        let without = found(&stage, None).await;
        assert_eq!((without[1].0, without[1].1), (Check::MemberRole, Status::Failed));
        stage.organization.undelegate();
        let denied = found(&stage, None).await;
        assert_eq!((denied.len(), denied[0].0, denied[0].1), (1, Check::Accounts, Status::Failed));
        assert!(denied[0].2.contains("delegated administrator of any service"), "{denied:?}");
    }
}
