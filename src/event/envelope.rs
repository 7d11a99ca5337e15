//! The EventBridge envelope and the CloudTrail record inside it, and what kind of event that makes.

use serde::Deserialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::identity::{Actor, UserIdentity};
use super::lenient::{Object, Text};
use super::parameters::Parameters;
use super::trail::{AccountId, EventId, MAX_EVENT_ID_BYTES, Region, TrailArn, Untargetable};

/// The largest body read: the largest message that SQS carries.
pub const MAX_BODY_BYTES: usize = 1_048_576;
/// The longest `eventName` taken, in bytes; AWS's longest are half of it.
const MAX_EVENT_NAME_BYTES: usize = 128;

/// The `detail-type` of a CloudTrail event.
const CLOUDTRAIL_EVENT: &str = "AWS API Call via CloudTrail";

const CLOUDTRAIL: &str = "cloudtrail.amazonaws.com";
const S3: &str = "s3.amazonaws.com";
const KMS: &str = "kms.amazonaws.com";

/// Calls to CloudTrail itself that disable or weaken it (MITRE ATT&CK T1562.008).
const WEAKENS_CLOUDTRAIL: [&str; 9] = [
    "StopLogging",
    "DeleteTrail",
    "UpdateTrail",
    "PutEventSelectors",
    "PutInsightSelectors",
    "StopEventDataStoreIngestion",
    "DeleteEventDataStore",
    "UpdateEventDataStore",
    "DeregisterOrganizationDelegatedAdmin",
];
/// Calls that weaken CloudTrail when they hit its log bucket. Which bucket that is, the rule that routes them
/// here knows: whatever of these arrives was sent on purpose.
const WEAKENS_BUCKET: [&str; 4] =
    ["PutBucketLifecycle", "PutBucketLifecycleConfiguration", "DeleteBucket", "PutBucketPolicy"];
/// The same for the key that encrypts the logs.
const WEAKENS_KEY: [&str; 2] = ["ScheduleKeyDeletion", "DisableKey"];

/// What an event is, as far as it decides what is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `StopLogging` that took effect: restart.
    Stopped,
    /// Another call that took effect and weakens CloudTrail: tell people.
    Weakened,
    /// Any of these calls that failed (`errorCode`): nothing changed, but somebody tried.
    FailedCall,
    /// Nothing to do with switching CloudTrail off.
    Other,
}

/// One CloudTrail event, taken out of its envelope.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Duplicates share it.
    pub id: EventId,
    /// `eventName`: the API call.
    pub name: String,
    pub kind: Kind,
    pub origin: Origin,
    /// The trail (name or ARN) or other resource that the call was about, as the event names it. Untrusted text.
    pub resource: Option<String>,
    /// The account that owns the trail: never the caller's.
    pub account: Option<AccountId>,
    /// The region of the trail, else of the call.
    pub region: Option<Region>,
    pub parameters: Parameters,
    /// When the call was made, UTC with whole seconds. As written: it may lie in the future or in 1970.
    pub time: Option<OffsetDateTime>,
    pub actor: Actor,
    /// An IP address, a DNS name or `AWS Internal`. Untrusted text.
    pub source_address: Option<String>,
    /// Untrusted text.
    pub user_agent: Option<String>,
    /// Why the call failed, if it did.
    pub error_code: Option<String>,
}

/// Where an event comes from, as it says itself. Untrusted text, where it is text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// `eventSource`: the service that was called.
    pub service: Option<String>,
    /// `eventCategory`: `Management`, `Data`, `NetworkActivity`, `Insight`.
    pub category: Option<String>,
    /// `eventType`: `AwsApiCall`, `AwsVpceEvent` and so on.
    pub event_type: Option<String>,
    /// EventBridge's `detail-type`.
    pub detail_type: Option<String>,
    /// The account in which the call was made and recorded, which may be another than the trail's.
    pub account: Option<AccountId>,
    /// The region in which the call was made and recorded, which may be another than the trail's.
    pub region: Option<Region>,
}

impl Event {
    /// The trail that the event is about, complete enough to act on.
    pub fn target(&self) -> Result<TrailArn, Untargetable> {
        TrailArn::complete(self.resource.as_deref(), self.account.as_ref(), self.region.as_ref())
    }
}

/// Why a body is no CloudTrail event. The texts hold nothing of the body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the body is empty")]
    Empty,
    /// More than [`MAX_BODY_BYTES`].
    #[error("the body has {0} bytes, more than {MAX_BODY_BYTES}")]
    TooLong(usize),
    /// Not JSON, nested too deep, or the same field twice.
    #[error("the body is not readable JSON: {0} at line {1}, column {2}")]
    NotJson(&'static str, usize, usize),
    /// JSON, but not an object with an object `detail`.
    #[error("the body is not an EventBridge envelope: {0}")]
    NotAnEnvelope(&'static str),
    /// An event of EventBridge, and not one of CloudTrail.
    #[error(
        "it is another kind of EventBridge event than `{CLOUDTRAIL_EVENT}`: narrow the rule that sends it"
    )]
    AnotherKind,
    /// No `eventID`, or one that is out of bounds.
    #[error("detail.eventID is missing, of a wrong type, or not 1 to {MAX_EVENT_ID_BYTES} plain characters")]
    NoId,
    /// No `eventName`, or one that is out of bounds, in the event of this id.
    #[error(
        "detail.eventName is missing, of a wrong type, or not 1 to {MAX_EVENT_NAME_BYTES} plain characters"
    )]
    NoName(EventId),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Envelope {
    #[serde(rename = "detail-type")]
    detail_type: Text,
    account: Text,
    region: Text,
    time: Text,
    detail: Object<Detail>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Detail {
    #[serde(rename = "eventID")]
    event_id: Text,
    event_name: Text,
    event_source: Text,
    event_category: Text,
    event_type: Text,
    event_time: Text,
    aws_region: Text,
    recipient_account_id: Text,
    #[serde(rename = "sourceIPAddress")]
    source_ip_address: Text,
    user_agent: Text,
    error_code: Text,
    error_message: Text,
    user_identity: Object<UserIdentity>,
    request_parameters: Option<Box<RawValue>>,
}

/// The calls that weaken CloudTrail, each with the service that it is a call to; `StopLogging` is the first.
pub fn weakening_calls() -> impl Iterator<Item = (&'static str, &'static str)> {
    let of = |service, names: &'static [&'static str]| names.iter().map(move |name| (service, *name));
    of(CLOUDTRAIL, &WEAKENS_CLOUDTRAIL).chain(of(S3, &WEAKENS_BUCKET)).chain(of(KMS, &WEAKENS_KEY))
}

/// What a call is about, as its parameters name it. Nothing else of them is looked at here: whatever stands around these,
/// and however much of it, a caller cannot hide which trail it was.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Named {
    name: Text,
    trail_name: Text,
    event_data_store: Text,
    bucket_name: Text,
    key_id: Text,
    delegated_admin_account_id: Text,
}

impl Named {
    /// The first that is there.
    fn resource(&self) -> Option<&str> {
        let Self { name, trail_name, event_data_store, bucket_name, key_id, delegated_admin_account_id } =
            self;
        [name, trail_name, event_data_store, bucket_name, key_id, delegated_admin_account_id]
            .into_iter()
            .find_map(Text::get)
    }
}

/// Reads a message body: an EventBridge envelope around a CloudTrail event.
///
/// Only what decides is demanded: JSON, an envelope, an `eventID` and an `eventName`. Every other field may be
/// absent or of any type, and is then unknown.
pub fn parse(body: &str) -> Result<Event, Malformed> {
    if body.len() > MAX_BODY_BYTES {
        return Err(Malformed::TooLong(body.len()));
    }
    if body.trim().is_empty() {
        return Err(Malformed::Empty);
    }
    let Object(envelope) =
        serde_json::from_str::<Object<Envelope>>(body).map_err(|error| not_json(&error))?;
    let envelope = envelope.ok_or(Malformed::NotAnEnvelope("it is not an object"))?;
    let detail = envelope.detail.0.as_ref().ok_or(Malformed::NotAnEnvelope("it has no object `detail`"))?;
    let id = detail.event_id.get().and_then(EventId::parse).ok_or_else(|| {
        let another = envelope.detail_type.get().is_some_and(|kind| kind != CLOUDTRAIL_EVENT);
        if another && detail.event_id == Text::default() { Malformed::AnotherKind } else { Malformed::NoId }
    })?;
    let fits =
        |name: &&str| name.len() <= MAX_EVENT_NAME_BYTES && name.bytes().all(|byte| byte.is_ascii_graphic());
    let Some(name) = detail.event_name.get().filter(fits) else {
        return Err(Malformed::NoName(id));
    };
    let name = name.to_owned();
    let requested = detail.request_parameters.as_ref().map_or("null", |raw| raw.get());
    let Object(named) = serde_json::from_str::<Object<Named>>(requested).map_err(|error| not_json(&error))?;
    let parameters = Parameters::read(requested);
    Ok(event(envelope, id, name, &named.unwrap_or_default(), parameters))
}

fn event(envelope: Envelope, id: EventId, name: String, named: &Named, parameters: Parameters) -> Event {
    let Envelope { detail_type, account: envelope_account, region: envelope_region, time, detail } = envelope;
    let detail = detail.0.unwrap_or_default();
    // A denied call has no parameters: its trail stands in the error message alone.
    let denied = || detail.error_message.get().and_then(TrailArn::find).map(|arn| arn.to_string());
    let resource = named.resource().map(str::to_owned).or_else(denied);
    let arn = resource.as_deref().and_then(TrailArn::parse);
    let origin = Origin {
        service: detail.event_source.take(),
        category: detail.event_category.take(),
        event_type: detail.event_type.take(),
        detail_type: detail_type.take(),
        account: [&detail.recipient_account_id, &envelope_account].into_iter().find_map(account_in),
        region: [&detail.aws_region, &envelope_region].into_iter().find_map(region_in),
    };
    Event {
        id,
        kind: kind(&name, origin.service.as_deref(), detail.error_code.get().is_some()),
        name,
        resource,
        account: arn.as_ref().map(|arn| arn.account().clone()).or_else(|| origin.account.clone()),
        region: arn.as_ref().map(|arn| arn.region().clone()).or_else(|| origin.region.clone()),
        origin,
        parameters,
        time: [&detail.event_time, &time].into_iter().find_map(time_in),
        actor: Actor::from_identity(detail.user_identity.0.as_ref()),
        source_address: detail.source_ip_address.take(),
        user_agent: detail.user_agent.take(),
        error_code: detail.error_code.take(),
    }
}

/// An absent source is taken for the right one: the name alone then decides, and deciding wrongly costs a
/// call to `GetTrailStatus`, where ignoring wrongly would cost a trail.
fn kind(name: &str, source: Option<&str>, failed: bool) -> Kind {
    let weakens = weakening_calls()
        .any(|(service, call)| call == name && source.is_none_or(|source| source == service));
    match (weakens, failed, name) {
        (false, _, _) => Kind::Other,
        (true, true, _) => Kind::FailedCall,
        (true, false, "StopLogging") => Kind::Stopped,
        (true, false, _) => Kind::Weakened,
    }
}

fn account_in(text: &Text) -> Option<AccountId> {
    text.get().and_then(AccountId::parse)
}

fn region_in(text: &Text) -> Option<Region> {
    text.get().and_then(Region::parse)
}

fn time_in(text: &Text) -> Option<OffsetDateTime> {
    text.get().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok())
}

/// `serde_json`'s own messages can quote the body, so only the class and the place are kept.
fn not_json(error: &serde_json::Error) -> Malformed {
    let class = match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Syntax => "a syntax error, or nested too deep",
        serde_json::error::Category::Data => "a field that stands twice",
        serde_json::error::Category::Io => "unreadable",
    };
    Malformed::NotJson(class, error.line(), error.column())
}
