//! `trailkeeper check`: what it finds, and that it changes nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_config::credential_process::CredentialProcessProvider;
use aws_sdk_sqs::config::SharedCredentialsProvider;
use serde_json::{Value, json};
use trailkeeper::args::Args;
use trailkeeper::config::CheckConfig;
use trailkeeper::operate::check;
use trailkeeper::operate::finding::{Check, Finding, Status};
use wiremock::ResponseTemplate;

use crate::support::aws::{ACCOUNT, Aws, Call, Fault, REGION, Watch};
use crate::support::process::{configured, ended};
use crate::support::slack::Slack;
use crate::support::terminal::on_a_terminal;
use crate::support::worker;

/// What the queue's policy should be.
fn policy(principal: &Value) -> String {
    let rule = format!("arn:aws:events:{REGION}:{ACCOUNT}:rule/stop");
    json!({ "Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Principal": principal, "Action": "sqs:SendMessage", "Resource": "*",
        "Condition": { "ArnEquals": { "aws:SourceArn": rule } },
    } })
    .to_string()
}

/// An AWS in which everything is as it should be, with the trail `audit` on.
pub(crate) async fn proper() -> (Aws, Slack) {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    let eventbridge = policy(&json!({ "Service": "events.amazonaws.com" }));
    aws.set_queue("events", &[("Policy", &eventbridge), ("VisibilityTimeout", "40")]).await;
    aws.set_queue("poison", &[("MessageRetentionPeriod", "1209600")]).await;
    aws.create_table("state").await;
    aws.expire("state", "expires_at").await;
    aws.stopped_trail("audit", REGION).await;
    aws.cloudtrail(REGION).start_logging().name("audit").send().await.expect("started");
    aws.forget();
    (aws, slack)
}

async fn findings(aws: &Aws, slack: &Slack, change: impl FnOnce(&mut Args)) -> Vec<Finding> {
    let mut args = worker::args(aws, slack);
    args.set("TRAILKEEPER_STATE_TABLE", "state");
    args.set("TRAILKEEPER_VISIBILITY_TIMEOUT_SECONDS", "");
    args.set("TRAILKEEPER_SWEEP_INTERVAL_SECONDS", "");
    change(&mut args);
    let config = CheckConfig::read(&args, |_| None).expect("a configuration that holds");
    check::run(&config, aws.sdk_config()).await
}

/// The one thing that is not as it should be.
fn only_fault(findings: &[Finding]) -> (Check, Status, &str) {
    let faults: Vec<_> = findings.iter().filter(|finding| finding.status != Status::Ok).collect();
    let [fault] = faults[..] else { panic!("not one fault: {faults:#?}") };
    assert!(fault.todo.is_some(), "it does not say what to do: {fault:?}");
    (fault.check, fault.status, &fault.found)
}

#[tokio::test]
async fn where_all_is_well_every_check_says_so_and_nothing_is_changed() {
    let (aws, slack) = proper().await;
    let found = findings(&aws, &slack, |_| {}).await;
    let bad: Vec<_> = found.iter().filter(|finding| finding.status != Status::Ok).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    let named: Vec<_> = found.iter().map(|finding| finding.check).collect();
    let elsewhere = [Check::TrailHomeRegion, Check::Accounts, Check::MemberRole];
    let expected: Vec<_> = Check::ALL.into_iter().filter(|check| !elsewhere.contains(check)).collect();
    assert_eq!(named, expected, "every check is made, in its order");
    assert!(slack.posts().await.is_empty(), "something was posted");
    assert_eq!(slack.paths().await.len(), 1);
    for call in aws.all_calls() {
        let reads = ["BatchGet", "Get", "Describe", "List", "Lookup"]
            .iter()
            .any(|verb| call.operation.starts_with(verb));
        let cannot_happen = match call.operation.as_str() {
            "StartLogging" => call.region != REGION,
            "UpdateItem" => {
                call.body["ConditionExpression"] == "attribute_exists(pk) AND attribute_not_exists(pk)"
            }
            _ => false,
        };
        assert!(reads || cannot_happen, "{call:?} changes something");
        assert_eq!(call.by.as_deref(), Some("trailkeeper-check"));
    }
}

#[tokio::test]
async fn what_the_sweep_lacks_is_told_with_what_to_do_unless_there_is_none() {
    for (operation, found, as_bad_as) in [
        ("ListTrails", "cloudtrail:ListTrails", Status::Failed),
        ("BatchGetItem", "dynamodb:BatchGetItem", Status::Failed),
        // It still finds and restarts.
        ("LookupEvents", "cloudtrail:LookupEvents", Status::Warning),
    ] {
        let (aws, slack) = proper().await;
        aws.break_down(operation, Fault::Refuse(400, "AccessDeniedException"));
        let faults = findings(&aws, &slack, |_| {}).await;
        let (check, status, _) = only_fault(&faults);
        assert_eq!((check, status), (Check::Sweep, as_bad_as));
        let todo = faults.iter().find_map(|fault| fault.todo.as_deref()).expect("what to do");
        assert!(todo.contains(found), "{todo}");
        let without =
            findings(&aws, &slack, |args| args.set("TRAILKEEPER_SWEEP_INTERVAL_SECONDS", "0")).await;
        assert!(without.iter().all(|finding| finding.check != Check::Sweep));
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_queues_is_told_with_what_to_do() {
    let everybody =
        json!({ "Statement": { "Effect": "Allow", "Principal": "*", "Action": "sqs:*" } }).to_string();
    let sns = policy(&json!({ "Service": "sns.amazonaws.com" }));
    let poison = format!("arn:aws:sqs:{REGION}:{ACCOUNT}:poison");
    let hasty = json!({ "deadLetterTargetArn": poison, "maxReceiveCount": 3 }).to_string();
    let table = [
        ("events", "Policy", everybody.as_str(), Check::QueuePolicy, "everybody"),
        ("events", "Policy", sns.as_str(), Check::QueuePolicy, "does not let EventBridge"),
        ("events", "VisibilityTimeout", "30", Check::QueueVisibility, "30 s, below the 40 s"),
        ("events", "RedrivePolicy", hasty.as_str(), Check::QueueRedrive, "after 3 receives"),
        ("poison", "MessageRetentionPeriod", "3600", Check::DeadLettersRetention, "kept for 1 h"),
    ];
    for (queue, name, value, check, told) in table {
        let (aws, slack) = proper().await;
        aws.set_queue(queue, &[(name, value)]).await;
        let found = findings(&aws, &slack, |_| {}).await;
        let (checked, status, text) = only_fault(&found);
        assert_eq!((checked, status), (check, Status::Failed), "{name} {value}: {text}");
        assert!(text.contains(told), "{text}");
    }
}

#[tokio::test]
async fn queues_that_are_missing_or_may_not_be_read_are_told_apart() {
    let (aws, slack) = proper().await;
    let missing = aws.queue_url("missing");
    let found = findings(&aws, &slack, |args| args.set("TRAILKEEPER_QUEUE_URL", missing.clone())).await;
    let (checked, status, text) = only_fault(&found);
    assert_eq!((checked, status), (Check::Queue, Status::Failed));
    assert!(text.contains(&missing) && text.contains("there is no such queue"), "{text}");

    let found = findings(&aws, &slack, |args| args.set("TRAILKEEPER_DLQ_URL", missing.clone())).await;
    let faults: Vec<_> = found.iter().filter(|finding| finding.status != Status::Ok).collect();
    let checked: Vec<_> = faults.iter().map(|fault| (fault.check, fault.status)).collect();
    let expected = [(Check::QueueRedrive, Status::Warning), (Check::DeadLetters, Status::Failed)];
    assert_eq!(checked, expected, "{faults:#?}");

    aws.create_queue("bare", None).await;
    let bare = aws.queue_url("bare");
    let found = findings(&aws, &slack, |args| args.set("TRAILKEEPER_QUEUE_URL", bare)).await;
    let told =
        |check| found.iter().find(|finding| finding.check == check).map(|finding| finding.found.as_str());
    assert_eq!(told(Check::QueueRedrive), Some("the queue has no redrive policy"));
    assert_eq!(told(Check::DeadLetters), Some("there is no dead-letter queue"));
    assert_eq!(told(Check::QueuePolicy), Some("the queue has no policy: EventBridge may not send to it"));

    aws.break_down("GetQueueAttributes", Fault::Refuse(403, "AccessDeniedException"));
    let found = findings(&aws, &slack, |_| {}).await;
    let (checked, _, text) = only_fault(&found);
    assert_eq!(checked, Check::Queue);
    assert!(text.contains("allow sqs:GetQueueAttributes"), "{text}");
    // What is named is looked at all the same.
    aws.heal();
    let poison = aws.queue_url("poison");
    let found = findings(&aws, &slack, |args| {
        args.set("TRAILKEEPER_QUEUE_URL", missing.clone());
        args.set("TRAILKEEPER_DLQ_URL", poison);
    })
    .await;
    assert_eq!(only_fault(&found).0, Check::Queue);
    assert!(found.iter().any(|finding| finding.check == Check::DeadLetters), "{found:#?}");
}

#[tokio::test]
async fn what_is_wrong_with_the_state_table_is_told() {
    let (aws, slack) = proper().await;
    aws.create_table("eternal").await;
    let of_table = |name: &str| {
        let name = name.to_owned();
        move |args: &mut Args| args.set("TRAILKEEPER_STATE_TABLE", name)
    };
    let found = findings(&aws, &slack, of_table("missing")).await;
    assert_eq!(
        only_fault(&found),
        (Check::StateTable, Status::Failed, "there is no table missing in this account and region")
    );
    let found = findings(&aws, &slack, of_table("eternal")).await;
    assert_eq!(
        only_fault(&found),
        (Check::StateTableTtl, Status::Failed, "TTL is off: the table grows for ever")
    );
    aws.expire("eternal", "lease_until").await;
    let found = findings(&aws, &slack, of_table("eternal")).await;
    assert_eq!(
        only_fault(&found),
        (Check::StateTableTtl, Status::Failed, "TTL goes by lease_until, not expires_at")
    );
    let other_key = json!({
        "TableName": "other", "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
        "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "S" }],
    });
    aws.dynamodb("CreateTable", &other_key).await;
    let found = findings(&aws, &slack, of_table("other")).await;
    let (checked, status, text) = only_fault(&found);
    assert_eq!((checked, status), (Check::StateTable, Status::Failed));
    assert!(text.contains("not a partition key `pk`"), "{text}");
    let found = findings(&aws, &slack, |args| args.set("TRAILKEEPER_STATE_TABLE", "")).await;
    assert_eq!(
        only_fault(&found),
        (Check::StateTable, Status::Warning, "the state is in memory: right for one worker only")
    );
    aws.fault("UpdateItem", 1, Fault::Refuse(400, "AccessDeniedException"));
    let found = findings(&aws, &slack, |_| {}).await;
    let (checked, _, text) = only_fault(&found);
    assert_eq!(checked, Check::StateTable);
    assert!(text.contains("allow dynamodb:UpdateItem"), "{text}");
}

/// The worker's role need not describe the table, nor read the dead-letter queue.
#[tokio::test]
async fn what_may_not_be_seen_is_unknown_and_no_failure() {
    let (aws, slack) = proper().await;
    for call in ["DescribeTable", "DescribeTimeToLive"] {
        aws.break_down(call, Fault::Refuse(400, "AccessDeniedException"));
    }
    let found = findings(&aws, &slack, |_| {}).await;
    assert_eq!(only_fault(&found), (Check::StateTableTtl, Status::Unknown, "DescribeTimeToLive is denied"));
    assert!(check::all_well(&found));

    let (aws, slack) = proper().await;
    aws.watch(Arc::new(Unread));
    let found = findings(&aws, &slack, |_| {}).await;
    let (checked, status, text) = only_fault(&found);
    assert_eq!((checked, status), (Check::DeadLetters, Status::Unknown), "{text}");
}

struct Unread;

impl Watch for Unread {
    fn fault(&self, call: &Call) -> Option<Fault> {
        let is_about_poison = call.body["QueueUrl"].as_str().is_some_and(|url| url.ends_with("poison"));
        is_about_poison.then_some(Fault::Refuse(403, "AccessDeniedException"))
    }

    fn carried_out(&self, _call: &Call, _status: u16) {}
}

#[tokio::test]
async fn what_is_wrong_with_trails_is_told_without_starting_any() {
    let (aws, slack) = proper().await;
    aws.cloudtrail(REGION).stop_logging().name("audit").send().await.expect("stopped");
    let found = findings(&aws, &slack, |_| {}).await;
    assert_eq!(only_fault(&found), (Check::TrailLogging, Status::Failed, "it is off"));
    let off = found.iter().find(|finding| finding.check == Check::TrailLogging).expect("found");
    assert_eq!(off.subject.as_deref(), Some("arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit"));
    assert!(!aws.is_logging("audit", REGION).await, "it was started");

    aws.break_down("StartLogging", Fault::Refuse(400, "AccessDeniedException"));
    aws.break_down("GetTrailStatus", Fault::Refuse(400, "AccessDeniedException"));
    let found = findings(&aws, &slack, |_| {}).await;
    let faults: Vec<_> = found.iter().filter(|finding| finding.status != Status::Ok).collect();
    let checked: Vec<_> = faults.iter().map(|fault| (fault.check, fault.status)).collect();
    let expected = [(Check::TrailStatusRight, Status::Failed), (Check::TrailStartRight, Status::Failed)];
    assert_eq!(checked, expected);
    assert!(faults[1].found.contains("AccessDeniedException"), "{faults:?}");
    // Who only tells needs no right to start, nor to look.
    let tells = |args: &mut Args| args.set("TRAILKEEPER_MODE", "notify");
    let found = findings(&aws, &slack, tells).await;
    let (checked, status, _) = only_fault(&found);
    assert_eq!((checked, status), (Check::TrailStatusRight, Status::Unknown));
    aws.break_down("DescribeTrails", Fault::Refuse(400, "AccessDeniedException"));
    let found = findings(&aws, &slack, tells).await;
    let (checked, status, _) = only_fault(&found);
    assert_eq!((checked, status), (Check::Trails, Status::Unknown));

    aws.heal();
    aws.fault("DescribeTrails", 1, Fault::Answer(json!({ "trailList": [] })));
    let found = findings(&aws, &slack, |_| {}).await;
    assert_eq!(
        only_fault(&found),
        (Check::Trails, Status::Failed, "there is no trail in eu-west-1, or none that these credentials see")
    );
}

/// No CloudTrail of AWS's does that; an address that is not of the region's does.
#[tokio::test]
async fn a_start_that_is_accepted_where_it_cannot_be_is_told() {
    let (aws, slack) = proper().await;
    aws.fault("StartLogging", 1, Fault::Answer(json!({})));
    let found = findings(&aws, &slack, |_| {}).await;
    let (checked, status, text) = only_fault(&found);
    assert_eq!((checked, status), (Check::TrailStartRight, Status::Warning));
    assert!(text.contains("was accepted in us-east-1"), "{text}");
}

/// A control policy that locks regions denies everything there, and nothing at home.
#[tokio::test]
async fn a_locked_region_is_no_missing_right() {
    let (aws, slack) = proper().await;
    aws.watch(Arc::new(Locked));
    let found = findings(&aws, &slack, |_| {}).await;
    let (checked, status, text) = only_fault(&found);
    assert_eq!((checked, status), (Check::TrailStartRight, Status::Unknown));
    assert!(text.contains("nothing is allowed in us-east-1"), "{text}");
}

struct Locked;

impl Watch for Locked {
    fn fault(&self, call: &Call) -> Option<Fault> {
        (call.region != REGION).then_some(Fault::Refuse(400, "AccessDeniedException"))
    }

    fn carried_out(&self, _call: &Call, _status: u16) {}
}

/// Members of an organization see its trail, and can do nothing about it.
#[tokio::test]
async fn an_organizations_trail_is_its_own_accounts_business() {
    let (aws, slack) = proper().await;
    let own = format!("arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/audit");
    let theirs = "arn:aws:cloudtrail:us-east-1:999999999999:trail/organization";
    let trails = json!({ "trailList": [{ "TrailARN": own }, { "TrailARN": theirs }] });
    aws.fault("DescribeTrails", 1, Fault::Answer(trails));
    let found = findings(&aws, &slack, |_| {}).await;
    let (checked, status, text) = only_fault(&found);
    assert_eq!((checked, status), (Check::TrailHomeRegion, Status::Warning));
    assert!(text.contains("belongs to account 999999999999"), "{text}");
}

#[tokio::test]
async fn who_has_no_webhook_can_check_the_rest() {
    let (aws, slack) = proper().await;
    let mut command = configured(&aws, &slack, &["check", "--json"]);
    command.env_remove("TRAILKEEPER_SLACK_WEBHOOK_URL").env("TRAILKEEPER_STATE_TABLE", "state");
    let done = ended(command).await;
    assert_eq!(done.status, Some(0), "{}", done.stderr);
    let told: Value = serde_json::from_str(&done.stdout).expect("JSON");
    let last = told["checks"].as_array().expect("checks").last().expect("one");
    assert_eq!((&last["check"], &last["status"]), (&json!("slack"), &json!("unknown")));
}

#[tokio::test]
async fn what_is_not_reached_is_not_blamed_on_rights() {
    let (aws, slack) = proper().await;
    slack.otherwise(ResponseTemplate::new(429)).await;
    let found = findings(&aws, &slack, |_| {}).await;
    assert!(check::all_well(&found), "a busy webhook is alive: {found:#?}");
    aws.break_down("DescribeTrails", Fault::Refuse(503, "ServiceUnavailable"));
    let found = findings(&aws, &slack, |_| {}).await;
    let fault = found.iter().find(|finding| finding.status == Status::Failed).expect("a fault");
    assert_eq!(fault.check, Check::Trails);
    assert!(fault.todo.as_deref().expect("advice").contains("can be reached from here"), "{fault:?}");
}

#[tokio::test]
async fn a_trail_that_lives_elsewhere_is_told_with_what_that_takes() {
    let (aws, slack) = proper().await;
    aws.stopped_trail("far", "us-west-2").await;
    aws.cloudtrail("us-west-2").start_logging().name("far").send().await.expect("started");
    let far = format!("arn:aws:cloudtrail:us-west-2:{ACCOUNT}:trail/far");
    aws.fault("DescribeTrails", 1, Fault::Answer(json!({ "trailList": [{ "TrailARN": far }] })));
    let found = findings(&aws, &slack, |_| {}).await;
    let (checked, status, text) = only_fault(&found);
    assert_eq!((checked, status), (Check::TrailHomeRegion, Status::Warning));
    assert!(text.contains("us-west-2"), "{text}");
    let asked = aws.calls("StartLogging");
    assert_eq!(asked.last().expect("asked").region, "us-east-1");
}

#[tokio::test]
async fn a_webhook_that_slack_refuses_is_told_and_not_shown() {
    for (status, word) in [
        (404, "no_service"),
        (403, "action_prohibited"),
        (410, "channel_is_archived"),
        (400, "invalid_token"),
    ] {
        let (aws, slack) = proper().await;
        slack.otherwise(ResponseTemplate::new(status).set_body_string(word)).await;
        let found = findings(&aws, &slack, |_| {}).await;
        let (checked, judged, text) = only_fault(&found);
        assert_eq!((checked, judged), (Check::Slack, Status::Failed));
        assert!(text.contains(word) && !text.contains("very-secret"), "{text}");
    }
    // Not Slack's: a relay, or a page to log in.
    let (aws, slack) = proper().await;
    slack.otherwise(ResponseTemplate::new(200).set_body_string("<html>")).await;
    let found = findings(&aws, &slack, |_| {}).await;
    let (checked, judged, text) = only_fault(&found);
    assert_eq!((checked, judged), (Check::Slack, Status::Warning));
    assert!(text.contains("accepts anything"), "{text}");
}

#[tokio::test]
async fn credentials_and_a_clock_that_aws_does_not_take_are_told() {
    let (aws, slack) = proper().await;
    for ahead in [-90, 90] {
        aws.set_clock(ahead);
        let found = findings(&aws, &slack, |_| {}).await;
        let (checked, status, text) = only_fault(&found);
        assert_eq!((checked, status), (Check::Clock, Status::Failed));
        assert!(text.contains("off by 9") || text.contains("off by 89"), "{text}");
    }
    aws.set_clock(30);
    aws.break_down("GetCallerIdentity", Fault::Refuse(403, "ExpiredToken"));
    let found = findings(&aws, &slack, |_| {}).await;
    let (checked, status, text) = only_fault(&found);
    assert_eq!((checked, status), (Check::Credentials, Status::Failed));
    assert!(text.contains("ExpiredToken"), "{text}");
    // A worker starts without this answer.
    aws.heal();
    aws.break_down("GetCallerIdentity", Fault::Refuse(503, "ServiceUnavailable"));
    let found = findings(&aws, &slack, |_| {}).await;
    let (checked, status, _) = only_fault(&found);
    assert_eq!((checked, status), (Check::Credentials, Status::Unknown));
}

/// A process that is asked for them may wait for somebody.
#[tokio::test]
async fn credentials_that_do_not_come_are_not_waited_for() {
    let (aws, slack) = proper().await;
    let silent = SharedCredentialsProvider::new(CredentialProcessProvider::new("sleep 30".to_owned()));
    let silent = aws.sdk_config().into_builder().credentials_provider(silent);
    let mut args = worker::args(&aws, &slack);
    args.set("TRAILKEEPER_MODE", "dry-run");
    args.set("TRAILKEEPER_SLACK_WEBHOOK_URL", "");
    let config = CheckConfig::read(&args, |_| None).expect("a configuration that holds");
    tokio::time::pause();
    let asked_at = tokio::time::Instant::now();
    let found = check::run(&config, silent.build()).await;
    let (checked, status, text) = only_fault(&found);
    assert_eq!((checked, status), (Check::Credentials, Status::Failed));
    assert!(text.contains("did not answer in 10 s"), "{text}");
    assert_eq!(asked_at.elapsed().as_secs(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_it_shows_what_it_is_at() {
    let (aws, slack) = proper().await;
    aws.fault("DescribeTrails", 1, Fault::Late(Duration::from_secs(1)));
    on_a_terminal(&aws, &slack, &["check"], |terminal| {
        terminal.exp_string("looks at the trails")?;
        terminal.exp_string("15 ok, 0 warnings, 0 unknown, 0 failed")?;
        terminal.exp_eof().map(drop)
    })
    .await;
}

/// A role that cannot be assumed is told where the credentials are.
#[tokio::test]
async fn a_role_that_cannot_be_assumed_is_told() {
    let (aws, slack) = proper().await;
    let token = Path::new(env!("CARGO_TARGET_TMPDIR")).join("web-identity-token");
    std::fs::write(&token, "token").expect("written");
    let mut command = configured(&aws, &slack, &["check", "--json"]);
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/gone")
        .env("AWS_WEB_IDENTITY_TOKEN_FILE", token);
    let done = ended(command).await;
    assert_eq!(done.status, Some(1));
    let told: Value = serde_json::from_str(&done.stdout).expect("JSON");
    let first = &told["checks"][0];
    assert_eq!((&first["check"], &first["status"]), (&json!("credentials"), &json!("failed")));
    assert!(first["found"].as_str().expect("text").contains("AccessDenied"), "{first}");
}

#[tokio::test]
async fn the_command_prints_a_table_or_json_and_ends_with_1_if_anything_failed() {
    let (aws, slack) = proper().await;
    let run = async |args: &[&str]| {
        let mut command = configured(&aws, &slack, args);
        command.env("TRAILKEEPER_STATE_TABLE", "state");
        ended(command).await
    };
    let good = run(&["check"]).await;
    assert_eq!((good.status, good.stderr.as_str()), (Some(0), ""), "{}", good.stdout);
    aws.set_queue("events", &[("VisibilityTimeout", "30")]).await;
    let bad = run(&["check"]).await;
    assert_eq!(bad.status, Some(1));
    let shown = bad.stdout.replace(aws.endpoint(), "http://127.0.0.1:4566");
    insta::assert_snapshot!(shown);
    let machine = run(&["check", "--json"]).await;
    assert_eq!(machine.status, Some(1));
    let machine: Value = serde_json::from_str(&machine.stdout).expect("JSON");
    assert_eq!(machine["ok"], false);
    let failed: Vec<_> = machine["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .filter(|check| check["status"] == "failed")
        .collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["check"], "queue-visibility");
    assert_eq!(failed[0]["todo"], "set the queue's VisibilityTimeout to 40");
}
