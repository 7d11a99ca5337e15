//! Tells the program which commit it is built from.

use std::path::Path;
use std::process::Command;

fn main() {
    // Where there is no repository, as in the image's build, whoever builds says it: "1a2b3c4 2026-11-24".
    println!("cargo::rerun-if-env-changed=TRAILKEEPER_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    // Written to by every commit, checkout and rebase. To name a file that is not there is to build at every turn.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists()) {
        println!("cargo::rerun-if-changed={log}");
    }
    let told = std::env::var("TRAILKEEPER_COMMIT").ok();
    let commit = told.filter(|told| !told.trim().is_empty()).or_else(head);
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let version = match commit {
        Some(commit) => format!("{version} ({})", commit.trim()),
        None => format!("{version} (of an unknown commit)"),
    };
    println!("cargo::rustc-env=TRAILKEEPER_VERSION={version}");
}

/// The commit and its date, if the repository around is this program's own.
fn head() -> Option<String> {
    let root = git(&["rev-parse", "--show-toplevel"])?;
    let package = std::env::var("CARGO_MANIFEST_DIR").ok()?;
    let is_own = Path::new(&root).canonicalize().ok()? == Path::new(&package).canonicalize().ok()?;
    if is_own { git(&["log", "-1", "--format=%h %cs"]) } else { None }
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let told = output.status.success().then(|| String::from_utf8(output.stdout).ok()).flatten()?;
    Some(told.trim().to_owned())
}
