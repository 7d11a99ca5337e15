//! Shows the dead letters, and puts them back in the queue.
//!
//! SQS has no way to look at a message but to receive it. What is looked at is hidden for a moment, held until the
//! end, so that each is seen once, and then given back.

use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Write};
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;
use time::serde::rfc3339;
use tokio_util::sync::CancellationToken;

use super::screen;
use crate::aws::{self, Sdk};
use crate::clock;
use crate::config::{DlqConfig, Wanted};
use crate::consumer::queue::{BATCH, SettleError};
use crate::consumer::sqs::{Letter, Mailbox, Outbox, SqsClients, batches};
use crate::consumer::{Delivery, Failure, Label, Reason, ReceiptHandle, RetryPolicy};
use crate::event::{self, Event};
use crate::respond::message::{duration, harmless};

/// Stands in the user agent of the calls.
const APP_NAME: &str = "trailkeeper-dlq";
/// The long poll. A receive that waits asks all of SQS's servers, one that does not only some.
const WAIT: Duration = Duration::from_secs(1);
/// For how long a dead letter is hidden while it is looked at: much longer than looking at all of them takes, short
/// enough for those that are left hidden when this program is killed.
const HELD: Duration = Duration::from_mins(5);
/// Receives in a row that bring nothing new, after which all has been seen.
const LAST_LOOKS: usize = 2;
/// Dead letters looked at in one go: putting them back takes a minute or two, so that all is done before the first
/// that was only looked at is visible again. More are for the next go.
const MAX_LETTERS: usize = 10_000;
/// Tries of one request, some seconds in all.
const TRIES: RetryPolicy =
    RetryPolicy { max_attempts: 6, base: Duration::from_millis(200), max: Duration::from_secs(5) };
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
    /// Came back to the dead-letter queue meanwhile, and left there.
    pub came_back: usize,
    /// Not what was asked for.
    pub others: usize,
    /// What went wrong.
    pub faults: Vec<String>,
    /// Whether it was interrupted.
    pub interrupted: bool,
}

impl fmt::Display for Redriven {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let Self { put_back, left_behind, came_back, others, interrupted, .. } = self;
        write!(formatter, "put {put_back} dead letters back")?;
        if *interrupted {
            write!(formatter, ", and was interrupted: what was not put back is where it was")?;
        }
        if *others > 0 {
            write!(formatter, "; left {others} others")?;
        }
        if *came_back > 0 {
            write!(formatter, "; {came_back} came back dead meanwhile, and were left: see dlq list")?;
        }
        if *left_behind > 0 {
            write!(formatter, "; {left_behind} of them could not be deleted, and are duplicates now")?;
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
        let url = match config.dead_letter_url.clone() {
            Some(url) => url,
            None => clients.redrive_target(&config.queue_url).await?.ok_or_else(|| {
                Failure::permanent("the queue has no redrive policy: set TRAILKEEPER_DLQ_URL")
            })?,
        };
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
        let attributes = self.clients.attributes(&self.url).await.ok()?;
        attributes.get("ApproximateNumberOfMessages")?.parse().ok()
    }

    /// Looks at each that is wanted. Changes nothing.
    ///
    /// # Errors
    /// When the dead-letter queue cannot be received from.
    pub async fn list(&self, wanted: &Wanted, stop: &CancellationToken) -> Result<Vec<Summary>, Failure> {
        let progress = screen::spinner();
        let mut held = Held::default();
        let mut all = Vec::new();
        let seen = loop {
            match self.next(&mut held, stop).await {
                Ok(None) => break Ok(()),
                Ok(Some(letters)) => {
                    all.extend(letters.iter().filter(|letter| wants(wanted, letter)).map(summary));
                    held.keep(letters);
                    progress.set_message(format!("{} dead letters", all.len()));
                }
                Err(failure) => break Err(failure),
            }
        };
        self.give_back(held).await;
        progress.finish_and_clear();
        seen.map(|()| all)
    }

    /// Puts those back that are wanted: sends each to the queue, its label still on it, and deletes it here after. If
    /// this is interrupted in between, it is in both, and the worker knows the event when it comes again.
    pub async fn redrive(&self, wanted: &Wanted, stop: &CancellationToken) -> Redriven {
        let progress = screen::spinner();
        let mut held = Held::default();
        let mut redriven = Redriven::default();
        let mut sent = HashSet::new();
        loop {
            let letters = match self.next(&mut held, stop).await {
                Ok(None) => break,
                Ok(Some(letters)) => letters,
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
            let is_ours =
                |label: &Label| label.source_message_id.as_ref().is_some_and(|id| sent.contains(id));
            let (ours, wanted): (Vec<_>, Vec<_>) =
                wanted.into_iter().partition(|letter| letter.label.as_ref().is_some_and(is_ours));
            redriven.came_back += ours.len();
            held.keep(ours);
            let failed = self.put_back(wanted, &mut held, &mut sent, &mut redriven).await;
            progress.set_message(format!("{} put back", redriven.put_back));
            if let Some(failure) = failed {
                redriven.faults.push(failure.to_string());
                break;
            }
        }
        redriven.interrupted = stop.is_cancelled();
        self.give_back(held).await;
        progress.finish_and_clear();
        redriven
    }

    /// Sends and deletes; the failure because of which it is no use to go on.
    async fn put_back(
        &self,
        letters: Vec<Delivery>,
        held: &mut Held,
        sent: &mut HashSet<String>,
        redriven: &mut Redriven,
    ) -> Option<Failure> {
        let batches = batches(letters.iter().map(letter));
        let mut letters = letters.into_iter();
        for batch in batches {
            let answers = self.queue.send_all(&batch).await;
            let (mut gone, mut failed) = (Vec::new(), None);
            for (delivery, answer) in letters.by_ref().take(batch.len()).zip(answers) {
                match answer {
                    Ok(id) => {
                        sent.insert(id);
                        gone.push(delivery.receipt);
                    }
                    Err(failure) => {
                        held.keep([delivery]);
                        failed = Some(failure);
                    }
                }
            }
            redriven.put_back += gone.len();
            redriven.left_behind += self.delete(gone).await;
            if failed.is_some() {
                held.keep(letters);
                return failed;
            }
        }
        None
    }

    /// Deletes; returns how many could not be.
    async fn delete(&self, mut receipts: Vec<ReceiptHandle>) -> usize {
        for wait in TRIES.waits() {
            if receipts.is_empty() {
                return 0;
            }
            let answers = self.mailbox.delete(&receipts).await;
            let left = receipts.into_iter().zip(answers).filter(|(_, answer)| answer.is_err());
            receipts = left.map(|(receipt, _)| receipt).collect();
            if !receipts.is_empty() {
                tokio::time::sleep(wait).await;
            }
        }
        receipts.len()
    }

    /// The next dead letters that have not been seen; none when all have been, or there is to be an end.
    async fn next(
        &self,
        held: &mut Held,
        stop: &CancellationToken,
    ) -> Result<Option<Vec<Delivery>>, Failure> {
        let mut looks = 0;
        while looks < LAST_LOOKS && held.seen.len() < MAX_LETTERS && !stop.is_cancelled() {
            // A receive is not dropped: SQS might have hidden what it brings.
            let received = backon::Retryable::retry(|| self.mailbox.receive(BATCH), TRIES.waits())
                .when(|failure| matches!(failure, Failure::Transient { .. }))
                .await?;
            let new = received.into_iter().filter(|letter| held.seen.insert(letter.message_id.clone()));
            let new: Vec<_> = new.collect();
            if !new.is_empty() {
                return Ok(Some(new));
            }
            looks += 1;
        }
        Ok(None)
    }

    /// Makes visible again what was only looked at; what that fails for comes back by itself.
    async fn give_back(&self, held: Held) {
        for batch in held.receipts.chunks(BATCH) {
            let entries: Vec<_> = batch.iter().map(|receipt| (receipt.clone(), Duration::ZERO)).collect();
            for answer in self.mailbox.hide(&entries).await {
                if let Err(SettleError::Failed(Failure::Permanent { .. })) = answer {
                    return;
                }
            }
        }
    }
}

/// What has been looked at.
#[derive(Debug, Default)]
struct Held {
    seen: HashSet<String>,
    receipts: Vec<ReceiptHandle>,
}

impl Held {
    fn keep(&mut self, letters: impl IntoIterator<Item = Delivery>) {
        self.receipts.extend(letters.into_iter().map(|letter| letter.receipt));
    }
}

fn letter(delivery: &Delivery) -> Letter {
    Letter { body: delivery.body.clone(), label: delivery.label.clone() }
}

fn wants(wanted: &Wanted, letter: &Delivery) -> bool {
    let reason = letter.label.as_ref().map(|label| label.reason.as_str());
    let right_reason = wanted.reason.is_none_or(|wanted| wanted.map(Reason::as_str) == reason);
    right_reason
        && wanted.event.as_ref().is_none_or(|wanted| event_id(letter).as_deref() == Some(wanted.as_str()))
}

/// The label's, else the body's.
fn event_id(letter: &Delivery) -> Option<String> {
    let labelled = letter.label.as_ref().and_then(|label| label.event_id.clone());
    labelled.or_else(|| event::parse(&letter.body).ok().map(|event| event.id.to_string()))
}

fn summary(letter: &Delivery) -> Summary {
    let label = letter.label.clone();
    let event: Option<Event> = event::parse(&letter.body).ok();
    Summary {
        event_id: event_id(letter),
        reason: label.as_ref().map(|label| label.reason.clone()),
        attempts: label.as_ref().map(|label| label.attempts),
        detail: label.and_then(|label| label.detail),
        event_name: event.as_ref().map(|event| event.name.clone()),
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
        for letter in letters {
            let shown = |text: &Option<String>| text.as_deref().map(|text| harmless(text, MAX_SHOWN_CHARS));
            let what = [shown(&letter.event_name), shown(&letter.resource), shown(&letter.account)];
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
