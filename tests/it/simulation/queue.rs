//! A queue with the semantics of SQS: at least once, in any order, hidden while worked on, and requests that
//! fail whole, in part, or after they have taken effect.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::time::Instant;
use trailkeeper::clock;
use trailkeeper::consumer::queue::{DeadLetter, SettleError};
use trailkeeper::consumer::{Delivery, Label, Queue, ReceiptHandle};
use trailkeeper::retry::Failure;
use trailkeeper::sweep::LOOK_AT_TRAIL;

use super::book::Sent;
use super::cloud::response;
use super::world::{Process, Side, World, locked};

/// The long poll.
pub(super) const WAIT: Duration = Duration::from_secs(20);
/// How often a long poll looks.
const LOOK: Duration = Duration::from_secs(1);

/// What is in the queue.
#[derive(Debug, Default)]
pub(super) struct Messages {
    queued: BTreeMap<u64, Queued>,
    sent: u64,
    receipts: u64,
}

#[derive(Debug, Clone)]
struct Queued {
    body: String,
    sent_at: OffsetDateTime,
    receives: u32,
    /// The newest receipt; an older one is stale.
    receipt: u64,
    visible_at: Instant,
    came_back: bool,
    redriven: bool,
    kind: Option<&'static str>,
}

impl Messages {
    pub(super) fn send(&mut self, body: String, redriven: bool, kind: Option<&'static str>) -> u64 {
        self.send_later(body, redriven, kind, Duration::ZERO)
    }

    /// Nobody receives it before that.
    fn send_later(
        &mut self,
        body: String,
        redriven: bool,
        kind: Option<&'static str>,
        after: Duration,
    ) -> u64 {
        self.sent += 1;
        let message = Queued {
            body,
            sent_at: clock::now(),
            receives: 0,
            receipt: 0,
            visible_at: Instant::now() + after,
            came_back: false,
            redriven,
            kind,
        };
        self.queued.insert(self.sent, message);
        self.sent
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }

    pub(super) fn left(&self) -> Vec<u64> {
        self.queued.keys().copied().collect()
    }

    /// The message that a receipt names, if the receipt is its newest.
    fn named(&mut self, receipt: &ReceiptHandle) -> Option<&mut Queued> {
        let (message, number) = parse(receipt);
        self.queued.get_mut(&message).filter(|queued| queued.receipt == number)
    }

    fn hide(&mut self, receipt: &ReceiptHandle, hidden: Duration) -> Result<(), SettleError> {
        let now = Instant::now();
        match self.named(receipt) {
            // A message that is visible again is not in flight.
            Some(message) if message.visible_at > now => {
                message.visible_at = now + hidden;
                Ok(())
            }
            _ => Err(SettleError::Gone),
        }
    }
}

/// `m3-17`: message 3, receipt 17.
fn parse(receipt: &ReceiptHandle) -> (u64, u64) {
    let numbers = receipt.0.trim_start_matches('m').split_once('-');
    let (message, number) = numbers.expect("a receipt of ours");
    (message.parse().expect("a number"), number.parse().expect("a number"))
}

fn failed(what: &str) -> Failure {
    Failure::transient(format!("{what}: as the seed wants it"))
}

impl World {
    /// Hands over up to `max` messages in no order. Now and then one that is in flight is among them.
    fn take(&self, max: usize, process: &Process) -> Vec<Delivery> {
        let now = Instant::now();
        let mut messages = locked(&self.messages);
        let mut ready: Vec<u64> = messages
            .queued
            .iter()
            .filter(|(_, message)| message.visible_at <= now || self.fails(self.rates.delivered_twice / 4.0))
            .map(|(number, _)| *number)
            .collect();
        self.chance().shuffle(&mut ready);
        ready.truncate(max);
        let mut taken = Vec::new();
        for number in ready {
            messages.receipts += 1;
            let receipt = messages.receipts;
            let Some(message) = messages.queued.get_mut(&number) else { continue };
            message.receipt = receipt;
            message.receives += 1;
            message.visible_at = now + process.visibility;
            self.book().handed(process.name, number, (receipt, message.receives));
            taken.push(Delivery {
                message_id: number.to_string(),
                receipt: ReceiptHandle(format!("m{number}-{receipt}")),
                body: message.body.clone(),
                sent_at: Some(message.sent_at),
                receive_count: message.receives,
                label: message.redriven.then(Label::default),
                kind: message.kind.map(str::to_owned),
                asked_at: now,
            });
        }
        taken
    }

    /// A stale receipt is answered with success, and mostly nothing is deleted.
    fn delete(&self, receipt: &ReceiptHandle, process: &Process) {
        let (number, newest) = parse(receipt);
        let mut messages = locked(&self.messages);
        let found = messages.queued.get_mut(&number);
        let Some(message) = found.filter(|message| message.receipt == newest || self.fails(0.2)) else {
            self.book().note(&format!("{process:?} deletes {} to no effect", receipt.0));
            return;
        };
        self.book().deleted(process.name, number);
        if !message.came_back && self.fails(self.rates.back_from_the_dead) {
            // A server that slept through the delete has it still.
            message.came_back = true;
            message.receipt = 0;
            message.visible_at = Instant::now() + Duration::from_secs(self.chance().u64(1..=200));
            self.book().note(&format!("m{number} will come back"));
            return;
        }
        messages.queued.remove(&number);
    }
}

impl Process {
    /// One request of a batch: it fails whole, before or after it took effect, or in part, or not at all.
    async fn batch(
        &self,
        count: usize,
        mut settle: impl FnMut(usize) -> Result<(), SettleError> + Send,
    ) -> Vec<Result<(), SettleError>> {
        self.outward().await;
        let world = &self.world;
        let fails = world.is_down(Side::Queue) || world.fails(world.rates.request_fails);
        if fails && world.coin() {
            self.homeward().await;
            return vec![Err(failed("the request").into()); count];
        }
        let answers = (0..count)
            .map(|position| {
                if world.fails(world.rates.entry_fails) {
                    Err(failed("the entry").into())
                } else {
                    settle(position)
                }
            })
            .collect();
        self.homeward().await;
        if fails { vec![Err(failed("the answer").into()); count] } else { answers }
    }
}

impl Process {
    /// A batch of looks, as the SDK sends it.
    pub(super) async fn looks_sent(self, body: Value) -> Result<HttpResponse, ConnectorError> {
        self.outward().await;
        let world = &self.world;
        let fails = world.is_down(Side::Queue) || world.fails(world.rates.request_fails);
        let mut taken = Vec::new();
        if !fails || world.coin() {
            for entry in body["Entries"].as_array().expect("entries") {
                let look = entry["MessageBody"].as_str().expect("a body").to_owned();
                let after = Duration::from_secs(entry["DelaySeconds"].as_u64().unwrap_or_default());
                let number = locked(&world.messages).send_later(look, false, Some(LOOK_AT_TRAIL), after);
                world.book().sent(number, Sent::Look);
                taken.push(
                    json!({ "Id": entry["Id"], "MessageId": number.to_string(), "MD5OfMessageBody": "" }),
                );
            }
        }
        self.homeward().await;
        if fails {
            return Err(ConnectorError::io("connection reset".into()));
        }
        Ok(response(200, json!({ "Successful": taken, "Failed": [] }).to_string()))
    }
}

impl Queue for Process {
    async fn receive(&self, max: usize) -> Result<Vec<Delivery>, Failure> {
        let asked_at = Instant::now();
        self.outward().await;
        let world = &self.world;
        if world.is_down(Side::Queue) || world.fails(world.rates.receive_fails) {
            if world.coin() {
                // Handed over, and the answer is lost: hidden from everybody.
                world.take(max, self);
            }
            self.homeward().await;
            return Err(failed("the receive"));
        }
        let ends_at = Instant::now() + WAIT;
        let taken = loop {
            if self.is_gone() && world.coin() {
                // The queue does not know yet, and hands messages to a connection that nobody reads.
                world.take(max, self);
            }
            self.alive().await;
            let taken = world.take(max, self);
            if !taken.is_empty() || Instant::now() >= ends_at {
                break taken;
            }
            tokio::time::sleep(LOOK).await;
        };
        if world.fails(world.rates.late_answer) {
            let late = world.millis(1_000..=25_000);
            tokio::time::sleep(late).await;
        }
        self.homeward().await;
        let taken: Vec<_> = taken.into_iter().map(|taken| Delivery { asked_at, ..taken }).collect();
        for delivery in &taken {
            world.book().received(self.name, &delivery.receipt.0, &delivery.message_id);
        }
        Ok(taken)
    }

    async fn delete(&self, receipts: &[ReceiptHandle]) -> Vec<Result<(), SettleError>> {
        let world = &self.world;
        for receipt in receipts {
            world.book().settling(self.name, &receipt.0);
        }
        self.batch(receipts.len(), |position| {
            world.delete(&receipts[position], self);
            Ok(())
        })
        .await
    }

    async fn hide(&self, entries: &[(ReceiptHandle, Duration)]) -> Vec<Result<(), SettleError>> {
        let world = &self.world;
        let answers = self
            .batch(entries.len(), |position| {
                let (receipt, hidden) = &entries[position];
                let answer = locked(&world.messages).hide(receipt, *hidden);
                world.book().note(&format!("{self:?} hides {} for {hidden:?}: {answer:?}", receipt.0));
                answer
            })
            .await;
        for ((receipt, _), answer) in entries.iter().zip(&answers) {
            if *answer == Err(SettleError::Gone) {
                world.book().told_gone(self.name, &receipt.0);
            }
        }
        answers
    }

    async fn copy_to_dead_letters(&self, letter: &DeadLetter<'_>) -> Result<(), Failure> {
        self.outward().await;
        let world = &self.world;
        let fails = world.is_down(Side::Queue) || world.fails(world.rates.request_fails);
        if !fails || world.coin() {
            world.book().buried(self.name, letter);
        }
        self.homeward().await;
        if fails { Err(failed("the copy")) } else { Ok(()) }
    }
}
