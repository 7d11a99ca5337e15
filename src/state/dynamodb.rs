//! Claims in a DynamoDB table that all workers share.
//!
//! One item for each key, and one conditional `UpdateItem` for each write, so that no two workers can both
//! be told yes. An event that goes well takes three: claimed, restored, and notified and completed in one.
//!
//! | attribute | type | meaning |
//! |---|---|---|
//! | `pk` | S | the partition key: `event#` and the event's id |
//! | `status` | S | `held`, `free`, `done` or `dead` |
//! | `owner` | S | the worker that holds it |
//! | `token` | S | drawn for each claim, so that a claim knows its own write again |
//! | `fence` | N | rises with each claim |
//! | `attempts` | N | executions |
//! | `lease_until` | N | when the claim ends unless it is extended, in milliseconds since 1970, by the owner's clock |
//! | `lease_ms` | N | how long that is from when it was claimed or extended, whatever the clock |
//! | `lease_token` | S | the token of the claim whose length that is: another's was made by 0.1.0, which says none |
//! | `message` | S | the message that it was claimed by |
//! | `first_claimed_at` | N | likewise |
//! | `steps` | M | what is done: by step, as JSON |
//! | `reason`, `detail` | S | of a dead event |
//! | `reopened_by` | SS | the messages from the dead letters that took the event up anew |
//! | `expires_at` | N | for the table's TTL, in seconds since 1970 |
//!
//! Attributes and steps that another version has written beside these stay as they are: a write sets what it names, and
//! nothing else. Only dead work that is taken up anew begins without steps.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, UpdateItemOutput};
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::{Asking, Claim, Claimed, Counts, Ending, Key, Step, Steps, Store, StoreError};
use crate::aws;
use crate::clock;
use crate::retry::{Failure, RetryPolicy};

/// For one answer: a table that takes longer is as good as down, and a stopped trail is waiting.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Tries of one write, spread over some seconds: throttling passes, and each write is conditional, so one that
/// did happen without our hearing of it is refused or repeated to the same end.
const TRIES: RetryPolicy =
    RetryPolicy { max_attempts: 4, base: Duration::from_millis(100), max: Duration::from_secs(1) };
/// The longest that a write takes: each try, and a wait, twice it and twice that between them.
pub(crate) const LONGEST_WRITE: Duration =
    ANSWER_TIMEOUT.saturating_mul(TRIES.max_attempts).saturating_add(TRIES.base.saturating_mul(7));
/// How far the clocks of two workers may differ: a lease is taken over only when it has been over this long.
pub(crate) const CLOCK_MARGIN: Duration = Duration::from_secs(2);
/// How long a lease of 0.1.0 is, which does not say: its default.
const LEASE_OF_0_1_0: Duration = Duration::from_mins(2);
/// The longest lease that is believed: SQS hides no message for longer.
const MAX_LEASE: Duration = Duration::from_hours(12);
/// Claims of others that are watched at once, some 100 bytes each. Beyond that the watch begins anew, and takes longer.
const MAX_WATCHED: usize = 4_096;

/// What every claim of an event sets that has not ended.
const CLAIM: &str = "SET #status = :held, #owner = :owner, #token = :token, lease_until = :until, lease_ms = :lease, lease_token = :token, \
                     message = :asking, expires_at = :expires, first_claimed_at = if_not_exists(first_claimed_at, :now), \
                     steps = if_not_exists(steps, :none) ADD fence :one, attempts :one";

/// Holds for the owner of a claim, until it is released, ended or taken over.
const IS_OURS: &str = "#status = :held AND #owner = :owner AND fence = :fence";

pub(super) type Item = HashMap<String, AttributeValue>;

/// [`Store`] in a table.
#[derive(Debug)]
pub struct DynamoStore {
    client: Client,
    table: String,
    owner: String,
    remember: Duration,
    /// Claims of others, as they were when they last moved, and when that was first seen. Clocks may be wrong; that a claim
    /// does not move for as long as its lease lasts shows that its owner is gone.
    watched: Mutex<HashMap<Key, (Moment, Instant)>>,
}

/// What changes in an item each time its claim is made or extended; as it is written, though nobody could read it.
type Moment = [(&'static str, Option<AttributeValue>); 3];

/// How a write ended, if the table answered.
pub(super) enum Written {
    /// It is done; the item as it is now, where asked for.
    Done(Item),
    /// Its condition does not hold; the item as it is. On a later try the reason may be that an earlier one was
    /// carried out, and its answer lost.
    Refused { item: Item, again: bool },
}

/// A client for single writes.
pub(super) fn client(sdk: &SdkConfig) -> Client {
    let config = aws_sdk_dynamodb::config::Builder::from(sdk)
        .interceptor(aws::Traced)
        .retry_config(RetryConfig::disabled())
        .timeout_config(aws::timeouts(ANSWER_TIMEOUT));
    Client::from_conf(config.build())
}

impl DynamoStore {
    /// `owner` names this worker and nobody else; an ended event is remembered for `remember`.
    #[must_use]
    pub fn new(sdk: &SdkConfig, table: String, owner: String, remember: Duration) -> Self {
        Self { client: client(sdk), table, owner, remember, watched: Mutex::default() }
    }

    fn update(&self, key: &Key) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .key("pk", text(key.to_string()))
            .expression_attribute_names("#status", "status")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }

    /// A write by the owner of `claim`, refused to anyone else.
    ///
    /// A request that was given up on may still arrive, after the ones that came later: what it writes must do
    /// no harm then.
    fn update_as(&self, claim: &Claim) -> UpdateItemFluentBuilder {
        self.update(&claim.key)
            .condition_expression(IS_OURS)
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_values(":held", text("held"))
            .expression_attribute_values(":owner", text(&self.owner))
            .expression_attribute_values(":fence", number(claim.fence))
    }

    /// Sends a write of [`Self::update_as`], which leaves the item with this status.
    async fn write_as(
        &self,
        claim: &Claim,
        request: &UpdateItemFluentBuilder,
        status: &str,
    ) -> Result<(), StoreError> {
        let (item, again) = match write(request).await? {
            Written::Done(_) => return Ok(()),
            Written::Refused { item, again } => (item, again),
        };
        let fence = number_in(&item, "fence").and_then(|fence| u64::try_from(fence).ok());
        let as_written = fence == Some(claim.fence) && text_in(&item, "status") == Some(status);
        // Nobody else gives it this status under our fence: an earlier try did, or it is still ours, and a later
        // write has overtaken this one.
        if as_written && (again || status == "held") { Ok(()) } else { Err(StoreError::Lost) }
    }

    /// The values that every claim sets.
    fn claiming(
        &self,
        request: UpdateItemFluentBuilder,
        lease: Duration,
        token: &str,
        message: &str,
    ) -> UpdateItemFluentBuilder {
        let now = clock::now();
        request
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_values(":held", text("held"))
            .expression_attribute_values(":owner", text(&self.owner))
            .expression_attribute_values(":until", number(millis(now + lease)))
            .expression_attribute_values(":lease", number(milliseconds(lease)))
            .expression_attribute_values(":asking", text(message))
            .expression_attribute_values(":now", number(millis(now)))
            .expression_attribute_names("#token", "token")
            .expression_attribute_values(":token", text(token))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":none", AttributeValue::M(HashMap::new()))
            .expression_attribute_values(":expires", number(seconds(now + self.remember)))
            .return_values(ReturnValue::AllNew)
    }

    /// Claims an event that is new, released, or abandoned: the message that it was claimed by has come back, and its lease is
    /// over. Of a claim of 0.1.0, which names no message, that the lease is over must do.
    async fn claim_open(
        &self,
        key: &Key,
        lease: Duration,
        token: &str,
        message: &str,
    ) -> Result<Written, StoreError> {
        let over = millis(clock::now() - CLOCK_MARGIN);
        let request = self
            .claiming(self.update(key), lease, token, message)
            .update_expression(CLAIM)
            .condition_expression(
                "attribute_not_exists(pk) OR #status = :free OR (#status = :held AND lease_until < :over \
                 AND (attribute_not_exists(message) OR message = :asking))",
            )
            .expression_attribute_values(":free", text("free"))
            .expression_attribute_values(":over", number(over));
        write(&request).await
    }

    /// Claims an event whose claim has not moved for as long as its lease lasts, if it still has not.
    async fn claim_watched(
        &self,
        key: &Key,
        lease: Duration,
        token: &str,
        message: &str,
        unmoved: Moment,
    ) -> Result<Written, StoreError> {
        let mut request = self.claiming(self.update(key), lease, token, message).update_expression(CLAIM);
        let mut conditions = Vec::new();
        for (name, value) in unmoved {
            request = request.expression_attribute_names(format!("#{name}"), name);
            match value {
                Some(value) => {
                    conditions.push(format!("#{name} = :seen_{name}"));
                    request = request.expression_attribute_values(format!(":seen_{name}"), value);
                }
                None => conditions.push(format!("attribute_not_exists(#{name})")),
            }
        }
        write(&request.condition_expression(conditions.join(" AND "))).await
    }

    /// For how long the claim has been seen as it is.
    fn watch(&self, key: &Key, moment: &Moment) -> Duration {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if watched.len() >= MAX_WATCHED && !watched.contains_key(key) {
            watched.clear();
        }
        let now = Instant::now();
        let (seen, since) = watched.entry(key.clone()).or_insert_with(|| (moment.clone(), now));
        if seen != moment {
            (*seen, *since) = (moment.clone(), now);
        }
        now - *since
    }

    fn stop_watching(&self, key: &Key) {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Asks for an event that somebody else holds, as `item` says; or whose item says nothing that can be read, which is taken
    /// over likewise: its trail must not stay off because of that.
    async fn claim_held(
        &self,
        key: &Key,
        lease: Duration,
        token: &str,
        message: &str,
        item: &Item,
    ) -> Result<Claimed, StoreError> {
        let moment = ["status", "fence", "lease_until"].map(|name| (name, item.get(name).cloned()));
        // 0.1.0 leaves the length of an earlier claim as it was.
        let is_of_this_claim = text_in(item, "lease_token") == text_in(item, "token");
        let length = number_in(item, "lease_ms")
            .filter(|_| is_of_this_claim)
            .and_then(|millis| u64::try_from(millis).ok());
        let length = length.map_or(LEASE_OF_0_1_0, Duration::from_millis).min(MAX_LEASE);
        let unseen = length.checked_sub(self.watch(key, &moment)).filter(|unseen| !unseen.is_zero());
        let Some(unseen) = unseen else {
            self.stop_watching(key);
            return match self.claim_watched(key, lease, token, message, moment).await? {
                Written::Done(item) => yours(key, &item),
                Written::Refused { item, .. } if text_in(&item, "token") == Some(token) => yours(key, &item),
                // It has moved, or somebody was faster.
                Written::Refused { .. } => Ok(Claimed::Held { ends_in: length }),
            };
        };
        // If this is the message that it was claimed by, the owner's clock may be right, and the lease over sooner.
        let is_its_own = text_in(item, "message").is_none_or(|its| its == message);
        let lease_until = number_in(item, "lease_until").filter(|_| is_its_own);
        let by_clock = lease_until.map(|until| until.saturating_sub(millis(clock::now())));
        let by_clock = by_clock.map(|left| Duration::from_millis(u64::try_from(left).unwrap_or_default()));
        Ok(Claimed::Held { ends_in: by_clock.map_or(unseen, |left| left.min(unseen)) })
    }

    /// Claims an ended event anew, if it is still as we saw it.
    async fn claim_anew(
        &self,
        key: &Key,
        lease: Duration,
        token: &str,
        seen: &Item,
        asking: Asking<'_>,
    ) -> Result<Written, StoreError> {
        let reopen = asking.redriven.then_some(asking.message);
        let request = self
            .claiming(self.update(key), lease, token, asking.message)
            .update_expression(
                "SET #status = :held, #owner = :owner, #token = :token, lease_until = :until, lease_ms = :lease, lease_token = :token, \
                 message = :asking, expires_at = :expires, \
                 first_claimed_at = :now, steps = :none, attempts = :one \
                 REMOVE reason, detail ADD fence :one, reopened_by :message",
            )
            .condition_expression("#status = :seen AND fence = :fence")
            // An event that is over and not put back has no message to name; a set cannot be empty.
            .expression_attribute_values(":message", AttributeValue::Ss(vec![reopen.unwrap_or("-").to_owned()]))
            .expression_attribute_values(":seen", text(text_in(seen, "status").unwrap_or_default()))
            .expression_attribute_values(":fence", number(number_in(seen, "fence").unwrap_or_default()));
        write(&request).await
    }
}

impl Store for DynamoStore {
    async fn claim(&self, key: &Key, lease: Duration, asking: Asking<'_>) -> Result<Claimed, StoreError> {
        let token = format!("{:016x}", fastrand::u64(..));
        let is_ours = |item: &Item| text_in(item, "token") == Some(&token);
        let refused = match self.claim_open(key, lease, &token, asking.message).await? {
            Written::Done(item) => {
                self.stop_watching(key);
                return yours(key, &item);
            }
            // An earlier try got it, and its answer was lost.
            Written::Refused { item, .. } if is_ours(&item) => return yours(key, &item),
            Written::Refused { item, .. } => item,
        };
        let Some(ending) = ending_in(&refused) else {
            return self.claim_held(key, lease, &token, asking.message, &refused).await;
        };
        self.stop_watching(key);
        // The table's TTL deletes late, up to two days: an item that is over is as good as gone.
        let over = number_in(&refused, "expires_at").is_some_and(|at| at <= seconds(clock::now()));
        let before = refused.get("reopened_by").and_then(|before| before.as_ss().ok());
        let put_back =
            asking.redriven && !before.is_some_and(|before| before.iter().any(|one| one == asking.message));
        if over || (put_back && matches!(ending, Ending::Dead { .. })) {
            return match self.claim_anew(key, lease, &token, &refused, asking).await? {
                Written::Done(item) => yours(key, &item),
                Written::Refused { item, .. } if is_ours(&item) => yours(key, &item),
                // Somebody was faster, and holds it now.
                Written::Refused { .. } => Ok(Claimed::Held { ends_in: lease }),
            };
        }
        let attempts = number_in(&refused, "attempts").and_then(|count| u32::try_from(count).ok());
        Ok(Claimed::Ended { ending, attempts: attempts.unwrap_or_default() })
    }

    async fn extend(&self, claim: &Claim, lease: Duration) -> Result<(), StoreError> {
        let request = self
            .update_as(claim)
            .update_expression("SET lease_until = :until, lease_ms = :lease")
            .condition_expression(format!("{IS_OURS} AND lease_until <= :until"))
            .expression_attribute_values(":lease", number(milliseconds(lease)))
            .expression_attribute_values(":until", number(millis(clock::now() + lease)));
        self.write_as(claim, &request, "held").await
    }

    async fn record(&self, claim: &Claim, steps: &[Step]) -> Result<(), StoreError> {
        let (mut request, sets) = with_steps(self.update_as(claim), steps);
        if !sets.is_empty() {
            request = request.update_expression(format!("SET {}", sets.join(", ")));
        }
        self.write_as(claim, &request, "held").await
    }

    async fn release(&self, claim: &Claim, counts: Counts, steps: &[Step]) -> Result<(), StoreError> {
        let uncounted = match counts {
            Counts::Yes => 0,
            Counts::No => -1,
        };
        let (request, mut sets) = with_steps(self.update_as(claim), steps);
        sets.push("#status = :free".to_owned());
        let expression = format!("SET {} REMOVE #owner, lease_until ADD attempts :counted", sets.join(", "));
        let request = request
            .update_expression(expression)
            .expression_attribute_values(":free", text("free"))
            .expression_attribute_values(":counted", number(uncounted));
        self.write_as(claim, &request, "free").await
    }

    async fn complete(&self, claim: &Claim, ending: Ending, steps: &[Step]) -> Result<(), StoreError> {
        let (request, mut sets) = with_steps(self.update_as(claim), steps);
        sets.extend(["#status = :ended", "expires_at = :expires"].map(str::to_owned));
        let status = if ending == Ending::Done { "done" } else { "dead" };
        let mut request = request
            .expression_attribute_values(":ended", text(status))
            .expression_attribute_values(":expires", number(seconds(clock::now() + self.remember)));
        if let Ending::Dead { reason, detail } = ending {
            sets.extend(["reason = :reason", "detail = :detail"].map(str::to_owned));
            request = request
                .expression_attribute_values(":reason", text(reason))
                .expression_attribute_values(":detail", text(detail));
        }
        let expression = format!("SET {} REMOVE #owner, lease_until", sets.join(", "));
        self.write_as(claim, &request.update_expression(expression), status).await
    }

    /// Tries the table with a write that cannot happen: its refusal shows that table, key and permission are
    /// right. Transient when the table did not say.
    async fn probe(&self) -> Result<(), Failure> {
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", text("probe"))
            .update_expression("SET #status = :never")
            .condition_expression("attribute_exists(pk) AND attribute_not_exists(pk)")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":never", text("never"));
        let Err(error) = request.send().await else { return Ok(()) };
        let table = &self.table;
        let told = aws::describe(&error);
        match error.code() {
            Some("ConditionalCheckFailedException") => Ok(()),
            Some("ResourceNotFoundException") => Err(Failure::permanent(format!(
                "TRAILKEEPER_STATE_TABLE: there is no table {table} in this account and region"
            ))),
            Some("ValidationException") => Err(Failure::permanent(format!(
                "TRAILKEEPER_STATE_TABLE: the key of the table {table} is not a partition key `pk` of type string alone"
            ))),
            Some("AccessDeniedException") => Err(Failure::permanent(format!(
                "TRAILKEEPER_STATE_TABLE: {told}; allow dynamodb:UpdateItem on the table {table} to the worker's role"
            ))),
            _ => Err(Failure::transient(format!("TRAILKEEPER_STATE_TABLE: {table}: {told}"))),
        }
    }
}

/// A write of these steps, and what it sets. Each is by itself: a late arrival takes none back, and those of another version
/// stay.
fn with_steps(
    mut request: UpdateItemFluentBuilder,
    steps: &[Step],
) -> (UpdateItemFluentBuilder, Vec<String>) {
    let mut sets = Vec::new();
    for step in steps {
        let name = step.name();
        sets.push(format!("steps.#{name} = :{name}"));
        request = request
            .expression_attribute_values(format!(":{name}"), text(step.value().to_string()))
            .expression_attribute_names(format!("#{name}"), name);
    }
    (request, sets)
}

/// Sends a write until the table answers.
pub(super) async fn write(request: &UpdateItemFluentBuilder) -> Result<Written, StoreError> {
    let mut again = false;
    let sent = backon::Retryable::retry(|| request.clone().send(), TRIES.waits())
        .when(may_pass)
        .notify(|_, _| again = true)
        .await;
    written(sent, again)
}

/// Asks until the table answers.
pub(super) async fn asked<T, E, F>(asking: impl FnMut() -> F) -> Result<T, StoreError>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    F: Future<Output = Result<T, SdkError<E>>>,
{
    backon::Retryable::retry(asking, TRIES.waits())
        .when(|error| !is_refused(error))
        .await
        .map_err(|error| unanswered(&error))
}

/// Whether the table has said what no wait changes.
fn is_refused<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    let refusals = ["ResourceNotFoundException", "ValidationException", "AccessDeniedException"];
    error.code().is_some_and(|code| refusals.contains(&code))
}

/// Whether the same write may work when it is tried again.
fn may_pass(error: &SdkError<UpdateItemError>) -> bool {
    !is_refused(error) && error.code() != Some("ConditionalCheckFailedException")
}

pub(super) fn written(
    sent: Result<UpdateItemOutput, SdkError<UpdateItemError>>,
    again: bool,
) -> Result<Written, StoreError> {
    match sent {
        Ok(output) => Ok(Written::Done(output.attributes.unwrap_or_default())),
        Err(error) => match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(refusal)) => {
                Ok(Written::Refused { item: refusal.item().cloned().unwrap_or_default(), again })
            }
            _ => Err(unanswered(&error)),
        },
    }
}

fn unanswered<E: ProvideErrorMetadata + std::error::Error + 'static>(error: &SdkError<E>) -> StoreError {
    let told = aws::describe(error);
    if is_refused(error) { StoreError::Refused(told) } else { StoreError::Silent(told) }
}

/// The claim that was written into the item.
fn yours(key: &Key, item: &Item) -> Result<Claimed, StoreError> {
    let first_claimed_at = number_in(item, "first_claimed_at")
        .and_then(|millis| OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).ok());
    let fence = number_in(item, "fence").and_then(|fence| u64::try_from(fence).ok());
    let attempts = number_in(item, "attempts").and_then(|attempts| u32::try_from(attempts).ok());
    // Added to what was there, which nobody of us has written: they name no claim, and count nothing.
    let (Some(fence), Some(attempts)) = (fence, attempts) else {
        return Err(StoreError::Refused(format!(
            "fence or attempts of the item {key} are no numbers that a claim could have: delete the item"
        )));
    };
    Ok(Claimed::Yours(Claim {
        key: key.clone(),
        fence,
        attempts,
        first_claimed_at: first_claimed_at.unwrap_or_else(clock::now),
        steps: steps_in(item),
    }))
}

fn steps_in(item: &Item) -> Steps {
    let written = item.get("steps").and_then(|steps| steps.as_m().ok()).into_iter().flatten();
    Steps::read(written.filter_map(|(name, json)| Some((name.as_str(), json.as_s().ok()?.as_str()))))
}

/// How the event in the item ended, if it did.
fn ending_in(item: &Item) -> Option<Ending> {
    match text_in(item, "status")? {
        "done" => Some(Ending::Done),
        "dead" => {
            let named = |name| text_in(item, name).unwrap_or_default().to_owned();
            Some(Ending::Dead { reason: named("reason"), detail: named("detail") })
        }
        _ => None,
    }
}

pub(super) fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(super) fn number(number: impl Into<i128>) -> AttributeValue {
    AttributeValue::N(number.into().to_string())
}

pub(super) fn text_in<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

pub(super) fn number_in(item: &Item, name: &str) -> Option<i64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn millis(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

fn seconds(time: OffsetDateTime) -> i64 {
    time.unix_timestamp()
}
