//! The state table: the adapter for DynamoDB itself, on a table that throttles, answers late or not at all, and
//! carries out what its caller has given up on; and workers whose clocks differ.

use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::Instant;
use trailkeeper::clock;
use trailkeeper::outcome::Reason;
use trailkeeper::retry::Failure;
use trailkeeper::state::{
    Asking, Claim, Claimed, Counts, DynamoStore, Ending, Key, Step, Steps, Store, StoreError,
};

use super::cloud::response;
use super::world::{Process, Side};
use crate::support::aws::REGION;

pub(super) const TABLE: &str = "claims";
/// Longer than any seed runs.
pub(super) const REMEMBER: Duration = Duration::from_hours(336);
/// Half of what the adapter allows two workers' clocks to differ by.
pub(super) const MAX_SKEW_MS: u64 = 1_000;
/// A number above this is a time in milliseconds.
const TIMES: i64 = 1_000_000_000_000;

/// How a request goes wrong.
#[derive(Debug, Clone, Copy)]
enum Wrong {
    Refused(u16, &'static str),
    NoConnection,
    /// Carried out or not, and not answered.
    Unheard,
}

/// An item, as a worker reads it.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) status: String,
    pub(super) fence: u64,
    pub(super) attempts: u32,
    /// By the worker's own clock.
    pub(super) lease_until: Option<Instant>,
    pub(super) steps: Steps,
    pub(super) reason: Option<Reason>,
}

impl Item {
    fn read(item: &Value) -> Self {
        let number = |name: &str| item[name]["N"].as_str().and_then(|number| number.parse::<i64>().ok());
        let text = |name: &str| item[name]["S"].as_str();
        let reason = text("reason");
        let steps = item["steps"]["M"].as_object().into_iter().flatten();
        let steps = steps.map(|(step, done)| (step.as_str(), done["S"].as_str().expect("text")));
        let now = (Instant::now(), clock::now().unix_timestamp_nanos() / 1_000_000);
        let instant = |millis: i64| {
            let left = u64::try_from(i128::from(millis) - now.1).unwrap_or_default();
            now.0 + Duration::from_millis(left)
        };
        Self {
            status: text("status").unwrap_or_default().to_owned(),
            fence: number("fence").and_then(|fence| fence.try_into().ok()).unwrap_or_default(),
            attempts: number("attempts").and_then(|attempts| attempts.try_into().ok()).unwrap_or_default(),
            lease_until: number("lease_until").map(instant),
            steps: Steps::read(steps),
            reason: reason.and_then(Reason::parse),
        }
    }
}

/// Moves every time in a request or an answer by so many milliseconds.
fn move_times(value: &mut Value, by: i64) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field.as_str().and_then(|number| number.parse::<i64>().ok()) {
                    Some(time) if name == "N" && time > TIMES => *field = json!((time + by).to_string()),
                    _ => move_times(field, by),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| move_times(value, by)),
        _ => {}
    }
}

/// Makes a request what 0.1.0 would have sent: it knows neither how long a lease is nor by which message it was claimed, believes what
/// the clock says of a lease, and takes over nothing that it has watched.
fn as_of_0_1_0(body: &mut Value) {
    for (field, text) in [
        ("UpdateExpression", ", lease_ms = :lease"),
        ("UpdateExpression", ", lease_token = :token"),
        ("UpdateExpression", ", message = :asking"),
        ("ConditionExpression", " AND (attribute_not_exists(message) OR message = :asking)"),
    ] {
        let said = body[field].as_str().unwrap_or_default().replace(text, "");
        body[field] = json!(said);
    }
    if body["ConditionExpression"].as_str().is_some_and(|condition| condition.contains(":unmoved")) {
        body["ConditionExpression"] = json!("attribute_exists(pk) AND attribute_not_exists(pk)");
    }
}

impl Process {
    /// One request to the table. Once it has left it arrives, even if its caller gives up on it or dies.
    pub(super) async fn table_call(
        self,
        operation: String,
        mut body: Value,
    ) -> Result<HttpResponse, ConnectorError> {
        self.leave().await;
        move_times(&mut body, self.skew_ms);
        if self.is_of_0_1_0 {
            as_of_0_1_0(&mut body);
        }
        let (answering, answer) = oneshot::channel();
        let process = self.clone();
        tokio::spawn(async move {
            // Nobody may be waiting for the answer any more.
            let _ = answering.send(process.arrives(&operation, body).await);
        });
        let answer = match answer.await.expect("no panic") {
            Some(answer) => answer,
            None => std::future::pending().await,
        };
        self.homeward().await;
        answer
    }

    /// What the table makes of a request, and `None` if nobody hears of that.
    async fn arrives(&self, operation: &str, body: Value) -> Option<Result<HttpResponse, ConnectorError>> {
        tokio::time::sleep(self.latency()).await;
        let wrong = self.table_goes_wrong();
        match wrong {
            Some(Wrong::Refused(status, code)) => {
                return Some(Ok(response(status, json!({ "__type": code, "message": "so" }).to_string())));
            }
            Some(Wrong::NoConnection) => {
                return Some(Err(ConnectorError::io("connection reset".into())));
            }
            Some(Wrong::Unheard) if self.world.coin() => return None,
            Some(Wrong::Unheard) | None => {}
        }
        let answer = self.carry_out_write(operation, body).await;
        if wrong.is_some() {
            self.world.book().note(&format!("{self:?} does not hear of its write"));
            return None;
        }
        Some(Ok(answer))
    }

    fn table_goes_wrong(&self) -> Option<Wrong> {
        let world = &self.world;
        if world.is_down(Side::Store) || world.fails(world.rates.throttled) {
            let all = [
                Wrong::Refused(400, "ThrottlingException"),
                Wrong::Refused(400, "ProvisionedThroughputExceededException"),
                Wrong::Refused(500, "InternalServerError"),
                Wrong::NoConnection,
                Wrong::Unheard,
            ];
            return Some(all[world.chance().usize(..all.len())]);
        }
        world.fails(world.rates.unheard).then_some(Wrong::Unheard)
    }

    async fn carry_out_write(&self, operation: &str, mut body: Value) -> HttpResponse {
        let key = body["Key"]["pk"]["S"].as_str().unwrap_or_default();
        let key = key.to_owned();
        let Some(event) = key.strip_prefix("event#").map(str::to_owned) else {
            // A worker that looks whether the table answers, or what the sweep claims and writes down.
            let answered = self.world.table.call(REGION, operation, &body).await;
            let mut answer: Value = serde_json::from_slice(&answered.body).unwrap_or_default();
            move_times(&mut answer, -self.skew_ms);
            if let Some(document) = body["ExpressionAttributeValues"][":document"]["S"].as_str() {
                self.world.book().note(&format!("{self:?} writes {key}: {document}"));
            }
            return response(answered.status, answer.to_string());
        };
        // For the book, which is told what every write came to.
        body["ReturnValues"] = json!("ALL_NEW");
        let answered = self.world.table.call(REGION, operation, &body).await;
        let mut answer: Value = serde_json::from_slice(&answered.body).expect("JSON");
        move_times(&mut answer, -self.skew_ms);
        if answered.status == 200 {
            self.world.book().written(self.name, &event, &Item::read(&answer["Attributes"]));
        } else {
            let why = answer["__type"].as_str().unwrap_or_default().to_owned();
            self.world.book().unwritten(self.name, &event, &why);
        }
        response(answered.status, answer.to_string())
    }
}

/// The adapter of one worker, and what only the worker knows of it.
pub(super) struct Watched {
    process: Process,
    store: DynamoStore,
}

impl Watched {
    pub(super) fn new(process: &Process) -> Self {
        let owner = format!("{process:?}");
        let store = DynamoStore::new(&process.sdk_config(), TABLE.to_owned(), owner, REMEMBER);
        Self { process: process.clone(), store }
    }

    /// The adapter, for a write of this claim.
    fn of(&self, claim: &Claim) -> &DynamoStore {
        self.process.world.book().working(self.process.name, claim);
        &self.store
    }

    /// What became of a write of this claim.
    fn written(&self, claim: &Claim, written: &Result<(), StoreError>) {
        let mut book = self.process.world.book();
        match written {
            Ok(()) => book.table_answered(self.process.name),
            Err(StoreError::Lost) => {
                book.table_answered(self.process.name);
                book.overtaken(self.process.name, claim);
            }
            Err(_) => {}
        }
    }
}

/// What the book is told if nobody waits for an answer any longer.
struct Unheard<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Unheard<F> {
    fn heard(mut self) {
        self.0 = None;
    }
}

impl<F: FnOnce()> Drop for Unheard<F> {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell();
        }
    }
}

impl Store for Watched {
    async fn claim(&self, key: &Key, lease: Duration, asking: Asking<'_>) -> Result<Claimed, StoreError> {
        let unheard = Unheard(Some(|| self.process.world.book().unclaimed(self.process.name, key)));
        let claimed = self.store.claim(key, lease, asking).await;
        unheard.heard();
        let mut book = self.process.world.book();
        match &claimed {
            Ok(answer) => {
                book.table_answered(self.process.name);
                if let Claimed::Yours(_) = answer {
                    book.claimed(self.process.name, key);
                }
            }
            Err(_) => book.unclaimed(self.process.name, key),
        }
        drop(book);
        claimed
    }

    async fn extend(&self, claim: &Claim, lease: Duration) -> Result<(), StoreError> {
        let extended = self.of(claim).extend(claim, lease).await;
        self.written(claim, &extended);
        extended
    }

    async fn record(&self, claim: &Claim, steps: &[Step]) -> Result<(), StoreError> {
        self.process.world.book().recording(self.process.name, claim, steps);
        let recorded = self.of(claim).record(claim, steps).await;
        self.written(claim, &recorded);
        recorded
    }

    async fn release(&self, claim: &Claim, counts: Counts, steps: &[Step]) -> Result<(), StoreError> {
        self.process.world.book().recording(self.process.name, claim, steps);
        let released = self.of(claim).release(claim, counts, steps).await;
        self.written(claim, &released);
        released
    }

    async fn complete(&self, claim: &Claim, ending: Ending, steps: &[Step]) -> Result<(), StoreError> {
        self.process.world.book().recording(self.process.name, claim, steps);
        let unheard = Unheard(Some(|| self.process.world.book().end_unwritten(self.process.name, claim)));
        let completed = self.of(claim).complete(claim, ending, steps).await;
        unheard.heard();
        self.written(claim, &completed);
        if let Err(StoreError::Silent(_)) = completed {
            self.process.world.book().end_unwritten(self.process.name, claim);
        }
        completed
    }

    async fn probe(&self) -> Result<(), Failure> {
        self.store.probe().await
    }
}
