//! What a policy changes: checked, previewed, and held by a worker.

use std::path::{Path, PathBuf};

use serde_json::json;
use wiremock::ResponseTemplate;

use crate::support::aws::{Aws, REGION};
use crate::support::events::stop;
use crate::support::eventually;
use crate::support::process::{Ended, Process, configured, ended, trailkeeper};
use crate::support::slack::Slack;
use crate::support::worker::{Scene, Worker, args};

const SANDBOX: &str = r#"version = 1

[[rule]]
name = "sandbox"
trails = ["arn:aws:cloudtrail:*:*:trail/sandbox-*"]
stopped = "notify"
severity = "low"
reason = "a place to try things"
"#;

fn file(name: &str, content: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("policy");
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join(name);
    std::fs::write(&path, content).expect("written");
    path
}

async fn command(args: &[&str]) -> Ended {
    ended(trailkeeper(args)).await
}

#[tokio::test]
async fn a_policy_is_checked() {
    let good = file("good.toml", SANDBOX);
    let checked = command(&["policy", "check", good.to_str().expect("UTF-8")]).await;
    assert_eq!(checked.status, Some(0), "{}", checked.stderr);
    assert!(
        checked.stdout.contains("Rule 1, \"sandbox\": any call on a trail like arn:"),
        "{}",
        checked.stdout
    );
    let bad = file("bad.toml", "version = 1\n[[rule]]\nnaem = \"x\"\n");
    let checked = command(&["policy", "check", bad.to_str().expect("UTF-8")]).await;
    assert_eq!((checked.status, checked.stdout.as_str()), (Some(2), ""));
    assert!(checked.stderr.contains("bad.toml: line 2: rule 1 has no name"), "{}", checked.stderr);
    assert!(
        checked.stderr.contains("bad.toml: line 3: rule 1 has no key \"naem\": name is the nearest"),
        "{}",
        checked.stderr
    );
    let gone = command(&["policy", "check", "no/such.toml"]).await;
    assert_eq!(gone.status, Some(2), "{}", gone.stderr);
    let schema = command(&["policy", "schema"]).await;
    let schema: serde_json::Value = serde_json::from_str(&schema.stdout).expect("JSON");
    assert_eq!(schema["title"], "trailkeeper policy");
}

/// Each that is shown is one.
#[test]
fn the_examples_are_policies() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/policies");
    let texts = std::fs::read_dir(folder).expect("a folder").map(|entry| {
        let path = entry.expect("an entry").path();
        (path.clone(), std::fs::read_to_string(path).expect("text"))
    });
    let mut count = 0;
    for (path, text) in texts {
        let policy = trailkeeper::policy::Policy::parse(&text);
        assert!(policy.is_ok(), "{}: {policy:?}", path.display());
        count += 1;
    }
    assert!(count > 0);
}

#[tokio::test]
async fn a_bad_policy_at_start_is_a_fault_like_any_other() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    let mut run = configured(&aws, &slack, &["run"]);
    run.env("TRAILKEEPER_POLICY_TOML", "\n\nversion = 3").env("TRAILKEEPER_CONCURRENCY", "none");
    let run = ended(run).await;
    assert_eq!(run.status, Some(2));
    assert!(run.stderr.contains("TRAILKEEPER_POLICY_TOML: line 3: version is not 1"), "{}", run.stderr);
    assert!(run.stderr.contains("TRAILKEEPER_CONCURRENCY"), "{}", run.stderr);
    let mut both = configured(&aws, &slack, &["run"]);
    both.env("TRAILKEEPER_POLICY_TOML", "version = 1").env("TRAILKEEPER_POLICY", "policy.toml");
    let both = ended(both).await;
    assert!(
        both.stderr.contains("both TRAILKEEPER_POLICY and TRAILKEEPER_POLICY_TOML are set"),
        "{}",
        both.stderr
    );
}

#[tokio::test]
async fn replay_shows_what_a_policy_does() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    let (policy, event) =
        (file("replay.toml", SANDBOX), file("stop.json", &stop("e-1", "sandbox-1").to_string()));
    let (policy, event) = (policy.to_str().expect("UTF-8"), event.to_str().expect("UTF-8"));
    let shown = ended(configured(&aws, &slack, &["replay", "--dry-run", "--policy", policy, event])).await;
    let because =
        "notify, since rule \"sandbox\" of the policy says notify (a place to try things), after a look at";
    assert!(shown.stdout.contains(because), "{}", shown.stdout);
}

#[tokio::test]
async fn a_rule_leaves_a_trail_off_and_says_so() {
    let scene = Scene::start_with(|args| args.set("TRAILKEEPER_POLICY_TOML", SANDBOX)).await;
    for trail in ["sandbox-1", "audit"] {
        scene.aws.stopped_trail(trail, REGION).await;
    }
    scene.handle(stop("e-1", "sandbox-1")).await;
    scene.handle(stop("e-2", "audit")).await;
    let mut root = stop("e-3", "sandbox-1");
    assert!(!scene.aws.is_logging("sandbox-1", REGION).await);
    assert!(scene.aws.is_logging("audit", REGION).await);
    let posts = scene.slack.posts().await;
    let said = posts[0]["text"].as_str().expect("a text").to_owned();
    let left = "LOGGING IS OFF: trailkeeper restarted nothing, since rule \"sandbox\" of the policy says notify (a place to try things).";
    assert!(said.contains(left), "{said}");
    assert!(!said.contains("Start it by hand"), "{said}");
    assert!(posts[0]["blocks"].to_string().contains("LOW"), "{}", posts[0]["blocks"]);
    // Nobody should be root.
    root["detail"]["userIdentity"] = json!({ "type": "Root", "arn": "arn:aws:iam::111122223333:root" });
    scene.handle(root).await;
    assert!(scene.aws.is_logging("sandbox-1", REGION).await);
    scene.worker.stop().await;
}

#[tokio::test]
async fn what_is_outside_the_policy_is_reported_and_not_touched() {
    let frankfurt = "version = 1\n[accounts]\nregions = [\"eu-central-1\"]";
    let scene = Scene::start_with(|args| args.set("TRAILKEEPER_POLICY_TOML", frankfurt)).await;
    scene.aws.stopped_trail("audit", REGION).await;
    scene.handle(stop("e-1", "audit")).await;
    assert_eq!(scene.aws.calls("GetTrailStatus").len(), 0, "not looked at");
    assert!(!scene.aws.is_logging("audit", REGION).await);
    let posts = scene.slack.posts().await;
    let said = posts[0]["text"].as_str().expect("a text").to_owned();
    let why = "Whether logging is on was not looked at: LOOK AT THE TRAIL. trailkeeper restarted nothing, since Region eu-west-1 is outside the policy.";
    assert!(said.contains(why), "{said}");
    // Of the same call and trail once an hour; another call is news.
    scene.handle(stop("e-2", "audit")).await;
    assert_eq!(scene.slack.posts().await.len(), 1);
    let mut deleted = stop("e-3", "audit");
    deleted["detail"]["eventName"] = "DeleteTrail".into();
    scene.handle(deleted).await;
    let texts = scene.slack.texts().await;
    assert_eq!(texts.len(), 2);
    let why = "trailkeeper does not look after it: Region eu-west-1 is outside the policy.";
    assert!(texts[1].contains("RECORDING HAS ENDED") && texts[1].contains(why), "{}", texts[1]);
    // What is worse than what was reported is news as well.
    let denied = |id: &str| {
        let mut event = stop(id, "second");
        event["detail"]["errorCode"] = "AccessDenied".into();
        event
    };
    for (event, posts) in [(denied("e-4"), 3), (denied("e-5"), 3), (stop("e-6", "second"), 4)] {
        scene.handle(event).await;
        assert_eq!(scene.slack.posts().await.len(), posts);
    }
    assert!(scene.aws.dead_letters().await.is_empty());
    scene.worker.stop().await;
}

/// One that is wrong is logged, and the one before stays.
#[tokio::test]
async fn a_policy_is_read_again_on_sighup() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    let policy = file("sighup.toml", SANDBOX);
    let process = Process::start(&aws, &slack, &[("TRAILKEEPER_POLICY", policy.to_str().expect("UTF-8"))]);
    eventually("a poll", async || aws.calls("ReceiveMessage").first().map(|_| ())).await;
    let handled = async |trail: String| {
        aws.stopped_trail(&trail, REGION).await;
        aws.send(stop(&format!("event-of-{trail}"), &trail).to_string()).await;
        eventually("the event to be handled", async || (aws.depth("events") == 0).then_some(())).await;
        aws.is_logging(&trail, REGION).await
    };
    std::fs::write(&policy, "version = 3").expect("written");
    process.signal("-HUP").await;
    assert!(!handled("sandbox-before".to_owned()).await);
    std::fs::write(&policy, "version = 1").expect("written");
    process.signal("-HUP").await;
    let mut count = 0;
    eventually("the new policy to hold", async || {
        count += 1;
        handled(format!("sandbox-{count}")).await.then_some(())
    })
    .await;
    process.terminate().await;
    let ended = process.ended().await;
    assert_eq!(ended.status, Some(0));
    let wrong = ended.stderr.lines().find(|line| line.contains("the policy is wrong: the one before stays"));
    assert!(wrong.is_some_and(|line| line.contains("line 1: version is not 1")), "{}", ended.stderr);
    assert!(ended.stderr.contains("read the policy again"), "{}", ended.stderr);
}

/// With the difference, by one worker, and again by none that starts later.
#[tokio::test]
async fn a_changed_policy_is_reported_once_by_the_fleet() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    aws.create_table("state").await;
    let started = async |policy: &str| {
        let mut args = args(&aws, &slack);
        args.set("TRAILKEEPER_STATE_TABLE", "state");
        args.set("TRAILKEEPER_POLICY_TOML", policy);
        Worker::start_with(&aws, &args)
    };
    let compared = async || {
        let all = aws.calls("UpdateItem");
        let of_policy = all.iter().filter(|call| call.body["Key"]["pk"]["S"] == "policy");
        of_policy.filter(|call| call.body["UpdateExpression"] == "SET seen_at = :now").count()
    };
    // The first is kept, and nobody hears of it.
    let first = started("version = 1\n").await;
    eventually("the first", async || (compared().await >= 1).then_some(())).await;
    let second = started("version = 1\n").await;
    eventually("the second", async || (compared().await >= 2).then_some(())).await;
    for worker in [first, second] {
        worker.stop().await;
    }
    assert!(slack.posts().await.is_empty());
    // Slack does not take it at first: then it is not kept, and the next worker reports it.
    slack.next(1, ResponseTemplate::new(500)).await;
    let changed = "version = 1\n[defaults]\nstopped = \"notify\"\n";
    let unheard = started(changed).await;
    eventually("a post", async || slack.posts().await.pop()).await;
    unheard.stop().await;
    aws.dynamodb(
        "UpdateItem",
        &json!({
            "TableName": "state", "Key": { "pk": { "S": "policy" } }, "UpdateExpression": "REMOVE told_until",
        }),
    )
    .await;
    let fleet = [started(changed).await, started(changed).await];
    eventually("the report", async || (slack.posts().await.len() >= 2).then_some(())).await;
    eventually("all compared", async || (compared().await >= 5).then_some(())).await;
    for worker in fleet {
        worker.stop().await;
    }
    let last = started(changed).await;
    eventually("the last", async || (compared().await >= 6).then_some(())).await;
    last.stop().await;
    let texts = slack.texts().await;
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[1].contains("What changed:\n+ [defaults]\n+ stopped = \"notify\""), "{}", texts[1]);
    assert!(slack.posts().await[1].to_string().contains("HIGH"));
}
