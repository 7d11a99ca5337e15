//! What may be done about an event, before anything is looked at. Pure.

use std::fmt;

use time::OffsetDateTime;

use super::rules::{Members, Policy, Stopped};
use crate::event::{AccountId, Event, Kind, Region, TrailArn};
use crate::incident::Severity;

/// How far trailkeeper goes: the upper bound of everything that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Restart and notify.
    Restore,
    /// Notify only.
    Notify,
    /// Log what would be done.
    DryRun,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// See to it that these log, and notify.
    Restart(Which),
    /// Look whether these log, and notify.
    Look(Which),
    /// A trail was stopped, and the event does not tell where: notify, and keep the event as a dead letter.
    Refuse(Untargetable),
    Notify,
    Ignore,
}

/// The trails that a stop concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    Trail(TrailArn),
    /// The event names none that can be read: those of the account and Region of the call that stopped with it.
    StoppedAt {
        account: AccountId,
        region: Region,
        time: OffsetDateTime,
    },
}

/// Why an event that stopped a trail does not tell where to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untargetable {
    #[error("the event names neither a trail nor an account")]
    NoAccount,
    #[error("the event names neither a trail nor a Region")]
    NoRegion,
    #[error("the event names neither a trail nor a time")]
    NoTime,
    #[error("the accounts of the organization could not be listed")]
    NoMembers,
}

/// What is known of the organization's accounts.
#[derive(Debug, Clone, Copy)]
pub enum Listed<'a> {
    /// Nobody asked.
    NotAsked,
    /// They could not be listed, and will not be waited for any longer.
    Never,
    At {
        members: &'a Members,
        /// They could not be listed again when they should have been.
        is_late: bool,
    },
}

/// Whether a call was made with an identity of trailkeeper's own, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByUs {
    No,
    /// The worker's.
    Worker,
    /// The member role's: trailkeeper's only in accounts that the policy concerns.
    MemberRole,
}

/// What decides about an event, beside the event.
#[derive(Debug, Clone, Copy)]
pub struct Bounds<'a> {
    pub mode: Mode,
    pub policy: &'a Policy,
    /// The worker's own account, where it is known.
    pub own: Option<&'a AccountId>,
    pub members: Listed<'a>,
    pub by_us: ByUs,
    pub now: OffsetDateTime,
}

impl<'a> Bounds<'a> {
    /// Where nothing is known beside mode and policy.
    #[must_use]
    pub fn of(mode: Mode, policy: &'a Policy, now: OffsetDateTime) -> Self {
        Self { mode, policy, own: None, members: Listed::NotAsked, by_us: ByUs::No, now }
    }
}

/// What is to be done about an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub action: Action,
    /// Why it is less than it could be.
    pub because: Option<Because>,
    /// As a rule of the policy has it.
    pub severity: Option<Severity>,
    /// What the account is called, where it has a name, and its state where it is not active.
    pub account: Option<String>,
    /// The call was made with an identity of trailkeeper's own.
    pub by_us: bool,
}

/// Why less is done than could be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    Mode(&'static str),
    /// The policy does not concern it: why.
    Outside(String),
    Defaults,
    Rule {
        name: String,
        reason: Option<String>,
    },
}

/// Judges an event by what it says, and by how far trailkeeper may go.
#[must_use]
pub fn judge(event: &Event, bounds: &Bounds) -> Judgement {
    let Bounds { mode, policy, own, members, by_us, now } = *bounds;
    let known = if let Listed::At { members, is_late } = members { Some((members, is_late)) } else { None };
    let by_us = match by_us {
        ByUs::No => false,
        ByUs::Worker => true,
        ByUs::MemberRole => {
            let account = event.actor.arn.as_deref().and_then(|arn| AccountId::parse(arn.split(':').nth(4)?));
            account.is_some_and(|account| policy.outside_account(&account, own, known).is_none())
        }
    };
    let account = event
        .account
        .as_ref()
        .and_then(|account| policy.account_label(account, known.map(|(members, _)| members)));
    let ignore = |because| Judgement {
        action: Action::Ignore,
        because,
        severity: None,
        account: account.clone(),
        by_us,
    };
    match (event.kind, mode) {
        (Kind::Other, _) => return ignore(None),
        (_, Mode::DryRun) => return ignore(Some(Because::Mode("dry-run"))),
        _ => {}
    }
    let rule = policy.rule(event, now);
    let severity = rule.and_then(|rule| rule.severity);
    let judged = |action, because| Judgement { action, because, severity, account: account.clone(), by_us };
    if let Some(why) = policy.outside(event, own, known) {
        return judged(Action::Notify, Some(Because::Outside(why)));
    }
    if matches!(members, Listed::Never) && policy.asks_for(event, own).is_some() {
        return judged(Action::Refuse(Untargetable::NoMembers), None);
    }
    if event.kind != Kind::Stopped {
        return judged(Action::Notify, None);
    }
    let look = |because| judged(which(event).map_or(Action::Notify, Action::Look), Some(because));
    if mode == Mode::Notify {
        return look(Because::Mode("notify"));
    }
    // Nobody should be root at all: no rule leaves off what root has stopped.
    let rule = rule.filter(|rule| !(event.actor.is_root && rule.stopped == Some(Stopped::Notify)));
    let by_rule = rule.and_then(|rule| {
        let because = Because::Rule { name: rule.name.clone(), reason: rule.reason.clone() };
        rule.stopped.map(|stopped| (stopped, because))
    });
    match by_rule.unwrap_or((policy.stopped, Because::Defaults)) {
        (Stopped::Restart, _) => judged(which(event).map_or_else(Action::Refuse, Action::Restart), None),
        (Stopped::Notify, because) => look(because),
    }
}

fn which(event: &Event) -> Result<Which, Untargetable> {
    if let Some(trail) = event.target() {
        return Ok(Which::Trail(trail));
    }
    Ok(Which::StoppedAt {
        account: event.origin.account.clone().ok_or(Untargetable::NoAccount)?,
        region: event.origin.region.clone().ok_or(Untargetable::NoRegion)?,
        time: event.time.ok_or(Untargetable::NoTime)?,
    })
}

/// What there is to say, and to do, about a stopped trail of which the event does not tell where it is.
#[must_use]
pub fn refusal(why: Untargetable) -> String {
    format!("{why}: look for the trail, and restart it by hand")
}

impl Action {
    /// The action in a word, for the log.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Restart(_) => "restart",
            Self::Look(_) => "look",
            Self::Refuse(_) => "refuse",
            Self::Notify => "notify",
            Self::Ignore => "ignore",
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Trail(trail) => write!(formatter, "{trail}"),
            Self::StoppedAt { account, region, .. } => {
                write!(formatter, "the trails of {account} in {region} that stopped with this event")
            }
        }
    }
}

impl Judgement {
    /// Whether the policy, and not the mode, leaves a trail as it is.
    pub(super) fn is_left_off(&self) -> bool {
        matches!(self.because, Some(Because::Defaults | Because::Rule { .. }))
    }

    /// Says this beside why the policy does not concern the event.
    pub fn add(&mut self, beside: Option<String>) {
        if let (Some(Because::Outside(why)), Some(beside)) = (&mut self.because, beside) {
            *why = format!("{why}; {beside}");
        }
    }

    /// Whether the policy does not concern the event.
    #[must_use]
    pub fn is_outside(&self) -> bool {
        matches!(self.because, Some(Because::Outside(_)))
    }
}

impl fmt::Display for Because {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Mode(mode) => write!(formatter, "TRAILKEEPER_MODE is {mode}"),
            Self::Outside(why) => formatter.write_str(why),
            Self::Defaults => formatter.write_str("the defaults of the policy say notify"),
            Self::Rule { name, reason: None } => write!(formatter, "rule {name:?} of the policy says notify"),
            Self::Rule { name, reason: Some(reason) } => {
                write!(formatter, "rule {name:?} of the policy says notify ({reason})")
            }
        }
    }
}

/// The judgement in words.
impl fmt::Display for Judgement {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match (&self.action, &self.because) {
            (Action::Restart(which), _) => {
                write!(formatter, "restart {which}, as far as CloudTrail allows it to the worker, and notify")
            }
            (Action::Look(which), Some(because)) => {
                write!(formatter, "notify, since {because}, after a look at {which}")
            }
            (Action::Look(which), None) => write!(formatter, "notify after a look at {which}"),
            (Action::Refuse(_), _) => {
                formatter.write_str("notify that it cannot be restarted, and keep it as a dead letter")
            }
            (Action::Notify, None) => formatter.write_str("notify"),
            (Action::Notify, Some(because)) => write!(formatter, "notify, since {because}"),
            (Action::Ignore, None) => formatter.write_str("ignore"),
            (Action::Ignore, Some(because)) => write!(formatter, "only log, since {because}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::event;

    fn event(name: &str, error_code: Option<&str>, trail: Option<&str>) -> Event {
        let body = serde_json::json!({ "detail": {
            "eventID": "e-1", "eventName": name, "eventSource": "cloudtrail.amazonaws.com", "errorCode": error_code,
            "eventTime": "2026-11-20T09:15:02Z",
            "awsRegion": "eu-west-1", "recipientAccountId": "111122223333", "requestParameters": { "name": trail },
        } });
        event::parse(&body.to_string()).expect("an event")
    }

    static NO_POLICY: LazyLock<Policy> = LazyLock::new(Policy::default);

    fn bounds(mode: Mode) -> Bounds<'static> {
        Bounds::of(mode, &NO_POLICY, OffsetDateTime::UNIX_EPOCH)
    }

    #[test]
    fn the_mode_is_the_upper_bound_of_what_is_done() {
        let stopped = event("StopLogging", None, Some("audit"));
        let unnamed = event("StopLogging", None, None);
        let (failed, deleted) =
            (event("StopLogging", Some("AccessDenied"), None), event("DeleteTrail", None, Some("audit")));
        let other = event("StartLogging", None, Some("audit"));
        let mut nowhere = event("StopLogging", None, Some("no trail's name"));
        nowhere.time = None;
        let audit = "arn:aws:cloudtrail:eu-west-1:111122223333:trail/audit";
        let region = "the trails of 111122223333 in eu-west-1 that stopped with this event";
        let restart =
            |which| format!("restart {which}, as far as CloudTrail allows it to the worker, and notify");
        let look = |which| format!("notify, since TRAILKEEPER_MODE is notify, after a look at {which}");
        let notify = "notify, since TRAILKEEPER_MODE is notify".to_owned();
        let refuse = "notify that it cannot be restarted, and keep it as a dead letter".to_owned();
        let dry = "only log, since TRAILKEEPER_MODE is dry-run".to_owned();
        let plain = |word: &str| word.to_owned();
        for (event, by_mode) in [
            (&stopped, [restart(audit), look(audit), dry.clone()]),
            (&unnamed, [restart(region), look(region), dry.clone()]),
            (&nowhere, [refuse, notify, dry.clone()]),
            (&failed, [plain("notify"), plain("notify"), dry.clone()]),
            (&deleted, [plain("notify"), plain("notify"), dry.clone()]),
            (&other, [plain("ignore"), plain("ignore"), plain("ignore")]),
        ] {
            let judged = [Mode::Restore, Mode::Notify, Mode::DryRun]
                .map(|mode| judge(event, &bounds(mode)).to_string());
            assert_eq!(judged, by_mode, "{} {:?}", event.name, event.error_code);
        }
    }

    #[test]
    fn what_a_stop_does_not_say_is_named() {
        let missing = |change: fn(&mut Event)| {
            let mut event = event("StopLogging", None, None);
            change(&mut event);
            judge(&event, &bounds(Mode::Restore)).action
        };
        assert_eq!(missing(|event| event.origin.account = None), Action::Refuse(Untargetable::NoAccount));
        assert_eq!(missing(|event| event.origin.region = None), Action::Refuse(Untargetable::NoRegion));
        assert_eq!(missing(|event| event.time = None), Action::Refuse(Untargetable::NoTime));
    }

    /// Each stops the trail `audit` of 111122223333 in eu-west-1.
    fn stop(change: impl Fn(&mut serde_json::Value)) -> Event {
        let mut body = serde_json::json!({ "detail": {
            "eventID": "e-1", "eventName": "StopLogging", "eventSource": "cloudtrail.amazonaws.com",
            "eventTime": "2026-11-20T09:15:02Z", "awsRegion": "eu-west-1", "recipientAccountId": "111122223333",
            "requestParameters": { "name": "audit" },
            "userIdentity": { "type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/eve", "userName": "eve" },
        } });
        change(&mut body["detail"]);
        event::parse(&body.to_string()).expect("an event")
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let plain = stop(|_| {});
        let root = stop(|event| {
            event["userIdentity"] =
                serde_json::json!({ "type": "Root", "arn": "arn:aws:iam::111122223333:root" });
        });
        let unknown = stop(|event| event["userIdentity"] = serde_json::Value::Null);
        let unnamed = stop(|event| event["requestParameters"] = serde_json::Value::Null);
        let (off, on) = ("look", "restart");
        for (rule, judged) in [
            ("", [off, on, off, off]),
            ("trails = [\"arn:aws:cloudtrail:*:*:trail/audit\"]", [off, on, off, on]),
            ("trails = [\"arn:aws:cloudtrail:*:*:trail/sandbox\"]", [on, on, on, on]),
            ("actors = [\"arn:aws:iam::*:user/*\"]", [off, on, on, off]),
            ("actors = [\"arn:aws:iam::*:role/*\"]", [on, on, on, on]),
            ("accounts = [\"111122223333\"]", [off, on, off, off]),
            ("accounts = [\"444455556666\"]", [on, on, on, on]),
            ("events = [\"DeleteTrail\"]", [on, on, on, on]),
            ("events = [\"DeleteTrail\", \"StopLogging\"]", [off, on, off, off]),
            ("until = 1970-01-01T00:00:01Z", [off, on, off, off]),
            ("until = 1970-01-01T00:00:00Z", [on, on, on, on]),
        ] {
            let text = format!(
                "version = 1\n[[rule]]\nname = \"quiet\"\nstopped = \"notify\"\nreason = \"planned\"\n{rule}\n\
                 [[rule]]\nname = \"too late\"\nstopped = \"restart\""
            );
            let policy = Policy::parse(&text).expect("no fault");
            let found = [&plain, &root, &unknown, &unnamed].map(|event| {
                judge(event, &Bounds { policy: &policy, ..bounds(Mode::Restore) }).action.as_str()
            });
            assert_eq!(found, judged, "{rule}");
        }
    }

    #[test]
    fn what_is_outside_is_reported_and_not_touched() {
        let own = AccountId::parse("111122223333").expect("an account");
        let others = stop(|event| event["recipientAccountId"] = "444455556666".into());
        let frankfurt = stop(|event| event["awsRegion"] = "eu-central-1".into());
        for (policy, own, judged) in [
            ("", Some(&own), [None, Some("account 444455556666 is outside the policy"), None]),
            // Who does not know whose account this is does not say that it is another's.
            ("", None, [None, None, None]),
            (
                "regions = [\"eu-west-1\"]",
                None,
                [None, None, Some("Region eu-central-1 is outside the policy")],
            ),
            (
                "exclude = [\"111122223333\"]",
                Some(&own),
                [
                    Some("account 111122223333 is excluded by the policy"),
                    Some("account 444455556666 is outside the policy"),
                    Some("account 111122223333 is excluded by the policy"),
                ],
            ),
        ] {
            let policy = Policy::parse(&format!("version = 1\n[accounts]\n{policy}")).expect("no fault");
            let stops = [stop(|_| {}), others.clone(), frankfurt.clone()];
            for (event, why) in stops.iter().zip(judged) {
                let judgement = judge(event, &Bounds { policy: &policy, own, ..bounds(Mode::Restore) });
                let said = judgement.because.as_ref().map(ToString::to_string);
                assert_eq!((said.as_deref(), judgement.is_outside()), (why, why.is_some()));
                assert_eq!(judgement.action == Action::Notify, why.is_some());
            }
        }
    }
}
