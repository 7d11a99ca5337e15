//! Which accounts the organization has: listed at the start and now and then, and once more for an account that is not known.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::changes::another_within;
use crate::clock;
use crate::cloudtrail::accounts::Accounts;
use crate::consumer::Delivery;
use crate::event::AccountId;
use crate::policy::{Listed, Member, Members, Policy};
use crate::retry::{Failure, RetryPolicy};

/// Between two lists that somebody who forges events could ask for, and while none can be had.
const AGAIN: Duration = Duration::from_mins(1);
/// With a message in hand, for a list that is being read.
const BEING_LISTED: Duration = Duration::from_secs(3);
/// A list is read anew after this long: for accounts that have left, and for names.
const GOOD_FOR: Duration = Duration::from_mins(15);
/// Of the receives after which SQS gives a message up, in percent: so many an event waits for a list.
const PATIENCE_PERCENT: u32 = 75;
/// So many where the failure is for good, as a denial is.
const RECEIVES_FOR_GOOD: u32 = 3;
/// Where SQS does not say after how many: as infra/ has it.
const MAX_RECEIVE_COUNT: u32 = 20;

/// The organization's accounts, as far as they are known.
#[derive(Debug)]
pub struct Membership {
    state: Mutex<State>,
    /// Held while they are listed, so that one list is read at a time.
    listing: tokio::sync::Mutex<()>,
    /// Received more often, SQS gives a message up; `None` where that is not known.
    max_receive_count: watch::Receiver<Option<u32>>,
}

#[derive(Debug, Default)]
struct State {
    members: Option<Arc<Members>>,
    asked_at: Option<Instant>,
    /// Why the last try failed, if it did, and whether it may pass.
    failed: Option<Failure>,
}

/// Whether an event can be judged by what is known.
#[derive(Debug, Clone)]
pub(super) enum Known {
    /// By these accounts, or by none where none are needed.
    Enough {
        members: Option<Arc<Members>>,
        /// They could not be listed again.
        is_late: bool,
    },
    /// There was no list, and SQS will soon give the message up.
    Never,
    /// The list is read again before that: after this long the message is looked at once more.
    NotYet(Duration),
}

impl Known {
    pub(super) fn listed(&self) -> Listed<'_> {
        match self {
            Self::Enough { members: Some(members), is_late } => Listed::At { members, is_late: *is_late },
            Self::Enough { members: None, .. } | Self::NotYet(_) => Listed::NotAsked,
            Self::Never => Listed::Never,
        }
    }
}

impl Membership {
    #[must_use]
    pub fn new(max_receive_count: watch::Receiver<Option<u32>>) -> Self {
        Self { state: Mutex::default(), listing: tokio::sync::Mutex::default(), max_receive_count }
    }

    /// Lists the accounts now and then, while the policy is for an organization. Ends when dropped.
    pub async fn keep(&self, accounts: &Accounts, policy: &watch::Receiver<Arc<Policy>>) {
        let mut policy = policy.clone();
        loop {
            let is_wanted = policy.borrow_and_update().is_for_an_organization();
            let listed_at = self.members().map(|members| members.listed_at);
            let is_old = listed_at.is_none_or(|listed_at| clock::since(listed_at) >= GOOD_FOR);
            if is_wanted && is_old && self.may_ask().is_none() {
                self.list(accounts).await;
            }
            another_within(&mut policy, AGAIN).await;
        }
    }

    /// What is known for an event; `asks_for` is the account that must be known for it.
    pub(super) async fn of(
        &self,
        accounts: &Accounts,
        asks_for: Option<&AccountId>,
        delivery: &Delivery,
        retry: &RetryPolicy,
    ) -> Known {
        let known = |members| Known::Enough { members, is_late: false };
        let Some(account) = asks_for else { return known(self.members()) };
        let is_known = |members: &Arc<Members>| members.accounts.contains_key(account);
        // What was listed since the message was sent says it all.
        let is_late =
            |members: &Arc<Members>| delivery.sent_at.is_some_and(|sent_at| sent_at <= members.listed_at);
        let enough = || self.members().filter(|members| is_known(members) || is_late(members));
        if let Some(members) = enough() {
            return known(Some(members));
        }
        // One that is being read is waited for, and by nobody for long: who waits keeps others from work.
        let asked_for = self.state().asked_at.map_or(Duration::ZERO, |asked_at| asked_at.elapsed());
        let left = BEING_LISTED.saturating_sub(asked_for);
        if tokio::time::timeout(left, self.listing.lock()).await.is_err() {
            return Known::NotYet(BEING_LISTED * 2);
        }
        if let Some(members) = enough() {
            return known(Some(members));
        }
        let is_listed = match self.may_ask() {
            None => self.list(accounts).await,
            Some(wait) if self.members().is_some() => return Known::NotYet(wait),
            Some(_) => false,
        };
        if let Some(members) = self.members() {
            // Just listed; or it could not be, and the list before stands.
            return Known::Enough { members: Some(members), is_late: !is_listed };
        }
        let most = self.max_receive_count.borrow().unwrap_or(MAX_RECEIVE_COUNT);
        let patience = most.saturating_mul(PATIENCE_PERCENT) / 100;
        // What no wait mends is not waited for long.
        let is_for_good = self.state().failed.as_ref().is_some_and(|failure| !failure.is_transient());
        if delivery.receive_count >= if is_for_good { patience.min(RECEIVES_FOR_GOOD) } else { patience } {
            return Known::Never;
        }
        // Each time at least half of the longest wait: SQS counts receives.
        Known::NotYet(retry.max.mul_f64(0.5 + fastrand::f64() / 2.0))
    }

    /// What is known now.
    pub(super) fn known(&self) -> Known {
        Known::Enough { members: self.members(), is_late: false }
    }

    pub(super) fn members(&self) -> Option<Arc<Members>> {
        self.state().members.clone()
    }

    /// How long to wait before the list may be asked for again.
    fn may_ask(&self) -> Option<Duration> {
        let asked_at = self.state().asked_at?;
        AGAIN.checked_sub(asked_at.elapsed()).filter(|wait| !wait.is_zero())
    }

    /// Whether they could be listed, by this or by whoever was at it when this was asked.
    async fn list(&self, accounts: &Accounts) -> bool {
        let waiting_since = Instant::now();
        let _one_at_a_time = self.listing.lock().await;
        if self.state().asked_at.is_some_and(|asked_at| asked_at >= waiting_since) {
            return self.state().failed.is_none();
        }
        self.state().asked_at = Some(Instant::now());
        // Rarely, and much: it is not to be a part of all work on events.
        match Box::pin(accounts.list()).await {
            Ok(listed) => {
                let accounts =
                    listed.into_iter().map(|one| (one.id, Member { name: one.name, state: one.state }));
                let members = Members { accounts: accounts.collect(), listed_at: clock::now() };
                tracing::info!(accounts = members.accounts.len(), "listed the accounts of the organization");
                let mut state = self.state();
                (state.members, state.failed) = (Some(Arc::new(members)), None);
                true
            }
            Err(failure) => {
                self.warn(&failure);
                self.state().failed = Some(failure);
                false
            }
        }
    }

    fn warn(&self, failure: &Failure) {
        let listed_at = self.members().map(|members| members.listed_at.to_string());
        tracing::warn!(
            %failure,
            listed_at,
            "the accounts of the organization could not be listed: the last list stands, and without one stops elsewhere wait"
        );
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
