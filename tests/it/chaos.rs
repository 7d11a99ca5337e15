//! Real workers that are killed and told to go under load, while every service fails now and then. The same at
//! any size: `cargo run --release --example chaos`.

use std::path::PathBuf;
use std::time::Duration;

use crate::support::chaos::{Plan, Tally, run};

#[tokio::test]
async fn nothing_is_lost_though_workers_are_killed_and_calls_fail() {
    let plan = Plan {
        events: 60,
        workers: 3,
        seed: fastrand::u64(..),
        sending: Duration::from_secs(6),
        trouble: Duration::from_secs(9),
        // Far above what it takes: nothing fails because the machine is slow.
        patience: Duration::from_mins(3),
        program: PathBuf::from(env!("CARGO_BIN_EXE_trailkeeper")),
        // So that the work of the dead is soon taken up.
        visibility: Some(Duration::from_secs(6)),
        logs: std::env::var_os("CHAOS_LOGS").map(PathBuf::from),
    };
    let tally = run(&plan).await;
    assert!(tally.is_kept(), "{}\n{tally}\n{}", Tally::HEAD, tally.notes());
    assert!(tally.kills > 0 && tally.terms > 0 && tally.faults > 0, "{tally}");
    println!("{}\n{tally}\n{}", Tally::HEAD, tally.notes());
}
