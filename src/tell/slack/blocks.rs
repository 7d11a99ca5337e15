//! A view as Slack's blocks. Pure.
//!
//! Slack has three characters of its own, which every value is escaped for
//! (<https://docs.slack.dev/messaging/formatting-message-text#escaping>): nothing of a value can become a mention, a
//! link or a layout. Limits: <https://docs.slack.dev/reference/block-kit/blocks/section-block>

use serde_json::{Value, json};

use super::super::view::View;
use crate::incident::Severity;

/// The most fields that Slack takes in one section; one more, and it refuses the message.
const FIELDS: usize = 10;

/// The longest text of a message, in characters and escaped: below the 3,000 that Slack takes in a section, and with all
/// fields below what it takes in a message.
const MAX_TEXT_CHARS: usize = 2_900;

/// The body of a post.
pub(super) fn payload(view: &View, deployment: Option<&str>) -> Value {
    let text = fitted(&view.text());
    json!({
        "blocks": blocks(view, &text, deployment),
        "text": text,
        // Nothing in the text becomes a link, a mention or a preview.
        "mrkdwn": false,
        "parse": "none",
        "link_names": false,
        "unfurl_links": false,
        "unfurl_media": false,
    })
}

fn blocks(view: &View, text: &str, deployment: Option<&str>) -> Vec<Value> {
    let mark = match view.severity {
        Severity::Critical => ":rotating_light:",
        Severity::High => ":warning:",
        Severity::Medium | Severity::Low => ":information_source:",
    };
    let word = view.severity.word();
    let headline = format!("{mark} {word}: {}", view.headline);
    let outcome = view.outcome.first().map_or("", String::as_str);
    let fields: Vec<Value> = std::iter::once(("Severity", word))
        .chain(view.reported.iter().map(|fact| (fact.label, fact.value.as_str())))
        .chain([("Outcome", outcome)])
        .chain(view.seen.iter().map(|fact| (fact.label, fact.value.as_str())))
        .map(|(label, value)| mrkdwn(&format!("*{label}*\n{}", escaped(value))))
        .collect();
    let link = view.console.as_ref().map(|url| format!(" · <{url}|open in the console>")).unwrap_or_default();
    let deployment = deployment.map(|name| format!(" · by {}", escaped(name))).unwrap_or_default();
    let small_print = escaped(&view.small_print.join(" · ")) + &deployment + &link;
    let mut blocks = vec![
        json!({ "type": "header", "text": { "type": "plain_text", "emoji": true, "text": headline } }),
        json!({ "type": "section", "text": mrkdwn(text) }),
    ];
    blocks.extend(fields.chunks(FIELDS).map(|fields| json!({ "type": "section", "fields": fields })));
    blocks.push(json!({ "type": "context", "elements": [mrkdwn(&small_print)] }));
    blocks
}

/// `verbatim` keeps Slack from making links and mentions of plain text.
fn mrkdwn(text: &str) -> Value {
    json!({ "type": "mrkdwn", "text": text, "verbatim": true })
}

/// The text escaped, and cut where it would be too long: a report of several trails may be.
fn fitted(text: &str) -> String {
    let mut fitted = String::with_capacity(text.len());
    let mut chars = 0;
    for char in text.chars() {
        let whole = fitted.len();
        push_escaped(&mut fitted, char);
        chars += fitted[whole..].chars().count();
        if chars >= MAX_TEXT_CHARS {
            fitted.truncate(whole);
            fitted.push('…');
            break;
        }
    }
    fitted
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    text.chars().for_each(|char| push_escaped(&mut escaped, char));
    escaped
}

fn push_escaped(text: &mut String, char: char) {
    match char {
        '&' => text.push_str("&amp;"),
        '<' => text.push_str("&lt;"),
        '>' => text.push_str("&gt;"),
        _ => text.push(char),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::OffsetDateTime;

    use super::super::super::samples::{restored, stopped};
    use super::*;
    use crate::event::Event;
    use crate::incident::{DeliveryErrors, Found, Restoration, Restored};
    use crate::policy::{Bounds, Fact, Mode, Policy, Seen, conclude, judge};

    fn view(event: &Event, seen: Seen, may_repeat: bool) -> View {
        let now = OffsetDateTime::UNIX_EPOCH;
        let policy = Policy::default();
        let bounds = Bounds::of(Mode::Restore, &policy, now);
        View::new(event, conclude(event, &judge(event, &bounds), seen), may_repeat)
    }

    #[test]
    fn a_restart_in_full() {
        let restored = restored(Restoration::Restarted);
        insta::assert_json_snapshot!(payload(&view(&stopped(|_| {}), Seen::Ended(&restored), false), None));
    }

    /// One more than a section takes is another section.
    #[test]
    fn fields_beyond_ten_have_a_section_of_their_own() {
        let restored = restored(Restoration::Restarted);
        let mut view = view(&stopped(|_| {}), Seen::Ended(&restored), false);
        view.seen.push(Fact { label: "Delivering", value: "yes".to_owned() });
        let payload = payload(&view, None);
        let fields = |block: usize| payload["blocks"][block]["fields"].as_array().map(Vec::len);
        assert_eq!((fields(2), fields(3)), (Some(10), Some(1)));
    }

    /// Every text object of a payload.
    fn texts(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::String(text) => found.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
            Value::Object(fields) => fields.values().for_each(|field| texts(field, found)),
            _ => {}
        }
    }

    proptest! {
        /// Whatever stands in the event: Slack's limits hold, and no angle bracket is its own.
        #[test]
        fn no_value_breaks_out(value in "[&<>!@|a-z*_\u{202e}\u{0}-\u{1f}]{0,4000}", detail in "[&<>]{0,4000}") {
            let event = stopped(|event| {
                let detail = &mut event["detail"];
                for field in ["userAgent", "sourceIPAddress", "errorCode"] {
                    detail[field] = json!(value);
                }
                detail["requestParameters"]["name"] = json!(value);
                detail["userIdentity"]["userName"] = json!(value);
                detail["userIdentity"]["accessKeyId"] = json!(value);
            });
            let error = Some(value.clone());
            let delivery = DeliveryErrors {
                log_files: error.clone(), digest_files: error.clone(), log_group: error.clone(), notifications: error,
            };
            let undelivered = Restored { delivery, ..restored(Restoration::Restarted) };
            let refused = restored(Restoration::Refused { detail });
            let trail = format!("arn:aws:cloudtrail:eu-west-1:111122223333:trail/{}", "x".repeat(128));
            let both = [&undelivered, &refused, &undelivered, &refused, &undelivered, &undelivered];
            let found: Vec<_> =
                both.map(|restored| Found { trail: trail.clone(), restored: restored.clone() }).into();
            let (account, region) = (event.account.as_ref().expect("one"), event.region.as_ref().expect("one"));
            let around = Seen::Region { account, region, stop: event.time.expect("one"), found: &found };
            for seen in [Seen::Ended(&refused), Seen::Ended(&undelivered), around, Seen::Nothing] {
                let view = view(&event, seen, true);
                let payload = payload(&view, None);
                prop_assert!(payload["text"].as_str().expect("text").chars().count() <= 3_000);
                let blocks = payload["blocks"].as_array().expect("blocks");
                prop_assert!(blocks.len() <= 50);
                let link = format!("<{}|open in the console>", view.console.as_deref().expect("a link"));
                let mut found = Vec::new();
                texts(&payload, &mut found);
                for text in found {
                    prop_assert!(text.chars().count() <= 3_000);
                    let ours = text.replace(&link, "");
                    prop_assert!(!ours.contains(['<', '>', '\u{202e}', '\u{0}']), "{ours}");
                }
                for fields in blocks.iter().filter_map(|block| block["fields"].as_array()) {
                    prop_assert!(fields.len() <= FIELDS);
                    for field in fields {
                        prop_assert!(field["text"].as_str().expect("text").chars().count() <= 2_000);
                    }
                }
                // All of a message's blocks together: more, and Slack refuses it, though no page of Slack's says so.
                let mut in_blocks = Vec::new();
                texts(&payload["blocks"], &mut in_blocks);
                prop_assert!(in_blocks.iter().map(|text| text.chars().count()).sum::<usize>() < 10_000);
            }
        }
    }
}
