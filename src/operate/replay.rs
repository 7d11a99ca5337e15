//! Sends recorded events to the queue, or tells what would be done about them.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, fs};

use flate2::read::MultiGzDecoder;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use indicatif::ProgressBar;
use tokio::sync::mpsc::error::SendError;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::recording::{self, NotAnEvent, Recorded};
use super::screen;
use crate::args::ResourceArgs;
use crate::aws::{self, Sdk};
use crate::clock;
use crate::config::ReplayConfig;
use crate::consumer::sqs::{Letter, Outbox, SqsClients, batches};
use crate::event::{self, Event, Malformed};
use crate::incident::{Restoration, Restored};
use crate::policy::{Action, Bounds, Seen, Which, conclude, judge};
use crate::retry::Failure;
use crate::tell::View;

/// Stands in the user agent of the calls.
const APP_NAME: &str = "trailkeeper-replay";
/// Stands for standard input among the files.
const STANDARD_INPUT: &str = "-";
/// The largest file read, unpacked, in bytes: CloudTrail's own have some tens of megabytes.
const MAX_FILE_BYTES: u64 = 256 * 1_024 * 1_024;
/// Files in one go, since their paths are in memory: of an account and region CloudTrail writes a hundred thousand a
/// year.
const MAX_FILES: usize = 1_000_000;
/// Requests at once: some thousand events a second.
const REQUESTS: usize = 4;
/// What is read ahead of the requests: more would be in memory, and send nothing sooner.
const STEPS_AHEAD: usize = 1;
/// Events that are named because SQS does not take them.
const MAX_UNSENT_NAMED: usize = 20;
/// Faults that are named: beyond these, something is wrong with all of it.
const MAX_FAULTS: usize = 1_000;
/// Where CloudTrail puts hashes of log files, and what was unusual: no calls.
const NO_CALLS: [&str; 2] = ["CloudTrail-Digest", "CloudTrail-Insight"];
/// The width of a fact's label in a preview: the longest, and a gap.
const LABEL_CHARS: usize = 27;
/// What begins a file that is packed with gzip.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What became of the files.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Where events were sent to; nowhere in a dry run.
    pub queue_url: Option<String>,
    /// Events sent, or previewed.
    pub events: usize,
    /// Events of log files that have nothing to do with switching CloudTrail off.
    pub left_out: usize,
    /// Calls on things that an account has many of, and that nobody named.
    pub not_named: usize,
    /// Files read.
    pub files: usize,
    /// What could not be read or sent: the first of it, by name.
    pub faults: Vec<String>,
    /// Faults that are not named.
    pub more_faults: usize,
}

impl fmt::Display for Replayed {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let Self { queue_url, events, left_out, not_named, files, .. } = self;
        match queue_url {
            Some(url) => write!(formatter, "sent {events} events of {files} files to {url}")?,
            None => write!(formatter, "previewed {events} events of {files} files")?,
        }
        if *left_out > 0 {
            write!(formatter, "; left out {left_out} events that neither stop nor weaken CloudTrail")?;
        }
        if *not_named > 0 {
            let which = "calls on buckets, keys and the like that are not known to be CloudTrail's";
            write!(formatter, "; left out {not_named} {which} (--bucket and --key name those that are)")?;
        }
        Ok(())
    }
}

impl Replayed {
    /// A run over what `found` found.
    fn over(faults: Vec<String>) -> Self {
        let mut replayed = Self::default();
        replayed.fault_each(faults);
        replayed
    }

    fn fault_each(&mut self, faults: Vec<String>) {
        for fault in faults {
            self.fault(fault);
        }
    }

    fn fault(&mut self, what: String) {
        if self.faults.len() < MAX_FAULTS { self.faults.push(what) } else { self.more_faults += 1 }
    }

    /// The events of a file that are meant; the others are counted, and what is wrong is written down.
    fn read(&mut self, file: &Path, resources: &ResourceArgs) -> Vec<Recorded> {
        let (mut meant, mut odd) = (Vec::new(), None);
        let (mut position, mut left_out, mut not_named, mut odd_count) = (0, 0, 0, 0);
        let read = load(file).and_then(|text| {
            let take = |event: Result<Recorded, NotAnEvent>| {
                position += 1;
                match event {
                    Ok(event) if !event.concerns_cloudtrail() => left_out += 1,
                    Ok(event) if !event.is_named(resources) => not_named += 1,
                    Ok(event) => meant.push(event),
                    // Files of these lie beside log files, and hold no calls.
                    Err(NotAnEvent::Malformed(Malformed::Insight(_))) => left_out += 1,
                    Err(error) => {
                        odd_count += 1;
                        odd.get_or_insert_with(|| format!("record {position}: {error}"));
                    }
                }
            };
            recording::read(&text, take).map_err(|error| error.to_string())
        });
        let file = screen::path(file);
        if let Err(error) = read {
            self.fault(format!("{file}: {error}"));
            return Vec::new();
        }
        match (odd, odd_count) {
            (Some(odd), 1) => self.fault(format!("{file}: {odd}")),
            (Some(odd), count) => {
                self.fault(format!("{file}: {odd}; and {} other records are no events either", count - 1));
            }
            (None, _) => {}
        }
        self.left_out += left_out;
        self.not_named += not_named;
        self.files += 1;
        meant
    }

    /// Reads one file after the other and hands over what is to be sent, in batches across files.
    ///
    /// # Errors
    /// When nobody wants more.
    fn read_all(
        &mut self,
        files: &[PathBuf],
        resources: &ResourceArgs,
        steps: &Sender<Step>,
    ) -> Result<(), SendError<Step>> {
        let mut rest = Vec::new();
        for (position, file) in files.iter().enumerate() {
            steps.blocking_send(Step::File(position, file.clone()))?;
            let events = self.read(file, resources).into_iter();
            let letters = events.map(|event| Letter {
                body: event.body,
                label: None,
                kind: None,
                after: Duration::ZERO,
            });
            let mut full = batches(rest.into_iter().chain(letters));
            // It may have room for events of the next file.
            rest = full.pop().unwrap_or_default();
            for batch in full {
                steps.blocking_send(Step::Batch(batch))?;
            }
        }
        if rest.is_empty() { Ok(()) } else { steps.blocking_send(Step::Batch(rest)) }
    }
}

/// What reading comes to, in order.
enum Step {
    /// The file at this position is read now.
    File(usize, PathBuf),
    /// To be sent in one request.
    Batch(Vec<Letter>),
}

/// Sends the events of the files to the queue. Sent twice, an event is handled once.
pub async fn send(queue_url: &str, sdk: Sdk, given: &[PathBuf], resources: &ResourceArgs) -> Replayed {
    let clients = SqsClients::new(&aws::named(sdk, APP_NAME), Duration::ZERO);
    let outbox = clients.outbox(queue_url.to_owned());
    let (files, faults) = found(given);
    let progress = screen::bar();
    progress.set_length(files.len() as u64);
    let (hand_over, steps) = mpsc::channel(STEPS_AHEAD);
    let resources = resources.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let mut replayed = Replayed::over(faults);
        // Nobody wants more after a failure, which is told below.
        let _ = replayed.read_all(&files, &resources, &hand_over);
        replayed
    });
    let sent = send_all(&outbox, steps, &progress).await;
    let broke_off = || vec!["reading stopped early: not every file was read".to_owned()];
    let mut replayed = reading.await.unwrap_or_else(|_| Replayed::over(broke_off()));
    progress.finish_and_clear();
    replayed.queue_url = Some(queue_url.to_owned());
    replayed.events = sent.events;
    replayed.more_faults += sent.unsent - sent.faults.len();
    replayed.fault_each(sent.faults);
    // It says why there is no more of the rest, so it always has a place.
    replayed.faults.extend(sent.failure.map(|failure| format!("{queue_url}: {failure}")));
    replayed
}

/// Prints what a worker would do about each event, and what Slack would show. Sends nothing.
///
/// # Errors
/// When `out` cannot be written to.
pub fn preview(
    config: &ReplayConfig,
    given: &[PathBuf],
    resources: &ResourceArgs,
    out: &mut impl Write,
) -> io::Result<Replayed> {
    let (files, faults) = found(given);
    let mut replayed = Replayed::over(faults);
    let mut seen = HashSet::new();
    if config.policy.names_accounts() {
        writeln!(out, "Nobody was asked which account is the worker's own, nor which the organization has.")?;
    }
    for file in &files {
        let events = replayed.read(file, resources);
        replayed.events += events.len();
        for Recorded { event, .. } in events {
            let is_new = seen.insert(event.id.clone());
            writeln!(out, "{}: {} {}", screen::path(file), event.id, event.name)?;
            if is_new {
                describe(&event, config, out)?;
            } else {
                writeln!(out, "  decision  drop it: a duplicate of an earlier event")?;
            }
        }
    }
    Ok(replayed)
}

/// What would be decided about an event, and what Slack would show if all went well.
fn describe(event: &Event, config: &ReplayConfig, out: &mut impl Write) -> io::Result<()> {
    // Nobody is asked whose account this is.
    let bounds = Bounds::of(config.mode, &config.policy, clock::now());
    let judgement = judge(event, &bounds);
    writeln!(out, "  decision  {judgement}")?;
    let restarted = Restored::new(Restoration::Restarted, clock::now());
    let seen = match judgement.action {
        Action::Ignore => return Ok(()),
        Action::Restart(Which::Trail(_)) => Seen::Ended(&restarted),
        // What a look will show is not known here.
        Action::Restart(Which::StoppedAt { .. }) | Action::Look(_) | Action::Refuse(_) | Action::Notify => {
            Seen::Nothing
        }
    };
    let view = View::new(event, conclude(event, &judgement, seen), false);
    writeln!(out, "  Slack     {}: {}", view.severity.word(), view.text())?;
    for fact in view.reported.iter().chain(&view.seen) {
        writeln!(out, "            {:<LABEL_CHARS$}{}", fact.label, fact.value)?;
    }
    writeln!(out, "            {}", view.small_print.join(" · "))?;
    match &view.console {
        Some(url) => writeln!(out, "            {url}"),
        None => Ok(()),
    }
}

/// The files that are meant, those of folders sorted, and what could not be looked into.
fn found(given: &[PathBuf]) -> (Vec<PathBuf>, Vec<String>) {
    let (mut files, mut faults) = (Vec::new(), Vec::new());
    // The next one is the last.
    let mut left: Vec<_> = given.iter().rev().cloned().collect();
    while let Some(path) = left.pop() {
        if path.as_os_str() != STANDARD_INPUT && path.is_dir() {
            match inside(&path) {
                Ok(paths) => left.extend(paths.into_iter().rev()),
                Err(error) => faults.push(format!("{}: {error}", screen::path(&path))),
            }
        } else if files.len() < MAX_FILES {
            files.push(path);
        } else {
            let path = screen::path(&path);
            faults.push(format!("{path}: left out with all that follows: {MAX_FILES} files go before it"));
            break;
        }
    }
    if files.is_empty() && faults.is_empty() {
        faults.push("the named folders hold no file".to_owned());
    }
    (files, faults)
}

/// The files and folders in a folder, sorted. Links to folders are none: they may lead round in a circle. Nor are the
/// folders without calls that CloudTrail puts beside that of its log files. A link that leads nowhere is a file, which
/// then cannot be read.
fn inside(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let name = entry.file_name();
        let has_events = NO_CALLS.iter().all(|without| name != *without);
        let kind = entry.file_type()?;
        let leads_nowhere = kind.is_symlink() && !path.exists();
        if has_events && (kind.is_dir() || path.is_file() || leads_nowhere) {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

/// The text of a file, unpacked; `-` is standard input.
fn load(file: &Path) -> Result<String, String> {
    let read = |input: &mut dyn Read| {
        let mut bytes = Vec::new();
        input.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map(|_| bytes)
    };
    let too_long = || format!("it has more than {} MiB", MAX_FILE_BYTES / 1_024 / 1_024);
    let packed = if file.as_os_str() == STANDARD_INPUT {
        read(&mut io::stdin().lock())
    } else {
        fs::File::open(file).and_then(|mut file| read(&mut file))
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

/// What came of the sending.
#[derive(Debug, Default)]
struct Sent {
    /// Taken by SQS.
    events: usize,
    /// Refused one by one.
    unsent: usize,
    /// The first of these, by name.
    faults: Vec<String>,
    /// Why no more was sent.
    failure: Option<Failure>,
}

impl Sent {
    fn add(&mut self, answer: Result<(usize, Vec<String>), Failure>) {
        match answer {
            Ok((events, unsent)) => {
                self.events += events;
                self.unsent += unsent.len();
                let room = MAX_UNSENT_NAMED.saturating_sub(self.faults.len());
                self.faults.extend(unsent.into_iter().take(room));
            }
            Err(failure) => {
                self.failure.get_or_insert(failure);
            }
        }
    }
}

/// Sends what is read, while more is read. After a failure only what is on its way is waited for.
async fn send_all(outbox: &Outbox, mut steps: Receiver<Step>, progress: &ProgressBar) -> Sent {
    let mut sent = Sent::default();
    let mut file = PathBuf::new();
    let mut in_flight = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(step) = steps.recv(), if sent.failure.is_none() && in_flight.len() < REQUESTS => match step {
                Step::File(position, path) => {
                    progress.set_position(position as u64);
                    file = path;
                }
                Step::Batch(letters) => in_flight.push(send_batch(outbox, letters)),
            },
            Some(answer) = in_flight.next() => sent.add(answer),
            else => return sent,
        }
        progress.set_message(format!("{} sent, {}", sent.events, screen::path(&file)));
    }
}

/// How many of a batch were sent, and which were not.
async fn send_batch(outbox: &Outbox, letters: Vec<Letter>) -> Result<(usize, Vec<String>), Failure> {
    let answers = outbox.send_all(&letters).await?;
    let unsent = letters.iter().zip(answers).filter_map(|(letter, answer)| {
        let why = answer.err()?;
        // It was read from a file before.
        let id = event::parse(&letter.body).map(|event| event.id.to_string()).unwrap_or_default();
        Some(format!("event {id}: {why}"))
    });
    let unsent: Vec<_> = unsent.collect();
    Ok((letters.len() - unsent.len(), unsent))
}
