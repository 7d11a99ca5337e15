//! The EventBridge envelope and the CloudTrail record inside it, and what kind of event that makes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::calls::{self, About, Call, Effect};
use super::identity::{Actor, UserIdentity};
use super::lenient::{Object, Text};
use super::parameters::Parameters;
use super::trail::{AccountId, EventId, MAX_EVENT_ID_BYTES, Region, TrailArn};

/// The largest body read: the largest message that SQS carries.
pub const MAX_BODY_BYTES: usize = 1_048_576;
/// The longest `eventName` taken, in bytes; AWS's longest are half of it.
const MAX_EVENT_NAME_BYTES: usize = 128;

/// The `detail-type` of a CloudTrail event.
const CLOUDTRAIL_EVENT: &str = "AWS API Call via CloudTrail";
/// That of an event of a VPC endpoint, and the `eventType` of its record.
const NETWORK_ACTIVITY: [&str; 2] = ["AWS Network Activity Event via CloudTrail", "AwsVpceEvent"];
/// That of an Insight, and the `eventType` of its record.
const INSIGHT: [&str; 2] = ["AWS Insight via CloudTrail", "AwsCloudTrailInsight"];
/// The `errorCode` of a call that the policy of a VPC endpoint refused. The service never heard of it, so there is no other
/// event of it.
const REFUSED_BY_ENDPOINT: &str = "VpceAccessDenied";

/// What an event is, as far as it decides what is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `StopLogging` that took effect: restart.
    Stopped,
    /// Another of [`CALLS`](super::CALLS) that took effect: tell people.
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
    /// What is known of that call; none of a call that has nothing to do with CloudTrail.
    pub call: Option<&'static Call>,
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
    /// No event told of it: it is what a look at the trail showed, and its id is of our own making.
    pub by_look: bool,
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
    /// A call that a look showed to have been made: nobody told who made it, and when only as far as CloudTrail shows it.
    #[must_use]
    pub fn seen(id: EventId, name: &str, trail: &TrailArn, time: Option<OffsetDateTime>) -> Self {
        const CLOUDTRAIL: &str = "cloudtrail.amazonaws.com";
        let call = calls::find(Some(CLOUDTRAIL), name);
        let (account, region) = (Some(trail.account().clone()), Some(trail.region().clone()));
        Self {
            id,
            name: name.to_owned(),
            kind: kind(call, None, false),
            call,
            origin: Origin {
                service: Some(CLOUDTRAIL.to_owned()),
                account: account.clone(),
                region: region.clone(),
                ..Origin::default()
            },
            resource: Some(trail.to_string()),
            account,
            region,
            parameters: Parameters::default(),
            time,
            actor: Actor {
                who: "Somebody".to_owned(),
                is_root: false,
                arn: None,
                access_key_id: None,
                mfa: None,
            },
            source_address: None,
            user_agent: None,
            error_code: None,
            by_look: true,
        }
    }

    /// The trail that the event is about, complete enough to act on.
    #[must_use]
    pub fn target(&self) -> Option<TrailArn> {
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
    /// An Insight of CloudTrail, which says that calls were unusual, and is none.
    #[error("it is an Insight of CloudTrail, and no call: narrow the rule that sends it")]
    Insight(EventId),
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

/// The parameters that say what a call is about. Nothing else of them is looked at here: whatever stands around these, and
/// however much of it, a caller cannot hide which trail it was.
#[derive(Debug, Default)]
struct Named(HashMap<&'static str, Text>);

impl Named {
    fn read(parameters: &str, call: Option<&Call>) -> serde_json::Result<Self> {
        if !parameters.starts_with('{') {
            return Ok(Self::default());
        }
        let about = call.map_or(About::Trail, |call| call.about);
        let only = call.and_then(|call| call.only).map(|(parameter, _)| parameter);
        let wanted = about.parameters().iter().copied().chain(only).collect();
        Wanted(wanted).deserialize(&mut serde_json::Deserializer::from_str(parameters))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.get()
    }

    /// Whether a call is one of those that concern CloudTrail, or may be.
    fn concerns_cloudtrail(&self, call: &Call, denied: Option<&str>) -> bool {
        let Some((parameter, wanted)) = call.only else { return true };
        match self.text(parameter) {
            Some(value) => value == wanted,
            None => denied.and_then(|message| call.about.find(message)).is_none_or(|value| value == wanted),
        }
    }
}

/// Takes these parameters of an object, and skips all others unread.
struct Wanted(Vec<&'static str>);

impl<'de> DeserializeSeed<'de> for Wanted {
    type Value = Named;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Named, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Wanted {
    type Value = Named;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Named, A::Error> {
        let mut named = HashMap::new();
        while let Some(name) = entries.next_key::<String>()? {
            match self.0.iter().find(|wanted| **wanted == name) {
                Some(wanted) if named.insert(*wanted, entries.next_value()?).is_some() => {
                    return Err(A::Error::custom("twice"));
                }
                Some(_) => {}
                None => drop(entries.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Named(named))
    }
}

/// What SNS delivers to a queue, unless its subscription asks for raw messages.
#[derive(Deserialize)]
struct Notification<'a> {
    #[serde(rename = "Type", borrow)]
    kind: Cow<'a, str>,
    #[serde(rename = "Message", borrow)]
    message: Cow<'a, str>,
}

/// What a notification of SNS wraps; `None` if the text is no such notification.
#[must_use]
pub fn sns_message(text: &str) -> Option<String> {
    let Notification { kind, message } = serde_json::from_str(text).ok()?;
    (kind == "Notification").then(|| message.into_owned())
}

/// Reads a message body: an EventBridge envelope around a CloudTrail event, or a notification of SNS around that.
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
    match enveloped(body) {
        // Once: nobody sends a notification of a notification.
        Err(Malformed::NotAnEnvelope(why)) => match sns_message(body) {
            Some(message) => enveloped(&message),
            None => Err(Malformed::NotAnEnvelope(why)),
        },
        read => read,
    }
}

/// Reads a CloudTrail record without an envelope, as the event history has it.
pub fn parse_record(record: &str) -> Result<Event, Malformed> {
    parse(&format!(r#"{{"detail-type":"{CLOUDTRAIL_EVENT}","detail":{record}}}"#))
}

fn enveloped(body: &str) -> Result<Event, Malformed> {
    match read(body) {
        Err(Malformed::NotJson(what, line, column)) => match without_lone_surrogates(body) {
            Some(mended) => read(&mended),
            None => Err(Malformed::NotJson(what, line, column)),
        },
        read => read,
    }
}

/// The text with each escape of one half of a surrogate pair that has no other half replaced, if there is one. JSON's grammar
/// takes them, a text that was cut within a character may end in one, and a caller chooses many a text of an event.
fn without_lone_surrogates(json: &str) -> Option<String> {
    const ESCAPE: usize = "\\uXXXX".len();
    let unit = |at: usize| {
        let digits = json.get(at..at + ESCAPE)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let (mut mended, mut copied, mut at) = (String::new(), 0, 0);
    while let Some(found) = json.get(at..).and_then(|rest| rest.find('\\')) {
        let here = at + found;
        at = here
            + match (unit(here), unit(here + ESCAPE)) {
                (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 2 * ESCAPE,
                (Some(0xd800..=0xdfff), _) => {
                    mended.push_str(&json[copied..here]);
                    mended.push_str("\\ufffd");
                    copied = here + ESCAPE;
                    ESCAPE
                }
                // Another escape: its second character may be a backslash.
                _ => 2,
            };
    }
    (copied > 0).then(|| mended + &json[copied..])
}

fn read(body: &str) -> Result<Event, Malformed> {
    let Object(envelope) =
        serde_json::from_str::<Object<Envelope>>(body).map_err(|error| not_json(&error))?;
    let envelope = envelope.ok_or(Malformed::NotAnEnvelope("it is not an object"))?;
    let detail = envelope.detail.0.as_ref().ok_or(Malformed::NotAnEnvelope("it has no object `detail`"))?;
    let id = detail.event_id.get().and_then(EventId::parse).ok_or_else(|| {
        let another = envelope.detail_type.get().is_some_and(|kind| kind != CLOUDTRAIL_EVENT);
        if another && detail.event_id == Text::default() { Malformed::AnotherKind } else { Malformed::NoId }
    })?;
    if is_one_of(INSIGHT, envelope.detail_type.get(), detail.event_type.get()) {
        return Err(Malformed::Insight(id));
    }
    let fits =
        |name: &&str| name.len() <= MAX_EVENT_NAME_BYTES && name.bytes().all(|byte| byte.is_ascii_graphic());
    let Some(name) = detail.event_name.get().filter(fits) else {
        return Err(Malformed::NoName(id));
    };
    let call = calls::find(detail.event_source.get(), name);
    let name = name.to_owned();
    let requested = detail.request_parameters.as_ref().map_or("null", |raw| raw.get());
    let named = Named::read(requested, call).map_err(|error| not_json(&error))?;
    let call = call.filter(|call| named.concerns_cloudtrail(call, detail.error_message.get()));
    let parameters = Parameters::read(requested);
    Ok(event(envelope, id, name, call, &named, parameters))
}

fn event(
    envelope: Envelope,
    id: EventId,
    name: String,
    call: Option<&'static Call>,
    named: &Named,
    parameters: Parameters,
) -> Event {
    let Envelope { detail_type, account: envelope_account, region: envelope_region, time, detail } = envelope;
    let detail = detail.0.unwrap_or_default();
    let origin = Origin {
        service: detail.event_source.take(),
        category: detail.event_category.take(),
        event_type: detail.event_type.take(),
        detail_type: detail_type.take(),
        account: [&detail.recipient_account_id, &envelope_account].into_iter().find_map(account_in),
        region: [&detail.aws_region, &envelope_region].into_iter().find_map(region_in),
    };
    let about = call.map_or(About::Trail, |call| call.about);
    // A denied call has no parameters: what it was about stands in the error message alone.
    let denied = || detail.error_message.get().and_then(|message| about.find(message));
    let resource =
        about.parameters().iter().find_map(|name| named.text(name)).map(str::to_owned).or_else(denied);
    let arn = resource.as_deref().and_then(TrailArn::parse);
    // The account in which a Region is switched off may be another than the caller's.
    let concerned = parameters.text("accountId").filter(|_| about == About::DisabledRegion);
    let account =
        arn.as_ref().map(|arn| arn.account().clone()).or_else(|| concerned.and_then(AccountId::parse));
    let error_code = detail.error_code.take();
    let is_network_activity =
        is_one_of(NETWORK_ACTIVITY, origin.detail_type.as_deref(), origin.event_type.as_deref());
    Event {
        id,
        kind: kind(call, error_code.as_deref(), is_network_activity),
        name,
        call,
        resource,
        account: account.or_else(|| origin.account.clone()),
        region: arn.as_ref().map(|arn| arn.region().clone()).or_else(|| origin.region.clone()),
        origin,
        parameters,
        time: [&detail.event_time, &time].into_iter().find_map(time_in),
        actor: Actor::from_identity(detail.user_identity.0.as_ref()),
        source_address: detail.source_ip_address.take(),
        user_agent: detail.user_agent.take(),
        error_code,
        by_look: false,
    }
}

/// Whether an event is of a kind, by EventBridge's word or by its record's.
fn is_one_of(kind: [&str; 2], detail_type: Option<&str>, event_type: Option<&str>) -> bool {
    detail_type == Some(kind[0]) || event_type == Some(kind[1])
}

fn kind(call: Option<&Call>, error_code: Option<&str>, is_network_activity: bool) -> Kind {
    match (call, error_code) {
        (None, _) => Kind::Other,
        // The service's own event of the same call is the one that counts.
        (_, code) if is_network_activity && code != Some(REFUSED_BY_ENDPOINT) => Kind::Other,
        (_, Some(_)) => Kind::FailedCall,
        (Some(Call { effect: Effect::Stops, .. }), None) => Kind::Stopped,
        (Some(_), None) => Kind::Weakened,
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
