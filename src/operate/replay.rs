//! Sends recorded events to the queue, or tells what would be done about them.

use std::collections::HashSet;
use std::fmt;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;

use super::recording::{self, Recorded};
use super::screen;
use crate::aws::{self, Sdk};
use crate::clock;
use crate::config::ReplayConfig;
use crate::consumer::Failure;
use crate::consumer::sqs::{Letter, Outbox, SqsClients, batches};
use crate::event::Malformed;
use crate::respond::preview::Preview;

/// Stands in the user agent of the calls.
const APP_NAME: &str = "trailkeeper-replay";
/// The largest file read, unpacked, in bytes: CloudTrail's own have some tens of megabytes.
const MAX_FILE_BYTES: u64 = 256 * 1_024 * 1_024;
/// Requests at once: some thousand events a second.
const REQUESTS: usize = 4;
/// What begins a file that is packed with gzip.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What became of the files.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Events sent, or previewed.
    pub events: usize,
    /// Events of log files that have nothing to do with switching CloudTrail off.
    pub left_out: usize,
    /// Files read.
    pub files: usize,
    /// What could not be read, one each.
    pub faults: Vec<String>,
}

impl fmt::Display for Replayed {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let Self { events, left_out, files, .. } = self;
        if *left_out > 0 {
            write!(
                formatter,
                "left {left_out} events out that have nothing to do with switching CloudTrail off; "
            )?;
        }
        write!(formatter, "sent {events} events of {files} files")
    }
}

impl Replayed {
    /// The events of a file that are meant; the others are counted, and what is wrong is written down.
    fn read(&mut self, file: &Path) -> Vec<Recorded> {
        let (mut meant, mut malformed) = (Vec::new(), Vec::new());
        let (mut position, mut left_out) = (0, 0);
        let read = load(file).and_then(|text| {
            let take = |event: Result<Recorded, Malformed>| {
                position += 1;
                match event {
                    Ok(event) if event.is_meant() => meant.push(event),
                    Ok(_) => left_out += 1,
                    Err(error) => malformed.push(format!("{}: event {position}: {error}", file.display())),
                }
            };
            recording::read(&text, take).map_err(|error| error.to_string())
        });
        if let Err(error) = read {
            self.faults.push(format!("{}: {error}", file.display()));
            return Vec::new();
        }
        self.faults.append(&mut malformed);
        self.left_out += left_out;
        self.files += 1;
        meant
    }
}

/// Sends the events of the files to the queue. Sent twice, an event is handled once.
pub async fn send(queue_url: &str, sdk: Sdk, files: &[impl AsRef<Path>]) -> Replayed {
    let clients = SqsClients::new(&aws::named(sdk, APP_NAME), Duration::ZERO);
    let outbox = clients.outbox(queue_url.to_owned());
    let progress = screen::bar();
    let mut replayed = Replayed::default();
    for file in files.iter().map(AsRef::as_ref) {
        progress.set_message(file.display().to_string());
        let events = replayed.read(file);
        progress.inc_length(events.len() as u64);
        let sent = send_all(&outbox, events, &progress).await;
        replayed.events = usize::try_from(progress.position()).unwrap_or(usize::MAX);
        if let Err(failure) = sent {
            replayed.faults.push(format!("{queue_url}: {failure}"));
            break;
        }
    }
    progress.finish_and_clear();
    replayed
}

/// Prints what a worker would do about each event, and what Slack would be told. Sends nothing.
///
/// # Errors
/// When `out` cannot be written to.
pub fn preview(
    config: &ReplayConfig,
    files: &[impl AsRef<Path>],
    out: &mut impl Write,
) -> std::io::Result<Replayed> {
    let mut replayed = Replayed::default();
    let mut seen = HashSet::new();
    for file in files.iter().map(AsRef::as_ref) {
        let events = replayed.read(file);
        replayed.events += events.len();
        for Recorded { event, .. } in events {
            let is_new = seen.insert(event.id.clone());
            writeln!(out, "{}: {} {}", file.display(), event.id, event.name)?;
            if is_new {
                describe(&Preview::new(&event, config.mode, clock::now()), out)?;
            } else {
                writeln!(out, "  decision  drop it: a duplicate of one before")?;
            }
        }
    }
    Ok(replayed)
}

fn describe(preview: &Preview, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "  decision  {}", preview.decision)?;
    if let Some(message) = &preview.message {
        writeln!(out, "  severity  {:?}", message.severity)?;
        writeln!(out, "  Slack     {}", message.text)?;
    }
    Ok(())
}

/// The text of a file, unpacked; `-` is standard input.
fn load(file: &Path) -> Result<String, String> {
    let read = |input: &mut dyn Read| {
        let mut bytes = Vec::new();
        input.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map(|_| bytes)
    };
    let too_long = || format!("it has more than {} MiB", MAX_FILE_BYTES / 1_024 / 1_024);
    let packed = if file == Path::new("-") {
        read(&mut std::io::stdin().lock())
    } else {
        std::fs::File::open(file).and_then(|mut file| read(&mut file))
    };
    let packed = packed.map_err(|error| error.to_string())?;
    let bytes = if packed.starts_with(&GZIP) {
        read(&mut MultiGzDecoder::new(&*packed)).map_err(|error| format!("it cannot be unpacked: {error}"))?
    } else {
        packed
    };
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(too_long());
    }
    String::from_utf8(bytes).map_err(|_| "it is not text".to_owned())
}

async fn send_all(outbox: &Outbox, events: Vec<Recorded>, progress: &ProgressBar) -> Result<(), Failure> {
    let letters = events.into_iter().map(|event| Letter { body: event.body, label: None });
    stream::iter(batches(letters))
        .map(|batch| send_batch(outbox, batch, progress))
        .buffer_unordered(REQUESTS)
        .try_collect()
        .await
}

async fn send_batch(outbox: &Outbox, letters: Vec<Letter>, progress: &ProgressBar) -> Result<(), Failure> {
    let answers = outbox.send_all(&letters).await;
    progress.inc(answers.iter().filter(|answer| answer.is_ok()).count() as u64);
    answers.into_iter().try_for_each(|answer| answer.map(drop))
}
