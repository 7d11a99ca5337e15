//! From the text of a policy to a [`Policy`], or to every fault of it with its line. Pure.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::rules::{Accounts, FoundOff, Policy, Rule, SEVERITIES, Source, Stopped};
use crate::event::{AccountId, CALLS, Region};
use crate::pattern::ArnPattern;
use crate::text::is_hidden;

/// The longest policy read, in bytes: some ten thousand rules with everything in them.
pub const MAX_BYTES: usize = 8 * 1_024 * 1_024;
/// The longest name or reason, in characters: they are shown in messages.
const MAX_TEXT_CHARS: usize = 200;
/// Faults that are named: beyond these, something is wrong with all of it.
const MAX_FAULTS: usize = 200;
/// How much of a text a fault quotes, in characters.
const MAX_QUOTED_CHARS: usize = 60;
/// The channels that a rule can name: the one that exists.
const CHANNELS: [&str; 1] = ["slack"];

const NO_ACCOUNT: &str = "an account id of twelve digits";
const NO_PATTERN: &str = "a pattern of an ARN, like arn:aws:iam::111122223333:role/deploy-*";

/// One thing that is wrong with a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The first is 1.
    pub line: usize,
    /// A whole sentence without its end.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.what)
    }
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// Every fault there is, in the order of the text.
    pub fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        if text.len() > MAX_BYTES {
            let what = format!("the policy has {} bytes, more than {MAX_BYTES}", text.len());
            return Err(vec![Fault { line: 1, what }]);
        }
        let faults = Faults::default();
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            faults.add(error.span().unwrap_or_default(), error.message().to_owned());
        }
        let policy = policy(Table::new(&document, "the policy", &faults));
        faults.none(text, policy)
    }
}

fn policy(mut file: Table) -> Policy {
    match file.take("version").map(|version| (version.span(), integer(version.get_ref()))) {
        Some((_, Some(1))) => {}
        Some((at, _)) => file.faults.add(at, "version is not 1, the only one that there is".to_owned()),
        None => file.faults.add(0..0, "version is missing: begin with version = 1".to_owned()),
    }
    let accounts = file.table("accounts").map_or_else(Accounts::own, accounts);
    let (stopped, found_off) = file.table("defaults").map(defaults).unwrap_or_default();
    file.not_yet("escalate", "repeats are not counted");
    file.not_yet("digest", "there is no daily line");
    file.not_yet("channel", "the channel is the one that TRAILKEEPER_SLACK_WEBHOOK_URL makes, slack");
    let mut names = BTreeSet::new();
    let rules = file.tables("rule");
    let rules = rules.into_iter().map(|table| rule(table, stopped, &mut names)).collect();
    file.end();
    Policy { accounts, stopped, found_off, rules, text: String::new() }
}

fn accounts(mut table: Table) -> Accounts {
    #[derive(Clone, Copy, PartialEq)]
    enum Word {
        Own,
        List,
        Organization,
    }
    let words = [("own", Word::Own), ("list", Word::List), ("organization", Word::Organization)];
    let source = table.word("source", &words, |_| None).unwrap_or(Word::Own);
    let list: BTreeSet<_> = table.list("list", NO_ACCOUNT, AccountId::parse).into_iter().collect();
    let says = |key: &str| table.entries.contains_key(key);
    if (source == Word::List) != says("list") {
        let what = "source = \"list\" and a list go together";
        table.faults.add(table.at.clone(), format!("{} has one of the two alone: {what}", table.place));
    }
    if source == Word::List && says("list") && list.is_empty() {
        table.faults.add(
            table.at.clone(),
            format!("list of {} is empty: source = \"own\" is the worker's own account", table.place),
        );
    }
    let names = table.table("name").map(Table::names);
    let accounts = Accounts {
        source: match source {
            Word::Own => Source::Own,
            Word::List => Source::List(list),
            Word::Organization => Source::Organization,
        },
        exclude: table.list("exclude", NO_ACCOUNT, AccountId::parse).into_iter().collect(),
        regions: table.list("regions", "a Region, like eu-west-1", Region::parse).into_iter().collect(),
        names: names.unwrap_or_default(),
    };
    table.end();
    accounts
}

fn defaults(mut table: Table) -> (Stopped, FoundOff) {
    let stopped = table.word("stopped", &STOPPED, |_| None).unwrap_or_default();
    let words = [("report", FoundOff::Report), ("restart", FoundOff::Restart)];
    let found_off = table.word("found_off", &words, |_| None).unwrap_or_default();
    table.not_yet("changed", "nothing is put back");
    table.not_yet("trusted", "there is no baseline that a change could become");
    table.not_yet("buckets", "nothing is put back");
    table.not_yet("keys", "nothing is put back");
    table.end();
    (stopped, found_off)
}

const STOPPED: [(&str, Stopped); 2] = [("restart", Stopped::Restart), ("notify", Stopped::Notify)];

/// `names` are those of the rules before.
fn rule<'t>(mut table: Table<'t, '_>, by_default: Stopped, names: &mut BTreeSet<&'t str>) -> Rule {
    let at = table.at.clone();
    let name = table.text("name", true);
    if let Some((at, name)) = &name {
        table.place = format!("rule {}", quoted(name));
        if !names.insert(name) {
            table.faults.add(at.clone(), format!("a rule before this one is named {} too", quoted(name)));
        }
    }
    let stopped = table.word("stopped", &STOPPED, |other| {
        (other == "exempt")
            .then_some("this version has no exemptions: notify leaves a trail off, and says so each time")
    });
    table.not_yet("rows", "nothing is put back");
    table.not_yet("changed", "nothing is put back");
    let is_known = |event: &str| CALLS.iter().any(|call| call.name == event).then(|| event.to_owned());
    let rule = Rule {
        accounts: table.list("accounts", NO_ACCOUNT, AccountId::parse).into_iter().collect(),
        trails: table.list("trails", NO_PATTERN, ArnPattern::parse),
        actors: table.list("actors", NO_PATTERN, ArnPattern::parse),
        events: table
            .list("events", "the name of a call that trailkeeper reports", is_known)
            .into_iter()
            .collect(),
        stopped,
        severity: table.word("severity", &SEVERITIES, |_| None),
        reason: table.text("reason", false).map(|(_, reason)| reason.to_owned()),
        until: table.time("until"),
        name: name.map(|(_, name)| name.to_owned()).unwrap_or_default(),
    };
    let is_channel = |name: &str| CHANNELS.contains(&name).then_some(());
    table.list("channels", "a channel that exists: slack", is_channel);
    let does_less = (by_default, stopped) == (Stopped::Restart, Some(Stopped::Notify));
    if does_less && rule.reason.is_none() {
        let place = &table.place;
        let what = format!("{place} does less than the defaults and gives no reason: add reason = \"…\"");
        table.faults.add(at, what);
    }
    table.end();
    rule
}

/// Collects what is wrong, by where it stands.
#[derive(Default)]
struct Faults(RefCell<Vec<(usize, String)>>);

impl Faults {
    fn add(&self, at: Range<usize>, what: String) {
        let mut found = self.0.borrow_mut();
        if found.len() < MAX_FAULTS {
            found.push((at.start, what));
        }
    }

    fn none(self, text: &str, policy: Policy) -> Result<Policy, Vec<Fault>> {
        let mut found = self.0.into_inner();
        if found.is_empty() {
            return Ok(Policy { text: text.to_owned(), ..policy });
        }
        found.sort();
        let line = |at: usize| 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
        Err(found.into_iter().map(|(at, what)| Fault { line: line(at), what }).collect())
    }
}

/// A table that is being read: each reader takes a key, and puts down what is wrong with its value.
struct Table<'t, 'f> {
    entries: &'t DeTable<'t>,
    at: Range<usize>,
    /// As a fault names it.
    place: String,
    known: Vec<&'static str>,
    faults: &'f Faults,
}

impl<'t, 'f> Table<'t, 'f> {
    fn new(table: &'t Spanned<DeTable<'t>>, place: &str, faults: &'f Faults) -> Self {
        Self::of(table.get_ref(), table.span(), place, faults)
    }

    fn of(table: &'t DeTable<'t>, at: Range<usize>, place: &str, faults: &'f Faults) -> Self {
        Self { entries: table, at, place: place.to_owned(), known: Vec::new(), faults }
    }

    fn take(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.known.push(key);
        self.entries.get(key)
    }

    /// Puts down that the value of `key` is not what it should be.
    fn wrong(&self, key: &str, value: &Spanned<DeValue>, should: &str) {
        let is = match value.get_ref() {
            DeValue::String(text) => quoted(text),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Boolean(flag) => flag.to_string(),
            other => format!("a value of type {}", other.type_str()),
        };
        self.faults.add(value.span(), format!("{key} of {} is {is}, not {should}", self.place));
    }

    fn text(&mut self, key: &'static str, is_required: bool) -> Option<(Range<usize>, &'t str)> {
        let Some(value) = self.take(key) else {
            if is_required {
                self.faults.add(self.at.clone(), format!("{} has no {key}", self.place));
            }
            return None;
        };
        self.line(key, value).map(|text| (value.span(), text))
    }

    /// A text of one line.
    fn line(&self, key: &str, value: &'t Spanned<DeValue<'t>>) -> Option<&'t str> {
        let fits = |text: &&str| {
            !text.trim().is_empty() && text.chars().count() <= MAX_TEXT_CHARS && !text.contains(is_hidden)
        };
        let fitting = value.get_ref().as_str().filter(fits);
        if fitting.is_none() {
            self.wrong(key, value, &format!("a text of one line, of 1 to {MAX_TEXT_CHARS} characters"));
        }
        fitting
    }

    /// The table as names by account.
    fn names(self) -> BTreeMap<AccountId, String> {
        let named = self.entries.iter().filter_map(|(key, value)| {
            let account = AccountId::parse(key.get_ref());
            if account.is_none() {
                let what = format!("{} has the key {}, not {NO_ACCOUNT}", self.place, quoted(key.get_ref()));
                self.faults.add(key.span(), what);
            }
            let name = self.line(key.get_ref(), value);
            Some((account?, name?.to_owned()))
        });
        named.collect()
    }

    /// `later` says why a word that a later version knows has no meaning yet.
    fn word<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&str, T)],
        later: impl Fn(&str) -> Option<&'static str>,
    ) -> Option<T> {
        let value = self.take(key)?;
        let text = value.get_ref().as_str();
        let meaning = text.and_then(|text| words.iter().find(|(word, _)| *word == text)).map(|(_, one)| *one);
        match text.and_then(later) {
            Some(why) => {
                let is = quoted(text.unwrap_or_default());
                self.faults.add(value.span(), format!("{key} of {} is {is}, and {why}", self.place));
            }
            None if meaning.is_none() => {
                let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                self.wrong(key, value, &words.join(" or "));
            }
            None => {}
        }
        meaning
    }

    fn list<T>(&mut self, key: &'static str, of: &str, parse: impl Fn(&str) -> Option<T>) -> Vec<T> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.wrong(key, value, &format!("a list, each of it {of}"));
            return Vec::new();
        };
        let parsed = items.iter().map(|item| {
            let parsed = item.get_ref().as_str().and_then(&parse);
            if parsed.is_none() {
                self.wrong(key, item, of);
            }
            parsed
        });
        parsed.flatten().collect()
    }

    fn time(&mut self, key: &'static str) -> Option<OffsetDateTime> {
        let value = self.take(key)?;
        let written = value.get_ref().as_datetime().map(ToString::to_string);
        let time = written.and_then(|written| OffsetDateTime::parse(&written, &Rfc3339).ok());
        if time.is_none() {
            self.wrong(key, value, "a time with its offset, like 2027-01-31T00:00:00Z");
        }
        time
    }

    fn table(&mut self, key: &'static str) -> Option<Table<'t, 'f>> {
        let value = self.take(key)?;
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong(key, value, &format!("a table: [{key}]"));
        }
        table.map(|table| Self::of(table, value.span(), &format!("[{key}]"), self.faults))
    }

    fn tables(&mut self, key: &'static str) -> Vec<Table<'t, 'f>> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.wrong(key, value, &format!("a list of tables: [[{key}]]"));
            return Vec::new();
        };
        let tables = items.iter().enumerate().filter_map(|(position, item)| {
            let table = item.get_ref().as_table();
            if table.is_none() {
                self.wrong(key, item, &format!("a table: [[{key}]]"));
            }
            Some(Self::of(table?, item.span(), &format!("{key} {}", position + 1), self.faults))
        });
        tables.collect()
    }

    /// A key of later versions.
    fn not_yet(&mut self, key: &'static str, why: &str) {
        self.known.push(key);
        if let Some((key, _)) = self.entries.get_key_value(key) {
            let what = format!(
                "{} of {} does nothing in this version ({why}): leave it out",
                key.get_ref(),
                self.place
            );
            self.faults.add(key.span(), what);
        }
    }

    /// Whatever was not asked for is a typing error.
    fn end(self) {
        let known: BTreeSet<_> = self.known.iter().copied().collect();
        for (key, _) in self.entries {
            let name = key.get_ref().as_ref();
            if known.contains(name) {
                continue;
            }
            let alike = known.iter().map(|known| (strsim::jaro_winkler(known, name), known));
            let nearest =
                alike.filter(|(alike, _)| *alike > 0.7).max_by(|(one, _), (other, _)| one.total_cmp(other));
            let nearest =
                nearest.map(|(_, nearest)| format!(": {nearest} is the nearest")).unwrap_or_default();
            self.faults.add(key.span(), format!("{} has no key {}{nearest}", self.place, quoted(name)));
        }
    }
}

fn integer(value: &DeValue) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// A text of the policy in a fault: its owner wrote it, and may have put the wrong file there.
fn quoted(text: &str) -> String {
    let cut: String = text.chars().take(MAX_QUOTED_CHARS).collect();
    if cut.len() < text.len() { format!("{cut:?}…") } else { format!("{cut:?}") }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use serde_json::Value;

    use super::super::SCHEMA;
    use super::*;

    /// Every key that there is.
    const WHOLE: &str = r#"
version = 1

[accounts]
source = "list"
list = ["111122223333"]
exclude = ["444455556666"]
regions = ["eu-west-1", "eu-central-1"]
name = { "111122223333" = "payments-prod" }

[defaults]
stopped = "restart"
found_off = "restart"

[[rule]]
name = "sandbox"
accounts = ["111122223333"]
trails = ["arn:aws:cloudtrail:*:111122223333:trail/sandbox-*"]
actors = ["arn:aws:iam::111122223333:role/deploy"]
events = ["StopLogging"]
stopped = "notify"
severity = "low"
channels = ["slack"]
reason = "a place to try things"
until = 2027-01-31T00:00:00Z
"#;

    fn faults(text: &str) -> Vec<String> {
        let faults = Policy::parse(text).expect_err(text);
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_whole_policy_is_read_and_said() {
        let policy = Policy::parse(WHOLE).expect("no fault");
        insta::assert_snapshot!(policy.to_string());
        let least = Policy::parse("version = 1").expect("no fault");
        assert_eq!((least.stopped, least.accounts), (Stopped::Restart, Accounts::own()));
    }

    #[test]
    fn every_fault_is_named_with_its_line() {
        let found = faults(
            r#"version = 2
verison = 1
[accounts]
source = "organization"
list = ["111122223333"]
exclude = ["1", 111122223333]
regions = "eu-west-1"
name = { "1" = "one", "111122223333" = "" }
[defaults]
stopped = "stop"
changed = "put-back"
[escalate]
after = 3
[[rule]]
name = "one"
trails = ["*"]
events = ["StopLoging"]
stopped = "notify"
[[rule]]
name = "one"
severity = "urgent"
stopped = "exempt"
until = 2027-01-31
[[rule]]
channels = ["pagers"]
reason = ""
[[channel]]
name = "sandbox"
"#,
        );
        insta::assert_snapshot!(found.join("\n"));
    }

    #[test]
    fn what_is_no_toml_is_named_with_the_rest() {
        let found = faults("version = 1\n[accounts\nsource = \"own\"\n[defaults]\nstopped = 7\n");
        assert!(found.len() >= 2, "{found:?}");
        assert!(found.iter().any(|fault| fault.starts_with("line 2: ")), "{found:?}");
        assert!(
            found.iter().any(|fault| fault.starts_with("line 5: stopped of [defaults] is 7")),
            "{found:?}"
        );
        assert_eq!(faults(""), ["line 1: version is missing: begin with version = 1"]);
        assert_eq!(
            faults("version = 1\nrule = 3")[0],
            "line 2: rule of the policy is 3, not a list of tables: [[rule]]"
        );
    }

    #[test]
    fn ten_thousand_rules_are_read() {
        let mut text = "version = 1\n".to_owned();
        for number in 0..10_000 {
            writeln!(
                text,
                "[[rule]]\nname = \"rule {number}\"\ntrails = [\"arn:aws:cloudtrail:*:*:trail/{number}\"]"
            )
            .expect("written");
        }
        assert_eq!(Policy::parse(&text).expect("no fault").rules.len(), 10_000);
        text.push_str(&"x".repeat(MAX_BYTES));
        assert!(faults(&text)[0].ends_with(&format!("more than {MAX_BYTES}")));
    }

    /// The schema has each key, and no other.
    #[test]
    fn the_schema_has_the_keys_that_are_read() {
        fn keys(schema: &Value, at: &str, found: &mut BTreeSet<String>) {
            for (key, of) in schema["properties"].as_object().into_iter().flatten() {
                let key = format!("{at}{key}");
                keys(of, &format!("{key}."), found);
                keys(&of["items"], &format!("{key}."), found);
                found.insert(key);
            }
        }
        fn written(value: &DeValue, at: &str, found: &mut BTreeSet<String>) {
            for (key, value) in value.as_table().into_iter().flatten() {
                // What accounts are called has their ids for keys.
                if AccountId::parse(key.get_ref()).is_some() {
                    continue;
                }
                let key = format!("{at}{}", key.get_ref());
                written(value.get_ref(), &format!("{key}."), found);
                for item in value.get_ref().as_array().into_iter().flatten() {
                    written(item.get_ref(), &format!("{key}."), found);
                }
                found.insert(key);
            }
        }
        let schema: Value = serde_json::from_str(SCHEMA).expect("JSON");
        let (mut known, mut read) = (BTreeSet::new(), BTreeSet::new());
        keys(&schema, "", &mut known);
        let document = DeTable::parse(WHOLE).expect("TOML").into_inner();
        written(&DeValue::Table(document), "", &mut read);
        assert_eq!(known, read);
    }
}
