//! Real workers that are killed and told to go under load, while every service fails now and then:
//! `cargo run --release --example chaos -- [EVENTS [WORKERS [SEED [FOLDER]]]]`.
//!
//! An AWS and a Slack in this process, and workers in processes of their own that share a state table. A fifth
//! of the events come twice, a fiftieth more are poison, 5 % of the calls go wrong, and each second a worker
//! is killed. At the end a Markdown table says what came of it; the exit status is 0 if all that is promised
//! was kept. The logs of the workers go to FOLDER, if one is named. It needs no network.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::str::FromStr;
use std::time::Duration;

use chaos::{Plan, Tally};

#[path = "../tests/it/support/aws.rs"]
mod aws;
#[path = "../tests/it/support/chaos.rs"]
mod chaos;
#[path = "../tests/it/support/events.rs"]
mod events;

/// Without arguments.
const EVENTS: usize = 2_000;
const WORKERS: usize = 3;
/// How fast events are sent: slow enough for the run to last a minute and see as many kills.
const EVENTS_PER_SECOND: u32 = 40;
/// Beyond the sending, the longest that workers are killed: what a dead one held comes back after 40 s, and often meets its end again.
const TROUBLE: Duration = Duration::from_mins(5);
/// Beyond the sending, until the queue has to be empty: Slack's rate limit makes alerts wait for minutes. A copy whose claim nobody
/// owns any more needs a worker that lives as long as a lease.
const PATIENCE: Duration = Duration::from_mins(20);

#[tokio::main]
async fn main() -> ExitCode {
    let Some(plan) = plan() else {
        eprintln!(
            "usage: chaos [EVENTS [WORKERS [SEED [FOLDER]]]], each of the first three a number above 0"
        );
        return ExitCode::from(2);
    };
    println!("{} events, {} workers, seed {}", plan.events, plan.workers, plan.seed);
    let tally = chaos::run(&plan).await;
    println!("\n{}\n{tally}\n\n{}", Tally::HEAD, tally.notes());
    if tally.is_kept() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn plan() -> Option<Plan> {
    let mut args = std::env::args().skip(1);
    let events = number(args.next(), EVENTS)?;
    let workers = number(args.next(), WORKERS)?;
    let seed = number(args.next(), fastrand::u64(1..))?;
    let logs = args.next().map(PathBuf::from);
    let sending = Duration::from_secs(1) * u32::try_from(events).ok()? / EVENTS_PER_SECOND;
    let (trouble, patience) = (sending + TROUBLE, sending + PATIENCE);
    Some(Plan {
        events,
        workers,
        seed,
        sending,
        trouble,
        patience,
        program: program(),
        visibility: None,
        logs,
    })
}

fn number<T: FromStr + Default + PartialEq>(arg: Option<String>, default: T) -> Option<T> {
    let Some(arg) = arg else { return Some(default) };
    arg.parse().ok().filter(|number| *number != T::default())
}

/// The `trailkeeper` of the same build, brought up to date first: Cargo builds it for tests, and not for
/// examples. The example is named too, so that both share their dependencies as they are.
fn program() -> PathBuf {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--bin", "trailkeeper", "--example", "chaos"]);
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    let status = build.status().expect("cargo runs");
    assert!(status.success(), "trailkeeper does not build");
    // This is target/PROFILE/examples/chaos.
    let example = std::env::current_exe().expect("a path");
    let folder = example.ancestors().nth(2).expect("a folder of the profile");
    folder.join("trailkeeper")
}
