//! Who may know whom: reads the imports and keeps ARCHITECTURE.md's walls standing.

use std::collections::BTreeMap;
use std::path::Path;

/// Modules that know nothing of runtimes, clients or services.
const PURE: [&str; 17] = [
    "event.rs",
    "event/envelope.rs",
    "event/identity.rs",
    "event/lenient.rs",
    "event/trail.rs",
    "consumer/disposition.rs",
    "consumer/label.rs",
    "consumer/redrive.rs",
    "consumer/retry.rs",
    "respond/message.rs",
    "respond/preview.rs",
    "config.rs",
    "config/commands.rs",
    "operate/finding.rs",
    "operate/judge.rs",
    "operate/queue_policy.rs",
    "operate/recording.rs",
];
/// The only files that may name a type of an SDK or of an HTTP client.
const EDGES: [&str; 14] = [
    "aws.rs",
    "app.rs",
    "http.rs",
    "otlp.rs",
    "protection.rs",
    "consumer/sqs.rs",
    "consumer/sqs/mailbox.rs",
    "consumer/sqs/outbox.rs",
    "operate/identity.rs",
    "respond/accounts.rs",
    "respond/slack.rs",
    "respond/trails.rs",
    "state/dynamodb.rs",
    "state/table.rs",
];

/// Every file under src with its code, tests and comments left out.
fn sources() -> BTreeMap<String, String> {
    fn read(folder: &Path, root: &Path, all: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                read(&path, root, all);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a file");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let code: Vec<_> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            let name = path.strip_prefix(root).expect("inside").to_string_lossy().into_owned();
            all.insert(name, code.join("\n"));
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = BTreeMap::new();
    read(&root, &root, &mut all);
    all
}

fn keeps_out(files: impl Fn(&str) -> bool, words: &[&str], why: &str) {
    let sources = sources();
    let kept: Vec<_> = sources.iter().filter(|(name, _)| files(name)).collect();
    assert!(!kept.is_empty(), "no file is meant by: {why}");
    for (name, code) in kept {
        for word in words {
            assert!(!code.contains(word), "src/{name} names `{word}`: {why}");
        }
    }
}

#[test]
fn the_pure_modules_are_pure() {
    for name in PURE {
        assert!(sources().contains_key(name), "src/{name} is gone");
    }
    let impure = [
        "tokio::",
        "aws_sdk_",
        "aws_config",
        "aws_smithy_",
        "reqwest::",
        "hyper::",
        "std::fs",
        "std::env",
        "crate::clock",
    ];
    keeps_out(|name| PURE.contains(&name), &impure, "it is pure");
}

#[test]
fn the_consumer_knows_nothing_of_cloudtrail() {
    let foreign = ["crate::event", "crate::respond", "crate::state", "aws_sdk_cloudtrail"];
    keeps_out(|name| name.starts_with("consumer"), &foreign, "the consumer is a worker pool for any queue");
}

#[test]
fn events_and_state_know_nothing_of_what_is_done_about_them() {
    keeps_out(
        |name| name.starts_with("event"),
        &["crate::consumer", "crate::respond", "crate::state"],
        "events come first",
    );
    keeps_out(|name| name.starts_with("state"), &["crate::respond"], "the state serves the responder");
}

#[test]
fn only_the_edges_name_an_sdk_or_an_http_client() {
    keeps_out(
        |name| !EDGES.contains(&name),
        &["aws_sdk_", "aws_config::", "aws_smithy_", "reqwest::", "hyper::"],
        "only the edges do",
    );
}

/// Spans are `tracing`'s everywhere else.
#[test]
fn one_file_alone_knows_opentelemetry() {
    keeps_out(|name| name != "otlp.rs", &["opentelemetry"], "only otlp.rs does");
}

/// So that a reader finds all of them together, and what they must not hold is looked for in one place.
#[test]
fn one_file_alone_makes_and_fills_spans() {
    let making = ["span!(", "#[instrument", "#[tracing::instrument", ".record(\""];
    keeps_out(|name| name != "spans.rs", &making, "only spans.rs does");
}

#[test]
fn only_the_top_knows_everything() {
    keeps_out(|name| name != "cli.rs", &["crate::app"], "only the command line starts the app");
    let beside = |name: &str| name != "cli.rs" && !name.starts_with("operate");
    keeps_out(beside, &["crate::operate"], "nothing is built on the commands beside the worker");
}

/// The other tests look for whole paths.
#[test]
fn every_import_names_its_whole_path() {
    keeps_out(|_| true, &["use crate::{", "super::super"], "it would hide from these tests");
}

/// Two files that need each other are one room with a wall in it.
#[test]
fn no_two_files_of_a_folder_import_each_other() {
    let sources = sources();
    let imports = |name: &str, other: &str| {
        let other = other.rsplit('/').next().unwrap_or(other).trim_end_matches(".rs");
        sources[name].contains(&format!("super::{other}::"))
    };
    let folder = |name: &str| name.rsplit_once('/').map(|(folder, _)| folder.to_owned());
    for one in sources.keys() {
        for other in sources.keys().filter(|other| *other > one && folder(other) == folder(one)) {
            assert!(!(imports(one, other) && imports(other, one)), "src/{one} and src/{other}");
        }
    }
}
