//! What each call is to trailkeeper: inputs from the field, on which an earlier version was wrong.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::aws::Aws;
use crate::support::events::stop;
use crate::support::process::{Ended, configured, ended};
use crate::support::slack::Slack;
use crate::support::worker::Scene;

/// An event of this call by mallory, in her account.
fn call(service: &str, name: &str, parameters: Value) -> Value {
    let mut event = stop("e-1", "audit");
    let detail = &mut event["detail"];
    detail["eventSource"] = json!(format!("{service}.amazonaws.com"));
    detail["eventName"] = json!(name);
    detail["requestParameters"] = parameters;
    event
}

/// All that people are shown of an event: the text, and the fields.
async fn shown(event: Value) -> Option<(String, String)> {
    let scene = Scene::start().await;
    scene.handle(event).await;
    let post = scene.slack.posts().await.pop();
    assert!(scene.aws.calls("StartLogging").is_empty());
    assert_eq!(scene.aws.depth("poison"), 0);
    scene.worker.stop().await;
    post.map(|post| (post["text"].as_str().expect("text").to_owned(), post["blocks"].to_string()))
}

#[tokio::test]
async fn what_ends_recording_is_as_loud_as_a_stop_that_cannot_be_undone() {
    let store =
        json!({ "eventDataStore": "arn:aws:cloudtrail:eu-west-1:123456789012:eventdatastore/0e1f2a3b" });
    for (service, name, parameters) in [
        ("cloudtrail", "DeleteTrail", json!({ "name": "audit" })),
        ("cloudtrail", "StopEventDataStoreIngestion", store.clone()),
        ("cloudtrail", "DeleteEventDataStore", store),
        (
            "organizations",
            "DisableAWSServiceAccess",
            json!({ "servicePrincipal": "cloudtrail.amazonaws.com" }),
        ),
    ] {
        let (text, blocks) = shown(call(service, name, parameters)).await.expect("told");
        assert!(text.contains("RECORDING HAS ENDED: "), "{text}");
        assert!(blocks.contains("CRITICAL") && !blocks.contains("not stopped"), "{blocks}");
    }
}

#[tokio::test]
async fn each_thing_is_called_what_it_is() {
    let store = "arn:aws:cloudtrail:eu-west-1:123456789012:eventdatastore/0e1f2a3b";
    for (service, name, parameters, label) in [
        (
            "cloudtrail",
            "UpdateEventDataStore",
            json!({ "name": "nothing-to-see-here", "eventDataStore": store }),
            format!("*Event data store*\\n{store}"),
        ),
        (
            "cloudtrail",
            "DeregisterOrganizationDelegatedAdmin",
            json!({ "delegatedAdminAccountId": "999999999999" }),
            "*Delegated administrator*\\n999999999999".to_owned(),
        ),
        (
            "s3",
            "DeleteBucketPolicy",
            json!({ "bucketName": "org-trail-logs" }),
            "*Bucket*\\norg-trail-logs".to_owned(),
        ),
        ("kms", "DisableKey", json!({ "keyId": "k-1" }), "*Key*\\nk-1".to_owned()),
    ] {
        let (text, blocks) = shown(call(service, name, parameters)).await.expect("told");
        assert!(blocks.contains(&label), "{label}: {blocks}");
        assert!(!blocks.contains("*Trail*") && !text.contains("nothing-to-see-here"), "{blocks}");
    }
}

#[tokio::test]
async fn what_was_denied_is_named_by_the_resource_alone_of_three_arns() {
    let message = |call: &str, resource: &str| {
        format!(
            "User: arn:aws:iam::123456789012:user/arn:aws:cloudtrail:us-east-1:999999999999:trail/decoy,/mallory is not authorized to perform: {call} on resource: {resource} with an \
             explicit deny in a service control policy: arn:aws:organizations::999999999999:policy/o-1/service_control_policy/p-1"
        )
    };
    for (service, name, resource, label) in [
        (
            "cloudtrail",
            "DeleteTrail",
            "arn:aws:cloudtrail:us-east-1:123456789012:trail/audit",
            "*Trail*\\naudit",
        ),
        (
            "cloudtrail",
            "DeleteEventDataStore",
            "arn:aws:cloudtrail:us-east-1:123456789012:eventdatastore/e-1",
            "*Event data store*\\narn:aws:cloudtrail:us-east-1:123456789012:eventdatastore/e-1",
        ),
        ("s3", "DeleteBucket", "\"arn:aws:s3:::org-trail-logs\"", "*Bucket*\\norg-trail-logs"),
        (
            "kms",
            "DisableKey",
            "arn:aws:kms:us-east-1:123456789012:key/k-1",
            "*Key*\\narn:aws:kms:us-east-1:123456789012:key/k-1",
        ),
        ("kms", "DisableKey", "no ARN at all", "*Account*"),
        (
            "iam",
            "DeleteServiceLinkedRole",
            "arn:aws:iam::123456789012:role/aws-service-role/cloudtrail.amazonaws.com/AWSServiceRoleForCloudTrail",
            "*Role*\\nAWSServiceRoleForCloudTrail",
        ),
    ] {
        let mut event = call(service, name, json!(null));
        event["detail"]["errorCode"] = json!("AccessDenied");
        event["detail"]["errorMessage"] = json!(message(name, resource));
        let (_, blocks) = shown(event).await.expect("told");
        assert!(blocks.contains(label) && blocks.contains("MEDIUM"), "{label}: {blocks}");
        assert!(!blocks.contains("p-1") && !blocks.contains("decoy"), "{blocks}");
    }
}

#[tokio::test]
async fn a_call_that_concerns_another_service_is_none_of_ours() {
    let of = |service: &str| json!({ "servicePrincipal": service });
    for (event, is_told) in [
        (call("organizations", "DisableAWSServiceAccess", of("sso.amazonaws.com")), false),
        (call("organizations", "DisableAWSServiceAccess", of("cloudtrail.amazonaws.com")), true),
        (call("organizations", "DisableAWSServiceAccess", json!({ "omitted": true })), true),
        (call("organizations", "DeregisterDelegatedAdministrator", of("guardduty.amazonaws.com")), false),
        (call("iam", "DeleteServiceLinkedRole", json!({ "roleName": "AWSServiceRoleForECS" })), false),
        (call("iam", "DeleteServiceLinkedRole", json!({ "roleName": "AWSServiceRoleForCloudTrail" })), true),
        (call("iam", "DeletePolicy", json!({ "policyArn": "arn" })), false),
        (denied_role("AWSServiceRoleForECS"), false),
        (denied_role("AWSServiceRoleForCloudTrail"), true),
    ] {
        assert_eq!(shown(event.clone()).await.is_some(), is_told, "{}", event["detail"]);
    }
}

fn denied_role(role: &str) -> Value {
    let mut event = call("iam", "DeleteServiceLinkedRole", json!(null));
    event["detail"]["errorCode"] = json!("AccessDenied");
    event["detail"]["errorMessage"] = json!(format!(
        "User: arn:aws:iam::1:user/x is not authorized to perform: iam:DeleteServiceLinkedRole on resource: \
         arn:aws:iam::123456789012:role/aws-service-role/x.amazonaws.com/{role} because no identity-based policy allows it"
    ));
    event
}

/// Of what the event does not say, nothing is claimed.
#[tokio::test]
async fn a_call_of_which_the_service_is_not_seen_is_not_said_to_be_cloudtrails() {
    let padded = call("organizations", "DisableAWSServiceAccess", json!({ "omitted": true }));
    let (text, blocks) = shown(padded).await.expect("told");
    assert!(
        text.contains("RECORDING MAY HAVE ENDED: The event does not say whether the call concerns"),
        "{text}"
    );
    assert!(blocks.contains("CRITICAL"), "{blocks}");
    let of_a_member = json!({ "accountId": "222222222222", "regionName": "af-south-1" });
    let (text, _) = shown(call("account", "DisableRegion", of_a_member)).await.expect("told");
    assert!(text.contains("in account 222222222222"), "{text}");
    let mut strengthens =
        call("cloudtrail", "UpdateTrail", json!({ "name": "audit", "isMultiRegionTrail": true }));
    strengthens["detail"]["errorCode"] = json!("AccessDenied");
    let (text, blocks) = shown(strengthens).await.expect("told");
    assert!(text.contains("mallory tried to call UpdateTrail on audit"), "{text}");
    assert!(blocks.contains("*The call asks for*\\nevents of all Regions"), "{blocks}");
}

/// A call over a VPC endpoint is recorded twice.
#[tokio::test]
async fn a_network_activity_event_is_no_stop_of_its_own() {
    let by_type = || {
        let mut event = stop("e-1", "audit");
        event["detail"]["eventType"] = json!("AwsVpceEvent");
        event
    };
    let by_detail_type = || {
        let mut event = stop("e-1", "audit");
        event["detail-type"] = json!("AWS Network Activity Event via CloudTrail");
        event
    };
    for mut event in [by_type(), by_detail_type()] {
        assert!(shown(event.clone()).await.is_none());
        event["detail"]["errorCode"] = json!("AccessDenied");
        assert!(shown(event.clone()).await.is_none(), "the service's own event says so");
        event["detail"]["errorCode"] = json!("VpceAccessDenied");
        let (text, _) = shown(event).await.expect("nobody else says so");
        assert!(text.contains("tried to turn off CloudTrail logging"), "{text}");
    }
    // A field of another type hides nothing.
    let scene = Scene::start().await;
    for (id, odd) in [
        ("flag", json!(false)),
        ("set", json!(true)),
        ("blank", json!(" ")),
        ("list", json!(["AccessDenied"])),
    ] {
        scene.aws.stopped_trail(id, crate::support::aws::REGION).await;
        let mut event = stop(id, id);
        event["detail"]["errorCode"] = odd;
        scene.handle(event).await;
        assert!(scene.aws.is_logging(id, crate::support::aws::REGION).await, "{id}");
    }
    for (number, odd) in [json!(7), json!(["AwsVpceEvent"]), json!({ "a": "AwsVpceEvent" }), json!(null)]
        .into_iter()
        .enumerate()
    {
        let name = format!("t-{number}");
        scene.aws.stopped_trail(&name, crate::support::aws::REGION).await;
        let mut event = stop(&format!("e-{number}"), &name);
        event["detail"]["eventType"] = odd.clone();
        event["detail"]["eventCategory"] = odd;
        scene.handle(event).await;
        assert!(scene.aws.is_logging(&name, crate::support::aws::REGION).await);
    }
    scene.worker.stop().await;
}

#[tokio::test]
async fn an_insight_is_unsupported() {
    let scene = Scene::start().await;
    let insight = json!({
        "detail-type": "AWS Insight via CloudTrail", "source": "aws.cloudtrail",
        "detail": { "eventID": "e-1", "eventType": "AwsCloudTrailInsight", "insightDetails": { "eventName": "StopLogging" } },
    });
    scene.handle(insight).await;
    let letter = scene.aws.dead_letters().await.pop().expect("a dead letter");
    let attribute = |name| crate::support::aws::attribute(&letter, name);
    assert_eq!((attribute("reason"), attribute("event_id")), (Some("unsupported"), Some("e-1")));
    assert!(scene.slack.posts().await.is_empty());
    scene.worker.stop().await;
}

/// A subscription of SNS without raw delivery.
#[tokio::test]
async fn an_event_in_a_notification_of_sns_is_read_once() {
    let scene = Scene::start().await;
    scene.aws.stopped_trail("audit", crate::support::aws::REGION).await;
    let wrapped = |message: &Value| json!({ "Type": "Notification", "MessageId": "m-1", "TopicArn": "arn", "Message": message.to_string() });
    let once = wrapped(&stop("e-1", "audit"));
    scene.handle(&once).await;
    assert!(scene.aws.is_logging("audit", crate::support::aws::REGION).await);
    let twice = wrapped(&wrapped(&stop("e-2", "audit"))).to_string();
    scene.handle(&twice).await;
    let letters = scene.aws.dead_letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].body(), Some(twice.as_str()), "unchanged");
    assert_eq!(crate::support::aws::attribute(&letters[0], "reason"), Some("malformed"));
    scene.worker.stop().await;
}

/// The inputs from the field, where they are beside the checkout.
fn field(name: &str) -> Option<(PathBuf, Value)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../shared/events/field/{name}.json"));
    let text = std::fs::read_to_string(&path).ok()?;
    Some((path, serde_json::from_str(&text).expect("JSON")))
}

#[tokio::test]
async fn reports_from_the_field_say_what_is_right() {
    for (name, severity, parts) in [
        ("delete-trail", "CRITICAL", &["RECORDING HAS ENDED", "*Trail*\\naudit"][..]),
        ("stop-event-data-store-ingestion", "CRITICAL", &["RECORDING HAS ENDED", "*Event data store*"]),
        ("disable-trusted-access", "CRITICAL", &["gone in every member account"]),
        (
            "put-event-selectors-that-blind",
            "CRITICAL",
            &["records no management write events", "*The call asks for*"],
        ),
        (
            "update-trail-that-strengthens",
            "LOW",
            &[
                "*The call asks for*\\nevents of all Regions; global service events; log file validation; the organization's accounts",
            ],
        ),
        (
            "update-event-data-store-renamed",
            "HIGH",
            &[
                "*Event data store*\\narn:aws:cloudtrail:us-east-1:123456789012:eventdatastore/0e1f2a3b-1111-4222-8333-444455556666",
            ],
        ),
        ("delete-bucket-policy", "HIGH", &["*Bucket*\\norg-trail-logs"]),
        (
            "member-account-tries-org-trail",
            "MEDIUM",
            &[
                "*Account*\\n111122223333",
                "*Call made in*\\naccount 123456789012, us-east-1",
                "us-east-1.console.aws.amazon.com",
            ],
        ),
    ] {
        let Some((_, event)) = field(name) else { return };
        let (text, blocks) = shown(event).await.expect("told");
        assert!(blocks.contains(severity), "{name}: {blocks}");
        for part in parts {
            assert!(blocks.contains(part), "{name}: {part}: {blocks}");
        }
        assert!(!blocks.contains("not stopped"), "{name}: {blocks}");
        assert_eq!(
            text.contains("weakened CloudTrail in account"),
            severity != "LOW" && severity != "MEDIUM",
            "{name}: {text}"
        );
    }
    for name in ["network-activity-stop-eventbridge"] {
        let Some((_, event)) = field(name) else { return };
        assert!(shown(event).await.is_none(), "{name}");
    }
}

#[tokio::test]
async fn people_from_the_field_have_their_names() {
    for (name, who) in [
        ("who-iam-user-by-arn-only", "mallory turned off"),
        ("who-directory-user", "mallory@example.com turned off"),
        ("who-identity-center-user", "Identity Center user 0example-0000-7000-8000-00000000user turned off"),
        (
            "who-source-identity",
            "break-glass/i-0example0000000000 (source identity mallory@example.com) turned off",
        ),
    ] {
        let Some((_, event)) = field(name) else { return };
        let (text, _) = shown(event).await.expect("told");
        assert!(text.starts_with(who), "{text}");
    }
}

async fn replay(args: &[&str]) -> Ended {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    ended(configured(&aws, &slack, &[&["replay"], args].concat())).await
}

#[tokio::test]
async fn files_from_the_field_are_replayed_as_far_as_they_are_about_cloudtrail() {
    for (name, args, said) in [
        ("array-of-records", &[][..], "sent 1 events of 1 files"),
        ("sns-wrapped", &[], "sent 1 events of 1 files"),
        ("network-activity-stop-in-log-file", &[], "sent 1 events of 1 files"),
        ("insights-log-file", &[], "sent 0 events of 1 files"),
        ("log-file-everyday-buckets-and-keys", &[], "sent 0 events of 1 files"),
        ("log-file-everyday-buckets-and-keys", &["--bucket", "website-assets"], "sent 1 events of 1 files"),
        ("delete-bucket-policy", &[], "sent 0 events of 1 files"),
        ("delete-bucket-policy", &["--bucket", "org-trail-logs"], "sent 1 events of 1 files"),
    ] {
        let Some((path, _)) = field(name) else { return };
        let path = path.to_str().expect("UTF-8");
        let done = replay(&[args, &[path]].concat()).await;
        assert_eq!(done.status, Some(0), "{name}: {} {}", done.stdout, done.stderr);
        assert!(done.stdout.starts_with(said), "{name}: {}", done.stdout);
    }
}
