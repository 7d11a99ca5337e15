//! One pass over every trail of every account, each compared with its record. It changes nothing: what differs is for whoever asked.

mod compare;
mod look;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;

use crate::cloudtrail::trails::{Status, Trails};
use crate::cloudtrail::{Meaning, Refusal};
use crate::event::{AccountId, Region, TrailArn};
use crate::incident::Glimpse;
use crate::policy::Bounds;
use crate::state::{AccountRecord, RecordKey, Records, StoreError, TrailRecord};

pub use compare::{finding, last_finding};
pub use look::{LOOK_AT_TRAIL, look_at, looked_at};

/// Accounts that are looked at side by side: each by a session of its own, and far below what AWS takes of a caller.
const AT_ONCE: usize = 16;
/// For one account. One that hangs must not keep the others from being looked at.
const ACCOUNT_TIMEOUT: Duration = Duration::from_mins(1);
/// A trail that stopped no longer ago than this is looked at only then, so that its event comes first.
const EVENT_FIRST: Duration = Duration::from_mins(1);

/// Without a state table, what stopped no longer ago than this is restarted at the first look.
const RECENT: Duration = Duration::from_hours(24);

/// What a pass is made with.
#[derive(Debug, Clone, Copy)]
pub struct Sweep<'s> {
    pub trails: &'s Trails,
    pub records: &'s Records,
    pub bounds: Bounds<'s>,
}

/// An account, as it was seen.
#[derive(Debug)]
pub struct Account {
    pub id: AccountId,
    /// As it was before; nothing is known of an account that was never looked at.
    pub record: AccountRecord,
    pub trails: Vec<Trail>,
    /// Whether a trail records it, its own or its organization's, at the first look; nothing if that is not known.
    pub is_recorded: Option<bool>,
    /// Why it was not looked at as a whole.
    pub failed: Option<Refusal>,
}

/// A trail, as it was seen.
#[derive(Debug)]
pub struct Trail {
    pub arn: TrailArn,
    pub home: Region,
    /// In its home Region; nothing of one that is gone.
    pub seen: Option<Status>,
    pub compared: Compared,
    pub delivery: Delivery,
}

/// Whether the log files of a trail that is on arrive, beside its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// As its record has it.
    Same,
    /// They cannot be delivered any more: CloudTrail's word for why.
    Fails(String),
    /// They can be delivered again.
    Works,
}

/// A trail beside its record.
#[derive(Debug)]
pub enum Compared {
    /// It is as its record has it, or is nobody's business.
    Same,
    /// It is not: to be looked at in this long.
    Differs { after: Duration },
    /// It has no record, or one that is over. This is to be its record, unless it is off as it was before it was first looked at: then once that is reported.
    New(Box<TrailRecord>),
}

impl Sweep<'_> {
    /// Looks at all trails of these accounts.
    ///
    /// # Errors
    /// When the records could not be read: then nothing could be compared.
    pub async fn pass(&self, accounts: &BTreeSet<AccountId>) -> Result<Vec<Account>, StoreError> {
        let about: Vec<_> = accounts.iter().cloned().map(RecordKey::Account).collect();
        let mut records: HashMap<RecordKey, AccountRecord> = self.records.read_all(&about).await?;
        let looking = accounts.iter().map(|id| {
            let record = records.remove(&RecordKey::Account(id.clone())).unwrap_or_default();
            self.account(id, record)
        });
        let looking: Vec<_> = looking.collect();
        let looked: Vec<_> = stream::iter(looking).buffer_unordered(AT_ONCE).collect().await;
        looked.into_iter().collect()
    }

    async fn account(&self, id: &AccountId, record: AccountRecord) -> Result<Account, StoreError> {
        let mut account =
            Account { id: id.clone(), record, trails: Vec::new(), is_recorded: None, failed: None };
        let looked = tokio::time::timeout(ACCOUNT_TIMEOUT, self.look(&mut account)).await;
        match looked {
            Ok(Ok(failed)) => account.failed = failed,
            Ok(Err(error)) => return Err(error),
            Err(_elapsed) => {
                let detail =
                    format!("AWS did not answer in {} s for account {id}", ACCOUNT_TIMEOUT.as_secs());
                account.failed = Some(Refusal { meaning: Meaning::Passing, detail });
            }
        }
        Ok(account)
    }

    /// The inner value says why the account was not looked at as a whole.
    async fn look(&self, account: &mut Account) -> Result<Option<Refusal>, StoreError> {
        let listed = match self.trails.of_account(&account.id).await {
            Ok(listed) => listed,
            Err(refusal) => return Ok(Some(refusal)),
        };
        // An organization's trail is looked at in the account that it belongs to.
        let (mut listed, others): (HashMap<_, _>, HashMap<_, _>) =
            listed.into_iter().partition(|(arn, _)| *arn.account() == account.id);
        for known in account.record.trails.iter().filter_map(|arn| TrailArn::parse(arn)) {
            let home = known.region().clone();
            listed.entry(known).or_insert(home);
        }
        let about: Vec<_> = listed.keys().cloned().map(RecordKey::Trail).collect();
        let records: HashMap<RecordKey, TrailRecord> = self.records.read_all(&about).await?;
        let mut failed = None;
        for (arn, home) in listed {
            let seen = match self.trails.status(&arn, &home).await {
                Ok(status) => Some(status),
                Err(Refusal { meaning: Meaning::Gone, .. }) => None,
                Err(refusal) => {
                    failed = Some(refusal);
                    continue;
                }
            };
            let record = records.get(&RecordKey::Trail(arn.clone()));
            let glimpse = seen.as_ref().map(Status::glimpse);
            let compared = self.compare(record, &arn, glimpse, account.record.first_looked_at.is_some());
            let delivery = delivery(record, seen.as_ref());
            account.trails.push(Trail { arn, home, seen, compared, delivery });
        }
        if account.record.first_looked_at.is_none() && failed.is_none() {
            account.is_recorded = self.is_recorded(account, others).await;
        }
        Ok(failed)
    }

    /// Whether any of its trails is on, or of its organization's.
    async fn is_recorded(&self, account: &Account, others: HashMap<TrailArn, Region>) -> Option<bool> {
        let is_on = |status: &Status| status.logging;
        if account.trails.iter().any(|trail| trail.seen.as_ref().is_some_and(is_on)) {
            return Some(true);
        }
        for (arn, home) in others {
            // Where it is not shown, nothing is known.
            if self.trails.status_from(&account.id, &arn, &home).await.ok()?.logging {
                return Some(true);
            }
        }
        Some(false)
    }

    fn compare(
        &self,
        record: Option<&TrailRecord>,
        arn: &TrailArn,
        seen: Option<Glimpse>,
        is_known: bool,
    ) -> Compared {
        let now = self.bounds.now;
        let record = match (record, seen) {
            (Some(record), Some(glimpse)) if record.is_over(seen) => {
                return Compared::New(Box::new(record.next(glimpse, now)));
            }
            (Some(record), _) => record,
            // Listed, and gone since.
            (None, None) => return Compared::Same,
            (None, Some(seen)) => {
                // Without a table each start of a worker is a first look: what stopped a short while ago is news.
                let is_recent = seen.stopped_at.is_some_and(|at| now - at < RECENT);
                let is_new = is_known || (is_recent && !self.records.are_kept());
                return Compared::New(Box::new(TrailRecord::first(seen, is_new, now)));
            }
        };
        if finding(record, arn, seen, &self.bounds, false).is_none() {
            // To be looked at, all the same, if the event history is to be asked.
            let is_asked = record.to_ask(now).is_some();
            return if is_asked { Compared::Differs { after: Duration::ZERO } } else { Compared::Same };
        }
        let age = seen.and_then(|seen| seen.stopped_at).map(|at| now - at);
        let after = age.and_then(|age| EVENT_FIRST.checked_sub(Duration::try_from(age).ok()?));
        Compared::Differs { after: after.unwrap_or_default() }
    }
}

/// Of a trail that is off, or gone, nothing is said of its log files.
fn delivery(record: Option<&TrailRecord>, seen: Option<&Status>) -> Delivery {
    let Some(seen) = seen.filter(|seen| seen.logging) else { return Delivery::Same };
    match (record.and_then(|record| record.undelivered.as_ref()), &seen.delivery.log_files) {
        (None, Some(error)) => Delivery::Fails(error.clone()),
        (Some(_), None) => Delivery::Works,
        (None, None) | (Some(_), Some(_)) => Delivery::Same,
    }
}
