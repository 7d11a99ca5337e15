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
    let only_strengthens = parameters.is_whole() && changes.peek().is_some() && changes.all(is_stronger);
    (if only_strengthens { Direction::Stronger } else { Direction::Unknown }, said)
}

/// A selector without a part has AWS's default for it: management events, of reads and writes.
fn put_event_selectors(parameters: &Parameters) -> (Direction, Vec<String>) {
    let list = |name: &str| parameters.get(name).and_then(Value::as_array);
    let classic = list("eventSelectors").map(|selectors| selectors.iter().map(classic_writes).collect());
    let advanced =
        list("advancedEventSelectors").map(|selectors| selectors.iter().map(advanced_writes).collect());
    let selectors: Vec<Writes> = classic.into_iter().chain::<Option<Vec<_>>>(advanced).flatten().collect();
    let records = |wanted| selectors.contains(&wanted);
    if !parameters.is_whole() || selectors.is_empty() {
        return (Direction::Unknown, Vec::new());
    }
    let (direction, writes) = if records(Writes::All) {
        (Direction::Unknown, "management write events")
    } else if records(Writes::Some) {
        (Direction::Unknown, "a part of the management write events")
    } else {
        (Direction::Blind, "no management write events")
    };
    let beside =
        ["eventSelectors", "advancedEventSelectors"].into_iter().filter_map(list).flatten().map(beside);
    (direction, std::iter::once(writes.to_owned()).chain(beside.flatten()).collect())
}

/// What a selector says beside: the services that it leaves out, and the resources whose data events it records.
fn beside(selector: &Value) -> Vec<String> {
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let fields = selector["fieldSelectors"].as_array().into_iter().flatten();
    let of_field = |name: &str, operator: &str| {
        let field = fields.clone().find(|field| field["field"] == name);
        field.map(|field| texts(&field[operator])).unwrap_or_default()
    };
    let mut left_out = texts(&selector["excludeManagementEventSources"]);
    left_out.extend(of_field("eventSource", "notEquals"));
    let mut data = of_field("resources.type", "equals");
    let resources = selector["dataResources"].as_array().into_iter().flatten();
    data.extend(resources.filter_map(|resource| resource["type"].as_str()).map(str::to_owned));
    let said =
        |what: &str, names: Vec<String>| (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")));
    [said("nothing of", left_out), said("data events of", data)].into_iter().flatten().collect()
}

/// How much of the management write events a selector records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writes {
    All,
    Some,
    None,
}

fn classic_writes(selector: &Value) -> Writes {
    let without_management = match &selector["includeManagementEvents"] {
        Value::Bool(included) => !included,
        Value::String(included) => included == "false",
        _ => false,
    };
    let excludes = selector["excludeManagementEventSources"].as_array().is_some_and(|some| !some.is_empty());
    if without_management || selector["readWriteType"] == "ReadOnly" {
        Writes::None
    } else if excludes {
        Writes::Some
    } else {
        Writes::All
    }
}

/// Selects management events only where a field says so; every other field leaves some out.
fn advanced_writes(selector: &Value) -> Writes {
    let fields = selector["fieldSelectors"].as_array().map_or(&[][..], Vec::as_slice);
    let names = |field: &Value, operator: &str, value: &str| {
        field[operator].as_array().is_some_and(|values| values.iter().any(|one| one == value))
    };
    if !fields.iter().any(|field| field["field"] == "eventCategory" && names(field, "equals", "Management")) {
        return Writes::None;
    }
    let mut writes = Writes::All;
    for field in fields.iter().filter(|field| field["field"] != "eventCategory") {
        if field["field"] == "readOnly" {
            let reads_alone = names(field, "equals", "true") && !names(field, "equals", "false");
            if reads_alone || names(field, "notEquals", "false") {
                return Writes::None;
            }
        } else {
            writes = Writes::Some;
        }
    }
    writes
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
            (advanced(json!([])), blind, Some(&*none)),
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
