//! Tells the program which commit it is built from.

use std::path::Path;
use std::process::Command;

const HEAD_LOG: &str = ".git/logs/HEAD";

fn main() {
    // Where there is no repository, as in the image's build, whoever builds says it: "1a2b3c4 2026-11-24".
    println!("cargo::rerun-if-env-changed=TRAILKEEPER_COMMIT");
    // Written to by every commit, checkout and rebase. To name a file that is not there is to build at every turn.
    if Path::new(HEAD_LOG).exists() {
        println!("cargo::rerun-if-changed={HEAD_LOG}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    let told = std::env::var("TRAILKEEPER_COMMIT").ok();
    let commit = told.filter(|told| !told.trim().is_empty()).or_else(head);
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let version = match commit {
        Some(commit) => format!("{version} ({})", commit.trim()),
        None => format!("{version} (of an unknown commit)"),
    };
    println!("cargo::rustc-env=TRAILKEEPER_VERSION={version}");
}

/// The commit and its date.
fn head() -> Option<String> {
    let output = Command::new("git").args(["log", "-1", "--format=%h %cs"]).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).ok()).flatten()
}
