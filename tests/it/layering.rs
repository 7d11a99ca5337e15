//! Who may know whom: resolves the imports, and keeps ARCHITECTURE.md's walls standing.

use std::collections::{BTreeMap, BTreeSet};

use trailkeeper::outcome::Reason;

use crate::support::source::{Source, sources};

/// What each room knows of the others, and no more. A room is a file or folder of src; the ground floor, which everybody
/// may know and which knows nothing of ours, is not listed.
const KNOWS: [(&str, &[&str]); 24] = [
    (
        "app",
        &[
            "args",
            "aws",
            "cloudtrail",
            "config",
            "consumer",
            "http",
            "policy",
            "protection",
            "respond",
            "state",
            "telemetry",
            "tell",
        ],
    ),
    ("args", &["policy", "telemetry"]),
    ("aws", &["spans"]),
    ("cli", &["app", "args", "aws", "config", "consumer", "event", "http", "operate", "policy", "telemetry"]),
    ("cloudtrail", &["aws", "event", "incident", "telemetry"]),
    ("config", &["args", "cloudtrail", "consumer", "event", "outcome", "policy", "telemetry"]),
    ("consumer", &["aws", "spans", "telemetry"]),
    ("event", &[]),
    ("http", &["consumer", "state", "telemetry"]),
    ("incident", &[]),
    ("lib", &[]),
    ("main", &[]),
    (
        "operate",
        &[
            "args",
            "aws",
            "cloudtrail",
            "config",
            "consumer",
            "event",
            "incident",
            "outcome",
            "policy",
            "state",
            "sweep",
            "tell",
        ],
    ),
    ("otlp", &["spans"]),
    ("outcome", &[]),
    ("policy", &["event", "incident"]),
    ("protection", &["consumer"]),
    (
        "respond",
        &[
            "cloudtrail",
            "consumer",
            "event",
            "incident",
            "outcome",
            "policy",
            "state",
            "sweep",
            "telemetry",
            "tell",
        ],
    ),
    ("spans", &[]),
    ("state", &["aws", "event", "incident", "telemetry"]),
    ("sweep", &["cloudtrail", "event", "incident", "policy", "state"]),
    ("telemetry", &["otlp", "outcome", "spans"]),
    ("tell", &["event", "incident", "policy", "spans", "telemetry"]),
    ("tell/slack", &["incident", "spans", "telemetry"]),
];
const GROUND_FLOOR: [&str; 5] = ["clock", "pattern", "retry", "text", "turns"];

/// Modules that know nothing of runtimes, clients or services.
const PURE: [&str; 33] = [
    "args.rs",
    "cloudtrail/role.rs",
    "config.rs",
    "config/commands.rs",
    "consumer/disposition.rs",
    "consumer/label.rs",
    "consumer/redrive.rs",
    "event.rs",
    "event/envelope.rs",
    "event/identity.rs",
    "event/lenient.rs",
    "event/parameters.rs",
    "event/trail.rs",
    "incident.rs",
    "operate/finding.rs",
    "operate/judge.rs",
    "operate/queue_policy.rs",
    "operate/recording.rs",
    "outcome.rs",
    "pattern.rs",
    "policy/conclude.rs",
    "policy/difference.rs",
    "policy/file.rs",
    "policy/judge.rs",
    "policy/rules.rs",
    "respond/verdict.rs",
    "state/record.rs",
    "state/steps.rs",
    "sweep/compare.rs",
    "sweep/look.rs",
    "tell/slack/blocks.rs",
    "tell/view.rs",
    "text.rs",
];
/// The only files that may name a type of an SDK or of an HTTP client.
const EDGES: [&str; 20] = [
    "app.rs",
    "aws.rs",
    "cloudtrail/accounts.rs",
    "cloudtrail/coverage.rs",
    "cloudtrail/history.rs",
    "cloudtrail/organization.rs",
    "cloudtrail/sessions.rs",
    "cloudtrail/trails.rs",
    "consumer/sqs.rs",
    "consumer/sqs/mailbox.rs",
    "consumer/sqs/outbox.rs",
    "http.rs",
    "operate/identity.rs",
    "otlp.rs",
    "protection.rs",
    "state/dynamodb.rs",
    "state/kept.rs",
    "state/records.rs",
    "state/table.rs",
    "tell/slack.rs",
];
const CLIENTS: [&str; 5] = ["aws_config", "aws_sdk_", "aws_smithy_", "hyper", "reqwest"];

fn names(source: &Source, crate_names: &[&str]) -> Vec<String> {
    let first = |path: &Vec<String>| path.first().cloned().unwrap_or_default();
    let is_meant = |name: &String| {
        crate_names.iter().any(|meant| name == meant || (meant.ends_with('_') && name.starts_with(meant)))
    };
    source.names.iter().map(first).filter(is_meant).collect()
}

/// The room of a path of ours, and nothing of any other.
fn room(path: &[String]) -> Option<&str> {
    match path {
        [first, room, ..] if first == "crate" => Some(room),
        _ => None,
    }
}

#[test]
fn who_knows_whom_is_what_the_walls_let_through() {
    let mut found: BTreeMap<&str, BTreeSet<String>> =
        KNOWS.iter().map(|(name, _)| (*name, BTreeSet::new())).collect();
    let sources = sources();
    let rooms: BTreeSet<&str> =
        sources.keys().map(|name| name.trim_end_matches(".rs").split('/').next().unwrap_or(name)).collect();
    for (name, source) in &sources {
        let name = name.trim_end_matches(".rs");
        let own = name.split('/').next().unwrap_or(name);
        let known = source
            .names
            .iter()
            .filter_map(|path| room(path))
            .filter(|known| *known != own && rooms.contains(known) && !GROUND_FLOOR.contains(known));
        let known: BTreeSet<_> = known.map(str::to_owned).collect();
        assert!(
            !GROUND_FLOOR.contains(&own) || known.is_empty(),
            "src/{name}.rs is the ground floor, and knows {known:?}"
        );
        // A wall within a room is kept beside the room's own.
        for (room, all) in &mut found {
            if own == *room || name.starts_with(&format!("{room}/")) || name == *room {
                all.extend(known.iter().cloned());
            }
        }
    }
    for (name, allowed) in KNOWS {
        let allowed: BTreeSet<_> = allowed.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(found[name], allowed, "what src/{name} knows, and what it may");
    }
    let listed: BTreeSet<&str> = KNOWS.iter().map(|(name, _)| *name).chain(GROUND_FLOOR).collect();
    assert!(rooms.iter().all(|room| listed.contains(room)), "{rooms:?} and {listed:?}");
}

#[test]
fn the_pure_modules_are_pure() {
    let sources = sources();
    for name in PURE {
        let source = sources.get(name).unwrap_or_else(|| panic!("src/{name} is gone"));
        let impure = names(source, &[&CLIENTS[..], &["tokio"]].concat());
        assert!(impure.is_empty(), "src/{name} is pure, and names {impure:?}");
        for path in &source.names {
            let [first, second, ..] = &path[..] else { continue };
            let outside = first == "std" && ["fs", "env", "net"].contains(&second.as_str());
            // An address is a value, and asks nobody.
            let is_address = path.iter().any(|part| part == "SocketAddr");
            let clock = first == "crate" && second == "clock";
            assert!(is_address || !(outside || clock), "src/{name} is pure, and names {}", path.join("::"));
        }
    }
}

#[test]
fn only_the_edges_name_an_sdk_or_an_http_client() {
    let at_an_edge: BTreeSet<_> = sources()
        .into_iter()
        .filter(|(_, source)| !names(source, &CLIENTS).is_empty())
        .map(|(name, _)| name)
        .collect();
    assert_eq!(at_an_edge, EDGES.map(str::to_owned).into());
}

/// A worker pool for any queue says nothing of what ours is for, nor of how ours is configured.
#[test]
fn no_word_of_cloudtrail_stands_in_the_consumer() {
    for (name, source) in sources().iter().filter(|(name, _)| name.starts_with("consumer")) {
        let said = source.texts.iter().chain(source.macros.iter().map(|(_, said)| said));
        for text in said {
            let foreign = ["TRAILKEEPER_", "CloudTrail", "cloudtrail", "Slack", "StopLogging"];
            let is_ours = |text: &str| Reason::ALL.iter().any(|reason| text.contains(reason.as_str()));
            assert!(!is_ours(text), "src/{name}: {text:?}");
            assert!(!foreign.iter().any(|word| text.contains(word)), "src/{name}: {text:?}");
        }
    }
}

/// Spans are `tracing`'s everywhere else.
#[test]
fn one_file_alone_knows_opentelemetry() {
    for (name, source) in &sources() {
        let known = names(source, &["opentelemetry", "opentelemetry_", "tracing_opentelemetry"]);
        assert_eq!(!known.is_empty(), name == "otlp.rs", "src/{name}: {known:?}");
    }
}

/// So that a reader finds all of them together, and what they must not hold is looked for in one place.
#[test]
fn one_file_alone_makes_and_fills_spans() {
    for (name, source) in sources().iter().filter(|(name, _)| *name != "spans.rs") {
        let makes = source.macros.iter().any(|(called, _)| called.ends_with("span"));
        let instruments =
            source.names.iter().any(|path| path.last().is_some_and(|last| last == "instrument"));
        let fills = source.said_to_methods.contains("record");
        assert!(!makes && !instruments && !fills, "src/{name}: only spans.rs does");
    }
}

/// Two files that need each other are one room with a wall in it. A file and those in the folder of its name are one.
#[test]
fn no_two_files_import_each_other() {
    let sources = sources();
    // The file whose module is the longest beginning of a path.
    let file_of = |path: &[String]| {
        let path = path.strip_prefix(&["crate".to_owned()][..])?;
        let inside = sources.iter().filter(|(_, source)| path.starts_with(&source.module));
        inside.max_by_key(|(_, source)| source.module.len()).map(|(name, _)| name.as_str())
    };
    let imports: BTreeMap<&str, BTreeSet<&str>> = sources
        .iter()
        .map(|(name, source)| {
            let known = source.names.iter().filter_map(|path| file_of(path)).filter(|known| known != name);
            (name.as_str(), known.collect())
        })
        .collect();
    let is_above = |one: &str, other: &str| {
        let (one, other) = (&sources[one].module, &sources[other].module);
        one.starts_with(other) || other.starts_with(one)
    };
    for (one, known) in &imports {
        for other in known {
            let both = imports[other].contains(one) && !is_above(one, other);
            assert!(!both, "src/{one} and src/{other}");
        }
    }
}
