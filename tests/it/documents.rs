//! What the pages say is so: their commands are run or belong to what CI runs, their lists are the program's own.
//!
//! `UPDATE_DOCS=1 cargo test --test it documents` writes anew what is made from the program.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{StreamExt, future, stream};
use serde_json::json;
use tokio::process::Command;
use trailkeeper::args::{NOT_YET, OF_RUN, flag};
use trailkeeper::consumer::Label;
use trailkeeper::event::{self, About, AccountId, Event, EventId, Kind};
use trailkeeper::incident::{DeliveryErrors, Found, Restoration, Restored, Severity, Sighting};
use trailkeeper::operate::finding::Check;
use trailkeeper::outcome::Reason;
use trailkeeper::policy::{Bounds, ByUs, Listed, Members, Mode, Policy, Seen, conclude, judge};
use trailkeeper::tell::View;
use trailkeeper::{cli, clock};

use crate::check::proper;
use crate::dead_letters::bury;
use crate::support::aws::Aws;
use crate::support::events::stop;
use crate::support::eventually;
use crate::support::process::{Process, configured, free_address};
use crate::support::slack::Slack;
use crate::support::source::{self, sources};

/// What shows that a command works.
enum By {
    /// A recipe that CI runs.
    Recipe(&'static str),
    /// A test of this name.
    Test(&'static str),
    /// A script that CI runs.
    Script(&'static str),
}

/// The commands that are not run as they stand in the pages, and what runs the same.
const ELSEWHERE: [(&str, By); 25] = [
    ("aws", By::Recipe("docs-test")),
    ("cargo audit", By::Recipe("audit")),
    // The same with a quicker profile.
    ("cargo build --release", By::Recipe("compose-test")),
    ("cargo deny", By::Recipe("deny")),
    ("cargo run --example demo", By::Recipe("demo")),
    // The same at a smaller size.
    ("cargo run --release --example chaos", By::Test(CHAOS)),
    ("cargo run --release --example chaos -- 2000 3 SEED", By::Test(CHAOS)),
    ("cargo test", By::Recipe("test")),
    ("cargo test --test it simulation", By::Recipe("test")),
    ("UPDATE_DOCS=1 cargo test --test it documents", By::Test("the_configuration_page_is_the_programs_own")),
    ("docker compose --profile observability down --volumes", By::Recipe("compose-test")),
    ("docker compose --profile observability up", By::Test(PROMETHEUS)),
    ("docker compose run --rm worker check", By::Test("the_commands_work_in_the_image")),
    ("docker compose run --rm worker dlq list", By::Test("the_commands_work_in_the_image")),
    ("docker compose up --build", By::Recipe("compose-test")),
    (
        "docker compose up --build --scale worker=3",
        By::Test("three_workers_share_300_events_and_their_duplicates"),
    ),
    ("docker run --rm IMAGE --help", By::Test("the_image_is_small_runs_its_commands_and_has_no_shell")),
    ("docker stop", By::Test("docker_stop_drains_within_its_grace")),
    ("infra/test/run", By::Script("infra/test/run")),
    ("infra/test/run target/debug/trailkeeper", By::Recipe("infra-test")),
    ("just", By::Recipe("default")),
    ("promtool test rules alerts.test.yml", By::Test(PROMETHEUS)),
    ("terraform apply", By::Script("infra/test/apply.py")),
    ("terraform destroy", By::Script("infra/test/apply.py")),
    ("terraform fmt", By::Script("infra/test/run")),
];
const CHAOS: &str = "nothing_is_lost_though_workers_are_killed_and_calls_fail";
const PROMETHEUS: &str = "prometheus_finds_every_worker_and_answers_every_query_of_the_dashboard";
/// Other programs than ours that the pages show.
const PROGRAMS: [&str; 5] = ["aws", "cargo", "docker", "promtool", "terraform"];
/// How the pages show the simulation with seeds of the reader's choice.
const SEEDS: [&str; 2] = ["cargo test --test it simulation", "cargo test --release --test it simulation"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(page: impl AsRef<Path>) -> String {
    let page = root().join(page);
    std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()))
}

/// Every page, by its path from the root.
fn pages() -> Vec<PathBuf> {
    let docs = std::fs::read_dir(root().join("docs")).expect("docs/");
    let docs = docs.map(|entry| Path::new("docs").join(entry.expect("an entry").file_name()));
    let docs = docs.filter(|page| page.extension().is_some_and(|end| end == "md"));
    let top = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "ARCHITECTURE.md", "infra/README.md"];
    top.into_iter().map(PathBuf::from).chain(docs).collect()
}

/// What a page's shell blocks hold.
fn fences(page: &str) -> impl Iterator<Item = &str> {
    page.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n"))
}

/// The lines of a shell block, without the remarks behind them.
fn lines(fence: &str) -> impl Iterator<Item = &str> {
    let lines = fence.lines().map(|line| line.split("  #").next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// What stands between backticks in the text of a page, and not in a block.
fn inline(page: &str) -> Vec<&str> {
    page.split("```").step_by(2).flat_map(|prose| prose.split('`').skip(1).step_by(2)).collect()
}

/// The commands of a page: the lines in its shell blocks, and what its text names by the way.
fn commands(page: &str) -> Vec<&str> {
    let named = inline(page).into_iter().filter(|code| {
        let mut words = code.split_whitespace().skip_while(|word| word.contains('='));
        words.next().is_some_and(|first| {
            PROGRAMS.contains(&first) || (first.starts_with("infra/") && !root().join(code).exists())
        }) || *code == "infra/test/run"
    });
    fences(page).flat_map(lines).chain(named).collect()
}

/// Whether the lines of a shell block hang together: tests/docs/run then runs the block as a whole.
fn is_run_as_a_whole(fence: &str) -> bool {
    fence.contains("aws ") && ["=$(", "|", ">"].iter().any(|mark| fence.contains(mark))
}

/// The examples in the help of a command and of those under it.
fn examples(command: &clap::Command) -> Vec<String> {
    let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let lines = help.lines().filter_map(|line| line.strip_prefix("  ")).map(str::to_owned);
    lines.chain(command.get_subcommands().flat_map(examples)).collect()
}

#[tokio::test]
async fn every_command_of_ours_that_is_shown_works() {
    // With which variables of ours: those that the page exports; of the help's examples, all.
    let mut shown: BTreeMap<String, Option<BTreeSet<String>>> =
        examples(&cli::command()).into_iter().map(|line| (line, None)).collect();
    let in_help = shown.len();
    for page in pages() {
        let text = read(page);
        let lines: Vec<_> = fences(&text).flat_map(lines).map(str::to_owned).collect();
        let exported = lines.iter().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
        let exported: BTreeSet<_> = exported.map(|(name, _)| name.to_owned()).collect();
        let ours = |line: &&String| {
            line.starts_with("trailkeeper ") || line.starts_with("target/release/trailkeeper ")
        };
        shown.extend(lines.iter().filter(ours).map(|line| (line.clone(), Some(exported.clone()))));
    }
    assert!(in_help > 15 && shown.len() > in_help + 5, "hardly any commands are found: {shown:#?}");
    let runs = shown.iter().map(|(line, exported)| run(line, exported.as_ref()));
    // Each has a worker beside it: all at once would keep each other from starting.
    let failed: Vec<_> = stream::iter(runs).buffer_unordered(16).filter_map(future::ready).collect().await;
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// What the pages name in passing exists, too.
#[test]
fn every_command_that_is_named_exists() {
    let (command, recipes) = (cli::command(), read("justfile"));
    for page in pages() {
        for code in inline(&read(&page)) {
            let mut words = code.split_whitespace();
            let exists = match (words.next(), words.next()) {
                (Some("trailkeeper"), Some(name)) if !name.starts_with('-') && name != "…" => {
                    let found = command.find_subcommand(name);
                    let deeper = words.next().filter(|_| name == "dlq");
                    found.is_some_and(|found| {
                        deeper.is_none_or(|deeper| found.find_subcommand(deeper).is_some())
                    })
                }
                (Some("just"), Some(name)) if name != "…" => {
                    recipes.lines().any(|line| line.starts_with(&format!("{name}:")))
                }
                _ => true,
            };
            assert!(exists, "{}: there is no `{code}`", page.display());
        }
    }
}

/// Runs a line as it is shown, in a world in which all is well; what went wrong, if something did.
async fn run(line: &str, exported: Option<&BTreeSet<String>>) -> Option<String> {
    let (aws, slack) = proper().await;
    let id = "3b8f0a52-0000-4000-8000-000000000001";
    for reason in Reason::ALL {
        bury(&aws, stop(id, "audit"), &[("reason", reason.as_str()), ("event_id", id)]).await;
    }
    let line = line.replace("target/release/trailkeeper", "trailkeeper");
    if line.starts_with("trailkeeper run") {
        return run_worker(&line, &aws, &slack).await;
    }
    let folder = folder(&line);
    let worker = line.starts_with("trailkeeper healthcheck").then(|| Process::start(&aws, &slack, &[]));
    if let Some(worker) = &worker {
        let ready = async || worker.get("/readyz").await.filter(|(status, _)| *status == 200);
        eventually("the worker to be ready", ready).await;
    }
    let binary = Path::new(env!("CARGO_BIN_EXE_trailkeeper")).parent().expect("a folder");
    let path = format!("{}:/usr/bin:/bin", binary.display());
    let mut command = Command::new("sh");
    command.args(["-c", &line]).current_dir(&folder).envs(variables(&aws, &slack)).env("PATH", path);
    command.env("TRAILKEEPER_STATE_TABLE", "state");
    if let Some(exported) = exported {
        let left_out: Vec<_> =
            command.as_std().get_envs().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
        for name in
            left_out.iter().filter(|name| name.starts_with("TRAILKEEPER_") && !exported.contains(*name))
        {
            command.env_remove(name);
        }
    }
    if let Some(worker) = &worker {
        command.env("TRAILKEEPER_HTTP_ADDR", &worker.http);
    }
    let output = command.output().await.expect("sh runs");
    let told = String::from_utf8_lossy(&output.stderr);
    (!output.status.success()).then(|| format!("`{line}`: {:?}\n{told}", output.status.code()))
}

/// A worker that starts, and ends well when it is told to.
async fn run_worker(line: &str, aws: &Aws, slack: &Slack) -> Option<String> {
    let http = free_address();
    let args: Vec<_> = line.split_whitespace().skip(1).collect();
    let mut child =
        configured(aws, slack, &args).env("TRAILKEEPER_HTTP_ADDR", &http).spawn().expect("it starts");
    let ready = async || {
        reqwest::get(format!("http://{http}/readyz")).await.ok()?.status().is_success().then_some(())
    };
    eventually("the worker to be ready", ready).await;
    let id = child.id().expect("running").to_string();
    Command::new("kill").args(["-TERM", &id]).status().await.expect("kill runs");
    let status = child.wait().await.expect("an end");
    (!status.success()).then(|| format!("`{line}`: {:?}", status.code()))
}

fn variables(aws: &Aws, slack: &Slack) -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
    let command = configured(aws, slack, &[]);
    let variables =
        command.as_std().get_envs().map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
    variables.flatten().collect()
}

/// A folder with every file that the line reads.
fn folder(line: &str) -> PathBuf {
    let name: String =
        line.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '-' }).collect();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("documents").join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    let event = stop("e-1", "audit").to_string();
    for word in line.split_whitespace().filter(|word| word.contains(".json")) {
        let file = folder.join(word);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        let records = json!({ "Records": [stop("e-2", "audit")["detail"]] }).to_string();
        let content = if word.contains("CloudTrail") { &records } else { &event };
        std::fs::write(file, content).expect("written");
    }
    for word in line.split_whitespace().filter(|word| word.contains(".toml")) {
        let file = folder.join(word);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(file, read("docs/policies/one-account.toml")).expect("written");
    }
    // A folder of log files.
    for word in line
        .split_whitespace()
        .skip(2)
        .filter(|word| line.starts_with("trailkeeper replay") && !word.contains(['.', '-', '<']))
    {
        std::fs::create_dir_all(folder.join(word)).expect("a folder");
        let records = json!({ "Records": [stop("e-3", "audit")["detail"]] }).to_string();
        std::fs::write(folder.join(word).join("log.json"), records).expect("written");
    }
    folder
}

#[test]
fn every_other_command_that_is_shown_is_one_that_a_test_runs() {
    let (recipes, variables) = (read("justfile"), read("docs/configuration.md"));
    let mut shown = BTreeSet::new();
    for page in pages() {
        let text = read(&page);
        let whole: BTreeSet<_> =
            fences(&text).filter(|fence| is_run_as_a_whole(fence)).flat_map(lines).collect();
        let in_fences: BTreeSet<_> = fences(&text).flat_map(lines).collect();
        for line in commands(&text) {
            shown.insert(line.to_owned());
            let ours = line.starts_with("trailkeeper ") || line.starts_with("target/release/trailkeeper ");
            // tests/docs/run sees them in blocks alone.
            let of_aws = whole.contains(line) || (line.starts_with("aws ") && in_fences.contains(line));
            let recipe = line.strip_prefix("just ").map(str::trim);
            let is_recipe = |name: &str| recipes.lines().any(|line| line.starts_with(&format!("{name}:")));
            let exported = line.strip_prefix("export ").and_then(|line| line.split_once('='));
            let is_variable =
                |name: &str| name.starts_with("AWS_") || variables.contains(&format!("`{name}`"));
            assert!(
                ours || of_aws
                    || seeds(line).is_some()
                    || ELSEWHERE.iter().any(|(known, _)| line == *known)
                    || recipe.is_some_and(is_recipe)
                    || exported.is_some_and(|(name, _)| is_variable(name)),
                "{}: nothing runs `{line}`",
                page.display()
            );
        }
    }
    for (line, _) in ELSEWHERE {
        assert!(shown.contains(line), "no page shows `{line}` any more");
    }
}

#[test]
fn what_runs_the_other_commands_is_there() {
    let recipes = read("justfile");
    let ci = recipes.lines().find(|line| line.starts_with("ci:")).expect("ci");
    let mut tests = String::new();
    for folder in ["tests/it", "tests/compose"] {
        tests.extend(files_in(&root().join(folder), "rs").into_iter().map(read));
    }
    for (line, by) in ELSEWHERE {
        let is_there = match by {
            // .ci/run runs what infra-test does.
            By::Recipe(name @ ("default" | "infra-test")) => recipes.contains(&format!("\n{name}:")),
            By::Recipe(name) => ci.split_whitespace().any(|recipe| recipe == name),
            By::Test(name) => tests.contains(&format!("fn {name}()")),
            By::Script(path) => root().join(path).exists(),
        };
        assert!(is_there, "what should run `{line}` is not there");
    }
}

/// The variable that chooses the simulation's seeds, and its value.
fn seeds(line: &str) -> Option<(&str, &str)> {
    let (variable, command) = line.split_once(' ')?;
    let (name, value) = variable.split_once('=')?;
    (name.starts_with("TRAILKEEPER_SEED") && SEEDS.contains(&command)).then_some((name, value))
}

/// With a few of the seeds; how many there are is only a matter of time.
#[tokio::test]
async fn the_commands_with_seeds_work() {
    let pages: Vec<String> = pages().into_iter().map(read).collect();
    let fenced = pages.iter().flat_map(|page| fences(page)).flat_map(lines);
    let named = pages.iter().flat_map(|page| inline(page));
    let shown: BTreeSet<_> = fenced.chain(named).filter_map(seeds).collect();
    assert!(shown.iter().any(|(name, _)| *name == "TRAILKEEPER_SEED"), "{shown:?}");
    assert!(shown.iter().any(|(_, value)| value.contains("..")), "{shown:?}");
    for (name, value) in shown {
        let few = match (name, value.split_once("..")) {
            ("TRAILKEEPER_SEED", None) => value.to_owned(),
            ("TRAILKEEPER_SEEDS", None) => "2".to_owned(),
            (_, Some((first, _))) => {
                let first: u64 = first.parse().expect("a number");
                format!("{first}..{}", first + 2)
            }
            _ => panic!("{name}={value}"),
        };
        let this = std::env::current_exe().expect("this");
        let output =
            Command::new(this).arg("no_storm_breaks_a_promise").arg("--nocapture").env(name, &few).output();
        let output = output.await.expect("it runs");
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.contains("1 passed"), "{name}={few}: {told}");
    }
}

/// The runbook has a section for everything that can page somebody, and for nothing else.
#[test]
fn the_runbook_knows_every_alarm_reason_and_check() {
    let runbook = read("docs/runbook.md");
    let headings: BTreeSet<String> = runbook
        .lines()
        .filter(|line| line.starts_with("### `"))
        .flat_map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let alarms = read("infra/modules/observability/alarms.tf");
    let queue_alarms = alarms.lines().filter_map(|line| line.strip_prefix("    ")?.strip_suffix(" = {"));
    let queue_alarms = queue_alarms.filter(|name| {
        !name.contains(' ') && name.contains('-') || *name == "undelivered" || *name == "backlog"
    });
    let others = alarms
        .lines()
        .filter_map(|line| line.split_once("alarm_name")?.1.split_once("${var.name}-")?.1.strip_suffix('"'));
    let named = queue_alarms.chain(others).map(|name| match name {
        "rule-${each.key}" => "trailkeeper-rule-default".to_owned(),
        name => format!("trailkeeper-{name}"),
    });
    let named = named.filter(|name| !name.contains("${"));
    let alerts = read("observability/prometheus/alerts.yml");
    let alerts = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ").map(str::to_owned));
    let reasons = Reason::ALL.iter().map(|reason| reason.as_str().to_owned()).chain(["none".to_owned()]);
    let checks = Check::ALL.map(|check| check.as_str().to_owned());
    let expected: BTreeSet<String> = named.chain(alerts).chain(reasons).chain(checks).collect();
    assert_eq!(headings, expected);
}

/// Each IAM action that infra/ gives is explained, and no other.
#[test]
fn the_permissions_page_explains_what_infra_gives() {
    let mut given = BTreeSet::new();
    for file in files_in(&root().join("infra/modules"), "tf") {
        given.extend(actions(&read(file), '"'));
    }
    let page = read("docs/permissions.md");
    // infra/ gives those to nobody; tests/docs/run holds them to the runbook.
    let paged = section(&page, "## People who are paged");
    let explained = actions(&page.replace(paged, ""), '`');
    assert!(given.contains("cloudtrail:StartLogging"), "{given:?}");
    assert_eq!(explained, given);
}

/// The files of a folder and of those in it, but for tests of Terraform's.
fn files_in(folder: &Path, end: &str) -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "tests") {
                folders.push(path);
            } else if path.extension().is_some_and(|is| is == end) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// A page from this heading on, to the next of its rank or a higher one.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let start = page.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}")) + 1;
    let body = start + heading.len();
    let rank = heading.split(' ').next().unwrap_or_default().len();
    let ends = (2..=rank).filter_map(|rank| page[body..].find(&format!("\n{} ", "#".repeat(rank))));
    &page[start..ends.min().map_or(page.len(), |end| body + end + 1)]
}

/// Everything in quotes that is an IAM action: `sqs:SendMessage`.
fn actions(text: &str, quote: char) -> BTreeSet<String> {
    // A question that needs no right, and a condition's key.
    let no_actions = ["sts:GetCallerIdentity", "sts:ExternalId"];
    let is_action = |part: &&str| {
        part.split_once(':').is_some_and(|(service, action)| {
            let services = [
                "cloudtrail",
                "dynamodb",
                "ecr",
                "ecs",
                "events",
                "logs",
                "organizations",
                "secretsmanager",
                "sns",
                "sqs",
                "ssm",
                "sts",
                "kms",
            ];
            services.contains(&service)
                && !no_actions.contains(part)
                && action.starts_with(|first: char| first.is_ascii_uppercase())
                && action.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
    };
    text.split(quote).filter(is_action).map(str::to_owned).collect()
}

/// Who looks for a line of the log finds it in the runbook.
#[test]
fn the_runbook_has_every_warning_and_error_of_the_log() {
    let runbook = read("docs/runbook.md");
    let known = section(&runbook, "## Lines in the log");
    let mut found = 0;
    for (file, source) in sources() {
        let is_loud = |called: &str| ["tracing::warn", "tracing::error"].contains(&called);
        for (_, said) in source.macros.iter().filter(|(called, _)| is_loud(called)) {
            let text = source::texts(said).pop().unwrap_or_else(|| panic!("src/{file}: no text in {said}"));
            assert!(known.contains(&format!("`{text}`")), "src/{file}: `{text}` is not in the runbook");
            found += 1;
        }
    }
    assert!(found > 20, "{found}");
}

/// Every way in which work on an event can end, and what people are then shown.
#[expect(clippy::too_many_lines, reason = "a list of all of them")]
fn views() -> Vec<View> {
    let parse = |event: &serde_json::Value| event::parse(&event.to_string()).expect("an event");
    let stopped = stop("e-1", "audit");
    let changed = |field: &str, value: &str| {
        let mut event = stopped.clone();
        event["detail"][field] = json!(value);
        event
    };
    let mut failed_otherwise = changed("eventName", "DeleteTrail");
    failed_otherwise["detail"]["errorCode"] = json!("AccessDenied");
    let stop = parse(&stopped);
    let nowhere =
        event::parse(r#"{"detail":{"eventID":"e-1","eventName":"StopLogging"}}"#).expect("an event");
    let of_call = |(name, service, parameters): (&str, &str, serde_json::Value)| {
        let mut event = changed("eventName", name);
        event["detail"]["eventSource"] = json!(service);
        event["detail"]["requestParameters"] = parameters;
        parse(&event)
    };
    let mut calls: Vec<_> =
        event::CALLS.iter().map(|call| of_call((call.name, call.service, json!(null)))).collect();
    let cloudtrail = event::CALLS[0].service;
    calls.extend(
        [
            ("UpdateTrail", cloudtrail, json!({ "name": "audit", "isMultiRegionTrail": true })),
            ("PutEventSelectors", cloudtrail, json!({ "eventSelectors": [{ "readWriteType": "ReadOnly" }] })),
        ]
        .map(of_call),
    );
    calls.retain(|call| call.kind == Kind::Weakened);
    let failed = [parse(&changed("errorCode", "AccessDenied")), parse(&failed_otherwise)];
    let detail = || "so it is".to_owned();
    let now = clock::now();
    let before_the_stop = stop.time.map(|stop| stop - Duration::from_hours(1));
    let ends = [
        Restoration::Restarted,
        Restoration::AlreadyLogging { since: None, perhaps_ours: false },
        Restoration::AlreadyLogging { since: None, perhaps_ours: true },
        Restoration::Unverified { detail: detail() },
        Restoration::Gone,
        Restoration::LeftOff,
        Restoration::Refused { detail: detail() },
    ];
    let mut ends = ends.map(|outcome| Restored::new(outcome, now)).to_vec();
    let undelivered = DeliveryErrors {
        log_files: Some(detail()),
        digest_files: Some(detail()),
        log_group: Some(detail()),
        notifications: Some(detail()),
    };
    let undelivered = Restored { delivery: undelivered, ..ends[0].clone() };
    let measured = Restored { stopped_at: Some(now - Duration::from_secs(7)), ..ends[0].clone() };
    let sightings =
        [Sighting::NotLookedAt, Sighting::Off { at: now }, Sighting::On { at: now, since: before_the_stop }];
    for (end, before) in [0, ends.len() - 1].into_iter().flat_map(|end| sightings.map(|before| (end, before)))
    {
        ends.push(Restored { before, ..ends[end].clone() });
    }
    ends.extend([undelivered, measured]);
    let stale = Restoration::AlreadyLogging { since: before_the_stop, perhaps_ours: false };
    let looks = [
        Restored::new(stale, now),
        Restored::new(Restoration::LeftOff, now),
        Restored::new(Restoration::Refused { detail: detail() }, now),
    ];
    let found = |outcome: &Restoration, stopped_at| Found {
        trail: "arn:aws:cloudtrail:eu-west-1:111122223333:trail/audit".to_owned(),
        restored: Restored { stopped_at, ..Restored::new(outcome.clone(), now) },
    };
    let off_before = found(&Restoration::LeftOff, None);
    let on = found(&Restoration::AlreadyLogging { since: None, perhaps_ours: false }, None);
    let off = found(&Restoration::LeftOff, stop.time);
    let around = [
        vec![found(&Restoration::Restarted, None), off_before.clone(), on.clone()],
        vec![on],
        vec![off_before],
        vec![off; 4],
        vec![],
    ];
    let (account, region) = (stop.account.as_ref().expect("one"), stop.region.as_ref().expect("one"));
    let time = stop.time.expect("one");
    let mut seen: Vec<_> = ends.iter().map(|end| (&stop, Mode::Restore, Seen::Ended(end))).collect();
    seen.extend(looks.iter().map(|end| (&stop, Mode::Notify, Seen::Ended(end))));
    seen.extend(
        around
            .iter()
            .map(|found| (&stop, Mode::Restore, Seen::Region { account, region, stop: time, found })),
    );
    let unsure = Restoration::AlreadyLogging { since: before_the_stop, perhaps_ours: false };
    let unsure = [found(&unsure, None)];
    seen.push((&stop, Mode::Notify, Seen::Region { account, region, stop: time, found: &unsure }));
    seen.extend(sightings.into_iter().flat_map(|sighting| {
        let gave_up = Seen::GaveUp { sighting, detail: "so it is", attempts: 10 };
        [Seen::Delayed { sighting, detail: "so it is" }, gave_up].map(|seen| (&stop, Mode::Restore, seen))
    }));
    seen.extend([
        (&stop, Mode::Notify, Seen::Nothing),
        (&nowhere, Mode::Restore, Seen::Nothing),
        (&nowhere, Mode::Notify, Seen::Nothing),
        (&failed[0], Mode::Restore, Seen::Nothing),
        (&failed[1], Mode::Restore, Seen::Nothing),
    ]);
    seen.extend(calls.iter().map(|call| (call, Mode::Restore, Seen::Nothing)));
    let policy = Policy::default();
    let view = |(event, mode, seen)| {
        View::new(event, conclude(event, &judge(event, &bounds(mode, &policy)), seen), true)
    };
    let by_policy = |text: &str, seen| {
        let policy = Policy::parse(text).expect("no fault");
        View::new(&stop, conclude(&stop, &judge(&stop, &bounds(Mode::Restore, &policy)), seen), true)
    };
    let mut views: Vec<_> = seen.into_iter().map(view).collect();
    views.push(by_policy("version = 1\n[defaults]\nstopped = \"notify\"", Seen::Ended(&looks[1])));
    views.push(by_policy("version = 1\n[accounts]\nregions = [\"eu-central-1\"]", Seen::Nothing));
    let organization = Policy::parse("version = 1\n[accounts]\nsource = \"organization\"").expect("no fault");
    let own = AccountId::parse("111122223333");
    let by_bounds = |event, members, by_us| {
        let bounds = Bounds { own: own.as_ref(), members, by_us, ..bounds(Mode::Restore, &organization) };
        View::new(event, conclude(event, &judge(event, &bounds), Seen::Nothing), true)
    };
    let mut elsewhere = calls[0].clone();
    elsewhere.account = AccountId::parse("444455556666");
    let stop_elsewhere = event::Event { account: elsewhere.account.clone(), ..stop.clone() };
    let nobody = Members { accounts: HashMap::new(), listed_at: now };
    let listed = Listed::At { members: &nobody, is_late: true };
    views.extend([
        by_bounds(&stop_elsewhere, Listed::Never, ByUs::No),
        by_bounds(&elsewhere, listed, ByUs::No),
        by_bounds(&failed[0], Listed::NotAsked, ByUs::Worker),
        View::of_a_policy(Some(vec!["+ stopped = \"notify\"".to_owned()]), now),
        View::of_a_policy(None, now),
    ]);
    let trail = stop.target().expect("a trail");
    let found = |name: &str| Event::seen(EventId::parse("look:1").expect("an id"), name, &trail, stop.time);
    let (found, gone) = (found("StopLogging"), found("DeleteTrail"));
    let all = [AccountId::parse("111122223333").expect("an account")];
    views.extend([
        view((&found, Mode::Restore, Seen::Ended(&ends[0]))),
        view((&gone, Mode::Restore, Seen::Nothing)),
        view((&stop, Mode::Restore, Seen::Known(&ends[0]))),
        View::of_found_off(&[(trail.clone(), stop.time)], &all, 1, now),
        View::of_undelivered(&[(trail.clone(), "AccessDenied".to_owned())], now),
        View::of_delivered_again(std::slice::from_ref(&trail), now),
        View::of_accounts_unseen(Severity::High, &all, "so it is", now),
        View::of_accounts_seen_again(&all, now),
        View::of_a_broken_queue(1, "so it is", now),
    ]);
    views
}

/// What decides where nobody has a policy.
fn bounds(mode: Mode, policy: &Policy) -> Bounds<'_> {
    Bounds::of(mode, policy, clock::now())
}

/// Likewise for what Slack says.
#[test]
fn the_runbook_has_every_message() {
    let runbook = read("docs/runbook.md");
    let known = section(&runbook, "### What Slack says");
    let (above, table) = known.split_once("| it says |").expect("a table");
    let (table, _) = table.split_once("\n\n").expect("its end");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .skip(2)
        .filter_map(|row| row.split('|').nth(1))
        .map(|cell| cell.split('`').skip(1).step_by(2).collect())
        .collect();
    assert!(rows.len() > 10, "{rows:?}");
    let views = views();
    for phrase in rows.iter().flatten() {
        assert!(views.iter().any(|view| view.text().contains(phrase)), "no message says `{phrase}`");
    }
    for view in &views {
        // What came of it has a row. Whoever did what stands above the table.
        let outcome = view.outcome.join(" ");
        let has_row = rows.iter().any(|row| row.iter().all(|phrase| outcome.contains(phrase)));
        assert!(has_row, "the runbook does not have `{outcome}`");
        let deed = &view.deed;
        assert!(
            inline(above).into_iter().any(|phrase| deed.contains(phrase)),
            "the runbook does not have `{deed}`"
        );
    }
}

/// The table of calls is made from the program's.
#[test]
fn the_page_of_calls_is_the_programs_own() {
    let row = |call: &event::Call| {
        let event =
            json!({ "detail": { "eventID": "e-1", "eventName": call.name, "eventSource": call.service } });
        let event = event::parse(&event.to_string()).expect("an event");
        let severity = match call.effect {
            event::Effect::Stops => "as it ends".to_owned(),
            _ => format!(
                "{:?}",
                conclude(&event, &judge(&event, &bounds(Mode::Restore, &Policy::default())), Seen::Nothing)
                    .severity
            )
            .to_lowercase(),
        };
        let service = call.service.trim_end_matches(".amazonaws.com");
        let sent = match (call.about, call.about.is_everyday()) {
            (About::Bucket | About::Key, _) => "if you name it",
            (_, true) => "",
            (_, false) => "yes",
        };
        let only = call.only.map(|(_, value)| format!(", of `{value}` alone")).unwrap_or_default();
        format!("| {service} | `{}`{only} | {severity} | {} | {sent} |\n", call.name, call.means)
    };
    let rows: String = event::CALLS.iter().map(row).collect();
    let head = "| service | call | severity | what it does | sent by infra/ |\n|---|---|---|---|---|\n";
    made("docs/calls.md", &format!("{head}{rows}"));
}

/// Each has a place in the runbook, and infra/ sends those that it should.
#[test]
fn every_call_is_in_the_runbook_and_in_its_pattern() {
    let (readme, runbook) = (read("README.md"), read("docs/runbook.md"));
    let mut known: BTreeSet<_> = event::CALLS.iter().map(|call| call.name.to_owned()).collect();
    assert!(known.remove("StopLogging"));
    let (_, rows) = runbook.split_once("| call | look at |\n|---|---|\n").expect("a table");
    let rows = rows.lines().take_while(|row| row.starts_with('|')).filter_map(|row| row.split('|').nth(1));
    assert_eq!(rows.flat_map(named).collect::<BTreeSet<_>>(), known);

    let patterns: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(&read("infra/modules/pipeline/event-patterns.json")).expect("JSON");
    let sent = patterns.values().flat_map(|pattern| {
        let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
        let names = pattern["detail"]["eventName"].as_array().expect("a list").iter().map(text);
        names.map(|name| (text(&pattern["detail"]["eventSource"][0]), name)).collect::<Vec<_>>()
    });
    let wanted = event::CALLS
        .iter()
        .filter(|call| !call.about.is_everyday() || matches!(call.about, About::Bucket | About::Key));
    let wanted: BTreeSet<_> = wanted.map(|call| (call.service.to_owned(), call.name.to_owned())).collect();
    assert_eq!(sent.collect::<BTreeSet<_>>(), wanted);

    let attributes = named(paragraph(&readme, "In the dead-letter queue the body is unchanged"));
    let attributes: BTreeSet<_> =
        attributes.into_iter().filter(|name| name.starts_with("trailkeeper.")).collect();
    assert_eq!(attributes, Label::NAMES.map(str::to_owned).into());
}

/// Each row of the table of limits names its constants, and says their values.
#[test]
fn the_table_of_limits_has_the_values_of_the_constants() {
    let architecture = read("ARCHITECTURE.md");
    let (_, rows) =
        architecture.split_once("| limit | value | constant | why |\n|---|---|---|---|\n").expect("a table");
    let sources = sources();
    let mut compared = 0;
    for row in rows.lines().take_while(|row| row.starts_with('|')) {
        let [_, _, value, constants, ..] = row.split('|').map(str::trim).collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        for constant in constants.split('`').skip(1).step_by(2) {
            let (file, name) = constant.rsplit_once("::").expect("a module and a constant");
            let file = format!("{}.rs", file.replace("::", "/"));
            let source = sources.get(&file).unwrap_or_else(|| panic!("{constant}: there is no src/{file}"));
            let expression = source.constants.get(name).unwrap_or_else(|| panic!("there is no {constant}"));
            let is = source::value(expression).unwrap_or_else(|| panic!("{constant} is no plain value"));
            let words = format!(" {} ", value.replace([';', '(', ')'], " ").replace(", ", " "));
            let is_said = is.iter().any(|is| words.contains(&format!(" {is} ")));
            assert!(is_said, "{constant} is {is:?}, and ARCHITECTURE.md says: {value}");
            compared += 1;
        }
    }
    assert!(compared > 30, "{compared}");
}

fn paragraph<'a>(page: &'a str, start: &str) -> &'a str {
    let at = page.find(&format!("\n{start}")).unwrap_or_else(|| panic!("no {start}")) + 1;
    page[at..].split("\n\n").next().unwrap_or_default()
}

/// What stands between backticks.
fn named(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// What `check` prints is what it prints in its own test.
#[test]
fn the_readme_shows_what_check_prints() {
    let printed = read(
        "tests/it/snapshots/it__check__the_command_prints_a_table_or_json_and_ends_with_1_if_anything_failed.snap",
    );
    let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let printed: Vec<_> = printed.lines().map(squeezed).collect();
    let readme = read("README.md");
    let (_, shown) =
        readme.split_once("What `check` prints where one thing is wrong:\n\n```text\n").expect("a block");
    let (shown, _) = shown.split_once("```").expect("its end");
    let mut next = 0;
    for line in shown.lines().filter(|line| *line != "[…]") {
        let found = printed[next..].iter().position(|printed| *printed == squeezed(line));
        next += found.unwrap_or_else(|| panic!("check does not print {line:?}, or earlier")) + 1;
    }
    assert_eq!(next, printed.len(), "the last line is shown");
}

/// No port of the compose stack is reached from another machine, and each is where the README says.
#[test]
fn the_ports_of_the_compose_stack_are_this_machines_own() {
    let (compose, readme) = (read("docker-compose.yml"), read("README.md"));
    let mut lines = compose.lines().map(str::trim).peekable();
    let mut ports = BTreeSet::new();
    while let Some(line) = lines.next() {
        assert!(line == "ports:" || !line.starts_with("ports:"), "{line}: one a line");
        assert!(!line.starts_with("network_mode:"), "{line}");
        while line == "ports:"
            && let Some(port) = lines.next_if(|line| line.starts_with("- "))
        {
            let port = port.trim_start_matches("- ").trim_matches('"');
            let mapped =
                port.strip_prefix("127.0.0.1:").unwrap_or_else(|| panic!("{port} is open to others"));
            let (variable, _) = mapped.rsplit_once(':').expect("a port inside");
            let (variable, default) =
                variable.trim_start_matches("${").trim_end_matches('}').split_once(":-").expect("a default");
            ports.insert((variable.to_owned(), default.to_owned()));
        }
    }
    let rows = readme.lines().filter_map(|line| {
        let (_, row) = line.split_once("<http://127.0.0.1:")?;
        let (port, variable) = row.split_once('>')?;
        Some((variable.trim_matches([' ', '|', '`']).to_owned(), port.to_owned()))
    });
    assert_eq!(rows.collect::<BTreeSet<_>>(), ports);
}

/// The table of variables is made from their rows.
#[test]
fn the_configuration_page_is_the_programs_own() {
    let rows = OF_RUN.map(|row| {
        let (name, meaning) = (row.name(), row.meaning().replace('|', "\\|"));
        let (flag, default, because) = (flag(name), row.default(), row.because());
        format!("| `{name}` `--{flag}` | {meaning} | {default} | {because} |\n")
    });
    let table =
        format!("| variable, and its flag | meaning | default | why |\n|---|---|---|---|\n{}", rows.concat());
    made("docs/configuration.md", &table);
}

/// What a user may already set in vain is named, and nothing else is said to be refused.
#[test]
fn the_configuration_page_names_what_is_not_supported_yet() {
    let page = read("docs/configuration.md");
    let refused: BTreeSet<_> = NOT_YET.iter().map(|(name, _)| (*name).to_owned()).collect();
    let is_variable = |name: &String| name.starts_with("TRAILKEEPER_");
    let listed: BTreeSet<_> = named(section(&page, "## Not yet")).into_iter().filter(is_variable).collect();
    assert_eq!(listed, refused);
}

/// Holds the part of a page between its two marks to `text`, or writes it there.
fn made(page: &str, text: &str) {
    const START: &str = "<!-- Made from the program: UPDATE_DOCS=1 cargo test --test it documents -->\n";
    const END: &str = "<!-- End of what is made. -->";
    let whole = read(page);
    let (before, rest) = whole.split_once(START).expect("the first mark");
    let (old, after) = rest.split_once(END).expect("the second mark");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(root().join(page), format!("{before}{START}{text}{END}{after}")).expect("written");
    } else {
        assert_eq!(
            old, text,
            "{page} is not the program's own: UPDATE_DOCS=1 cargo test --test it documents"
        );
    }
}
