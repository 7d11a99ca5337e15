//! Shows the dead letters, and puts them back in the queue.
//!
//! SQS has no way to look at a message but to receive it. What is looked at is hidden for a moment, held until the
//! end, so that each is seen once, and then given back.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::{self, Write};
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;
use time::serde::rfc3339;
use tokio_util::sync::CancellationToken;

use super::screen;
use crate::args;
use crate::aws::{self, Sdk};
use crate::clock;
use crate::config::{DlqConfig, Wanted};
use crate::consumer::label::NO_REASON;
use crate::consumer::queue::{BATCH, SettleError};
use crate::consumer::sqs::{Letter, Mailbox, Outbox, SqsClients, batches};
use crate::consumer::{Delivery, Label, ReceiptHandle};
use crate::event::{self, Event, trail_name};
use crate::outcome::Reason;
use crate::retry::{Failure, RetryPolicy, patiently};
use crate::text::{duration, harmless};

/// Stands in the user agent of the calls.
const APP_NAME: &str = "trailkeeper-dlq";
/// The long poll. A receive that waits asks all of SQS's servers, one that does not only some.
const WAIT: Duration = Duration::from_secs(1);
/// For how long a dead letter is hidden while it is looked at: longer than looking at [`MAX_HELD`] takes, also from far
/// away, and short enough for those that are left hidden when this program is killed.
const HELD: Duration = Duration::from_mins(5);
/// Receives in a row that bring nothing, after which all has been seen.
const LAST_LOOKS: usize = 2;
/// Dead letters that are only looked at, and so hidden, in one go. What is put back does not count.
const MAX_HELD: usize = 2_000;
/// Dead letters that are named because something is wrong with them.
const MAX_FAULTS: usize = 20;
/// Of one request.
const TRIES: RetryPolicy = RetryPolicy::WHILE_SOMEBODY_WAITS;
/// Where the event's id stands in the table.
const ID_COLUMN: usize = 3;
/// The longest text of a dead letter shown in a table, in characters.
const MAX_SHOWN_CHARS: usize = 160;

/// A queue's dead letters.
#[derive(Debug)]
pub struct DeadLetters {
    clients: SqsClients,
    mailbox: Mailbox,
    queue: Outbox,
    url: String,
}

/// One dead letter, as far as people need to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Why it is dead; nothing if SQS itself moved it.
    pub reason: Option<String>,
    /// What exactly.
    pub detail: Option<String>,
    /// The `eventID`.
    pub event_id: Option<String>,
    /// The API call.
    pub event_name: Option<String>,
    /// The trail or other resource.
    pub resource: Option<String>,
    /// The region that it is in.
    pub region: Option<String>,
    /// The account that it is in.
    pub account: Option<String>,
    /// Executions in all.
    pub attempts: Option<u32>,
    /// When it was sent to the dead-letter queue, or, if SQS moved it, to the queue.
    #[serde(with = "rfc3339::option")]
    pub sent_at: Option<OffsetDateTime>,
    /// Since then.
    pub age_seconds: Option<u64>,
    /// The message's id in the dead-letter queue.
    pub message_id: String,
}

/// What became of the dead letters.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Redriven {
    /// Put back.
    pub put_back: usize,
    /// Put back, and still in the dead-letter queue too: when it is put back again, the event is known.
    pub left_behind: usize,
    /// Came to the dead-letter queue, or back to it, meanwhile, and left there.
    pub came_back: usize,
    /// Not what was asked for.
    pub others: usize,
    /// What went wrong.
    pub faults: Vec<String>,
    /// How far it went.
    pub end: End,
}

/// What was seen of the dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Those that are wanted.
    pub letters: Vec<Summary>,
    /// How far it went.
    pub end: End,
}

/// How far through the dead letters it went.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All were seen.
    #[default]
    AllSeen,
    /// All that could be seen were, and SQS counts about this many that are hidden.
    SomeHidden(u64),
    /// None is to be seen, and SQS counts about this many that are hidden.
    AllHidden(u64),
    /// There are more than can be held at once.
    More,
    /// It was told to stop.
    Stopped,
}

impl End {
    /// Whether everything that could be seen was. What SQS says of hidden ones lags behind by up to a minute, so after
    /// something was seen it is only told.
    #[must_use]
    pub fn is_whole(self) -> bool {
        matches!(self, Self::AllSeen | Self::SomeHidden(_))
    }

    /// What people should know of it, if it is not all.
    #[must_use]
    pub fn remark(self) -> Option<String> {
        let minutes = HELD.as_secs() / 60;
        match self {
            Self::AllSeen => None,
            Self::SomeHidden(count) | Self::AllHidden(count) => Some(format!(
                "SQS counts about {count} hidden dead letters (its count may be a minute old): somebody is looking at \
                 them, or was interrupted; look again in {minutes} minutes"
            )),
            Self::More => Some(format!(
                "stopped after {MAX_HELD} dead letters that stay: there are more; put back or delete some, and look again"
            )),
            Self::Stopped => Some("it was interrupted: what was not put back is where it was".to_owned()),
        }
    }
}

impl Redriven {
    /// Whether all was done that was asked for.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.faults.is_empty() && self.left_behind == 0 && self.end.is_whole()
    }

    /// A letter that stays: the first are named, and it is said if there are more.
    fn stays(&mut self, what: String) {
        match self.faults.len() {
            named if named < MAX_FAULTS => self.faults.push(what),
            MAX_FAULTS => self.faults.push("and more".to_owned()),
            _ => {}
        }
    }
}

impl fmt::Display for Redriven {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let Self { put_back, left_behind, came_back, others, .. } = self;
        write!(formatter, "put {put_back} dead letters back")?;
        if *others > 0 {
            write!(formatter, "; left {others} others")?;
        }
        if *came_back > 0 {
            write!(
                formatter,
                "; {came_back} became dead letters again meanwhile, and were left: see dlq list"
            )?;
        }
        if *left_behind > 0 {
            write!(formatter, "; {left_behind} of them could not be deleted, and are in both queues now")?;
        }
        Ok(())
    }
}

impl DeadLetters {
    /// The dead letters of the queue of `config`.
    ///
    /// # Errors
    /// When the queue cannot be asked for its dead-letter queue, or has none.
    pub async fn of(config: &DlqConfig, sdk: Sdk) -> Result<Self, Failure> {
        let clients = SqsClients::new(&aws::named(sdk, APP_NAME), WAIT);
        let found = || clients.dead_letter_url(&config.queue_url, config.dead_letter_url.clone());
        let url = patiently(TRIES.waits(), found).await?.ok_or_else(|| {
            let name = args::DLQ_URL.name;
            Failure::permanent(format!(
                "the queue has no redrive policy that names a dead-letter queue: set {name}"
            ))
        })?;
        let (mailbox, queue) = (clients.mailbox(url.clone(), HELD), clients.outbox(config.queue_url.clone()));
        Ok(Self { clients, mailbox, queue, url })
    }

    /// The dead-letter queue.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// About how many there are, where SQS may be asked.
    pub async fn about_how_many(&self) -> Option<u64> {
        self.count("ApproximateNumberOfMessages").await
    }

    async fn count(&self, attribute: &str) -> Option<u64> {
        self.clients.attributes(&self.url).await.ok()?.get(attribute)?.parse().ok()
    }

    /// Looks at each that is wanted. Changes nothing. May be dropped: what is hidden comes back by itself.
    ///
    /// # Errors
    /// When the dead-letter queue cannot be received from.
    pub async fn list(&self, wanted: &Wanted, stop: &CancellationToken) -> Result<Listed, Failure> {
        let progress = screen::spinner();
        let mut held = Held::default();
        let mut letters = Vec::new();
        let end = loop {
            match self.next(&mut held, stop).await {
                Ok(Next::Letters(more)) => {
                    letters.extend(more.iter().filter(|letter| wants(wanted, letter)).map(summary));
                    held.keep(more);
                    progress.set_message(format!("{} dead letters", letters.len()));
                }
                Ok(Next::End(end)) => break Ok(end),
                Err(failure) => break Err(failure),
            }
        };
        let end = match end {
            Ok(End::AllSeen) => Ok(self.hidden(&held).await),
            end => end,
        };
        self.give_back(held).await;
        progress.finish_and_clear();
        Ok(Listed { letters, end: end? })
    }

    /// Puts those back that are wanted: sends each to the queue, its label still on it, and deletes it here after. May be
    /// dropped: a letter is then in both queues at worst, and the worker knows the event when it comes again.
    pub async fn redrive(&self, wanted: &Wanted, stop: &CancellationToken) -> Redriven {
        let progress = screen::spinner();
        let mut held = Held::default();
        let mut redriven = Redriven::default();
        let started_at = clock::now();
        let mut sent = HashSet::new();
        loop {
            let letters = match self.next(&mut held, stop).await {
                Ok(Next::Letters(letters)) => letters,
                Ok(Next::End(end)) => {
                    redriven.end = end;
                    break;
                }
                Err(failure) => {
                    redriven.faults.push(failure.to_string());
                    break;
                }
            };
            let (wanted, others): (Vec<_>, Vec<_>) =
                letters.into_iter().partition(|letter| wants(wanted, letter));
            redriven.others += others.len();
            held.keep(others);
            // What comes back while we are at it would go round for ever.
            let came_back = |letter: &Delivery| match &letter.label {
                Some(Label { source_message_id: Some(id), .. }) => sent.contains(id),
                // Nothing on it says which message it was.
                _ => letter.sent_at.is_some_and(|sent_at| sent_at > started_at),
            };
            let (back, wanted): (Vec<_>, Vec<_>) = wanted.into_iter().partition(came_back);
            redriven.came_back += back.len();
            held.keep(back);
            if let Err(failure) = self.put_back(wanted, &mut held, &mut sent, &mut redriven).await {
                redriven.faults.push(failure.to_string());
                break;
            }
            progress.set_message(format!("{} put back", redriven.put_back));
        }
        if redriven.end == End::AllSeen {
            redriven.end = self.hidden(&held).await;
        }
        let nothing = redriven.put_back + redriven.came_back == 0 && redriven.faults.is_empty();
        if let Some(event) = wanted.event.as_ref().filter(|_| nothing) {
            redriven.faults.push(format!("no dead letter that was seen is of event {event}"));
        }
        self.give_back(held).await;
        progress.finish_and_clear();
        redriven
    }

    /// Sends and deletes. A letter that SQS does not take is named, and stays.
    ///
    /// # Errors
    /// When it is no use to go on.
    async fn put_back(
        &self,
        letters: Vec<Delivery>,
        held: &mut Held,
        sent: &mut HashSet<String>,
        redriven: &mut Redriven,
    ) -> Result<(), Failure> {
        let batches = batches(letters.iter().map(letter));
        let mut letters = letters.into_iter();
        for batch in batches {
            let answers = match self.queue.send_all(&batch).await {
                Ok(answers) => answers,
                Err(failure) => {
                    held.keep(letters);
                    return Err(failure);
                }
            };
            let mut gone = Vec::new();
            for (delivery, answer) in letters.by_ref().take(batch.len()).zip(answers) {
                match answer {
                    Ok(id) => {
                        sent.insert(id);
                        gone.push(delivery.receipt);
                    }
                    Err(unsent) => {
                        redriven.stays(format!("the dead letter {} stays: {unsent}", delivery.message_id));
                        held.keep([delivery]);
                    }
                }
            }
            redriven.put_back += gone.len();
            redriven.left_behind += self.delete(gone).await;
        }
        Ok(())
    }

    /// Deletes; returns how many could not be.
    async fn delete(&self, mut receipts: Vec<ReceiptHandle>) -> usize {
        let mut waits = TRIES.waits();
        while !receipts.is_empty() {
            let answers = self.mailbox.delete(&receipts).await;
            let left = receipts.into_iter().zip(answers).filter(|(_, answer)| answer.is_err());
            receipts = left.map(|(receipt, _)| receipt).collect();
            match waits.next() {
                Some(wait) if !receipts.is_empty() => tokio::time::sleep(wait).await,
                _ => break,
            }
        }
        receipts.len()
    }

    /// The next dead letters that have not been seen, until there is an end.
    async fn next(&self, held: &mut Held, stop: &CancellationToken) -> Result<Next, Failure> {
        let mut empty = 0;
        // After HELD, those that were seen come again. A receive that brings nothing else hides them anew, so that there
        // cannot be more such receives in a row than letters.
        let mut again = 0;
        while empty < LAST_LOOKS && again <= held.seen.len() {
            if stop.is_cancelled() {
                return Ok(Next::End(End::Stopped));
            }
            let received = patiently(TRIES.waits(), || self.mailbox.receive(BATCH)).await?;
            if received.is_empty() {
                empty += 1;
                continue;
            }
            let new = held.meet(received);
            if new.is_empty() {
                (empty, again) = (0, again + 1);
            } else if held.receipts.len() < MAX_HELD {
                return Ok(Next::Letters(new));
            } else {
                held.keep(new);
                return Ok(Next::End(End::More));
            }
        }
        Ok(Next::End(End::AllSeen))
    }

    /// All that could be seen were: whether others are hidden, by somebody who looks at them or did and was killed.
    async fn hidden(&self, held: &Held) -> End {
        let count = self.count("ApproximateNumberOfMessagesNotVisible").await.unwrap_or_default();
        match count.saturating_sub(held.receipts.len() as u64) {
            0 => End::AllSeen,
            hidden if held.seen.is_empty() => End::AllHidden(hidden),
            hidden => End::SomeHidden(hidden),
        }
    }

    /// Makes visible again what was only looked at. At the first failure it is left to come back by itself.
    async fn give_back(&self, held: Held) {
        let receipts: Vec<_> = held.receipts.into_values().collect();
        for batch in receipts.chunks(BATCH) {
            let entries: Vec<_> = batch.iter().map(|receipt| (receipt.clone(), Duration::ZERO)).collect();
            let answers = self.mailbox.hide(&entries).await;
            if answers.iter().any(|answer| matches!(answer, Err(SettleError::Failed(_)))) {
                return;
            }
        }
    }
}

/// What a look at the dead letters brings.
enum Next {
    Letters(Vec<Delivery>),
    End(End),
}

/// What has been looked at.
#[derive(Debug, Default)]
struct Held {
    /// All that were, by message id.
    seen: HashSet<String>,
    /// Those that are hidden by us, by message id.
    receipts: HashMap<String, ReceiptHandle>,
}

impl Held {
    /// Those of a receive that were not seen before. Of the others this receive's handle is the one that counts.
    fn meet(&mut self, received: Vec<Delivery>) -> Vec<Delivery> {
        let (new, known): (Vec<_>, Vec<_>) =
            received.into_iter().partition(|letter| self.seen.insert(letter.message_id.clone()));
        for letter in known {
            if let Some(receipt) = self.receipts.get_mut(&letter.message_id) {
                *receipt = letter.receipt;
            }
        }
        new
    }

    fn keep(&mut self, letters: impl IntoIterator<Item = Delivery>) {
        self.receipts.extend(letters.into_iter().map(|letter| (letter.message_id, letter.receipt)));
    }
}

fn letter(delivery: &Delivery) -> Letter {
    Letter {
        body: delivery.body.clone(),
        label: delivery.label.clone(),
        kind: delivery.kind.clone(),
        after: Duration::ZERO,
    }
}

fn wants(wanted: &Wanted, letter: &Delivery) -> bool {
    let reason = letter.label.as_ref().map_or(NO_REASON, |label| &label.reason);
    let right_reason = wanted.reason.is_none_or(|wanted| wanted.map_or(NO_REASON, Reason::as_str) == reason);
    right_reason
        && wanted.event.as_ref().is_none_or(|wanted| event_id(letter).as_deref() == Some(wanted.as_str()))
}

/// The label's, else the body's.
fn event_id(letter: &Delivery) -> Option<String> {
    let labelled = letter.label.as_ref().and_then(|label| label.subject.clone());
    labelled.or_else(|| event::parse(&letter.body).ok().map(|event| event.id.to_string()))
}

fn summary(letter: &Delivery) -> Summary {
    let label = letter.label.clone();
    let event: Option<Event> = event::parse(&letter.body).ok();
    Summary {
        event_id: event_id(letter),
        reason: label.as_ref().map(|label| label.reason.clone()).filter(|reason| reason != NO_REASON),
        attempts: label.as_ref().map(|label| label.attempts),
        detail: label.and_then(|label| label.detail),
        event_name: event.as_ref().map(|event| event.name.clone()),
        region: event.as_ref().and_then(|event| event.region.as_ref()).map(ToString::to_string),
        account: event.as_ref().and_then(|event| event.account.as_ref()).map(ToString::to_string),
        resource: event.and_then(|event| event.resource),
        sent_at: letter.sent_at,
        age_seconds: letter.sent_at.map(|at| clock::since(at).as_secs()),
        message_id: letter.message_id.clone(),
    }
}

/// The dead letters for people, by reason, the oldest first.
#[must_use]
pub fn table(letters: &[Summary]) -> String {
    if letters.is_empty() {
        return "no dead letters".to_owned();
    }
    let mut groups: BTreeMap<&str, Vec<&Summary>> = BTreeMap::new();
    for letter in letters {
        let reason = letter.reason.as_deref().unwrap_or("none (moved by SQS itself: received too often)");
        groups.entry(reason).or_default().push(letter);
    }
    // Writing to a string cannot fail.
    let mut text = String::new();
    for (reason, mut letters) in groups {
        letters.sort_by_key(|letter| (letter.sent_at, letter.event_id.clone()));
        let _ = writeln!(text, "{}: {}", harmless(reason, MAX_SHOWN_CHARS), letters.len());
        let mut table = screen::table(&["age", "attempts", "event", "id", "detail"]);
        // It is copied from here to `--event`.
        screen::keep_whole(&mut table, ID_COLUMN);
        for letter in letters {
            let shown = |text: &Option<String>| text.as_deref().map(|text| harmless(text, MAX_SHOWN_CHARS));
            let resource = letter.resource.as_deref().map(trail_name).map(str::to_owned);
            let what = [&letter.event_name, &resource, &letter.region, &letter.account].map(shown);
            table.add_row([
                letter.age_seconds.map_or_else(|| "?".to_owned(), |age| duration(Duration::from_secs(age))),
                letter.attempts.map_or_else(|| "?".to_owned(), |attempts| attempts.to_string()),
                what.into_iter().flatten().collect::<Vec<_>>().join(" "),
                shown(&letter.event_id).unwrap_or_else(|| format!("message {}", letter.message_id)),
                shown(&letter.detail).unwrap_or_default(),
            ]);
        }
        let _ = writeln!(text, "{}\n", table.trim_fmt());
    }
    text.trim_end().to_owned()
}
