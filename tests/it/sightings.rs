//! "Off" is said only of what was seen off, and "on" of what was seen on.

use std::sync::Arc;

use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use trailkeeper::args::Args;
use trailkeeper::clock;

use crate::support::aws::{ACCOUNT, Aws, Call, Fault, REGION, Watch, attribute};
use crate::support::cloudtrail::{Caller, CloudTrail, Trail};
use crate::support::events::stop;
use crate::support::slack::Slack;
use crate::support::worker::{Scene, Worker, args};

const ORG_TRAIL: &str = "arn:aws:cloudtrail:eu-west-1:999999999999:trail/org-trail";

fn ago(seconds: i64) -> OffsetDateTime {
    clock::now() - Duration::seconds(seconds)
}

/// A stop that was made at this time.
fn stop_at(time: OffsetDateTime, trail: &str) -> Value {
    let mut event = stop("e-1", trail);
    let whole = time.replace_nanosecond(0).expect("whole");
    event["detail"]["eventTime"] = json!(whole.format(&Rfc3339).expect("a time"));
    event
}

/// A stop whose trail cannot be read.
fn nameless(time: OffsetDateTime) -> Value {
    let mut event = stop_at(time, "audit");
    event["detail"]["requestParameters"] = json!("{\"name\": \"audit\"}");
    event
}

struct Told {
    text: String,
    blocks: String,
    /// The dead letter's reason and detail.
    dead: Option<(String, String)>,
}

/// What becomes of one event where CloudTrail has these trails.
async fn told_of(scene: &Scene, trails: impl Into<Vec<Trail>>, event: Value) -> (CloudTrail, Told) {
    let cloudtrail = CloudTrail::instead_of(&scene.aws, trails);
    scene.handle(event).await;
    let post = scene.slack.posts().await.pop().expect("somebody was notified");
    let letter = scene.aws.dead_letters().await.pop();
    let text_of =
        |letter: &aws_sdk_sqs::types::Message, name| attribute(letter, name).unwrap_or_default().to_owned();
    let dead = letter.map(|letter| (text_of(&letter, "reason"), text_of(&letter, "detail")));
    let told = Told {
        text: post["text"].as_str().expect("text").to_owned(),
        blocks: post["blocks"].to_string(),
        dead,
    };
    (cloudtrail, told)
}

async fn scene_in(mode: &str) -> Scene {
    Scene::start_with(|args: &mut Args| args.set("TRAILKEEPER_MODE", mode)).await
}

/// Nowhere in a message is a trail said to be off that nobody saw off.
fn says_not_off(told: &Told) {
    let Told { text, blocks, .. } = told;
    for shown in [text, blocks] {
        assert!(!shown.contains(" OFF") && !shown.contains("still off"), "{shown}");
    }
}

#[tokio::test]
async fn a_delegated_administrator_restarts_the_organizations_trail_by_its_whole_arn() {
    let scene = Scene::start().await;
    let trail = Trail::at(ORG_TRAIL).seen_by(Caller::Delegated).stopped(ago(20));
    let (cloudtrail, told) = told_of(&scene, [trail], stop_at(ago(21), ORG_TRAIL)).await;
    assert!(cloudtrail.is_logging("org-trail"));
    assert!(told.text.contains("Logging was restarted and verified"), "{}", told.text);
    assert!(
        told.blocks.contains(&format!("*Call made in*\\naccount {ACCOUNT}, {REGION}")),
        "{}",
        told.blocks
    );
    assert!(told.dead.is_none());
    assert_eq!(scene.aws.calls("StartLogging")[0].body["Name"], ORG_TRAIL);
    scene.worker.stop().await;
}

#[tokio::test]
async fn a_member_says_what_it_saw_of_the_organizations_trail() {
    // On again before the worker came.
    let scene = Scene::start().await;
    let mut trail = Trail::at(ORG_TRAIL).seen_by(Caller::Member);
    trail.started_at = Some(ago(5));
    let (_, told) = told_of(&scene, [trail], stop_at(ago(60), ORG_TRAIL)).await;
    assert!(told.text.contains("Logging was already on again"), "{}", told.text);
    says_not_off(&told);
    assert!(told.dead.is_none());
    scene.worker.stop().await;
    // Off, and a member may not start it.
    let scene = Scene::start().await;
    let trail = Trail::at(ORG_TRAIL).seen_by(Caller::Member).stopped(ago(60));
    let (_, told) = told_of(&scene, [trail], stop_at(ago(60), ORG_TRAIL)).await;
    assert!(told.text.contains("LOGGING IS STILL OFF: the restart was refused."), "{}", told.text);
    assert!(told.text.contains("from a delegated administrator by its whole ARN"), "{}", told.text);
    assert_eq!(told.dead.expect("a dead letter").0, "restore-refused");
    scene.worker.stop().await;
}

#[tokio::test]
async fn not_found_from_another_account_is_not_looked_at() {
    for mode in ["restore", "notify"] {
        let scene = scene_in(mode).await;
        let trail = Trail::at(ORG_TRAIL).seen_by(Caller::Stranger).stopped(ago(60));
        let (_, told) = told_of(&scene, [trail], stop_at(ago(60), ORG_TRAIL)).await;
        says_not_off(&told);
        assert!(!told.text.contains("no longer exists"), "{}", told.text);
        assert!(told.text.contains("says nothing about the trail"), "{}", told.text);
        assert!(told.blocks.contains("*Logging was off*\\nnot looked at"), "{}", told.blocks);
        assert!(told.blocks.contains("CRITICAL"), "{}", told.blocks);
        let dead = told.dead.map(|(reason, _)| reason);
        assert_eq!(dead.as_deref(), (mode == "restore").then_some("restore-refused"), "{mode}");
        scene.worker.stop().await;
    }
}

/// Whose account it is was never said: then no trail is said to be gone.
#[tokio::test]
async fn not_found_where_the_own_account_is_not_known_is_not_looked_at() {
    let aws = Aws::start().await;
    let slack = Slack::start().await;
    aws.break_down("GetCallerIdentity", Fault::Refuse(503, "ServiceUnavailable"));
    let worker = Worker::start(&aws, &slack);
    let scene = Scene { aws, slack, worker };
    let (_, told) = told_of(&scene, [], stop_at(ago(60), "audit")).await;
    assert!(!told.text.contains("no longer exists"), "{}", told.text);
    assert_eq!(told.dead.expect("a dead letter").0, "restore-refused");
    scene.worker.stop().await;
}

#[tokio::test]
async fn a_stop_that_names_no_trail_restarts_those_that_stopped_with_it() {
    let scene = Scene::start().await;
    let trails = [
        Trail::on("main").stopped(ago(60)),
        Trail::on("second").stopped(ago(60 - 290)),
        Trail::on("third").stopped(ago(60 + 310)),
        Trail::on("old").stopped(ago(86_400)),
        Trail::on("busy"),
        Trail::at(&format!("arn:aws:cloudtrail:us-east-1:{ACCOUNT}:trail/elsewhere")).stopped(ago(60)),
        Trail::at(ORG_TRAIL).seen_by(Caller::Member),
    ];
    let (cloudtrail, told) = told_of(&scene, trails, nameless(ago(60))).await;
    let on = ["main", "second", "busy"].map(|name| cloudtrail.is_logging(name));
    let off = ["third", "old", "elsewhere"].map(|name| cloudtrail.is_logging(name));
    assert_eq!((on, off), ([true; 3], [false; 3]));
    assert_eq!(scene.aws.calls("StartLogging").len(), 2);
    for part in [
        "looked at the trails that live in eu-west-1, as account 123456789012 sees them: 6 in all.",
        "main: Logging was restarted and verified; it was off for 1 min",
        "second: Logging was restarted and verified",
        "Off, not by this stop as far as CloudTrail shows, and left as it was: third, old.",
        "Logging, as far as CloudTrail shows: 2.",
    ] {
        assert!(told.text.contains(part), "{part}: {}", told.text);
    }
    assert!(told.blocks.contains("HIGH") && told.dead.is_none(), "{}", told.blocks);
    scene.worker.stop().await;
}

/// Logging since before the stop may be an answer from before the stop. Starting what is on does no harm.
#[tokio::test]
async fn a_stop_that_names_no_trail_where_none_is_seen_off_starts_what_is_on() {
    for stale_answers in [0, 3] {
        let scene = Scene::start().await;
        let trail = if stale_answers > 0 { Trail::on("main").stopped(ago(60)) } else { Trail::on("main") };
        let organizations = Trail::at(ORG_TRAIL).seen_by(Caller::Member);
        let trails = [Trail { stale_answers, ..trail }, organizations];
        let (cloudtrail, told) = told_of(&scene, trails, nameless(ago(60))).await;
        assert!(cloudtrail.is_logging("main"));
        assert_eq!(scene.aws.calls("StartLogging").len(), 1, "an organization's is not a member's to start");
        let said = "None was seen to have stopped";
        assert!(!told.text.contains(said), "{}", told.text);
        assert!(told.text.contains("main: CloudTrail showed logging on since"), "{}", told.text);
        assert!(told.text.contains("started it all the same, and it is on."), "{}", told.text);
        says_not_off(&told);
        assert!(told.dead.is_none());
        scene.worker.stop().await;
    }
    // In the mode notify nothing is started, and nothing is confirmed.
    let scene = scene_in("notify").await;
    let (_, told) = told_of(&scene, [Trail::on("main")], nameless(ago(60))).await;
    assert!(
        told.text.contains("None was seen to have stopped with this event. 1 logged since before it"),
        "{}",
        told.text
    );
    assert!(told.text.contains("LOOK AT THE TRAIL"), "{}", told.text);
    assert!(told.blocks.contains("CRITICAL"), "{}", told.blocks);
    says_not_off(&told);
    scene.worker.stop().await;
}

/// A trail that was made, or started, after the stop, and one that logs without saying since when.
#[tokio::test]
async fn a_trail_that_never_stopped_with_the_event_is_not_said_to_have() {
    let scene = Scene::start().await;
    let mut young = Trail::on("young");
    young.started_at = Some(ago(5));
    let mut old = Trail::on("old");
    old.started_at = None;
    let (_, told) = told_of(&scene, [young, old], nameless(ago(60))).await;
    assert!(told.text.contains("None was seen to have stopped with this event."), "{}", told.text);
    assert!(told.text.contains("Logging, as far as CloudTrail shows: 2."), "{}", told.text);
    assert!(!told.text.contains("was off for"), "{}", told.text);
    assert!(scene.aws.calls("StartLogging").is_empty());
    scene.worker.stop().await;
}

struct Conflicts(CloudTrail, &'static str);

impl Watch for Conflicts {
    fn fault(&self, call: &Call) -> Option<Fault> {
        let first = call.body["Name"].as_str().is_some_and(|name| name.ends_with("/first"));
        if first && call.operation == self.1 {
            return Some(Fault::Refuse(400, "ConflictException"));
        }
        self.0.fault(call)
    }

    fn carried_out(&self, _: &Call, _: u16) {}
}

#[tokio::test]
async fn one_trail_that_fails_keeps_none_of_the_others_off() {
    for (mode, broken) in
        [("restore", "StartLogging"), ("restore", "GetTrailStatus"), ("notify", "GetTrailStatus")]
    {
        let scene = Scene::start_with(|args: &mut Args| {
            args.set("TRAILKEEPER_MODE", mode);
            args.set("TRAILKEEPER_MAX_ATTEMPTS", "2");
        })
        .await;
        let trails = [Trail::on("first").stopped(ago(60)), Trail::on("second").stopped(ago(60))];
        let cloudtrail = CloudTrail::of(trails);
        scene.aws.watch(Arc::new(Conflicts(cloudtrail.clone(), broken)));
        scene.handle(nameless(ago(60))).await;
        let text = scene.slack.texts().await.pop().expect("told");
        assert!(text.contains("ConflictException"), "{text}");
        let (said, of_first) = match (mode, broken) {
            ("notify", _) => ("second: LOGGING IS OFF", "first: trailkeeper could not look"),
            (_, "StartLogging") => {
                ("second: Logging", "first: LOGGING IS STILL OFF: the restart was refused.")
            }
            _ => ("second: Logging", "first: trailkeeper could not look"),
        };
        assert!(text.contains(said) && text.contains(of_first), "{mode} {broken}: {text}");
        assert_eq!(cloudtrail.is_logging("second"), mode == "restore", "{text}");
        let dead = scene.aws.dead_letters().await.pop();
        let reason = dead.as_ref().and_then(|letter| attribute(letter, "reason"));
        assert_eq!(reason, (mode == "restore").then_some("attempts-exhausted"));
        scene.worker.stop().await;
    }
}

#[tokio::test]
async fn trails_that_cannot_be_looked_at_are_named_so() {
    // In another account the worker sees no trails.
    let scene = Scene::start().await;
    let mut event = nameless(ago(60));
    event["detail"]["recipientAccountId"] = json!("999999999999");
    let (_, told) = told_of(&scene, [Trail::on("main").stopped(ago(60))], event).await;
    says_not_off(&told);
    assert!(told.text.contains("The call was made in account 999999999999"), "{}", told.text);
    assert!(scene.aws.calls("GetTrailStatus").is_empty() && scene.aws.calls("StartLogging").is_empty());
    assert_eq!(told.dead.expect("a dead letter").0, "restore-refused");
    scene.worker.stop().await;
    // Or may not list them.
    let scene = Scene::start().await;
    scene.aws.break_down("DescribeTrails", Fault::Deny("because no identity-based policy allows it"));
    let (_, told) = told_of(&scene, [Trail::on("main").stopped(ago(60))], nameless(ago(60))).await;
    says_not_off(&told);
    assert!(told.text.contains("allow cloudtrail:DescribeTrails"), "{}", told.text);
    assert_eq!(told.dead.expect("a dead letter").0, "restore-refused");
    scene.worker.stop().await;
}

#[tokio::test]
async fn what_is_notified_was_looked_at() {
    let off = || Trail::on("audit").stopped(ago(60));
    let mut started = Trail::on("audit");
    started.started_at = Some(ago(5));
    for (trail, event, said, is_off) in [
        (Some(off()), stop_at(ago(60), "audit"), "LOGGING IS OFF: trailkeeper only notifies here", true),
        (
            Some(started),
            stop_at(ago(60), "audit"),
            "Logging was already on again and nothing was restarted",
            false,
        ),
        (
            Some(Trail::on("audit")),
            stop_at(ago(60), "audit"),
            "which may be older than the stop: LOOK AT THE TRAIL.",
            false,
        ),
        (None, stop_at(ago(60), "audit"), "The trail no longer exists", false),
        (Some(off()), nameless(ago(60)), "audit: LOGGING IS OFF: trailkeeper only notifies here", true),
    ] {
        let scene = scene_in("notify").await;
        let (_, told) = told_of(&scene, trail.into_iter().collect::<Vec<_>>(), event).await;
        assert!(told.text.contains(said), "{said}: {}", told.text);
        if is_off {
            assert!(told.blocks.contains("still off, seen at "), "{}", told.blocks);
        } else {
            says_not_off(&told);
        }
        assert!(scene.aws.calls("StartLogging").is_empty() && told.dead.is_none());
        scene.worker.stop().await;
    }
}

/// What cannot be looked at is reported at once all the same, and never as off.
#[tokio::test]
async fn what_cannot_be_looked_at_is_notified_as_that() {
    for fault in [
        Fault::Deny("because no identity-based policy allows it"),
        Fault::Refuse(400, "ThrottlingException"),
        Fault::Delay(std::time::Duration::from_secs(20)),
    ] {
        let scene = scene_in("notify").await;
        scene.aws.break_down("GetTrailStatus", fault);
        let (_, told) =
            told_of(&scene, [Trail::on("audit").stopped(ago(60))], stop_at(ago(60), "audit")).await;
        says_not_off(&told);
        assert!(told.text.contains("trailkeeper could not look whether logging is on"), "{}", told.text);
        assert!(told.dead.is_none());
        scene.worker.stop().await;
    }
}

/// Retrying, giving up and refusals: what was never looked at is not said to be off.
#[tokio::test]
async fn giving_up_says_off_only_of_what_was_seen_off() {
    let few = |args: &mut Args| args.set("TRAILKEEPER_MAX_ATTEMPTS", "2");
    for (broken, is_off) in [("GetTrailStatus", false), ("StartLogging", true)] {
        let scene = Scene::start_with(few).await;
        scene.aws.break_down(broken, Fault::Refuse(500, "InternalFailure"));
        let (_, told) =
            told_of(&scene, [Trail::on("audit").stopped(ago(60))], stop_at(ago(60), "audit")).await;
        assert!(told.text.contains("giving up after 2 attempts"), "{}", told.text);
        assert_eq!(told.text.contains("LOGGING IS STILL OFF"), is_off, "{}", told.text);
        if !is_off {
            says_not_off(&told);
        }
        assert_eq!(told.dead.expect("a dead letter").0, "attempts-exhausted");
        scene.worker.stop().await;
    }
    // Neither the right to look nor the right to start.
    let scene = Scene::start().await;
    for call in ["GetTrailStatus", "StartLogging"] {
        scene
            .aws
            .break_down(call, Fault::Deny("with an explicit deny in a service control policy: arn:secret"));
    }
    let (_, told) = told_of(&scene, [Trail::on("audit").stopped(ago(60))], stop_at(ago(60), "audit")).await;
    says_not_off(&told);
    assert!(
        told.text.contains("could not look whether logging is on, and has not restarted it"),
        "{}",
        told.text
    );
    let (reason, detail) = told.dead.expect("a dead letter");
    assert_eq!(reason, "restore-refused");
    for said in [&told.text, &detail] {
        assert!(said.contains("a service control policy denies it") && !said.contains("secret"), "{said}");
    }
    scene.worker.stop().await;
}

/// Each attempt ended with a panic, or with its worker: the execution after the last one gives up loudly.
#[tokio::test]
async fn attempts_that_never_came_to_an_end_are_given_up_loudly() {
    for mode in ["restore", "notify"] {
        let (aws, slack) = (Aws::start().await, Slack::start().await);
        aws.create_table("state").await;
        let expires = clock::now().unix_timestamp() + 86_400;
        let item = json!({
            "pk": { "S": "event#e-1" }, "status": { "S": "free" }, "fence": { "N": "3" }, "attempts": { "N": "3" },
            "first_claimed_at": { "N": "1795666446503" }, "expires_at": { "N": expires.to_string() },
            "steps": { "M": {} },
        });
        aws.dynamodb("PutItem", &json!({ "TableName": "state", "Item": item })).await;
        let mut args = args(&aws, &slack);
        args.set("TRAILKEEPER_STATE_TABLE", "state");
        args.set("TRAILKEEPER_MAX_ATTEMPTS", "3");
        args.set("TRAILKEEPER_MODE", mode);
        let worker = Worker::start_with(&aws, &args);
        let scene = Scene { aws, slack, worker };
        let trail = Trail::on("audit").stopped(ago(60));
        let (_, told) = told_of(&scene, [trail], stop_at(ago(60), "audit")).await;
        assert!(told.text.contains("giving up after 3 attempts. No attempt came to an end"), "{}", told.text);
        says_not_off(&told);
        assert_eq!(told.dead.expect("a dead letter").0, "attempts-exhausted");
        scene.worker.stop().await;
    }
}

/// Logging since before the stop: CloudTrail has not seen the stop yet.
#[tokio::test]
async fn an_answer_that_is_older_than_the_stop_is_not_believed() {
    for start_moves_time in [true, false] {
        let scene = Scene::start().await;
        let mut trail = Trail { start_moves_time, ..Trail::on("audit").stopped(ago(2)) };
        trail.stale_answers = 1;
        let (cloudtrail, told) = told_of(&scene, [trail], stop_at(ago(3), "audit")).await;
        assert!(cloudtrail.is_logging("audit"));
        assert_eq!(scene.aws.calls("StartLogging").len(), 1, "no attempt is spent on it");
        assert!(told.text.contains("trailkeeper started it all the same, and it is on."), "{}", told.text);
        says_not_off(&told);
        assert!(told.dead.is_none());
        scene.worker.stop().await;
    }
    // The time of an event may lie in the future: it counts as now.
    let scene = Scene::start().await;
    let mut trail = Trail::on("audit").stopped(ago(2));
    (trail.stale_answers, trail.started_at) = (1, Some(ago(10)));
    let (cloudtrail, _) = told_of(&scene, [trail], stop_at(ago(-86_400), "audit")).await;
    assert!(cloudtrail.is_logging("audit"));
    scene.worker.stop().await;
    // Nor does an event without a time hide a stop.
    let scene = Scene::start().await;
    let mut trail = Trail::on("audit").stopped(ago(2));
    trail.stale_answers = 1;
    let mut event = stop_at(ago(3), "audit");
    event["detail"]["eventTime"] = Value::Null;
    event["time"] = Value::Null;
    let (cloudtrail, _) = told_of(&scene, [trail], event).await;
    assert!(cloudtrail.is_logging("audit"));
    scene.worker.stop().await;
    // Without a time of the start nothing can be compared, and all is as it was.
    let scene = Scene::start().await;
    let mut trail = Trail::on("audit");
    trail.started_at = None;
    let (_, told) = told_of(&scene, [trail], stop_at(ago(3), "audit")).await;
    assert!(told.text.contains("Logging was already on again and nothing was restarted."), "{}", told.text);
    assert!(scene.aws.calls("StartLogging").is_empty());
    scene.worker.stop().await;
}

/// The time that CloudTrail shows may be of an earlier stop.
#[tokio::test]
async fn an_older_stop_does_not_count_for_how_long_logging_was_off() {
    let scene = Scene::start().await;
    let trail = Trail::on("audit").stopped(ago(86_400));
    let (_, told) = told_of(&scene, [trail], stop_at(ago(60), "audit")).await;
    assert!(told.text.contains("Logging was restarted and verified; it was off for 1 min"), "{}", told.text);
    scene.worker.stop().await;
}

/// An older version wrote down that logging was on, by an answer from before the stop, and was killed before it reported it.
#[tokio::test]
async fn a_step_that_rests_on_an_older_answer_is_not_believed() {
    let aws = Aws::start().await;
    let slack = Slack::start().await;
    aws.create_table("state").await;
    let restored = r#"{"at":"2026-11-20T09:15:09Z","delivery_error":null,"outcome":{"already_logging":{"perhaps_ours":false,"since":"2026-11-01T09:15:09Z"}},"stopped_at":null}"#;
    let expires = clock::now().unix_timestamp() + 86_400;
    let item = json!({
        "pk": { "S": "event#e-1" }, "status": { "S": "free" }, "fence": { "N": "1" }, "attempts": { "N": "1" },
        "first_claimed_at": { "N": "1795666446503" }, "expires_at": { "N": expires.to_string() },
        "steps": { "M": { "restored": { "S": restored } } },
    });
    aws.dynamodb("PutItem", &json!({ "TableName": "state", "Item": item })).await;
    let mut args = args(&aws, &slack);
    args.set("TRAILKEEPER_STATE_TABLE", "state");
    let worker = Worker::start_with(&aws, &args);
    let scene = Scene { aws, slack, worker };
    let (cloudtrail, told) =
        told_of(&scene, [Trail::on("audit").stopped(ago(60))], stop_at(ago(60), "audit")).await;
    assert!(cloudtrail.is_logging("audit"));
    assert!(told.text.contains("Logging was restarted and verified"), "{}", told.text);
    scene.worker.stop().await;
}

#[tokio::test]
async fn everything_that_is_not_delivered_is_said() {
    let scene = Scene::start().await;
    let mut trail = Trail::on("audit").stopped(ago(60));
    trail.beside = json!({
        "LatestCloudWatchLogsDeliveryError": "AccessDenied", "LatestDigestDeliveryError": "NoSuchBucket",
        "LatestNotificationError": "NotFound",
    });
    let (_, told) = told_of(&scene, [trail.clone()], stop_at(ago(60), "audit")).await;
    for part in [
        "Its events do not reach CloudWatch Logs: AccessDenied.",
        "Its digest files are not delivered: NoSuchBucket.",
        "Its notifications do not reach SNS: NotFound.",
    ] {
        assert!(told.text.contains(part), "{part}: {}", told.text);
    }
    assert!(told.blocks.contains("HIGH"), "{}", told.blocks);
    scene.worker.stop().await;
    let scene = Scene::start().await;
    trail.beside["LatestDeliveryError"] = json!("AccessDenied");
    let (_, told) = told_of(&scene, [trail], stop_at(ago(60), "audit")).await;
    assert!(
        told.text.contains("BUT ITS LOGS CANNOT BE DELIVERED: AccessDenied. CloudTrail retries for 30 days"),
        "{}",
        told.text
    );
    assert!(told.blocks.contains("CRITICAL"), "{}", told.blocks);
    scene.worker.stop().await;
}

/// The inputs from the field, where they are beside the checkout.
#[tokio::test]
async fn stops_from_the_field_are_looked_at_and_restarted() {
    let at = OffsetDateTime::from_unix_timestamp(1_795_166_102).expect("a time");
    let audit = format!("arn:aws:cloudtrail:us-east-1:{ACCOUNT}:trail/audit");
    let organizations = "arn:aws:cloudtrail:us-east-1:111122223333:trail/org-trail";
    for (name, account, trail, said) in [
        ("stop-that-names-no-trail", ACCOUNT, Trail::at(&audit), "audit: Logging was restarted and verified"),
        ("sns-wrapped", ACCOUNT, Trail::at(&audit), "Logging was restarted and verified"),
        (
            "delegated-admin-stops-org-trail",
            "444455556666",
            Trail::at(organizations).seen_by(Caller::Delegated),
            "Logging was restarted and verified",
        ),
    ] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = path.join(format!("../shared/events/field/{name}.json"));
        let Ok(event) = std::fs::read_to_string(path) else { return };
        let event = serde_json::from_str(&event).expect("JSON");
        let (aws, slack) = (Aws::start_as(account).await, Slack::start().await);
        let worker = Worker::start(&aws, &slack);
        let scene = Scene { aws, slack, worker };
        let (cloudtrail, told) = told_of(&scene, [trail.stopped(at)], event).await;
        assert!(cloudtrail.is_logging("audit") || cloudtrail.is_logging("org-trail"), "{name}");
        assert!(told.text.contains(said) && told.dead.is_none(), "{name}: {}", told.text);
        scene.worker.stop().await;
    }
}
