//! What else recorded while a trail was off: in the report of a stop, and in its severity.

use std::time::Duration;

use serde_json::json;
use time::OffsetDateTime;
use trailkeeper::clock;
use trailkeeper::text::stamp;

use crate::support::aws::{Aws, Fault, REGION};
use crate::support::cloudtrail::Trail;
use crate::support::events::stop_in;
use crate::support::eventually;
use crate::support::organization::{Account, EXTERNAL_ID, MANAGEMENT, Organization, ROLE};
use crate::support::slack::Slack;
use crate::support::worker::{Worker, args};

const PAYMENTS: &str = "444455556666";

fn arn(account: &str, name: &str) -> String {
    format!("arn:aws:cloudtrail:{REGION}:{account}:trail/{name}")
}

fn organizations() -> Trail {
    Trail::at(&arn(MANAGEMENT, "organization"))
}

/// What is posted of a stop of the one trail of an account, beside what `set` adds to the organization.
async fn told(set: impl FnOnce(&Organization, &Aws)) -> String {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    let organization = Organization::of(&aws, [Account::new(PAYMENTS, "payments-prod")]);
    let at = clock::now() - Duration::from_mins(2);
    organization.add_trail(Trail::at(&arn(PAYMENTS, "audit")).stopped(at));
    set(&organization, &aws);
    let mut args = args(&aws, &slack);
    args.set("TRAILKEEPER_MEMBER_ROLE", ROLE);
    args.set("TRAILKEEPER_EXTERNAL_ID", EXTERNAL_ID);
    let list =
        format!("version = 1\n[accounts]\nsource = \"list\"\nlist = [\"{PAYMENTS}\", \"{MANAGEMENT}\"]\n");
    args.set("TRAILKEEPER_POLICY_TOML", list);
    let worker = Worker::start_with(&aws, &args);
    let mut event = stop_in(PAYMENTS, "e-1", "audit");
    event["detail"]["eventTime"] = json!(stamp(at));
    aws.send(event.to_string()).await;
    let post = async || slack.posts().await.into_iter().next();
    let post = eventually("a post", post).await;
    assert!(organization.is_logging(&arn(PAYMENTS, "audit")), "restarted all the same");
    // One, and three for each other trail.
    let beside = ["DescribeTrails", "GetEventSelectors", "GetTrailStatus"].map(|name| aws.calls(name).len());
    assert!(beside.iter().sum::<usize>() <= 10 + 2, "{beside:?}");
    worker.stop().await;
    post.to_string()
}

fn later() -> OffsetDateTime {
    clock::now() - Duration::from_mins(1)
}

#[tokio::test]
async fn the_organizations_trail_that_recorded_throughout_makes_a_stop_quieter() {
    let post = told(|organization, _| organization.add_organization_trail(organizations())).await;
    assert!(
        post.contains("Meanwhile eu-west-1 was recorded by the organization's trail organization."),
        "{post}"
    );
    assert!(post.contains("MEDIUM"), "{post}");
}

#[tokio::test]
async fn any_other_trail_is_named_and_makes_nothing_quieter() {
    let post = told(|organization, _| organization.add_trail(Trail::at(&arn(PAYMENTS, "decoy")))).await;
    assert!(post.contains("Meanwhile eu-west-1 was recorded by the trail decoy."), "{post}");
    assert!(post.contains("HIGH"), "{post}");
}

#[tokio::test]
async fn what_did_not_record_is_said_with_why() {
    let reads = json!({ "AdvancedEventSelectors": [{ "FieldSelectors": [
        { "Field": "eventCategory", "Equals": ["Management"] }, { "Field": "readOnly", "Equals": ["true"] },
    ] }] });
    let data = json!({ "EventSelectors": [{ "IncludeManagementEvents": false, "ReadWriteType": "All" }] });
    let undelivered = json!({ "LatestDeliveryError": "NoSuchBucket" });
    for (why, trail) in [
        ("it is off", Trail { logging: false, ..organizations() }),
        ("it was started later", Trail { started_at: Some(later()), ..organizations() }),
        ("it was started later", Trail { started_at: None, ..organizations() }),
        ("its log files cannot be delivered", Trail { beside: undelivered, ..organizations() }),
        ("it records no management writes", Trail { selectors: Some(reads), ..organizations() }),
        ("it records no management writes", Trail { selectors: Some(data), ..organizations() }),
    ] {
        let post = told(|organization, _| organization.add_organization_trail(trail)).await;
        let said = format!(
            "Nothing else recorded eu-west-1 meanwhile (the organization's trail organization: {why})."
        );
        assert!(post.contains(&said) && post.contains("HIGH"), "{said}: {post}");
    }
}

/// A member sees no selectors of the organization's trail: they are asked for in the account that it belongs to.
#[tokio::test]
async fn selectors_of_writes_are_as_good_as_those_of_a_new_trail() {
    let writes = json!({ "EventSelectors": [
        { "IncludeManagementEvents": false, "ReadWriteType": "All" },
        { "IncludeManagementEvents": true, "ReadWriteType": "WriteOnly" },
    ] });
    let management = json!({ "AdvancedEventSelectors": [{ "FieldSelectors": [
        { "Field": "eventCategory", "Equals": ["Management"] },
    ] }] });
    for selectors in [writes, management] {
        let trail = Trail { selectors: Some(selectors), ..organizations() };
        let post = told(|organization, _| organization.add_organization_trail(trail)).await;
        assert!(post.contains("was recorded by the organization's trail organization"), "{post}");
    }
}

#[tokio::test]
async fn what_could_not_be_looked_at_is_said() {
    let post = told(|_, _| {}).await;
    assert!(post.contains("Nothing else records eu-west-1."), "{post}");
    let denied = Fault::Refuse(400, "AccessDeniedException");
    let post = told(|_, aws| aws.break_down("DescribeTrails", denied)).await;
    assert!(
        post.contains(
            "Whether anything else recorded eu-west-1 meanwhile is not known (DescribeTrails: AccessDenied"
        ),
        "{post}"
    );
    let post = told(|organization, _| {
        organization.change(MANAGEMENT, |account| account.has_role = false);
        let trail = Trail { selectors: Some(json!({})), ..organizations() };
        organization.add_organization_trail(trail);
    })
    .await;
    assert!(post.contains("its event selectors are not visible from here"), "{post}");
    let post = told(|organization, _| {
        for number in 0..4 {
            organization.add_trail(Trail::at(&arn(PAYMENTS, &format!("other-{number}"))));
        }
        organization.add_organization_trail(organizations());
    })
    .await;
    assert!(post.contains("2 more trails were not looked at"), "{post}");
    assert!(post.contains("MEDIUM"), "the organization's is looked at first: {post}");
}
