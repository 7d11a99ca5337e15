//! The worker's part in the sweep: one worker of the fleet makes each pass, sends looks at what differs, and reports what no look can.

use std::collections::BTreeSet;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use super::responder::{Responder, Sweeping};
use crate::clock;
use crate::cloudtrail::{Meaning, Refusal};
use crate::consumer::sqs::{Letter, Outbox, batches};
use crate::event::{AccountId, TrailArn};
use crate::incident::Severity;
use crate::policy::{Bounds, ByUs};
use crate::state::{
    AccountRecord, Asking, Counts, Failing, Key, Opened, RecordKey, Records, Session, Store, StoreError,
    SweepRecord, TrailRecord, Undelivered,
};
use crate::sweep::{Account, Compared, Delivery, LOOK_AT_TRAIL, Sweep, look_at};
use crate::telemetry;
use crate::tell::View;

/// At the start a worker waits no longer than this for its first look at whether a sweep is due: all of them start together.
const FIRST: Duration = Duration::from_secs(5);
/// Between two tries while a sweep cannot be made.
const AGAIN: Duration = Duration::from_secs(30);
/// An account that was never looked at is reported after this long.
const NEVER_SEEN: Duration = Duration::from_hours(1);
/// One that denied a look, and did not before, is reported after so many passes in a row; any other after so many.
const DENIED_PASSES: u32 = 2;
const PASSES: u32 = 3;
/// By what a sweep asks for its claim: no message brings it, and whoever asks may take over once the lease is over.
const ASKING: Asking<'_> = Asking { message: "sweep", redriven: false };

/// What a pass found that is reported by the sweep itself.
#[derive(Debug, Default)]
struct Findings {
    looks: Vec<(TrailArn, Duration)>,
    /// Off when they were first looked at, and not reported yet.
    found_off: Vec<(TrailArn, Box<TrailRecord>)>,
    /// Looked at as a whole for the first time.
    first: Vec<AccountId>,
    /// Of these, those that no trail records.
    unrecorded: Vec<AccountId>,
    trails: usize,
    stopped: usize,
    undelivered: usize,
}

impl<S: Store> Responder<S> {
    /// Makes those passes that fall to this worker. Ends when dropped.
    pub(super) async fn sweep(&self, sweeping: &Sweeping, records: &Records) {
        let mut wait = FIRST.min(sweeping.every).mul_f64(fastrand::f64());
        loop {
            tokio::time::sleep(wait).await;
            wait = self.sweep_if_due(sweeping, records).await.min(sweeping.every);
        }
    }

    /// How long to wait before the next is due, or this should be asked again.
    async fn sweep_if_due(&self, sweeping: &Sweeping, records: &Records) -> Duration {
        let session = match Session::open(&self.claims, Key::Sweep, self.lease, ASKING, 1).await {
            Opened::Yours(session) => session,
            Opened::Held(ends_in) => return ends_in + Duration::from_secs(1),
            Opened::Ended { .. } => return sweeping.every,
        };
        let swept = if session.silence().is_some() {
            tracing::warn!(
                "the state table does not answer: no trail is looked at without an event until it does"
            );
            Ok(AGAIN)
        } else {
            tokio::select! {
                () = session.keep() => return AGAIN,
                swept = self.sweep_as(&session, sweeping, records) => swept,
            }
        };
        if let Err(error) = session.release(Counts::No).await {
            tracing::warn!(%error, "the end of the sweep could not be written down");
        }
        swept.unwrap_or_else(|error| {
            tracing::warn!(%error, "the sweep could not be made, and is tried again");
            AGAIN
        })
    }

    async fn sweep_as(
        &self,
        session: &Session<'_, S>,
        sweeping: &Sweeping,
        records: &Records,
    ) -> Result<Duration, StoreError> {
        let now = clock::now();
        let due = records.change(&RecordKey::Sweep, |before: Option<SweepRecord>| {
            let before = before.unwrap_or_default();
            let since = before.began_at.map_or(sweeping.every, clock::since);
            let left = sweeping.every.saturating_sub(since);
            // As long as a tick of the clock is no reason to wait for another.
            if left > Duration::from_secs(1) { (None, Some(left)) } else { (Some(before.begun(now)), None) }
        });
        if let Some(left) = due.await? {
            return Ok(left);
        }
        let policy = std::sync::Arc::clone(&self.policy.borrow());
        let trails = &self.hands.trails;
        trails.accounts().identify().await;
        let known = self.members.known();
        let members = self.members.members();
        let Some(accounts) = policy.looked_at(trails.accounts().own(), members.as_deref()) else {
            tracing::info!("the sweep waits until the accounts of the organization are listed");
            return Ok(AGAIN);
        };
        let began = Instant::now();
        let own = trails.accounts().own();
        let bounds =
            Bounds { mode: self.mode, policy: &policy, own, members: known.listed(), by_us: ByUs::No, now };
        let swept = Sweep { trails, records, bounds }.pass(&accounts).await?;
        if session.still_ours().is_err() {
            return Ok(AGAIN);
        }
        self.conclude(&swept, sweeping, records).await?;
        telemetry::swept(began.elapsed(), clock::now());
        let ended =
            |before: Option<SweepRecord>| (Some(before.unwrap_or_default().finished(clock::now())), ());
        records.change(&RecordKey::Sweep, ended).await?;
        Ok(sweeping.every.saturating_sub(began.elapsed()))
    }

    /// Writes down what is new, sends looks at what differs, and reports what is to be reported.
    async fn conclude(
        &self,
        swept: &[Account],
        sweeping: &Sweeping,
        records: &Records,
    ) -> Result<(), StoreError> {
        let mut findings = Findings::default();
        for account in swept {
            take_in(account, &mut findings, records).await?;
        }
        let failed = swept.iter().filter(|account| account.failed.is_some()).count();
        let Findings { trails, stopped, undelivered, .. } = findings;
        telemetry::swept_trails(trails - stopped - undelivered, stopped, undelivered);
        telemetry::swept_accounts(swept.len() - failed, failed);
        tracing::info!(
            accounts = swept.len(),
            failed,
            trails,
            off = stopped,
            undelivered,
            looks = findings.looks.len(),
            "swept"
        );
        self.send(&findings.looks, &sweeping.queue).await;
        self.report_what_was_off(&findings, records).await?;
        self.report_delivery(swept, records).await?;
        self.report_unseen(swept, records).await
    }

    /// Sends looks; where the queue takes none, the trails are looked at all the same.
    async fn send(&self, looks: &[(TrailArn, Duration)], queue: &Outbox) {
        let letters = looks.iter().map(|(trail, after)| Letter {
            body: look_at(trail),
            label: None,
            kind: Some(LOOK_AT_TRAIL.to_owned()),
            after: *after,
        });
        let (mut done, mut unsent) = (0, None);
        for batch in batches(letters) {
            let failed = match queue.send_all(&batch).await {
                Ok(results) => {
                    results.into_iter().find_map(|result| result.err().map(|error| error.to_string()))
                }
                Err(failure) => Some(failure.to_string()),
            };
            if failed.is_some() {
                unsent = failed;
                break;
            }
            done += batch.len();
        }
        let Some(why) = unsent else { return };
        tracing::error!(why, "the queue takes no looks: the trails are looked at without it");
        // A batch that was taken in part is looked at as a whole: twice does no harm.
        let left = &looks[done..];
        for (trail, _) in left {
            self.look_now(trail).await;
        }
        let view = View::of_a_broken_queue(left.len(), &why, clock::now());
        self.show(&view).await;
    }

    /// Reports once what was off before it was first looked at, and writes down that it was.
    async fn report_what_was_off(&self, findings: &Findings, records: &Records) -> Result<(), StoreError> {
        let Findings { found_off, first, unrecorded, .. } = findings;
        if !found_off.is_empty() || !unrecorded.is_empty() {
            let named: Vec<_> =
                found_off.iter().map(|(trail, record)| (trail.clone(), record.left_off_since())).collect();
            let accounts: BTreeSet<_> =
                found_off.iter().map(|(trail, _)| trail.account()).chain(first).collect();
            if !self.show(&View::of_found_off(&named, unrecorded, accounts.len(), clock::now())).await {
                // All of it once more at the next pass.
                return Ok(());
            }
        }
        for (trail, record) in found_off {
            write_first(trail, record, records).await?;
            let arn = trail.to_string();
            let added = |before: Option<AccountRecord>| {
                let mut record = before.unwrap_or_default();
                record.trails.insert(arn.clone());
                (Some(record), ())
            };
            records.change(&RecordKey::Account(trail.account().clone()), added).await?;
        }
        for account in first {
            let now = clock::now();
            let looked = |before: Option<AccountRecord>| {
                let mut record = before.unwrap_or_default();
                record.first_looked_at.get_or_insert(now);
                (Some(record), ())
            };
            records.change(&RecordKey::Account(account.clone()), looked).await?;
        }
        Ok(())
    }

    /// Reports once trails that log to no avail, and that their log files can be delivered again.
    async fn report_delivery(&self, swept: &[Account], records: &Records) -> Result<(), StoreError> {
        let now = clock::now();
        let (mut failing, mut working) = (Vec::new(), Vec::new());
        for trail in swept.iter().flat_map(|account| &account.trails) {
            match &trail.delivery {
                Delivery::Same => {}
                Delivery::Fails(error) => failing.push((trail.arn.clone(), error.clone())),
                Delivery::Works => working.push(trail.arn.clone()),
            }
        }
        if !failing.is_empty() && self.show(&View::of_undelivered(&failing, now)).await {
            for (trail, error) in failing {
                write_delivery(&trail, Some(Undelivered { error, since: now }), records).await?;
            }
        }
        if !working.is_empty() && self.show(&View::of_delivered_again(&working, now)).await {
            for trail in working {
                write_delivery(&trail, None, records).await?;
            }
        }
        Ok(())
    }

    /// Reports accounts that cannot be looked at, those of one cause in one message, and that they can be again.
    async fn report_unseen(&self, swept: &[Account], records: &Records) -> Result<(), StoreError> {
        let now = clock::now();
        let mut again = Vec::new();
        let mut unseen: [Vec<(&Account, Failing)>; 3] = Default::default();
        for account in swept {
            let failing = account.record.failing.clone();
            match (&account.failed, failing) {
                (None, None) => {}
                (None, Some(failing)) => again.push((account, failing.reported)),
                (Some(refusal), failing) => {
                    if failing.is_none() {
                        let (account, why) = (&account.id, &refusal.detail);
                        tracing::warn!(%account, why, "an account cannot be looked at");
                    }
                    let mut failing = failing.unwrap_or(Failing { since: now, passes: 0, reported: false });
                    failing.passes = failing.passes.saturating_add(1);
                    let position = cause(account, refusal, &failing, now).filter(|_| !failing.reported);
                    match position {
                        Some(position) => unseen[position].push((account, failing)),
                        None => write_failing(account, Some(failing), records).await?,
                    }
                }
            }
        }
        for (position, accounts) in unseen.into_iter().enumerate() {
            let Some((first, _)) = accounts.first() else { continue };
            let ids: Vec<_> = accounts.iter().map(|(account, _)| account.id.clone()).collect();
            let why = first.failed.as_ref().map_or("", |refusal| refusal.detail.as_str());
            let severity = if position == 0 { Severity::High } else { Severity::Medium };
            let shown = self.show(&View::of_accounts_unseen(severity, &ids, why, now)).await;
            for (account, mut failing) in accounts {
                failing.reported = shown;
                write_failing(account, Some(failing), records).await?;
            }
        }
        let reported: Vec<_> =
            again.iter().filter(|(_, reported)| *reported).map(|(account, _)| account.id.clone()).collect();
        if !reported.is_empty() && !self.show(&View::of_accounts_seen_again(&reported, now)).await {
            return Ok(());
        }
        for (account, _) in again {
            write_failing(account, None, records).await?;
        }
        Ok(())
    }

    /// Whether the channel took it; what it did not is shown at the next pass.
    async fn show(&self, view: &View) -> bool {
        let shown = self.hands.channel.show(view).await;
        if let Err(error) = &shown {
            tracing::warn!(%error, headline = view.headline, "the channel did not take a report of the sweep");
        }
        shown.is_ok()
    }
}

async fn take_in(account: &Account, findings: &mut Findings, records: &Records) -> Result<(), StoreError> {
    let mut known = BTreeSet::new();
    for trail in &account.trails {
        findings.trails += 1;
        let is_on = trail.seen.as_ref().filter(|seen| seen.logging);
        findings.stopped += usize::from(is_on.is_none());
        findings.undelivered += usize::from(is_on.is_some_and(|seen| seen.delivery.log_files.is_some()));
        match &trail.compared {
            Compared::Same => {}
            Compared::Differs { after } => findings.looks.push((trail.arn.clone(), *after)),
            Compared::New(record) if record.was_found_off() => {
                findings.found_off.push((trail.arn.clone(), record.clone()));
                continue;
            }
            Compared::New(record) => write_first(&trail.arn, record, records).await?,
        }
        known.insert(trail.arn.to_string());
    }
    let is_first = account.record.first_looked_at.is_none() && account.failed.is_none();
    if is_first {
        findings.first.push(account.id.clone());
        findings.unrecorded.extend((account.is_recorded == Some(false)).then(|| account.id.clone()));
    }
    if known.is_subset(&account.record.trails) {
        return Ok(());
    }
    let about = RecordKey::Account(account.id.clone());
    let added = |before: Option<AccountRecord>| {
        let mut record = before.unwrap_or_default();
        record.trails.extend(known.iter().cloned());
        (Some(record), ())
    };
    records.change(&about, added).await
}

/// Somebody may have been faster.
async fn write_first(trail: &TrailArn, record: &TrailRecord, records: &Records) -> Result<(), StoreError> {
    let glimpse = record.glimpse();
    let is_over = |before: &TrailRecord| before.is_over(glimpse);
    let first =
        |before: Option<TrailRecord>| (before.as_ref().is_none_or(is_over).then(|| record.clone()), ());
    records.change(&RecordKey::Trail(trail.clone()), first).await
}

async fn write_delivery(
    trail: &TrailArn,
    undelivered: Option<Undelivered>,
    records: &Records,
) -> Result<(), StoreError> {
    let changed = |before: Option<TrailRecord>| {
        let after = before.map(|mut record| {
            record.undelivered.clone_from(&undelivered);
            record
        });
        (after, ())
    };
    records.change(&RecordKey::Trail(trail.clone()), changed).await
}

async fn write_failing(
    account: &Account,
    failing: Option<Failing>,
    records: &Records,
) -> Result<(), StoreError> {
    let changed = |before: Option<AccountRecord>| {
        let mut record = before.unwrap_or_default();
        record.failing.clone_from(&failing);
        (Some(record), ())
    };
    records.change(&RecordKey::Account(account.id.clone()), changed).await
}

/// In which message an account is reported that cannot be looked at, once it is time: denied where it was not before, never seen, or
/// not for now.
fn cause(account: &Account, refusal: &Refusal, failing: &Failing, now: OffsetDateTime) -> Option<usize> {
    let is_denied =
        matches!(refusal.meaning, Meaning::Denied | Meaning::NotSeenFromHere | Meaning::Impossible);
    let was_seen = account.record.first_looked_at.is_some();
    match (was_seen, is_denied) {
        (true, true) => (failing.passes >= DENIED_PASSES).then_some(0),
        (false, _) => (now - failing.since >= NEVER_SEEN).then_some(1),
        (true, false) => (failing.passes >= PASSES).then_some(2),
    }
}
