//! What a change of a trail asked for, as far as its parameters say. Pure.
//!
//! What the trail was before is not known here: a parameter may set what was set already.

use serde_json::Value;

use crate::event::{Event, Parameters};
use crate::text::harmless;

/// The longest text said of what a call asked for, in characters.
const MAX_ASKED_CHARS: usize = 200;

/// `UpdateTrail`'s switches, each stronger when it is on: what is asked for with it on, and off.
const SWITCHES: [(&str, &str, &str); 4] = [
    ("isMultiRegionTrail", "events of all Regions", "events of one Region only"),
    ("includeGlobalServiceEvents", "global service events", "no global service events"),
    ("enableLogFileValidation", "log file validation", "no log file validation"),
    ("isOrganizationTrail", "the organization's accounts", "one account only"),
];
/// What `UpdateTrail` can lead elsewhere.
const PLACES: [(&str, &str); 6] = [
    ("s3BucketName", "bucket"),
    ("s3KeyPrefix", "prefix"),
    ("kmsKeyId", "key"),
    ("cloudWatchLogsLogGroupArn", "log group"),
    ("cloudWatchLogsRoleArn", "role for the log group"),
    ("snsTopicName", "topic"),
];

/// What a call asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) direction: Direction,
    /// In a few words; `None` if nothing of it can be said.
    pub(super) said: Option<String>,
}

/// Where a call leads, as far as its parameters show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// Something stronger, and nothing beside.
    Stronger,
    /// No more management write events.
    Blind,
    Unknown,
}

/// Reads the parameters of a call that changes a trail.
pub(super) fn asked(event: &Event) -> Asked {
    let parameters = &event.parameters;
    let (direction, said) = match event.name.as_str() {
        "UpdateTrail" => update_trail(parameters),
        "PutEventSelectors" => put_event_selectors(parameters),
        _ => (Direction::Unknown, Vec::new()),
    };
    let said = (!said.is_empty()).then(|| harmless(&said.join("; "), MAX_ASKED_CHARS));
    Asked { direction, said }
}

fn update_trail(parameters: &Parameters) -> (Direction, Vec<String>) {
    let switched = |name: &str| match parameters.text(name) {
        Some("true") => Some(true),
        Some("false") => Some(false),
        _ => None,
    };
    let mut said: Vec<_> = SWITCHES
        .iter()
        .filter_map(|(name, on, off)| switched(name).map(|is_on| if is_on { *on } else { *off }.to_owned()))
        .collect();
    said.extend(PLACES.iter().filter_map(|(name, place)| match parameters.get(name)? {
        Value::String(value) if value.is_empty() => Some(format!("no {place}")),
        Value::String(value) => Some(format!("{place} {value}")),
        _ => None,
    }));
    let is_stronger =
        |name: &str| SWITCHES.iter().any(|(switch, ..)| *switch == name) && switched(name) == Some(true);
    let mut changes = parameters.names().filter(|name| *name != "name").peekable();
    let is_named = parameters.text("name").is_some();
    let only_strengthens =
        parameters.is_whole() && is_named && changes.peek().is_some() && changes.all(is_stronger);
    (if only_strengthens { Direction::Stronger } else { Direction::Unknown }, said)
}

/// A selector without a part has AWS's default for it: management events, of reads and writes. Of selectors that cannot be
/// read whole nothing is said.
fn put_event_selectors(parameters: &Parameters) -> (Direction, Vec<String>) {
    let list = |name: &str| parameters.get(name).and_then(Value::as_array).into_iter().flatten();
    let classic = list("eventSelectors").map(Selector::classic);
    let selectors: Option<Vec<_>> =
        classic.chain(list("advancedEventSelectors").map(Selector::advanced)).collect();
    let selectors = selectors.filter(|selectors| parameters.is_whole() && !selectors.is_empty());
    let Some(selectors) = selectors else { return (Direction::Unknown, Vec::new()) };
    let records = |wanted| selectors.iter().any(|selector| selector.writes == wanted);
    let (direction, writes) = if records(Writes::All) {
        (Direction::Unknown, "management write events")
    } else if records(Writes::Some) {
        (Direction::Unknown, "a part of the management write events")
    } else {
        (Direction::Blind, "no management write events")
    };
    let beside = selectors.into_iter().flat_map(|selector| selector.beside);
    (direction, std::iter::once(writes.to_owned()).chain(beside).collect())
}

/// How much of the management write events a selector records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writes {
    All,
    Some,
    None,
}

/// What a selector asks for.
struct Selector {
    writes: Writes,
    /// What it leaves out, and the resources whose data events it records.
    beside: Vec<String>,
}

impl Selector {
    fn classic(selector: &Value) -> Option<Self> {
        let selector = selector.as_object()?;
        let with_management = match selector.get("includeManagementEvents") {
            None | Some(Value::Null | Value::Bool(true)) => true,
            Some(Value::Bool(false)) => false,
            Some(Value::String(flag)) => flag.parse().ok()?,
            Some(_) => return None,
        };
        let with_writes = match selector.get("readWriteType").unwrap_or(&Value::Null) {
            Value::Null => true,
            Value::String(kind) => match kind.as_str() {
                "All" | "WriteOnly" => true,
                "ReadOnly" => false,
                _ => return None,
            },
            _ => return None,
        };
        let excluded = texts(selector.get("excludeManagementEventSources"))?;
        let data = selector.get("dataResources").and_then(Value::as_array).into_iter().flatten();
        let data = data.filter_map(|resource| resource["type"].as_str()).map(str::to_owned).collect();
        let writes = match (with_management && with_writes, excluded.is_empty()) {
            (false, _) => Writes::None,
            (true, true) => Writes::All,
            (true, false) => Writes::Some,
        };
        Some(Self { writes, beside: said([("nothing of", excluded), ("data events of", data)]) })
    }

    /// Selects management events only where a field says so; every other field leaves some out.
    fn advanced(selector: &Value) -> Option<Self> {
        let (mut category, mut writes, mut narrowed, mut beside) = (None, Writes::All, false, Vec::new());
        for field in selector.get("fieldSelectors")?.as_array()? {
            let field = field.as_object()?;
            let name = field.get("field")?.as_str()?;
            let (equals, not_equals) = (texts(field.get("equals"))?, texts(field.get("notEquals"))?);
            let has = |values: &[String], wanted: &str| values.iter().any(|value| value == wanted);
            match name {
                "eventCategory" => category = Some(equals),
                "readOnly" if has(&equals, "true") && !has(&equals, "false") => writes = Writes::None,
                "readOnly" if has(&not_equals, "false") => writes = Writes::None,
                "readOnly" if has(&equals, "false") || has(&not_equals, "true") => {}
                "readOnly" => return None,
                "resources.type" => beside.extend(said([("events of", equals)])),
                "eventSource" if !not_equals.is_empty() => {
                    narrowed = true;
                    beside.extend(said([("nothing of", not_equals)]));
                }
                name => {
                    narrowed = true;
                    beside.push(format!("narrowed by {name}"));
                }
            }
        }
        if !category?.iter().any(|category| category == "Management") {
            writes = Writes::None;
        } else if narrowed && writes == Writes::All {
            writes = Writes::Some;
        }
        Some(Self { writes, beside })
    }
}

/// A list of texts; nothing is an empty one, anything else none.
fn texts(list: Option<&Value>) -> Option<Vec<String>> {
    match list {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::Array(values)) => values.iter().map(|value| value.as_str().map(str::to_owned)).collect(),
        Some(_) => None,
    }
}

fn said<const N: usize>(named: [(&str, Vec<String>); N]) -> Vec<String> {
    let some = named.into_iter().filter(|(_, names)| !names.is_empty());
    some.map(|(what, names)| format!("{what} {}", names.join(", "))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event;

    fn asks(name: &str, parameters: &Value) -> (Direction, Option<String>) {
        let body = json!({ "detail": {
            "eventID": "e-1", "eventName": name, "eventSource": "cloudtrail.amazonaws.com", "requestParameters": parameters,
        } });
        let Asked { direction, said } = asked(&event::parse(&body.to_string()).expect("an event"));
        (direction, said)
    }

    #[test]
    fn only_switches_that_are_switched_on_strengthen() {
        let all = json!({ "name": "audit", "isMultiRegionTrail": true, "enableLogFileValidation": "true" });
        let said = "events of all Regions; log file validation".to_owned();
        assert_eq!(asks("UpdateTrail", &all), (Direction::Stronger, Some(said)));
        for (beside, said) in [
            (json!({ "isMultiRegionTrail": false }), Some("events of one Region only")),
            (json!({ "isMultiRegionTrail": null }), None),
            (json!({ "isMultiRegionTrail": 1 }), None),
            (json!({ "s3BucketName": "mallory" }), Some("bucket mallory")),
            (json!({ "kmsKeyId": "" }), Some("no key")),
            (json!({ "enableLogFileValidation": true, "new": true }), Some("log file validation")),
            (json!({}), None),
        ] {
            let mut parameters = beside;
            parameters["name"] = json!("audit");
            let (direction, told) = asks("UpdateTrail", &parameters);
            assert_eq!((direction, told.as_deref()), (Direction::Unknown, said), "{parameters}");
        }
        let unnamed = json!({ "isMultiRegionTrail": true });
        assert_eq!(asks("UpdateTrail", &unnamed).0, Direction::Unknown, "of which trail?");
        for odd in [json!(null), json!("isMultiRegionTrail"), json!({ "omitted": true, "originalSize": 9 })] {
            assert_eq!(asks("UpdateTrail", &odd), (Direction::Unknown, None));
        }
        let padded = json!({ "isMultiRegionTrail": true, "name": "x".repeat(5_000) });
        assert_eq!(asks("UpdateTrail", &padded).0, Direction::Unknown, "not whole");
        assert_eq!(asks("PutInsightSelectors", &json!({ "isMultiRegionTrail": true })).0, Direction::Unknown);
    }

    #[test]
    fn selectors_are_blind_if_none_records_management_writes() {
        let all = "management write events";
        let classic = |selector: Value| json!({ "trailName": "audit", "eventSelectors": [selector] });
        let advanced = |fields: Value| json!({ "trailName": "audit", "advancedEventSelectors": [{ "fieldSelectors": fields }] });
        let management = json!({ "field": "eventCategory", "equals": ["Management"] });
        let (blind, unknown) = (Direction::Blind, Direction::Unknown);
        let (none, part) =
            (format!("no {all}"), format!("a part of the {all}; nothing of kms.amazonaws.com"));
        let data = format!("{all}; data events of AWS::S3::Object");
        let narrowed = format!("a part of the {all}; narrowed by eventName");
        for (parameters, direction, said) in [
            (classic(json!({})), unknown, Some(all)),
            (
                classic(json!({ "readWriteType": "WriteOnly", "includeManagementEvents": true })),
                unknown,
                Some(all),
            ),
            (classic(json!({ "readWriteType": "ReadOnly" })), blind, Some(&*none)),
            (classic(json!({ "includeManagementEvents": false })), blind, Some(&*none)),
            (
                classic(json!({ "excludeManagementEventSources": ["kms.amazonaws.com"] })),
                unknown,
                Some(&*part),
            ),
            (advanced(json!([management])), unknown, Some(all)),
            (advanced(json!([management, { "field": "readOnly", "equals": ["false"] }])), unknown, Some(all)),
            (advanced(json!([management, { "field": "readOnly", "equals": ["true"] }])), blind, Some(&*none)),
            (
                advanced(json!([management, { "field": "readOnly", "notEquals": ["false"] }])),
                blind,
                Some(&*none),
            ),
            (
                advanced(json!([management, { "field": "eventSource", "notEquals": ["kms.amazonaws.com"] }])),
                unknown,
                Some(&*part),
            ),
            (advanced(json!([{ "field": "eventCategory", "equals": ["Data"] }])), blind, Some(&*none)),
            (advanced(json!([])), unknown, None),
            (json!({ "trailName": "audit", "eventSelectors": [null] }), unknown, None),
            (classic(json!({ "readWriteType": "None" })), unknown, None),
            (classic(json!({ "includeManagementEvents": 0 })), unknown, None),
            (classic(json!({ "includeManagementEvents": "false" })), blind, Some(&*none)),
            (advanced(json!([management, { "field": "readOnly", "equals": [true] }])), unknown, None),
            (advanced(json!([management, { "field": "readOnly", "equals": "true" }])), unknown, None),
            (
                advanced(json!([management, { "field": "eventName", "equals": ["x"] }])),
                unknown,
                Some(&*narrowed),
            ),
            (
                classic(json!({ "dataResources": [{ "type": "AWS::S3::Object", "values": ["arn"] }] })),
                unknown,
                Some(&*data),
            ),
            (json!({ "trailName": "audit", "eventSelectors": [] }), unknown, None),
            (json!({ "trailName": "audit" }), unknown, None),
            (json!(null), unknown, None),
        ] {
            let (judged, told) = asks("PutEventSelectors", &parameters);
            assert_eq!((judged, told.as_deref()), (direction, said), "{parameters}");
        }
    }
}
