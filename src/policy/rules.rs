//! What its owner wants of trailkeeper: which accounts it concerns, and what is done about what. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use time::OffsetDateTime;

use crate::event::{AccountId, Event, Kind, Region};
use crate::incident::Severity;
use crate::pattern::ArnPattern;
use crate::text::{MAX_VALUE_CHARS, harmless, stamp};

/// As a policy writes them.
pub(super) const SEVERITIES: [(&str, Severity); 4] = [
    ("low", Severity::Low),
    ("medium", Severity::Medium),
    ("high", Severity::High),
    ("critical", Severity::Critical),
];

/// Without a file: as far as the worker's own rights reach, restart and notify.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    pub(super) accounts: Accounts,
    /// What is done about a trail that was stopped, unless a rule says otherwise.
    pub(super) stopped: Stopped,
    /// Whether a trail is restarted that was off before it was looked at for the first time.
    pub(super) found_off: FoundOff,
    /// The first that fits decides.
    pub(super) rules: Vec<Rule>,
    /// As it was written: nothing without a file.
    pub(super) text: String,
}

/// Which trails the policy concerns. What is outside is reported, and not touched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Accounts {
    pub(super) source: Source,
    pub(super) exclude: BTreeSet<AccountId>,
    /// By home Region; all of them if none is named.
    pub(super) regions: BTreeSet<Region>,
    /// What accounts are called; by default as the organization calls them.
    pub(super) names: BTreeMap<AccountId, String>,
}

/// Where the accounts come from. The worker's own is always one of them, unless it is excluded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Source {
    /// There is no policy: whatever account CloudTrail lets the worker act in.
    #[default]
    Unsaid,
    /// The worker's own account.
    Own,
    /// These.
    List(BTreeSet<AccountId>),
    /// Those of the organization, as they are listed.
    Organization,
}

/// The accounts of the organization, when they were listed last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    pub accounts: HashMap<AccountId, Member>,
    pub listed_at: OffsetDateTime,
}

/// An account of the organization.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Member {
    /// Untrusted text.
    pub name: String,
    /// Where it is not active: `SUSPENDED` and the like.
    pub state: Option<String>,
}

/// What is done about a trail that was stopped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Stopped {
    #[default]
    Restart,
    /// Look and notify.
    Notify,
}

/// What is done about a trail that was off when it was looked at for the first time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum FoundOff {
    #[default]
    Report,
    Restart,
}

/// What is done about what fits; what it leaves out, the defaults say. An empty list fits anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) accounts: BTreeSet<AccountId>,
    pub(super) trails: Vec<ArnPattern>,
    /// The ARN of the user, or of the role that a session was issued for.
    pub(super) actors: Vec<ArnPattern>,
    pub(super) events: BTreeSet<String>,
    pub(super) stopped: Option<Stopped>,
    pub(super) severity: Option<Severity>,
    pub(super) reason: Option<String>,
    /// After it the rule no longer fits.
    pub(super) until: Option<OffsetDateTime>,
}

impl Accounts {
    /// What a policy concerns that names no accounts.
    pub(super) fn own() -> Self {
        Self { source: Source::Own, ..Self::default() }
    }
}

impl Policy {
    /// As it was written: nothing without a policy.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first rule that fits the event.
    pub(super) fn rule(&self, event: &Event, now: OffsetDateTime) -> Option<&Rule> {
        // Written once, for all of the rules.
        let trail = event.target().map(|trail| trail.to_string());
        self.rules.iter().find(|rule| rule.fits(event, trail.as_deref(), now))
    }

    /// The account that must be in the list of the organization's before the event can be judged. Who does not know its own account
    /// waits for no list: it may be that one.
    #[must_use]
    pub fn asks_for<'e>(&self, event: &'e Event, own: Option<&AccountId>) -> Option<&'e AccountId> {
        let account = event.account.as_ref().filter(|_| self.accounts.source == Source::Organization)?;
        let is_said = own.is_none_or(|own| own == account) || self.accounts.exclude.contains(account);
        // Of other calls nothing is undone: people hear of them at once.
        (!is_said && event.kind == Kind::Stopped).then_some(account)
    }

    /// The accounts that are listed, beside the worker's own.
    #[must_use]
    pub fn list(&self) -> Option<&BTreeSet<AccountId>> {
        if let Source::List(list) = &self.accounts.source { Some(list) } else { None }
    }

    /// Whether a trail is restarted that was off before it was looked at for the first time.
    #[must_use]
    pub fn restarts_what_was_off(&self) -> bool {
        self.found_off == FoundOff::Restart
    }

    /// The accounts whose trails are looked at; nothing while those of the organization are not known. An account that is closed has no
    /// trails to keep.
    #[must_use]
    pub fn looked_at(
        &self,
        own: Option<&AccountId>,
        members: Option<&Members>,
    ) -> Option<BTreeSet<AccountId>> {
        let others: Vec<&AccountId> = match &self.accounts.source {
            Source::Unsaid | Source::Own => Vec::new(),
            Source::List(list) => list.iter().collect(),
            Source::Organization => {
                let is_open =
                    |member: &Member| !matches!(member.state.as_deref(), Some("SUSPENDED" | "CLOSED"));
                members?
                    .accounts
                    .iter()
                    .filter(|(_, member)| is_open(member))
                    .map(|(account, _)| account)
                    .collect()
            }
        };
        let all = others.into_iter().chain(own).filter(|account| !self.excludes(account));
        Some(all.cloned().collect())
    }

    /// Whether an account is outside whatever the source says.
    #[must_use]
    pub fn excludes(&self, account: &AccountId) -> bool {
        self.accounts.exclude.contains(account)
    }

    /// Whether it says which accounts it concerns: there is a policy.
    #[must_use]
    pub fn names_accounts(&self) -> bool {
        self.accounts.source != Source::Unsaid
    }

    /// Whether it concerns other accounts than the worker's.
    #[must_use]
    pub fn names_others(&self) -> bool {
        matches!(self.accounts.source, Source::List(_) | Source::Organization)
    }

    /// Whether the accounts are those of the organization.
    #[must_use]
    pub fn is_for_an_organization(&self) -> bool {
        self.accounts.source == Source::Organization
    }

    /// Why the policy does not concern an event; `own` is the worker's account, where it is known.
    pub(super) fn outside(
        &self,
        event: &Event,
        own: Option<&AccountId>,
        members: Option<(&Members, bool)>,
    ) -> Option<String> {
        let account = event.account.as_ref();
        if let Some(why) = account.and_then(|account| self.outside_account(account, own, members)) {
            return Some(why);
        }
        // A trail that is not named was stopped where it lives. Other calls have no home.
        let region = event.target().map(|trail| trail.region().clone());
        let region = region.or_else(|| event.region.clone().filter(|_| event.kind == Kind::Stopped))?;
        let regions = &self.accounts.regions;
        let is_outside = !regions.is_empty() && !regions.contains(&region);
        is_outside.then(|| format!("Region {region} is outside the policy"))
    }

    /// Why the policy does not concern an account. Who does not know whose account this is does not say that another is outside.
    pub(super) fn outside_account(
        &self,
        account: &AccountId,
        own: Option<&AccountId>,
        members: Option<(&Members, bool)>,
    ) -> Option<String> {
        let Accounts { source, exclude, .. } = &self.accounts;
        if exclude.contains(account) {
            return Some(format!("account {account} is excluded by the policy"));
        }
        if own.is_none_or(|own| own == account) {
            return None;
        }
        match (source, members) {
            (Source::Own, _) => Some(format!("account {account} is outside the policy")),
            (Source::List(list), _) if !list.contains(account) => {
                Some(format!("account {account} is not in the policy's list"))
            }
            (Source::Organization, Some((members, is_late))) if !members.accounts.contains_key(account) => {
                let listed_at = stamp(members.listed_at);
                let late = if is_late { ", and the list could not be read again" } else { "" };
                Some(format!(
                    "account {account} is not in the organization, as it was listed at {listed_at}{late}"
                ))
            }
            _ => None,
        }
    }

    /// What an account is called, and its state where it is not active.
    pub(super) fn account_label(&self, account: &AccountId, members: Option<&Members>) -> Option<String> {
        let member = members.and_then(|members| members.accounts.get(account));
        let name = self.accounts.names.get(account).or(member.map(|member| &member.name));
        let name = name.filter(|name| !name.is_empty()).map(|name| harmless(name, MAX_VALUE_CHARS));
        let state = member.and_then(|member| member.state.as_deref());
        let state = state.map(|state| format!("its state is {}", harmless(state, MAX_VALUE_CHARS)));
        let said: Vec<_> = name.into_iter().chain(state).collect();
        (!said.is_empty()).then(|| said.join(", "))
    }
}

impl Rule {
    /// What is not known fits a rule only where any would.
    fn fits(&self, event: &Event, trail: Option<&str>, now: OffsetDateTime) -> bool {
        let any = |patterns: &[ArnPattern], arn: Option<&str>| {
            patterns.is_empty() || arn.is_some_and(|arn| patterns.iter().any(|pattern| pattern.matches(arn)))
        };
        self.until.is_none_or(|until| now < until)
            && (self.accounts.is_empty()
                || event.account.as_ref().is_some_and(|account| self.accounts.contains(account)))
            && (self.events.is_empty() || self.events.contains(&event.name))
            && any(&self.trails, trail)
            && any(&self.actors, event.actor.arn.as_deref())
    }
}

/// What the policy means, a sentence a line.
impl fmt::Display for Policy {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let Accounts { source, exclude, regions, names } = &self.accounts;
        let whose = match source {
            Source::Unsaid => "whatever account CloudTrail lets the worker act in".to_owned(),
            Source::Own => "the worker's own account".to_owned(),
            Source::List(list) => format!("the worker's own account and of {}", listed(list)),
            Source::Organization => "every account of the organization".to_owned(),
        };
        let where_ = if regions.is_empty() {
            "in whatever Region they live".to_owned()
        } else {
            format!("as far as they live in {}", listed(regions))
        };
        writeln!(formatter, "It concerns the trails of {whose}, {where_}.")?;
        if !exclude.is_empty() {
            writeln!(
                formatter,
                "It excludes {}: what happens there is reported, and not touched.",
                listed(exclude)
            )?;
        }
        if !names.is_empty() {
            let named: Vec<_> = names.iter().map(|(account, name)| format!("{account} {name:?}")).collect();
            writeln!(formatter, "It calls account {}.", named.join(", "))?;
        }
        let stopped = match self.stopped {
            Stopped::Restart => "restarted",
            Stopped::Notify => "left as it is",
        };
        write!(
            formatter,
            "A trail that was stopped is {stopped}, and people are notified, unless a rule says otherwise."
        )?;
        let found_off = match self.found_off {
            FoundOff::Report => "reported once, and left as it is",
            FoundOff::Restart => "restarted",
        };
        write!(formatter, "\nA trail that was off before it was first looked at is {found_off}.")?;
        if self.rules.iter().any(|rule| rule.stopped == Some(Stopped::Notify)) {
            write!(formatter, "\nA trail that root stopped is never left off by a rule.")?;
        }
        for (position, rule) in self.rules.iter().enumerate() {
            write!(formatter, "\nRule {}, {rule}", position + 1)?;
        }
        Ok(())
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let Self { name, accounts, trails, actors, events, stopped, severity, reason, until } = self;
        write!(formatter, "{name:?}: ")?;
        formatter.write_str(&if events.is_empty() { "any call".to_owned() } else { listed(events) })?;
        if !trails.is_empty() {
            write!(formatter, " on a trail like {}", listed(trails))?;
        }
        if !accounts.is_empty() {
            write!(formatter, " in account {}", listed(accounts))?;
        }
        if actors.is_empty() {
            write!(formatter, " by anybody")?;
        } else {
            write!(formatter, " by {}", listed(actors))?;
        }
        if let Some(until) = until {
            write!(formatter, ", until {}", stamp(*until))?;
        }
        let done = [
            stopped.map(|stopped| match stopped {
                Stopped::Restart => "a stopped trail is restarted".to_owned(),
                Stopped::Notify => "a stopped trail is left as it is, and people are notified".to_owned(),
            }),
            SEVERITIES
                .iter()
                .find(|(_, one)| Some(*one) == *severity)
                .map(|(word, _)| format!("the severity is {word}")),
        ];
        let done: Vec<_> = done.into_iter().flatten().collect();
        write!(
            formatter,
            ": {}",
            if done.is_empty() { "as the defaults say".to_owned() } else { done.join("; ") }
        )?;
        match reason {
            Some(reason) => write!(formatter, ". The reason: {}.", reason.trim_end_matches('.')),
            None => formatter.write_str("."),
        }
    }
}

fn listed<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(" or ")
}
