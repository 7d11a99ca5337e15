//! One pass over every trail by hand: what was seen of each, and looks at what differs, sent to the queue.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use super::screen;
use crate::aws::{self, Sdk};
use crate::clock;
use crate::cloudtrail::accounts::Accounts;
use crate::cloudtrail::trails::{Status, Trails};
use crate::config::CheckConfig;
use crate::consumer::sqs::{Letter, Outbox, SqsClients, batches};
use crate::event::AccountId;
use crate::policy::{Bounds, ByUs, Listed, Member, Members};
use crate::retry::Failure;
use crate::state::Records;
use crate::sweep::{Account, Compared, LOOK_AT_TRAIL, Sweep, Trail, look_at};
use crate::text::{MAX_VALUE_CHARS, harmless, stamp};

/// Stands in the user agent of the calls.
const APP_NAME: &str = "trailkeeper-sweep";

/// What a pass saw, and what went wrong.
#[derive(Debug)]
pub struct Swept {
    accounts: Vec<Account>,
    /// Looks that the queue took; nothing where none were to be sent.
    sent: Option<usize>,
    /// One line each.
    pub faults: Vec<String>,
}

/// Looks at every trail of the accounts of the policy, or of one of them, and sends looks at what differs unless this is a dry run.
///
/// # Errors
/// When nothing could be compared: the accounts are not known, or the records could not be read.
pub async fn run(
    config: &CheckConfig,
    sdk: Sdk,
    account: Option<&AccountId>,
    dry_run: bool,
) -> Result<Swept, Failure> {
    let sdk = aws::named(sdk, APP_NAME);
    let progress = screen::spinner();
    progress.set_message("looks whose account this is");
    let role = config.member_role.clone().filter(|_| config.policy.names_accounts());
    let trails = Trails::new(Accounts::discover(&sdk, role).await);
    let own = trails.own_account();
    let members = if config.policy.is_for_an_organization() {
        progress.set_message("lists the accounts of the organization");
        Some(listed(trails.accounts()).await?)
    } else {
        None
    };
    let all = config.policy.looked_at(own, members.as_ref()).unwrap_or_default();
    let wanted: BTreeSet<_> = all.into_iter().filter(|one| account.is_none_or(|only| only == one)).collect();
    if wanted.is_empty() {
        let whose = account.map_or("any account".to_owned(), |account| format!("account {account}"));
        return Err(Failure::permanent(format!(
            "the policy does not concern {whose}: nothing was looked at"
        )));
    }
    let records = match &config.state.table {
        Some(table) => Records::in_table(&sdk, table.clone()),
        None => Records::in_memory(),
    };
    let members = members.as_ref().map_or(Listed::NotAsked, |members| Listed::At { members, is_late: false });
    let bounds = Bounds {
        mode: config.mode,
        policy: &config.policy,
        own,
        members,
        by_us: ByUs::No,
        now: clock::now(),
    };
    progress.set_message(format!("looks at the trails of {} accounts", wanted.len()));
    let pass = Sweep { trails: &trails, records: &records, bounds }.pass(&wanted).await;
    let accounts = pass.map_err(|error| Failure::permanent(error.to_string()))?;
    let mut faults = Vec::new();
    for Account { id, failed, .. } in &accounts {
        faults
            .extend(failed.as_ref().map(|refusal| format!("account {id} could not be looked at: {refusal}")));
    }
    let sent = if dry_run {
        None
    } else {
        progress.set_message("sends looks");
        let queue = SqsClients::new(&sdk, config.queue.wait).outbox(config.queue.url.clone());
        Some(send(&accounts, &queue, &mut faults).await)
    };
    progress.finish_and_clear();
    Ok(Swept { accounts, sent, faults })
}

async fn listed(accounts: &Accounts) -> Result<Members, Failure> {
    let listed = accounts.list().await?.into_iter();
    let accounts: HashMap<_, _> =
        listed.map(|one| (one.id, Member { name: one.name, state: one.state })).collect();
    Ok(Members { accounts, listed_at: clock::now() })
}

/// Sends a look at each trail that differs; how many the queue took.
async fn send(accounts: &[Account], queue: &Outbox, faults: &mut Vec<String>) -> usize {
    let mut sent = 0;
    let looks = accounts.iter().flat_map(|account| &account.trails).filter_map(look);
    for batch in batches(looks) {
        let results = match queue.send_all(&batch).await {
            Ok(results) => results,
            Err(failure) => {
                faults.push(format!("{} looks were not sent: {failure}", batch.len()));
                continue;
            }
        };
        for result in results {
            match result {
                Ok(_) => sent += 1,
                Err(unsent) => faults.push(format!("a look was not sent: {unsent}")),
            }
        }
    }
    sent
}

fn look(trail: &Trail) -> Option<Letter> {
    let Compared::Differs { after } = trail.compared else { return None };
    Some(Letter { body: look_at(&trail.arn), label: None, kind: Some(LOOK_AT_TRAIL.to_owned()), after })
}

/// For people.
impl fmt::Display for Swept {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let mut table =
            screen::table(&["account", "trail", "home Region", "logging", "delivering", "beside its record"]);
        let mut trails: Vec<_> = self.accounts.iter().flat_map(|account| &account.trails).collect();
        trails.sort_by_key(|trail| trail.arn.to_string());
        for Trail { arn, home, seen, compared, .. } in &trails {
            let compared = match (compared, self.sent) {
                (Compared::Same, _) => "as it has it",
                (Compared::Differs { .. }, Some(_)) => "differs: a look is sent",
                (Compared::Differs { .. }, None) => "differs",
                (Compared::New(_), _) => "has none yet",
            };
            let (logging, delivering) = seen.as_ref().map_or(("gone".to_owned(), String::new()), said);
            let name = harmless(arn.name(), MAX_VALUE_CHARS);
            table.add_row([arn.account().as_str(), &name, home.as_str(), &logging, &delivering, compared]);
        }
        write!(formatter, "{table}\n{} trails of {} accounts", trails.len(), self.accounts.len())?;
        match self.sent {
            Some(sent) => write!(formatter, "; looks sent: {sent}"),
            None => write!(formatter, "; nothing was sent"),
        }
    }
}

/// Whether it logs, and what its home Region shows of its delivery.
fn said(status: &Status) -> (String, String) {
    let logging = match (status.logging, status.stopped_at) {
        (true, _) => "on".to_owned(),
        (false, Some(since)) => format!("off since {}", stamp(since)),
        (false, None) => "never started".to_owned(),
    };
    let error = status.delivery.log_files.as_deref();
    let delivering = error.map_or("no error shown".to_owned(), |error| harmless(error, MAX_VALUE_CHARS));
    (logging, delivering)
}
