//! Trails that are off, or gone, and of which no event told: the sweep, looks, and what is known of each trail.

use std::time::Duration;

use aws_sdk_sqs::types::MessageAttributeValue;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use trailkeeper::args::Args;
use trailkeeper::clock;

use crate::support::aws::{ACCOUNT, Aws, Fault, REGION};
use crate::support::cloudtrail::Trail;
use crate::support::events::{stop, stop_in};
use crate::support::eventually;
use crate::support::organization::{Account, EXTERNAL_ID, MANAGEMENT, Organization, ROLE};
use crate::support::process::{configured, ended};
use crate::support::slack::Slack;
use crate::support::worker::{Worker, args};

const PAYMENTS: &str = "444455556666";
const LIST: &str = "version = 1\n[accounts]\nsource = \"list\"\nlist = [\"444455556666\"]\n";
const TABLE: &str = "state";

/// A worker that sweeps each second, with two trails that log: its own account's and another's.
struct Stage {
    aws: Aws,
    slack: Slack,
    organization: Organization,
    args: Args,
}

impl Stage {
    async fn start() -> Self {
        let (aws, slack) = (Aws::start().await, Slack::start().await);
        aws.create_table(TABLE).await;
        let organization = Organization::of(&aws, [Account::new(PAYMENTS, "payments-prod")]);
        organization.add_trail(Trail::at(&arn(ACCOUNT, "own")));
        organization.add_trail(Trail::at(&arn(PAYMENTS, "audit")));
        let mut args = args(&aws, &slack);
        args.set("TRAILKEEPER_MEMBER_ROLE", ROLE);
        args.set("TRAILKEEPER_EXTERNAL_ID", EXTERNAL_ID);
        args.set("TRAILKEEPER_POLICY_TOML", LIST);
        args.set("TRAILKEEPER_STATE_TABLE", TABLE);
        args.set("TRAILKEEPER_SWEEP_INTERVAL_SECONDS", "1");
        Self { aws, slack, organization, args }
    }

    /// A worker that has looked at everything once.
    async fn worker(&self) -> Worker {
        let worker = Worker::start_with(&self.aws, &self.args);
        self.swept().await;
        worker
    }

    /// Waits until a sweep that begins from now on has ended: the next one has begun.
    async fn swept(&self) {
        let before = self.sweeps();
        eventually("two sweeps", async || (self.sweeps() >= before + 3).then_some(())).await;
    }

    /// Sweeps so far: each lists the trails of the worker's own account.
    fn sweeps(&self) -> usize {
        self.aws.calls("ListTrails").iter().filter(|call| !call.key.starts_with("ASIA")).count()
    }

    fn stop(&self, account: &str, name: &str) {
        // So long ago that its event is no longer waited for.
        self.organization.stop(&arn(account, name), clock::now() - Duration::from_mins(2));
    }

    fn is_on(&self, account: &str, name: &str) -> bool {
        self.organization.is_logging(&arn(account, name))
    }

    /// What is known of a trail.
    async fn document(&self, account: &str, name: &str) -> Value {
        let key = json!({ "pk": { "S": format!("trail#{}", arn(account, name)) } });
        let item = self.aws.dynamodb("GetItem", &json!({ "TableName": TABLE, "Key": key })).await;
        serde_json::from_str(item["Item"]["document"]["S"].as_str().expect("a record")).expect("JSON")
    }

    /// The time has come to ask the event history for the last stop of a trail.
    async fn is_to_ask(&self, account: &str, name: &str) {
        let mut document = self.document(account, name).await;
        document["stops"][0]["ask_at"] = json!(trailkeeper::text::stamp(clock::now()));
        let change = json!({
            "TableName": TABLE,
            "Key": { "pk": { "S": format!("trail#{}", arn(account, name)) } },
            "UpdateExpression": "SET document = :document",
            "ExpressionAttributeValues": { ":document": { "S": document.to_string() } },
        });
        self.aws.dynamodb("UpdateItem", &change).await;
    }

    async fn texts(&self, count: usize) -> Vec<String> {
        let said = async || Some(self.slack.texts().await).filter(|texts| texts.len() >= count);
        eventually("messages in Slack", said).await
    }
}

fn clock_time(value: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(value.as_str().expect("a time"), &Rfc3339).expect("a time")
}

fn arn(account: &str, name: &str) -> String {
    format!("arn:aws:cloudtrail:{REGION}:{account}:trail/{name}")
}

#[tokio::test]
async fn a_stop_whose_event_never_arrives_is_found_restarted_and_reported_once() {
    let stage = Stage::start().await;
    let worker = stage.worker().await;
    stage.stop(PAYMENTS, "audit");
    let texts = stage.texts(1).await;
    assert!(stage.is_on(PAYMENTS, "audit"));
    assert!(
        texts[0].starts_with("Somebody turned off CloudTrail logging in account 444455556666 at "),
        "{texts:?}"
    );
    assert!(texts[0].contains("Logging was restarted and verified; it was off for 2 min"), "{texts:?}");
    assert!(texts[0].contains("No event of it has arrived: trailkeeper looked at the trail."), "{texts:?}");
    stage.swept().await;
    assert_eq!(stage.slack.texts().await.len(), 1);
    assert!(stage.aws.dead_letters().await.is_empty());
    worker.stop().await;
}

#[tokio::test]
async fn a_stop_that_somebody_undid_is_found_and_reported_and_nothing_is_started() {
    let stage = Stage::start().await;
    let worker = stage.worker().await;
    let now = clock::now();
    stage.organization.change_trail(&arn(ACCOUNT, "own"), |trail| {
        trail.stopped_at = Some(now - Duration::from_mins(5));
        trail.started_at = Some(now - Duration::from_mins(3));
    });
    let texts = stage.texts(1).await;
    assert!(texts[0].contains("on again"), "{texts:?}");
    assert!(texts[0].contains("it was off for 2 min"), "{texts:?}");
    stage.swept().await;
    assert_eq!((stage.slack.texts().await.len(), stage.aws.calls("StartLogging").len()), (1, 0));
    worker.stop().await;
}

#[tokio::test]
async fn what_was_off_before_the_first_look_is_said_once_and_left_as_it_is() {
    let stage = Stage::start().await;
    stage.organization.stop(&arn(PAYMENTS, "audit"), clock::now() - Duration::from_hours(3));
    let never = Trail { logging: false, started_at: None, ..Trail::at(&arn(ACCOUNT, "never")) };
    stage.organization.add_trail(never);
    let worker = stage.worker().await;
    let texts = stage.slack.texts().await;
    assert_eq!(texts.len(), 1, "{texts:?}");
    for part in [
        "looked at the trails of 2 accounts for the first time: 2 trails were off, and no trail records 1 account, seen at ",
        "account 444455556666, which no trail records",
        "audit of account 444455556666 in eu-west-1, off since ",
        "never of account 123456789012 in eu-west-1, never started",
    ] {
        assert!(texts[0].contains(part), "{part}: {texts:?}");
    }
    assert!(!stage.is_on(PAYMENTS, "audit"));
    // From then on every change is acted on.
    stage.organization.change_trail(&arn(PAYMENTS, "audit"), |trail| {
        (trail.logging, trail.started_at) = (true, Some(clock::now()));
    });
    let texts = stage.texts(2).await;
    assert!(texts[1].contains("on again"), "{texts:?}");
    stage.stop(PAYMENTS, "audit");
    stage.texts(3).await;
    assert!(stage.is_on(PAYMENTS, "audit"));
    worker.stop().await;
}

#[tokio::test]
async fn an_account_without_a_trail_of_its_own_is_recorded_by_its_organizations_if_that_is_on() {
    for is_on in [true, false] {
        let stage = Stage::start().await;
        stage.organization.delete(&arn(PAYMENTS, "audit"));
        let organizations = Trail { logging: is_on, ..Trail::at(&arn(MANAGEMENT, "organization")) };
        stage.organization.add_organization_trail(organizations);
        let worker = stage.worker().await;
        let texts = stage.slack.texts().await;
        let said = texts.iter().any(|text| text.contains("account 444455556666, which no trail records"));
        assert_eq!(said, !is_on, "{texts:?}");
        worker.stop().await;
    }
}

#[tokio::test]
async fn a_trail_that_logs_to_no_avail_is_reported_once_and_so_is_its_end() {
    let stage = Stage::start().await;
    let worker = stage.worker().await;
    let delivers = |error: Value| {
        let change = |trail: &mut Trail| trail.beside = json!({ "LatestDeliveryError": error });
        stage.organization.change_trail(&arn(PAYMENTS, "audit"), change);
    };
    delivers(json!("NoSuchBucket"));
    let texts = stage.texts(1).await;
    assert!(texts[0].contains("1 trail that is on and whose log files cannot be delivered"), "{texts:?}");
    assert!(texts[0].contains("audit of account 444455556666 in eu-west-1, NoSuchBucket"), "{texts:?}");
    stage.swept().await;
    assert_eq!(stage.slack.texts().await.len(), 1);
    delivers(Value::Null);
    let texts = stage.texts(2).await;
    assert!(texts[1].contains("no delivery error any more at 1 trail"), "{texts:?}");
    // A report of a stop says it as well.
    delivers(json!("AccessDenied"));
    stage.texts(3).await;
    delivers(Value::Null);
    stage.texts(4).await;
    stage.organization.change_trail(&arn(PAYMENTS, "audit"), |trail| {
        trail.beside = json!({ "LatestDeliveryError": "AccessDenied" });
        (trail.logging, trail.stopped_at) = (false, Some(clock::now() - Duration::from_mins(2)));
    });
    let texts = stage.texts(5).await;
    assert!(texts[4].contains("BUT ITS LOGS CANNOT BE DELIVERED: AccessDenied"), "{texts:?}");
    stage.swept().await;
    assert_eq!(stage.slack.texts().await.len(), 5, "{:?}", stage.slack.texts().await);
    worker.stop().await;
}

#[tokio::test]
async fn what_was_off_before_is_restarted_if_the_policy_says_so() {
    let mut stage = Stage::start().await;
    stage.args.set("TRAILKEEPER_POLICY_TOML", format!("{LIST}[defaults]\nfound_off = \"restart\"\n"));
    stage.stop(PAYMENTS, "audit");
    let worker = stage.worker().await;
    let texts = stage.texts(2).await;
    assert!(texts[1].contains("Logging was restarted and verified"), "{texts:?}");
    assert!(stage.is_on(PAYMENTS, "audit"));
    worker.stop().await;
}

#[tokio::test]
async fn an_event_and_the_sweep_report_one_stop_once_whoever_comes_first() {
    let stage = Stage::start().await;
    let worker = stage.worker().await;
    // The event first: the sweep leaves it a minute.
    let at = clock::now();
    stage.organization.stop(&arn(ACCOUNT, "own"), at);
    stage.swept().await;
    assert!(!stage.is_on(ACCOUNT, "own"));
    stage.aws.send(stop_event("e-1", ACCOUNT, "own", at).to_string()).await;
    stage.texts(1).await;
    stage.swept().await;
    // The sweep first.
    let at = clock::now() - Duration::from_mins(2);
    stage.organization.stop(&arn(PAYMENTS, "audit"), at);
    stage.texts(2).await;
    stage.aws.send(stop_event("e-2", PAYMENTS, "audit", at).to_string()).await;
    let texts = stage.texts(3).await;
    assert!(texts[1].starts_with("Somebody turned off"), "{texts:?}");
    assert!(
        texts[2].contains("trailkeeper has reported this stop before, and now knows who it was."),
        "{texts:?}"
    );
    stage.swept().await;
    assert_eq!(stage.slack.texts().await.len(), 3);
    worker.stop().await;
}

/// The event of a stop, as of then.
fn stop_event(id: &str, account: &str, name: &str, at: OffsetDateTime) -> Value {
    let mut event = stop_in(account, id, name);
    event["detail"]["eventTime"] = json!(trailkeeper::text::stamp(at));
    event
}

#[tokio::test]
async fn who_it_was_is_added_from_the_event_history_and_the_event_adds_nothing_more() {
    let stage = Stage::start().await;
    let worker = stage.worker().await;
    let at = clock::now() - Duration::from_mins(2);
    let event = stop_event("e-1", PAYMENTS, "audit", at);
    // So many failed that the one that did not is on the third page.
    for number in 0..120 {
        let mut failed =
            stop_event(&format!("failed-{number}"), PAYMENTS, "audit", at + Duration::from_secs(1));
        failed["detail"]["errorCode"] = json!("AccessDenied");
        stage.organization.record(&failed["detail"]);
    }
    stage.organization.record(&stop_event("e-0", PAYMENTS, "another", at)["detail"]);
    stage.organization.record(&event["detail"]);
    stage.organization.stop(&arn(PAYMENTS, "audit"), at);
    let texts = stage.texts(2).await;
    assert!(texts[0].starts_with("Somebody turned off"), "{texts:?}");
    assert!(
        texts[1].starts_with("mallory turned off CloudTrail logging in account 444455556666 at "),
        "{texts:?}"
    );
    assert!(texts[1].contains("has reported this stop before, and now knows who it was"), "{texts:?}");
    stage.aws.send(event.to_string()).await;
    eventually("the queue to be empty", async || (stage.aws.depth("events") == 0).then_some(())).await;
    stage.swept().await;
    assert_eq!((stage.slack.texts().await.len(), stage.organization.throttled()), (2, 0));
    assert_eq!(stage.aws.calls("LookupEvents").len(), 3);
    worker.stop().await;
}

#[tokio::test]
async fn a_history_that_is_late_is_asked_again_and_one_that_may_not_be_read_is_not_at_each_sweep() {
    let stage = Stage::start().await;
    let worker = stage.worker().await;
    let at = clock::now() - Duration::from_mins(2);
    stage.organization.stop(&arn(PAYMENTS, "audit"), at);
    stage.texts(1).await;
    let asked = async || (stage.aws.calls("LookupEvents").len() == 1).then_some(());
    eventually("the history to be asked", asked).await;
    stage.swept().await;
    let document = stage.document(PAYMENTS, "audit").await;
    let wait = clock_time(&document["stops"][0]["ask_at"]) - clock::now();
    assert!((14..=15).contains(&wait.whole_minutes()), "{document}");
    stage.aws.break_down("LookupEvents", Fault::Refuse(400, "AccessDeniedException"));
    stage.is_to_ask(PAYMENTS, "audit").await;
    let asked = async || (stage.aws.calls("LookupEvents").len() == 2).then_some(());
    eventually("the history to be asked again", asked).await;
    stage.swept().await;
    assert_eq!((stage.aws.calls("LookupEvents").len(), stage.slack.texts().await.len()), (2, 1));
    stage.aws.heal();
    stage.organization.record(&stop_event("e-1", PAYMENTS, "audit", at)["detail"]);
    stage.is_to_ask(PAYMENTS, "audit").await;
    let texts = stage.texts(2).await;
    assert!(texts[1].starts_with("mallory turned off"), "{texts:?}");
    let document = stage.document(PAYMENTS, "audit").await;
    assert_eq!(
        (&document["stops"][0]["event"], &document["stops"][0]["who"]),
        (&json!("e-1"), &json!("mallory"))
    );
    stage.swept().await;
    assert_eq!(stage.document(PAYMENTS, "audit").await["stops"][0]["ask_at"], Value::Null);
    worker.stop().await;
}

#[tokio::test]
async fn what_was_stopped_twice_within_a_minute_is_reported_twice() {
    let stage = Stage::start().await;
    let worker = stage.worker().await;
    let at = clock::now() - Duration::from_mins(2);
    stage.organization.stop(&arn(PAYMENTS, "audit"), at);
    stage.aws.send(stop_event("e-1", PAYMENTS, "audit", at).to_string()).await;
    // Whichever is first, the sweep or the event.
    let by_mallory = async || {
        let texts = stage.slack.texts().await;
        texts.iter().any(|text| text.starts_with("mallory turned off")).then_some(texts.len())
    };
    let said = eventually("the report of the event", by_mallory).await;
    stage.organization.stop(&arn(PAYMENTS, "audit"), at + Duration::from_secs(20));
    let texts = stage.texts(said + 1).await;
    assert!(texts[said].starts_with("Somebody turned off"), "{texts:?}");
    assert!(stage.is_on(PAYMENTS, "audit"));
    worker.stop().await;
}

#[tokio::test]
async fn a_trail_that_is_gone_is_reported_once_by_the_event_or_by_the_sweep() {
    let stage = Stage::start().await;
    let worker = stage.worker().await;
    stage.organization.delete(&arn(PAYMENTS, "audit"));
    let texts = stage.texts(1).await;
    assert!(
        texts[0].starts_with("The trail audit of account 444455556666 is gone, as trailkeeper saw it at "),
        "{texts:?}"
    );
    assert!(texts[0].contains("RECORDING HAS ENDED"), "{texts:?}");
    stage.organization.delete(&arn(ACCOUNT, "own"));
    let mut deleted = stop("e-1", "own");
    deleted["detail"]["eventName"] = json!("DeleteTrail");
    stage.aws.send(deleted.to_string()).await;
    stage.texts(2).await;
    stage.swept().await;
    // Whichever was first; the other adds who it was, or nothing.
    let texts = stage.slack.texts().await;
    let told = texts.iter().filter(|text| text.contains("RECORDING HAS ENDED")).count();
    assert!((2..=3).contains(&told), "{texts:?}");
    worker.stop().await;
}

#[tokio::test]
async fn what_may_not_be_started_is_a_dead_letter_once() {
    let stage = Stage::start().await;
    let worker = stage.worker().await;
    stage.aws.break_down("StartLogging", Fault::Refuse(400, "AccessDeniedException"));
    stage.stop(PAYMENTS, "audit");
    let texts = stage.texts(1).await;
    assert!(texts[0].contains("LOGGING IS STILL OFF: the restart was refused"), "{texts:?}");
    stage.swept().await;
    assert_eq!(stage.slack.texts().await.len(), 1);
    let letters = stage.aws.dead_letters().await;
    assert_eq!(letters.len(), 1);
    // The right is there, and the look is put back.
    stage.aws.heal();
    let body: Value = serde_json::from_str(letters[0].body().expect("a body")).expect("JSON");
    look_again(&stage.aws, body, Some("restore-refused")).await;
    let texts = stage.texts(2).await;
    assert!(texts[1].contains("Logging was restarted and verified"), "{texts:?}");
    worker.stop().await;
}

#[tokio::test]
async fn what_may_not_be_started_and_is_on_again_is_reported() {
    let stage = Stage::start().await;
    let worker = stage.worker().await;
    stage.aws.break_down("StartLogging", Fault::Refuse(400, "AccessDeniedException"));
    stage.stop(PAYMENTS, "audit");
    stage.texts(1).await;
    // By somebody else's hand.
    stage.organization.change_trail(&arn(PAYMENTS, "audit"), |trail| {
        (trail.logging, trail.started_at) = (true, Some(clock::now()));
    });
    let texts = stage.texts(2).await;
    assert!(texts[1].contains("on again"), "{texts:?}");
    worker.stop().await;
}

/// Nobody turned it off.
#[tokio::test]
async fn a_trail_that_was_never_on_or_was_gone_and_is_on_now_is_known_and_not_reported() {
    let stage = Stage::start().await;
    let never = Trail { logging: false, started_at: None, ..Trail::at(&arn(ACCOUNT, "never")) };
    stage.organization.add_trail(never);
    let worker = stage.worker().await;
    stage.organization.delete(&arn(PAYMENTS, "audit"));
    stage.texts(2).await;
    stage.organization.change_trail(&arn(ACCOUNT, "never"), |trail| {
        (trail.logging, trail.started_at) = (true, Some(clock::now()));
    });
    stage.organization.add_trail(Trail::at(&arn(PAYMENTS, "audit")));
    stage.swept().await;
    assert_eq!(stage.slack.texts().await.len(), 2, "{:?}", stage.slack.texts().await);
    // And kept from then on.
    stage.stop(ACCOUNT, "never");
    stage.stop(PAYMENTS, "audit");
    stage.texts(4).await;
    assert!(stage.is_on(ACCOUNT, "never") && stage.is_on(PAYMENTS, "audit"));
    worker.stop().await;
}

#[tokio::test]
async fn what_a_rule_leaves_off_is_reported_once() {
    let mut stage = Stage::start().await;
    let rule = "[[rule]]\nname = \"sandbox\"\nstopped = \"notify\"\nreason = \"a place to try things\"\n";
    stage.args.set("TRAILKEEPER_POLICY_TOML", format!("{LIST}{rule}"));
    // What a worker held that has ended is another's after this long.
    stage.args.set("TRAILKEEPER_VISIBILITY_TIMEOUT_SECONDS", "13");
    let worker = stage.worker().await;
    stage.stop(PAYMENTS, "audit");
    let texts = stage.texts(1).await;
    assert!(texts[0].contains("rule \"sandbox\" of the policy says notify"), "{texts:?}");
    stage.swept().await;
    assert_eq!(stage.slack.texts().await.len(), 1);
    assert!(!stage.is_on(PAYMENTS, "audit"));
    worker.stop().await;
    // The rule is gone, and the trail is restarted.
    stage.args.set("TRAILKEEPER_POLICY_TOML", LIST);
    let worker = stage.worker().await;
    let is_on = async || stage.is_on(PAYMENTS, "audit").then_some(());
    eventually("the trail to be on", is_on).await;
    worker.stop().await;
}

async fn look(aws: &Aws, body: Value) {
    look_again(aws, body, None).await;
}

/// A look, with the reason for which it was a dead letter.
async fn look_again(aws: &Aws, body: Value, reason: Option<&str>) {
    let text = |value: &str| {
        MessageAttributeValue::builder().data_type("String").string_value(value).build().expect("whole")
    };
    let request = aws.sqs().send_message().queue_url(aws.queue_url("events")).message_body(body.to_string());
    let mut request = request.message_attributes("trailkeeper.kind", text("look-at-trail"));
    if let Some(reason) = reason {
        request = request.message_attributes("trailkeeper.reason", text(reason));
    }
    request.send().await.expect("sent");
}

#[tokio::test]
async fn a_forged_look_costs_a_look_at_most() {
    let mut stage = Stage::start().await;
    stage.args.set("TRAILKEEPER_SWEEP_INTERVAL_SECONDS", "86400");
    let worker = Worker::start_with(&stage.aws, &stage.args);
    let key = json!({ "TableName": TABLE, "Key": { "pk": { "S": "sweep" } } });
    let ended = async || {
        let item = stage.aws.dynamodb("GetItem", &key).await;
        item["Item"]["document"]["S"].as_str()?.contains("\"finished_at\":\"").then_some(())
    };
    eventually("the end of the first sweep", ended).await;
    stage.aws.forget();
    for _ in 0..30 {
        look(&stage.aws, json!({ "trail": arn(PAYMENTS, "audit") })).await;
        look(&stage.aws, json!({ "trail": arn(PAYMENTS, "unknown") })).await;
        look(&stage.aws, json!({ "trail": arn("111122223333", "others") })).await;
    }
    let empty = async || (stage.aws.depth("events") == 0).then_some(());
    eventually("the queue to be empty", empty).await;
    assert!(stage.aws.calls("GetTrailStatus").len() <= 4, "{:?}", stage.aws.calls("GetTrailStatus").len());
    let keys = stage.aws.calls("UpdateItem").into_iter().map(|call| call.body["Key"]["pk"]["S"].to_string());
    let keys: Vec<_> = keys.filter(|key| key.contains("trail#") || key.contains("finding#")).collect();
    assert_eq!((keys, stage.slack.texts().await.len()), (Vec::new(), 0));
    look(&stage.aws, json!({ "trail": "audit" })).await;
    let letter = async || stage.aws.dead_letters().await.pop();
    eventually("a dead letter", letter).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_queue_that_takes_no_looks_leaves_no_trail_off() {
    let stage = Stage::start().await;
    let worker = stage.worker().await;
    stage.aws.break_down("SendMessageBatch", Fault::Refuse(403, "AccessDenied"));
    stage.stop(PAYMENTS, "audit");
    let texts = stage.texts(2).await;
    assert!(stage.is_on(PAYMENTS, "audit"));
    assert!(texts.iter().any(|text| text.contains("could not send to its own queue")), "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("Logging was restarted and verified")), "{texts:?}");
    worker.stop().await;
}

#[tokio::test]
async fn one_worker_of_several_makes_each_sweep() {
    let mut stage = Stage::start().await;
    stage.args.set("TRAILKEEPER_SWEEP_INTERVAL_SECONDS", "3600");
    stage.stop(PAYMENTS, "audit");
    let workers: Vec<_> = (0..3).map(|_| Worker::start_with(&stage.aws, &stage.args)).collect();
    stage.texts(1).await;
    // Each has asked once by then.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!((stage.sweeps(), stage.slack.texts().await.len()), (1, 1));
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test]
async fn an_account_that_denies_a_look_is_reported_once_and_keeps_its_first_look() {
    let stage = Stage::start().await;
    let worker = stage.worker().await;
    stage.organization.change(PAYMENTS, |account| account.has_role = false);
    stage.organization.end_sessions();
    let texts = stage.texts(1).await;
    assert!(texts[0].contains("could not look at the trails of 1 accounts"), "{texts:?}");
    assert!(texts[0].contains("AssumeRole of "), "{texts:?}");
    stage.swept().await;
    assert_eq!(stage.slack.texts().await.len(), 1);
    stage.stop(PAYMENTS, "audit");
    stage.organization.change(PAYMENTS, |account| account.has_role = true);
    let texts = stage.texts(3).await;
    assert!(
        texts.iter().any(|text| text.contains("has looked at the trails of 1 accounts again")),
        "{texts:?}"
    );
    assert!(stage.is_on(PAYMENTS, "audit"), "it was on at the first look");
    worker.stop().await;
}

#[tokio::test]
async fn a_table_that_was_emptied_shows_by_another_first_look() {
    let stage = Stage::start().await;
    let worker = stage.worker().await;
    worker.stop().await;
    stage.stop(PAYMENTS, "audit");
    let mut other = stage.args.clone();
    stage.aws.create_table("emptied").await;
    other.set("TRAILKEEPER_STATE_TABLE", "emptied");
    let worker = Worker::start_with(&stage.aws, &other);
    let texts = stage.texts(1).await;
    assert!(texts[0].contains("for the first time"), "{texts:?}");
    worker.stop().await;
}

/// Each start of a worker without a table is a first look.
#[tokio::test]
async fn without_a_table_what_stopped_a_short_while_ago_is_restarted_at_the_first_look() {
    let stage = Stage::start().await;
    let mut args = args(&stage.aws, &stage.slack);
    args.set("TRAILKEEPER_SWEEP_INTERVAL_SECONDS", "1");
    stage.stop(ACCOUNT, "own");
    stage
        .organization
        .add_trail(Trail::at(&arn(ACCOUNT, "old")).stopped(clock::now() - Duration::from_hours(30)));
    let worker = Worker::start_with(&stage.aws, &args);
    let texts = stage.texts(2).await;
    assert!(stage.is_on(ACCOUNT, "own") && !stage.is_on(ACCOUNT, "old"));
    assert!(texts.iter().any(|text| text.contains("old of account 123456789012")), "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("Logging was restarted and verified")), "{texts:?}");
    worker.stop().await;
}

#[tokio::test]
async fn where_it_only_notifies_a_stop_that_no_event_told_of_is_reported_once_and_left() {
    let mut stage = Stage::start().await;
    stage.args.set("TRAILKEEPER_MODE", "notify");
    let worker = stage.worker().await;
    stage.stop(PAYMENTS, "audit");
    let texts = stage.texts(1).await;
    assert!(texts[0].contains("LOGGING IS OFF: trailkeeper only notifies here"), "{texts:?}");
    stage.swept().await;
    assert_eq!((stage.slack.texts().await.len(), stage.is_on(PAYMENTS, "audit")), (1, false));
    worker.stop().await;
}

/// The others are done in time.
#[tokio::test]
async fn one_account_that_throttles_keeps_no_other_from_being_looked_at() {
    let stage = Stage::start().await;
    let worker = stage.worker().await;
    stage.organization.change(PAYMENTS, |account| account.throttles = true);
    stage.stop(ACCOUNT, "own");
    let texts = stage.texts(2).await;
    assert!(stage.is_on(ACCOUNT, "own"));
    assert!(
        texts.iter().any(|text| text.contains("could not look at the trails of 1 accounts")),
        "{texts:?}"
    );
    worker.stop().await;
}

#[tokio::test]
async fn a_pass_by_hand_shows_each_trail_and_sends_a_look_at_what_differs() {
    let stage = Stage::start().await;
    stage.worker().await.stop().await;
    stage.stop(PAYMENTS, "audit");
    stage.organization.add_trail(Trail::at(&arn(ACCOUNT, "new")));
    let table = [
        ("TRAILKEEPER_STATE_TABLE", TABLE),
        ("TRAILKEEPER_MEMBER_ROLE", ROLE),
        ("TRAILKEEPER_EXTERNAL_ID", EXTERNAL_ID),
        ("TRAILKEEPER_POLICY_TOML", LIST),
    ];
    let sweep = async |args: &[&str]| {
        let args: Vec<_> = ["sweep"].iter().chain(args).copied().collect();
        let mut command = configured(&stage.aws, &stage.slack, &args);
        command.envs(table);
        ended(command).await
    };
    let tried = sweep(&["--dry-run"]).await;
    assert_eq!((tried.status, stage.aws.depth("events")), (Some(0), 0), "{}", tried.stderr);
    let rows: Vec<_> =
        tried.stdout.lines().map(|row| row.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for (row, begins, ends) in [
        (1, "123456789012 new eu-west-1 on", "no error shown has none yet"),
        (2, "123456789012 own eu-west-1 on", "no error shown as it has it"),
        (3, "444455556666 audit eu-west-1 off since ", "no error shown differs"),
        (4, "3 trails of 2 accounts", "; nothing was sent"),
    ] {
        assert!(rows[row].starts_with(begins) && rows[row].ends_with(ends), "{rows:?}");
    }
    let swept = sweep(&["--account", PAYMENTS]).await;
    assert!(swept.stdout.contains("1 trails of 1 accounts; looks sent: 1"), "{}", swept.stdout);
    assert_eq!((swept.status, stage.aws.depth("events")), (Some(0), 1));
    assert!(!stage.is_on(PAYMENTS, "audit"), "a worker does that");
    let outside = sweep(&["--account", "999988887777"]).await;
    assert_eq!(outside.status, Some(1));
    assert!(
        outside.stderr.contains("the policy does not concern account 999988887777"),
        "{}",
        outside.stderr
    );
    stage.organization.change(PAYMENTS, |account| account.has_role = false);
    let denied = sweep(&[]).await;
    assert_eq!(denied.status, Some(1));
    assert!(
        denied.stderr.contains("account 444455556666 could not be looked at: AssumeRole"),
        "{}",
        denied.stderr
    );
    let no_account = sweep(&["--account", "payments"]).await;
    assert_eq!(no_account.status, Some(2));
}
