//! What the pages say is so: their commands are run or belong to what CI runs, their lists are the program's own.
//!
//! `UPDATE_DOCS=1 cargo test --test it documents` writes anew what is made from the program.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use serde_json::json;
use tokio::process::Command;
use trailkeeper::cli;
use trailkeeper::consumer::Reason;
use trailkeeper::operate::finding::Check;

use crate::check::proper;
use crate::dead_letters::bury;
use crate::support::aws::Aws;
use crate::support::events::stop;
use crate::support::eventually;
use crate::support::process::{Process, configured, free_address};
use crate::support::slack::Slack;

/// The other commands in shell blocks: what CI runs them by, or why it does not.
const ELSEWHERE: [(&str, &str); 17] = [
    ("cargo test", "this is one of its tests"),
    ("cargo run --example demo", "just demo"),
    ("cargo build --release", "the image is built by it: just compose-test"),
    ("cargo bench --bench throughput", "by hand, since it takes minutes; clippy sees that it builds"),
    ("cargo test --test it simulation", "part of cargo test"),
    ("TRAILKEEPER_SEEDS=2000 cargo test --test it simulation", "just simulate"),
    ("TRAILKEEPER_SEEDS=5000..9000 cargo test --test it simulation", "by hand: the same with other seeds"),
    ("TRAILKEEPER_SEED=199 cargo test --test it simulation", "by hand: the same with one seed"),
    ("docker compose up --build", "tests/compose"),
    ("docker compose up --build --scale worker=3", "tests/compose"),
    ("docker compose --profile observability down # and nothing is left", "tests/compose"),
    ("docker compose run --rm worker check", "the_commands_work_in_the_image in tests/compose"),
    ("docker compose run --rm worker dlq list", "the_commands_work_in_the_image in tests/compose"),
    ("infra/test/run", "just infra-test"),
    ("infra/test/run target/debug/trailkeeper", "just infra-test"),
    ("just", "lists the recipes"),
    ("aws", "just docs-test; anything that begins with it"),
];

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

/// The lines in a page's shell blocks, without the remarks behind them.
fn commands(page: &str) -> Vec<String> {
    let blocks = page.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n"));
    let lines = blocks.flat_map(str::lines).map(|line| line.split("  #").next().unwrap_or_default());
    lines
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
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
        let lines = commands(&read(page));
        let exported = lines.iter().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
        let exported: BTreeSet<_> = exported.map(|(name, _)| name.to_owned()).collect();
        let ours = |line: &&String| {
            line.starts_with("trailkeeper ") || line.starts_with("target/release/trailkeeper ")
        };
        shown.extend(lines.iter().filter(ours).map(|line| (line.clone(), Some(exported.clone()))));
    }
    assert!(in_help > 15 && shown.len() > in_help + 5, "hardly any commands are found: {shown:#?}");
    let runs = shown.iter().map(|(line, exported)| run(line, exported.as_ref()));
    let failed: Vec<_> = join_all(runs).await.into_iter().flatten().collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// What the pages name in passing exists, too.
#[test]
fn every_command_that_is_named_exists() {
    let (command, recipes) = (cli::command(), read("justfile"));
    for page in pages() {
        let text = read(&page);
        let prose: String = text.split("```").step_by(2).collect();
        for code in prose.split('`').skip(1).step_by(2) {
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
    let worker = Process::start(&aws, &slack, &[]);
    if line.starts_with("trailkeeper healthcheck") {
        eventually("the worker to be ready", async || {
            worker.get("/readyz").await.filter(|(status, _)| *status == 200)
        })
        .await;
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
    command.env("TRAILKEEPER_HTTP_ADDR", &worker.http);
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
fn every_other_command_that_is_shown_is_one_that_ci_runs() {
    let recipes = read("justfile");
    for page in pages() {
        for line in commands(&read(&page)) {
            let ours = line.starts_with("trailkeeper ") || line.starts_with("target/release/trailkeeper ");
            let known = ELSEWHERE.iter().any(|(known, _)| line == *known) || line.starts_with("aws ");
            let recipe = line.strip_prefix("just").map(str::trim);
            let is_recipe = |name: &str| {
                name.is_empty() || recipes.lines().any(|line| line.starts_with(&format!("{name}:")))
            };
            let exported = line.strip_prefix("export ").and_then(|line| line.split_once('='));
            let is_variable = |name: &str| {
                name.starts_with("AWS_") || read("docs/configuration.md").contains(&format!("`{name}`"))
            };
            assert!(
                ours || known
                    || recipe.is_some_and(is_recipe)
                    || exported.is_some_and(|(name, _)| is_variable(name)),
                "{}: nothing runs `{line}`",
                page.display()
            );
        }
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
    let reasons = Reason::ALL.map(|reason| reason.as_str().to_owned()).into_iter().chain(["none".to_owned()]);
    let checks = Check::ALL.map(|check| check.as_str().to_owned());
    let expected: BTreeSet<String> = named.chain(alerts).chain(reasons).chain(checks).collect();
    assert_eq!(headings, expected);
}

/// Each IAM action that infra/ gives is explained, and no other.
#[test]
fn the_permissions_page_explains_what_infra_gives() {
    let mut given = BTreeSet::new();
    let mut folders = vec![root().join("infra/modules")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "tests") {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "tf") {
                given.extend(actions(&std::fs::read_to_string(path).expect("a file"), '"'));
            }
        }
    }
    let explained = actions(&read("docs/permissions.md"), '`');
    assert!(given.contains("cloudtrail:StartLogging"), "{given:?}");
    assert_eq!(explained, given);
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
                "secretsmanager",
                "sns",
                "sqs",
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

/// The table of variables is made from the command line.
#[test]
fn the_configuration_page_is_the_programs_own() {
    let command = cli::command();
    let run = command.find_subcommand("run").expect("run");
    let mut table = "| variable | flag | meaning | default |\n|---|---|---|---|\n".to_owned();
    table.extend(run.get_arguments().filter_map(row));
    made("docs/configuration.md", &table);
}

fn row(arg: &clap::Arg) -> Option<String> {
    let (variable, flag) = (arg.get_env()?.to_string_lossy(), arg.get_long()?);
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let (meaning, default) = match help.split_once(" [default: ") {
        Some((meaning, default)) => (meaning, default.trim_end_matches(']')),
        None => (help.as_str(), if help.contains("Required") { "required" } else { "" }),
    };
    let meaning = meaning.replace('|', "\\|");
    Some(format!("| `{variable}` | `--{flag}` | {meaning} | {default} |\n"))
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
