//! What people are shown of an event and of what came of it, without any markup. Pure.
//!
//! Every value in an event was, or could have been, chosen by the person it accuses. Here they are made harmless and
//! cut; each rendering escapes what its own reader would take for markup.

use time::OffsetDateTime;

use crate::event::{
    About, AccountId, Event, EventId, Kind, Origin, Region, TrailArn, partition_of, trail_name,
};
use crate::incident::Severity;
use crate::policy::{Conclusion, Deed, Fact, MAX_DELIVERY_ERROR_CHARS, RETRIED};
use crate::text::{MAX_VALUE_CHARS, harmless, stamp};

/// The longest name of an actor in its own field, in characters: a role, a session and who stands behind it.
const MAX_WHO_CHARS: usize = 300;

/// Trails or accounts that a list names; the message must fit.
const MAX_NAMED: usize = 20;
/// The longest reason that a report of accounts or of the queue gives, in characters.
const MAX_REASON_CHARS: usize = 320;

/// Said when it could not be written down that this was shown.
const MAY_REPEAT: &str = "(The state table is not available: this message may come twice.)";

/// What is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// None of what is no event.
    pub event: Option<EventId>,
    pub severity: Severity,
    pub headline: &'static str,
    /// Who did what, where and when: one sentence.
    pub deed: String,
    /// What came of it, in sentences.
    pub outcome: Vec<String>,
    /// What the event says.
    pub reported: Vec<Fact>,
    /// What was seen since.
    pub seen: Vec<Fact>,
    /// By which the event is found again.
    pub small_print: Vec<String>,
    /// The event in the console; some partitions have none that is public.
    pub console: Option<String>,
    may_repeat: bool,
}

impl View {
    /// `may_repeat` adds that the same may be shown twice.
    #[must_use]
    pub fn new(event: &Event, conclusion: Conclusion, may_repeat: bool) -> Self {
        let Conclusion { severity, deed, headline, outcome, facts, account } = conclusion;
        let mfa = match event.actor.mfa {
            Some(true) => "yes",
            Some(false) => "no",
            None => "unknown",
        };
        let key = or_unknown(event.actor.access_key_id.as_deref());
        let small_print = if event.by_look {
            vec!["Seen by a look at the trail".to_owned()]
        } else {
            vec![
                format!("Event {}", event.id),
                shown(&event.name),
                format!("access key {key}"),
                format!("MFA {mfa}"),
            ]
        };
        Self {
            event: (!event.by_look).then(|| event.id.clone()),
            severity,
            headline,
            deed: sentence(event, deed),
            outcome,
            reported: reported(event, account.as_deref()),
            seen: facts,
            small_print,
            console: console_link(event).filter(|_| !event.by_look),
            may_repeat,
        }
    }

    /// The policy was changed: which lines are gone and which are new, if they are known.
    #[must_use]
    pub fn of_a_policy(lines: Option<Vec<String>>, at: OffsetDateTime) -> Self {
        let said = match lines {
            Some(lines) if lines.is_empty() => "What changed: blank lines alone.".to_owned(),
            Some(lines) => format!("What changed:\n{}", lines.join("\n")),
            None => {
                "The one before was too long to be kept: compare the two where the policy is kept.".to_owned()
            }
        };
        let todo = "If nobody planned this, find out who can write the policy, and put the one before back.";
        Self {
            small_print: vec!["trailkeeper policy check FILE says what a policy means".to_owned()],
            ..Self::of_no_event(
                Severity::High,
                "The policy of trailkeeper was changed",
                format!("trailkeeper goes by another policy than before, seen at {}.", stamp(at)),
                vec![todo.to_owned(), said],
            )
        }
    }

    /// Trails that were off when they were looked at for the first time, each with since when, accounts that no trail records, and how
    /// many accounts were looked at.
    #[must_use]
    pub fn of_found_off(
        trails: &[(TrailArn, Option<OffsetDateTime>)],
        unrecorded: &[AccountId],
        accounts: usize,
        at: OffsetDateTime,
    ) -> Self {
        let off = trails.iter().map(|(trail, since)| {
            let since = since
                .map_or_else(|| "never started".to_owned(), |since| format!("off since {}", stamp(since)));
            format!("{}, {since}", place(trail))
        });
        let nothing = unrecorded.iter().map(|account| format!("account {account}, which no trail records"));
        Self::of_no_event(
            Severity::Medium,
            "Trails were off when trailkeeper first looked",
            format!(
                "trailkeeper looked at the trails of {} for the first time: {} off, and no trail records {}, seen at {}.",
                counted(accounts, "account", "accounts"),
                counted(trails.len(), "trail was", "trails were"),
                counted(unrecorded.len(), "account", "accounts"),
                stamp(at)
            ),
            vec![
                "They are left as they are: start those that should be on, or set found_off = \"restart\" in the policy.".to_owned(),
                named(nothing.chain(off), trails.len() + unrecorded.len()),
            ],
        )
    }

    /// Trails that are on and whose log files cannot be delivered, each with CloudTrail's word for why.
    #[must_use]
    pub fn of_undelivered(trails: &[(TrailArn, String)], at: OffsetDateTime) -> Self {
        let said = trails
            .iter()
            .map(|(trail, error)| format!("{}, {}", place(trail), harmless(error, MAX_DELIVERY_ERROR_CHARS)));
        Self::of_no_event(
            Severity::Critical,
            "CloudTrail is on, and its logs cannot be delivered",
            format!(
                "trailkeeper saw {} whose log files cannot be delivered, at {}.",
                counted(trails.len(), "trail that is on and", "trails that are on and"),
                stamp(at)
            ),
            vec![RETRIED.to_owned(), named(said, trails.len())],
        )
    }

    /// Trails whose log files can be delivered again.
    #[must_use]
    pub fn of_delivered_again(trails: &[TrailArn], at: OffsetDateTime) -> Self {
        Self::of_no_event(
            Severity::Low,
            "CloudTrail's logs can be delivered again",
            format!(
                "trailkeeper saw no delivery error any more at {}, at {}.",
                counted(trails.len(), "trail", "trails"),
                stamp(at)
            ),
            vec![
                "What CloudTrail has kept arrives now: it keeps it for 30 days.".to_owned(),
                named(trails.iter().map(place), trails.len()),
            ],
        )
    }

    /// Accounts that cannot be looked at, and why one of them cannot.
    #[must_use]
    pub fn of_accounts_unseen(
        severity: Severity,
        accounts: &[AccountId],
        why: &str,
        at: OffsetDateTime,
    ) -> Self {
        Self::of_no_event(
            severity,
            "Accounts cannot be looked at",
            format!(
                "trailkeeper could not look at the trails of {} accounts, last tried at {}.",
                accounts.len(),
                stamp(at)
            ),
            vec![
                format!(
                    "Whether their trails log is not known. Of account {}: {}.",
                    accounts.first().map_or("", AccountId::as_str),
                    shown_reason(why)
                ),
                named(accounts.iter().map(ToString::to_string), accounts.len()),
            ],
        )
    }

    /// Accounts that can be looked at again.
    #[must_use]
    pub fn of_accounts_seen_again(accounts: &[AccountId], at: OffsetDateTime) -> Self {
        Self::of_no_event(
            Severity::Low,
            "Accounts can be looked at again",
            format!(
                "trailkeeper has looked at the trails of {} accounts again, at {}.",
                accounts.len(),
                stamp(at)
            ),
            vec![
                "What was missed meanwhile is looked at now.".to_owned(),
                named(accounts.iter().map(ToString::to_string), accounts.len()),
            ],
        )
    }

    /// Looks could not be sent to the queue, and were made all the same.
    #[must_use]
    pub fn of_a_broken_queue(looks: usize, why: &str, at: OffsetDateTime) -> Self {
        Self::of_no_event(
            Severity::Critical,
            "The queue of trailkeeper takes nothing",
            format!("trailkeeper could not send to its own queue, last tried at {}.", stamp(at)),
            vec![
                format!(
                    "Events of stopped trails may not arrive: look at the queue and at the right to send to it. {}.",
                    shown_reason(why)
                ),
                format!("trailkeeper looked at {looks} trails all the same."),
            ],
        )
    }

    fn of_no_event(severity: Severity, headline: &'static str, deed: String, outcome: Vec<String>) -> Self {
        Self {
            event: None,
            severity,
            headline,
            deed,
            outcome,
            reported: Vec::new(),
            seen: Vec::new(),
            small_print: Vec::new(),
            console: None,
            may_repeat: false,
        }
    }

    /// The whole story in a few sentences, for notifications and for readers of nothing else.
    #[must_use]
    pub fn text(&self) -> String {
        let sentences = self.outcome.iter().map(String::as_str).chain(self.may_repeat.then_some(MAY_REPEAT));
        std::iter::once(self.deed.as_str()).chain(sentences).collect::<Vec<_>>().join(" ")
    }
}

impl Severity {
    /// As people read it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Critical => "CRITICAL",
            Self::High => "HIGH",
            Self::Medium => "MEDIUM",
            Self::Low => "LOW",
        }
    }
}

fn sentence(event: &Event, deed: Deed) -> String {
    let who = shown(&event.actor.who);
    let account = event.account.as_ref().map_or("unknown", AccountId::as_str);
    let when = event.time.map_or_else(|| "an unknown time".to_owned(), stamp);
    let place = format!("in account {account} at {when}");
    let on = event.resource.as_deref().map(|resource| format!(" on {}", shown(trail_name(resource))));
    let call = format!("{}{}", shown(&event.name), on.unwrap_or_default());
    match deed {
        Deed::Weakened if event.by_look => {
            let name = event.resource.as_deref().map_or("unknown", trail_name);
            format!(
                "The trail {} of account {account} is gone, as trailkeeper saw it at {when}.",
                shown(name)
            )
        }
        Deed::TurnedOff => format!("{who} turned off CloudTrail logging {place}."),
        Deed::TriedToTurnOff => format!("{who} tried to turn off CloudTrail logging {place}."),
        Deed::Weakened => format!("{who} weakened CloudTrail {place} by {call}."),
        Deed::MayHaveWeakened => format!("{who} may have weakened CloudTrail {place} by {call}."),
        Deed::TriedToWeaken => format!("{who} tried to weaken CloudTrail {place} by {call}."),
        Deed::Called => format!("{who} called {call} {place}."),
        Deed::TriedToCall => format!("{who} tried to call {call} {place}."),
    }
}

/// `named` is what the account is called.
fn reported(event: &Event, named: Option<&str>) -> Vec<Fact> {
    let about = event.call.map_or(About::Trail, |call| call.about);
    let label = match about {
        About::Recorder if event.parameters.text("trailName").is_some() => About::Trail.label(),
        about => about.label(),
    };
    let resource = event.resource.as_deref().map(|resource| {
        let name = shown(trail_name(resource));
        if may_be_the_organizations(event) {
            format!("{name} (or the organization's trail of that name)")
        } else {
            name
        }
    });
    // What a call is about may have no name; a trail has one.
    let resource = resource.or_else(|| (about == About::Trail).then(|| "unknown".to_owned()));
    let Origin { account, region, .. } = &event.origin;
    let elsewhere = (account != &event.account || region != &event.region).then(|| {
        let account = account.as_ref().map_or("unknown", AccountId::as_str);
        let region = region.as_ref().map_or("unknown", Region::as_str);
        format!("account {account}, {region}")
    });
    let account_shown = event.account.as_ref().map(|account| match named {
        Some(named) => format!("{account} ({named})"),
        None => account.to_string(),
    });
    let time = match (event.by_look, event.kind) {
        (false, _) => "Event time",
        (true, Kind::Stopped) => "Stopped at",
        (true, _) => "Looked for at",
    };
    let facts = [
        (label, resource),
        ("Account", Some(or_unknown(account_shown.as_deref()))),
        ("Region", Some(or_unknown(event.region.as_ref().map(Region::as_str)))),
        ("Call made in", elsewhere),
        ("Who", Some(harmless(&event.actor.who, MAX_WHO_CHARS)).filter(|_| !event.by_look)),
        ("Source address", Some(or_unknown(event.source_address.as_deref())).filter(|_| !event.by_look)),
        ("User agent", Some(or_unknown(event.user_agent.as_deref())).filter(|_| !event.by_look)),
        (time, Some(event.time.map_or_else(|| "unknown".to_owned(), stamp))),
    ];
    facts.into_iter().filter_map(|(label, value)| Some(Fact { label, value: value? })).collect()
}

/// A call by a trail's name alone failed. AWS then names the trail of that name in the caller's account, whether there is
/// one or not; what was meant may be the trail of that name that the organization has.
fn may_be_the_organizations(event: &Event) -> bool {
    let about_a_trail = event.call.is_some_and(|call| call.about == About::Trail);
    let mut named = ["name", "trailName"].into_iter().filter_map(|name| event.parameters.text(name));
    let by_arn = named.any(|name| TrailArn::parse(name).is_some()) || event.account != event.origin.account;
    event.kind == Kind::FailedCall && about_a_trail && event.resource.is_some() && !by_arn
}

/// Where the record of the call is. Each partition has a host of its own, and some have none that is public.
fn console_link(event: &Event) -> Option<String> {
    let region = event.origin.region.as_ref()?;
    let host = match partition_of(region) {
        "aws" => "console.aws.amazon.com",
        "aws-us-gov" => "console.amazonaws-us-gov.com",
        "aws-cn" => "console.amazonaws.cn",
        _ => return None,
    };
    Some(format!("https://{region}.{host}/cloudtrailv2/home?region={region}#/events/{}", event.id))
}

/// Which trail, and where.
fn place(trail: &TrailArn) -> String {
    format!("{} of account {} in {}", shown(trail.name()), trail.account(), trail.region())
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// The first of them, and how many there are beside.
fn named(all: impl Iterator<Item = String>, count: usize) -> String {
    let more = count.saturating_sub(MAX_NAMED);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("{}{more}.", all.take(MAX_NAMED).collect::<Vec<_>>().join("; "))
}

fn shown_reason(why: &str) -> String {
    harmless(why.trim_end_matches('.'), MAX_REASON_CHARS)
}

fn shown(value: &str) -> String {
    harmless(value, MAX_VALUE_CHARS)
}

fn or_unknown(value: Option<&str>) -> String {
    value.map_or_else(|| "unknown".to_owned(), shown)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::format_description::well_known::Rfc3339;

    use super::super::samples::{restored, stopped};
    use super::*;
    use crate::incident::{DeliveryErrors, Found, Restoration, Restored, Sighting};
    use crate::policy::{Bounds, Mode, Policy, Seen, conclude, judge};

    fn view(event: &Event, mode: Mode, seen: Seen) -> View {
        let policy = Policy::default();
        let bounds = Bounds::of(mode, &policy, OffsetDateTime::UNIX_EPOCH);
        View::new(event, conclude(event, &judge(event, &bounds), seen), false)
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a list of all that can be reported")]
    fn every_report_in_a_sentence() {
        let stop = stopped(|_| {});
        let unnamed = stopped(|event| event["detail"]["requestParameters"] = json!(null));
        let nowhere = stopped(|event| {
            event["detail"]["requestParameters"] = json!(null);
            event["detail"]["recipientAccountId"] = json!(null);
            event["account"] = json!(null);
        });
        let root =
            stopped(|event| event["detail"]["userIdentity"] = json!({ "type": "Root", "accountId": "1" }));
        let deleted = stopped(|event| event["detail"]["eventName"] = json!("DeleteTrail"));
        let denied = stopped(|event| event["detail"]["errorCode"] = json!("AccessDenied"));
        let denied_delete = stopped(|event| {
            event["detail"]["errorCode"] = json!("AccessDenied");
            event["detail"]["eventName"] = json!("DeleteTrail");
        });
        let at = |time| OffsetDateTime::parse(time, &Rfc3339).expect("a time");
        let since = Some(at("2026-11-20T09:15:05Z"));
        let (off, on) = (
            Sighting::Off { at: at("2026-11-20T09:15:08Z") },
            Sighting::On { at: at("2026-11-20T09:15:08Z"), since: Some(at("2026-11-01T00:00:00Z")) },
        );
        let errors = DeliveryErrors {
            log_files: Some("NoSuchBucket".to_owned()),
            digest_files: Some("AccessDenied".to_owned()),
            log_group: Some("AccessDenied".to_owned()),
            notifications: Some("NotFound".to_owned()),
        };
        let unread = DeliveryErrors { log_files: None, ..errors.clone() };
        let stopped_before = Some(at("2026-11-20T09:10:00Z"));
        let refused =
            || restored(Restoration::Refused { detail: "StartLogging: AccessDeniedException".to_owned() });
        let ends = [
            restored(Restoration::Restarted),
            Restored { before: off, ..restored(Restoration::Restarted) },
            Restored { before: on, ..restored(Restoration::Restarted) },
            Restored { stopped_at: stopped_before, ..restored(Restoration::Restarted) },
            Restored { delivery: errors, ..restored(Restoration::Restarted) },
            Restored { delivery: unread, ..restored(Restoration::Restarted) },
            restored(Restoration::AlreadyLogging { since: None, perhaps_ours: false }),
            restored(Restoration::AlreadyLogging { since, perhaps_ours: false }),
            restored(Restoration::AlreadyLogging { since, perhaps_ours: true }),
            restored(Restoration::Unverified { detail: "GetTrailStatus: AccessDeniedException".to_owned() }),
            restored(Restoration::Gone),
            refused(),
            Restored { before: off, ..refused() },
            Restored { before: on, ..refused() },
        ];
        let looks = [
            restored(Restoration::LeftOff),
            restored(Restoration::AlreadyLogging { since, perhaps_ours: false }),
            restored(Restoration::AlreadyLogging { since: stopped_before, perhaps_ours: false }),
            restored(Restoration::Gone),
            refused(),
        ];
        let found = |name: &str, restored: Restored| Found {
            trail: format!("arn:aws:cloudtrail:eu-west-1:111122223333:trail/{name}"),
            restored,
        };
        let stop_time = stop.time.expect("a time");
        let off_with_it = Restored { stopped_at: stop.time, ..restored(Restoration::LeftOff) };
        let off_before = Restored {
            stopped_at: since.map(|since| since - time::Duration::days(3)),
            ..off_with_it.clone()
        };
        let of_a_region = [
            vec![
                found("main", Restored { before: off, ..restored(Restoration::Restarted) }),
                found("second", Restored { before: off, ..refused() }),
                found("old", off_before.clone()),
                found(
                    "other",
                    restored(Restoration::AlreadyLogging { since: stopped_before, perhaps_ours: false }),
                ),
            ],
            vec![found("main", restored(Restoration::AlreadyLogging { since, perhaps_ours: false }))],
            vec![
                found("main", restored(Restoration::AlreadyLogging { since: None, perhaps_ours: false })),
                found("old", off_before.clone()),
            ],
            vec![found("old", off_before)],
            vec![],
        ];
        let looked_around = [found("main", off_with_it)];
        let mut all: Vec<_> = ends.iter().map(|end| (&stop, Mode::Restore, Seen::Ended(end))).collect();
        all.extend(looks.iter().map(|end| (&stop, Mode::Notify, Seen::Ended(end))));
        let (account, region) =
            (unnamed.account.as_ref().expect("one"), unnamed.region.as_ref().expect("one"));
        let around = |found| Seen::Region { account, region, stop: stop_time, found };
        all.extend(of_a_region.iter().map(|found| (&unnamed, Mode::Restore, around(found))));
        let throttled = "StartLogging: ThrottlingException";
        all.extend([off, on, Sighting::NotLookedAt].into_iter().flat_map(|sighting| {
            let gave_up = Seen::GaveUp { sighting, detail: throttled, attempts: 10 };
            [Seen::Delayed { sighting, detail: throttled }, gave_up].map(|seen| (&stop, Mode::Restore, seen))
        }));
        all.extend([
            (&root, Mode::Restore, Seen::Ended(&ends[0])),
            (&unnamed, Mode::Notify, around(&looked_around)),
            (&unnamed, Mode::Restore, Seen::Nothing),
            (&nowhere, Mode::Restore, Seen::Nothing),
            (&nowhere, Mode::Notify, Seen::Nothing),
            (&deleted, Mode::Restore, Seen::Nothing),
            (&denied, Mode::Restore, Seen::Nothing),
            (&denied_delete, Mode::Restore, Seen::Nothing),
        ]);
        let said: Vec<_> = all
            .into_iter()
            .map(|(event, mode, seen)| view(event, mode, seen))
            .map(|view| {
                let View { severity, headline, seen, .. } = &view;
                let off = seen.last().map_or("", |fact| &fact.value);
                format!("{severity:?}: {headline}\n  {}\n  off: {off}", view.text())
            })
            .collect();
        insta::assert_snapshot!(said.join("\n"));
    }

    /// What the call did is said, and "weakened" only of what may have weakened.
    #[test]
    fn every_call_in_a_sentence() {
        let call = |name: &str, service: &str, parameters: serde_json::Value| {
            stopped(|event| {
                event["detail"]["eventName"] = json!(name);
                event["detail"]["eventSource"] = json!(format!("{service}.amazonaws.com"));
                event["detail"]["requestParameters"] = parameters.clone();
            })
        };
        let root = |mut event: Event| {
            event.actor.is_root = true;
            event
        };
        let strengthens = json!({ "name": "audit", "isMultiRegionTrail": true });
        let said: Vec<_> = [
            call("UpdateTrail", "cloudtrail", strengthens.clone()),
            root(call("UpdateTrail", "cloudtrail", strengthens)),
            call(
                "UpdateTrail",
                "cloudtrail",
                json!({ "name": "audit", "s3BucketName": "mallory", "kmsKeyId": "" }),
            ),
            call("UpdateTrail", "cloudtrail", json!({ "omitted": true, "originalSize": 300_000 })),
            call(
                "PutEventSelectors",
                "cloudtrail",
                json!({ "trailName": "audit", "eventSelectors": [{ "includeManagementEvents": false }] }),
            ),
            call("PutEventSelectors", "cloudtrail", json!({ "trailName": "audit", "eventSelectors": [{}] })),
            call(
                "UpdateEventDataStore",
                "cloudtrail",
                json!({ "eventDataStore": "arn:…/store", "name": "nothing-to-see-here" }),
            ),
            call("StopEventDataStoreIngestion", "cloudtrail", json!({ "eventDataStore": "arn:…/store" })),
            call(
                "DisableAWSServiceAccess",
                "organizations",
                json!({ "servicePrincipal": "cloudtrail.amazonaws.com" }),
            ),
            call("LeaveOrganization", "organizations", json!(null)),
            call("DeleteBucketPolicy", "s3", json!({ "bucketName": "org-trail-logs" })),
            call("PutBucketVersioning", "s3", json!({ "bucketName": "org-trail-logs" })),
            call("DisableKey", "kms", json!({ "keyId": "k-1" })),
            call("DeleteRule", "events", json!({ "name": "trailkeeper" })),
        ]
        .iter()
        .map(|event| view(event, Mode::Restore, Seen::Nothing))
        .map(|view| {
            let View { severity, headline, reported, seen, .. } = &view;
            let facts: Vec<_> = reported
                .iter()
                .take(1)
                .chain(seen)
                .map(|fact| format!("{}: {}", fact.label, fact.value))
                .collect();
            format!("{severity:?}: {headline}\n  {}\n  {}", view.text(), facts.join("; "))
        })
        .collect();
        insta::assert_snapshot!(said.join("\n"));
    }

    /// The trail's account and Region are not always those of the call; the record is where the call was made.
    #[test]
    fn where_the_call_was_made_is_shown_where_it_differs() {
        let arn = "arn:aws:cloudtrail:us-east-1:999999999999:trail/org";
        let mut event = stopped(|event| event["detail"]["requestParameters"]["name"] = json!(arn));
        let fact = |event: &Event, label: &str| {
            let view = view(event, Mode::Restore, Seen::Nothing);
            view.reported.into_iter().find(|fact| fact.label == label).map(|fact| fact.value)
        };
        assert_eq!(fact(&event, "Account").as_deref(), Some("999999999999"));
        assert_eq!(fact(&event, "Region").as_deref(), Some("us-east-1"));
        assert_eq!(fact(&event, "Call made in").as_deref(), Some("account 111122223333, eu-west-1"));
        assert_eq!(fact(&event, "Trail").as_deref(), Some("org"));
        let link = view(&event, Mode::Restore, Seen::Nothing).console.expect("a link");
        assert!(link.starts_with("https://eu-west-1.console.aws.amazon.com/"), "{link}");
        event.kind = Kind::FailedCall;
        assert_eq!(fact(&event, "Trail").as_deref(), Some("org"), "a whole ARN says which");
        let by_name = stopped(|event| event["detail"]["errorCode"] = json!("TrailNotFoundException"));
        assert_eq!(
            fact(&by_name, "Trail").as_deref(),
            Some("audit (or the organization's trail of that name)")
        );
        assert_eq!(fact(&by_name, "Call made in"), None);
    }

    #[test]
    fn failure_is_at_least_as_loud_as_success() {
        let event = stopped(|_| {});
        let severity = |seen: Seen| view(&event, Mode::Restore, seen).severity;
        let ended = |outcome| severity(Seen::Ended(&restored(outcome)));
        let success = ended(Restoration::Restarted);
        for outcome in [
            Restoration::Refused { detail: String::new() },
            Restoration::Unverified { detail: String::new() },
            Restoration::LeftOff,
            Restoration::Gone,
        ] {
            assert!(ended(outcome.clone()) >= success, "{outcome:?}");
        }
        let sighting = Sighting::NotLookedAt;
        assert!(severity(Seen::Delayed { sighting, detail: "" }) >= success);
        assert!(severity(Seen::GaveUp { sighting, detail: "", attempts: 1 }) >= success);
        assert!(view(&event, Mode::Notify, Seen::Nothing).severity >= success);
    }
}
