//! Messages that no CloudTrail ever sent. None may panic, block the pool, spoil its batch, or be lost.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use trailkeeper::clock;
use trailkeeper::event::{self, Malformed};

use crate::support::aws::{Fault, REGION, attribute};
use crate::support::events::stop;
use crate::support::worker::Scene;

const LONG: usize = 100_000;

/// Each becomes a dead letter at its first receive, its body unchanged, while a good message in their midst is
/// handled.
#[tokio::test]
async fn what_cannot_be_read_becomes_a_dead_letter_and_spoils_nothing() {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut event = stop("e-bad", "audit");
        change(&mut event);
        event.to_string()
    };
    let bodies = [
        " ".to_owned(),
        "not JSON".to_owned(),
        "{\"detail\":".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        "[{\"detail\":{}}]".to_owned(),
        "\"text\"".to_owned(),
        "7".to_owned(),
        "{}".to_owned(),
        r#"{"detail":null}"#.to_owned(),
        r#"{"detail":[]}"#.to_owned(),
        r#"{"detail":["e-1","StopLogging"]}"#.to_owned(),
        r#"{"detail":"text"}"#.to_owned(),
        r#"{"detail":{}}"#.to_owned(),
        r#"{"detail":{"eventID":"e-1"}}"#.to_owned(),
        r#"{"detail":{"eventName":"StopLogging"}}"#.to_owned(),
        r#"{"detail":{"eventID":7,"eventName":"StopLogging"}}"#.to_owned(),
        r#"{"detail":{"eventID":{"a":1},"eventName":"StopLogging"}}"#.to_owned(),
        r#"{"detail":{"eventID":"e-1","eventName":["StopLogging"]}}"#.to_owned(),
        r#"{"detail":{"eventID":"e-1","eventID":"e-2","eventName":"StopLogging"}}"#.to_owned(),
        "[".repeat(10_000),
        format!("{}{}", r#"{"detail":"#.repeat(10_000), "}".repeat(10_000)),
        with(&|event| event["detail"]["eventID"] = json!("e".repeat(LONG))),
        with(&|event| event["detail"]["eventName"] = json!("S".repeat(LONG))),
        with(&|event| event["detail"]["eventID"] = json!("e\u{0}\u{202e}1")),
        with(&|event| event["detail"]["eventID"] = json!("")),
        "x".repeat(1_048_576),
        "[".repeat(1_048_576),
    ];
    let scene = Scene::start().await;
    scene.aws.stopped_trail("audit", REGION).await;
    for body in &bodies {
        scene.aws.send(body).await;
    }
    scene.handle(stop("e-good", "audit")).await;
    assert!(scene.aws.is_logging("audit", REGION).await);
    let letters = scene.aws.dead_letters().await;
    let mut found: Vec<_> = letters.iter().map(|letter| letter.body().expect("a body")).collect();
    let mut expected: Vec<_> = bodies.iter().map(String::as_str).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert!(found == expected, "{} dead letters for {} bodies", found.len(), expected.len());
    for letter in &letters {
        // A body of a whole MiB leaves no room for attributes.
        if letter.body().is_some_and(|body| body.len() < 1_000_000) {
            assert_eq!(attribute(letter, "reason"), Some("malformed"));
            assert!(attribute(letter, "detail").is_some_and(|detail| detail.len() > 10));
        }
    }
    assert_eq!(scene.slack.posts().await.len(), 1);
    scene.worker.stop().await;
}

#[tokio::test]
async fn a_dead_letter_names_its_event_and_kind_as_far_as_they_are_known() {
    let scene = Scene::start().await;
    scene.handle(r#"{"detail":{"eventID":"e-1"}}"#).await;
    let letter = scene.aws.dead_letters().await.remove(0);
    assert_eq!(attribute(&letter, "event_id"), Some("e-1"));
    assert_eq!(attribute(&letter, "reason"), Some("malformed"));
    scene.handle(r#"{"detail-type":"Scheduled Event","source":"aws.events","detail":{}}"#).await;
    let letter = scene.aws.dead_letters().await.remove(0);
    assert_eq!(attribute(&letter, "reason"), Some("unsupported"));
    scene.worker.stop().await;
}

/// SQS itself refuses to send an empty body, and may still deliver one without any.
#[tokio::test]
async fn a_message_without_a_body_is_not_lost() {
    let scene = Scene::start().await;
    let bare = json!({ "Messages": [{ "MessageId": "m-1", "ReceiptHandle": "r-1" }] });
    scene.aws.break_down("SendMessage", Fault::Answer(json!({ "MessageId": "m-2" })));
    scene.aws.fault("ReceiveMessage", 1, Fault::Answer(bare));
    let sent = async || scene.aws.calls("SendMessage").pop();
    let letter = crate::support::eventually("a dead letter", sent).await;
    assert_eq!(letter.body["MessageAttributes"]["trailkeeper.reason"]["StringValue"], "malformed");
    assert_eq!(letter.body["MessageAttributes"]["trailkeeper.source_message_id"]["StringValue"], "m-1");
    scene.worker.stop().await;
}

/// Whoever makes a call chooses what stands beside the trail's name. None of it hides the trail.
#[test]
fn nothing_beside_its_name_hides_a_trail() {
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let padded = [
        r#""x":1e999,"#.to_owned(),
        r#""x":"\ud800","#.to_owned(),
        r#""x":{"\ud800":1},"#.to_owned(),
        format!("\"x\":{deep},"),
        format!("\"x\":{},", json!(vec![1; 100_000])),
        format!("\"x\":{},", json!(vec![json!({}); 100_000])),
        format!("\"x\":{},", json!(vec!["x".repeat(2_048); 400])),
        r#""x":{},"#.repeat(10_000),
        r#""trailName":[{"name":"inside"}],"#.to_owned(),
    ];
    for pad in padded {
        let body = format!(
            r#"{{"detail":{{"eventID":"e-1","eventName":"StopLogging","requestParameters":{{{pad}"name":"audit"}}}}}}"#
        );
        let event = event::parse(&body).expect("an event");
        assert_eq!(event.resource.as_deref(), Some("audit"), "{}", &pad[..pad.len().min(60)]);
        assert!(!event.parameters.is_whole() || pad.len() < 100, "{}", &pad[..60]);
    }
}

/// What a worker of a later version sends to the queue, for itself, of a kind that this one does not know.
fn of_a_later_version(sent_at: time::OffsetDateTime) -> Value {
    let millis = sent_at.unix_timestamp() * 1_000;
    let kind = json!({ "DataType": "String", "StringValue": "show-incident" });
    json!({ "Messages": [{
        "MessageId": "m-1", "ReceiptHandle": "r-1", "Body": "{}",
        "Attributes": { "SentTimestamp": millis.to_string(), "ApproximateReceiveCount": "3" },
        "MessageAttributes": { "trailkeeper.kind": kind },
    }] })
}

/// While two versions run side by side, the other one will know it.
#[tokio::test]
async fn a_kind_of_ours_that_is_not_known_is_left_to_a_later_version() {
    let scene = Scene::start().await;
    scene.aws.fault("ReceiveMessage", 1, Fault::Answer(of_a_later_version(clock::now())));
    let hidden = async || scene.aws.calls("ChangeMessageVisibilityBatch").pop();
    let hidden = crate::support::eventually("it to be hidden", hidden).await;
    assert_eq!(hidden.body["Entries"][0]["ReceiptHandle"], "r-1");
    // Whatever the configured backoff: SQS counts each receive, and gives up after some.
    let seconds = hidden.body["Entries"][0]["VisibilityTimeout"].as_u64();
    assert!(seconds.is_some_and(|seconds| (30..=300).contains(&seconds)), "{hidden:?}");
    scene.worker.stop().await;
}

/// A deploy is over by then. It is kept with its kind, for a worker that knows it.
#[tokio::test]
async fn a_kind_of_ours_that_nobody_has_known_for_long_is_a_dead_letter() {
    let scene = Scene::start().await;
    scene.aws.break_down("SendMessage", Fault::Answer(json!({ "MessageId": "m-2" })));
    let old = clock::now() - Duration::from_secs(15 * 60 + 1);
    scene.aws.fault("ReceiveMessage", 1, Fault::Answer(of_a_later_version(old)));
    let sent = async || scene.aws.calls("SendMessage").pop();
    let letter = crate::support::eventually("a dead letter", sent).await;
    let attribute = |name: &str| letter.body["MessageAttributes"][name]["StringValue"].clone();
    assert_eq!(attribute("trailkeeper.reason"), "unsupported");
    assert_eq!(attribute("trailkeeper.kind"), "show-incident");
    assert!(scene.slack.posts().await.is_empty());
    scene.worker.stop().await;
}

/// Whatever stands in a field that is only read and not demanded, the stop is seen, restarted and told.
#[tokio::test]
async fn a_field_of_a_wrong_type_hides_no_stop() {
    let scene = Scene::start().await;
    let wrong =
        [json!(null), json!(7), json!(1.5), json!(true), json!([1, [2]]), json!({ "a": { "b": [] } })];
    let fields = [
        "/version",
        "/id",
        "/source",
        "/detail-type",
        "/account",
        "/time",
        "/region",
        "/resources",
        "/detail/eventVersion",
        "/detail/userIdentity",
        "/detail/eventTime",
        "/detail/awsRegion",
        "/detail/sourceIPAddress",
        "/detail/userAgent",
        "/detail/requestID",
        "/detail/recipientAccountId",
        "/detail/userIdentity/type",
        "/detail/userIdentity/principalId",
        "/detail/userIdentity/arn",
        "/detail/userIdentity/accountId",
        "/detail/userIdentity/accessKeyId",
        "/detail/userIdentity/userName",
    ];
    let mut sent = 0;
    scene.aws.stopped_trail("audit", REGION).await;
    for field in fields {
        for value in &wrong {
            sent += 1;
            let mut event = stop(&format!("e-{sent}"), "audit");
            *event.pointer_mut(field).expect("a field of the fixture") = value.clone();
            scene.aws.send(event.to_string()).await;
        }
    }
    scene.settled().await;
    assert_eq!(scene.slack.posts().await.len(), sent);
    assert_eq!(scene.aws.depth("poison"), 0);
    assert!(scene.aws.is_logging("audit", REGION).await);
    scene.worker.stop().await;
}

/// JSON's grammar takes an escape of half a character, and a caller may choose a text that has one.
#[tokio::test]
async fn half_a_character_hides_no_stop() {
    let with = |id: &str, escape: &str| {
        let mut event = stop(id, "audit");
        event["detail"]["userAgent"] = json!("HALF");
        event["detail"]["userIdentity"]["userName"] = json!("eve-HALF");
        event.to_string().replace("HALF", escape)
    };
    let known = |body: &str| event::parse(body).expect("an event");
    for (escape, shown) in [
        (r"\ud83d", "\u{fffd}"),
        (r"\udc00\ud83d", "\u{fffd}\u{fffd}"),
        (r"\uD83Dx\uDE00", "\u{fffd}x\u{fffd}"),
        (r"\ud83d\ude00\udc00", "😀\u{fffd}"),
        (r"\\ud83d\udc00", "\\ud83d\u{fffd}"),
    ] {
        let event = known(&with("e-1", escape));
        assert_eq!(event.user_agent.as_deref(), Some(shown), "{escape}");
        assert_eq!(event.actor.who, format!("eve-{shown}"));
    }
    assert!(
        event::parse(r#"{"detail":{"eventID":"e-1","eventName":"StopLogging","userAgent":"\ud83d"#).is_err()
    );

    let scene = Scene::start().await;
    scene.aws.stopped_trail("audit", REGION).await;
    scene.aws.send(with("e-1", r"\ud83d")).await;
    scene.handle(stop("e-good", "audit")).await;
    assert!(scene.aws.is_logging("audit", REGION).await);
    assert_eq!(scene.aws.dead_letters().await, []);
    scene.worker.stop().await;
}

#[tokio::test]
async fn names_of_100_000_characters_are_cut_and_not_obeyed() {
    let scene = Scene::start().await;
    let mut event = stop("e-1", &"n".repeat(LONG));
    for field in ["userName", "accessKeyId"] {
        event["detail"]["userIdentity"][field] = json!("ü".repeat(LONG));
    }
    event["detail"]["userAgent"] = json!("<!channel>".repeat(LONG / 10));
    event["detail"]["sourceIPAddress"] = json!("&".repeat(LONG));
    scene.handle(event).await;
    let posts = scene.slack.posts().await;
    assert_eq!(posts.len(), 1);
    assert!(posts[0].to_string().len() < 12_000);
    assert!(posts[0]["text"].as_str().is_some_and(|text| text.contains("names no trail that can be read")));
    assert_eq!(scene.aws.calls("GetTrailStatus").len(), 0, "there is no trail");
    scene.worker.stop().await;
}

#[tokio::test]
async fn nothing_in_a_name_becomes_a_mention_a_link_or_a_layout() {
    let scene = Scene::start().await;
    scene.aws.stopped_trail("audit", REGION).await;
    let mut event = stop("e-1", "audit");
    event["detail"]["userIdentity"]["userName"] =
        json!("<!channel> <https://evil.example|ok> & \u{202e}gnp\u{7}\n*x*");
    event["detail"]["userAgent"] = json!("<!here>");
    scene.handle(event).await;
    let post = &scene.slack.posts().await[0];
    let text = post["text"].as_str().expect("text");
    assert!(
        text.starts_with(
            "&lt;!channel&gt; &lt;https://evil.example|ok&gt; &amp; \u{fffd}gnp\u{fffd}\u{fffd}*x* turned off"
        ),
        "{text}"
    );
    let blocks = post["blocks"].to_string();
    assert!(
        !blocks.contains("<!") && !blocks.contains("<https://evil") && !blocks.contains('\u{202e}'),
        "{blocks}"
    );
    assert_eq!(post["parse"], "none");
    scene.worker.stop().await;
}

#[tokio::test]
async fn a_trail_of_another_partition_is_refused_as_aws_refuses_it() {
    let scene = Scene::start().await;
    for call in ["GetTrailStatus", "StartLogging"] {
        scene.aws.break_down(call, Fault::Refuse(400, "UnrecognizedClientException"));
    }
    scene.handle(stop("e-1", "arn:aws-cn:cloudtrail:cn-north-1:123456789012:trail/audit")).await;
    assert_eq!(scene.aws.calls("GetTrailStatus")[0].region, "cn-north-1");
    let post = scene.slack.posts().await.remove(0);
    assert!(
        post["text"].to_string().contains("could not look whether logging is on, and has not restarted it")
    );
    assert_eq!(attribute(&scene.aws.dead_letters().await[0], "reason"), Some("restore-refused"));
    scene.worker.stop().await;
}

#[tokio::test]
async fn an_event_time_that_cannot_be_is_shown_and_not_measured_by() {
    let scene = Scene::start().await;
    for (id, time) in [("e-1", "1970-01-01T00:00:00Z"), ("e-2", "2999-01-01T00:00:00Z")] {
        scene.aws.stopped_trail(id, REGION).await;
        let mut event = stop(id, id);
        event["detail"]["eventTime"] = json!(time);
        scene.handle(event).await;
        let text = scene.slack.texts().await.pop().expect("told");
        assert!(text.contains(&format!("at {time}. Logging was restarted and verified.")), "{text}");
    }
    scene.worker.stop().await;
}

/// One batch: a message whose handling hangs for long does not keep the others.
#[tokio::test]
async fn a_slow_message_does_not_keep_the_others() {
    let scene = Scene::start().await;
    // As long as a request may take: on a busy machine the others need some of it.
    scene.aws.fault("GetTrailStatus", 1, Fault::Delay(Duration::from_secs(9)));
    scene.aws.send(stop("e-slow", "audit").to_string()).await;
    crate::support::eventually("the slow one to begin", async || scene.aws.calls("GetTrailStatus").pop())
        .await;
    for number in 0..20 {
        scene.aws.send(stop(&format!("e-{number}"), "audit").to_string()).await;
    }
    let only_slow = async || (scene.aws.depth("events") == 1).then_some(());
    crate::support::eventually("the others to be done", only_slow).await;
    scene.settled().await;
    scene.worker.stop().await;
}

#[test]
fn what_is_told_of_a_malformed_body_quotes_nothing_of_it() {
    let told = event::parse(r#"{"detail": very-secret}"#).expect_err("malformed").to_string();
    assert!(!told.contains("secret"), "{told}");
    assert!(told.contains("line 1, column 12"), "{told}");
    assert_eq!(event::parse(" \n"), Err(Malformed::Empty));
    assert_eq!(event::parse(&"x".repeat(1_048_577)), Err(Malformed::TooLong(1_048_577)));
}

/// Any JSON at all.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        let key = prop_oneof![
            "[a-zA-Z]{1,12}",
            Just("detail".to_owned()),
            Just("eventID".to_owned()),
            Just("userIdentity".to_owned())
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::hash_map(key, inner, 0..8).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_panics(body in ".{0,400}") {
        let _ = event::parse(&body);
    }

    #[test]
    fn no_json_panics(body in any_json()) {
        let _ = event::parse(&body.to_string());
    }

    /// Any one field of a good event replaced by anything: it parses unless that field is demanded.
    #[test]
    fn any_field_may_hold_anything(field in 0..8_usize, value in any_json()) {
        let names = ["userIdentity", "requestParameters", "eventTime", "awsRegion", "errorCode", "userAgent", "recipientAccountId", "errorMessage"];
        let mut event = stop("e-1", "audit");
        event["detail"][names[field]] = value;
        prop_assert!(event::parse(&event.to_string()).is_ok());
    }
}
