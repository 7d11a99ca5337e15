//! Events of our own making.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "shared with the demo and the benchmark, each of which uses a part"
)]

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::aws::{ACCOUNT, REGION};

/// Begins the ids of accounts of which there are many.
pub const MANY: &str = "2000000";

/// `StopLogging` on the trail `name` by an IAM user, in its envelope.
pub fn stop(id: &str, name: &str) -> Value {
    let mut event = fixture("stop_logging");
    event["detail"]["eventID"] = json!(id);
    event["detail"]["requestParameters"]["name"] = json!(name);
    event
}

/// The same in another account.
pub fn stop_in(account: &str, id: &str, name: &str) -> Value {
    let mut event = stop(id, name);
    event["account"] = json!(account);
    event["detail"]["recipientAccountId"] = json!(account);
    event["detail"]["userIdentity"]["accountId"] = json!(account);
    event
}

/// Account number so and so.
pub fn account(number: usize) -> String {
    format!("{MANY}{number:05}")
}

/// The same in an account of its own for each number: CloudTrail takes one restart a second of an account in a Region.
pub fn stop_of(number: usize, id: &str, name: &str) -> Value {
    stop_in(&account(number), id, name)
}

/// An event of tests/fixtures, or what lies in a folder there.
pub fn fixture(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{name}.json"));
    let text = std::fs::read_to_string(&path).expect("a fixture");
    let text = text.replace("{account}", ACCOUNT).replace("{region}", REGION);
    serde_json::from_str(&text).expect("JSON")
}

/// A CloudTrail record as the `detail` of an envelope, unless it is in one already.
pub fn in_envelope(record: Value) -> Value {
    if record.get("detail").is_some() {
        return record;
    }
    json!({
        "version": "0",
        "id": "00000000-0000-0000-0000-000000000000",
        "detail-type": "AWS API Call via CloudTrail",
        "source": "aws.cloudtrail",
        "account": record["recipientAccountId"],
        "time": record["eventTime"],
        "region": record["awsRegion"],
        "resources": [],
        "detail": record,
    })
}

/// The recorded events of other people's accounts, where they are beside the checkout.
pub fn recorded() -> Option<Vec<(PathBuf, Value)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/events");
    let files = std::fs::read_dir(folder).ok()?;
    let mut events: Vec<_> = files
        .filter_map(|file| {
            Some(file.ok()?.path()).filter(|path| path.extension().is_some_and(|end| end == "json"))
        })
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("readable");
            (path, serde_json::from_str(&text).expect("JSON"))
        })
        .collect();
    events.sort_by(|(one, _), (other, _)| one.cmp(other));
    Some(events)
}
