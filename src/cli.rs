//! Commands, and what becomes of them.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::app::{self, StartError};
use crate::args::{DlqArgs, HttpArgs, ReplayArgs, ResourceArgs, RunArgs, WantedArgs};
use crate::aws::Sdk;
use crate::config::{CheckConfig, Config, DlqConfig, Fault, ReplayConfig, http_address, read_policy};
use crate::consumer::Shutdown;
use crate::event::AccountId;
use crate::http;
use crate::operate::dead_letters::{self, DeadLetters, End, Listed};
use crate::operate::{check, replay, screen, sweep};
use crate::policy;
use crate::telemetry::{self, Telemetry};

/// Keeps AWS CloudTrail switched on: restarts a stopped trail within seconds and reports in Slack who stopped it.
#[derive(Debug, Parser)]
#[command(
    name = "trailkeeper",
    version = env!("TRAILKEEPER_VERSION"),
    propagate_version = true,
    after_long_help = EXIT_STATUS
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_STATUS: &str = "\
Exit status: 0 done; 1 failed while running; 2 the command line or the configuration is wrong.

AWS itself is configured the SDK's way: AWS_REGION, AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_CLOUDTRAIL,
credentials and roles from the environment, a profile, or the task.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Consume the queue until SIGTERM or SIGINT, then drain and exit 0
    #[command(after_long_help = "\
Examples:
  trailkeeper run
  trailkeeper run --mode notify --log debug
  trailkeeper run --mode dry-run --metrics off")]
    Run(RunArgs),
    /// Ask the local worker's /healthz: exit 0 healthy, 1 not. For images without a shell
    #[command(after_long_help = "\
Examples:
  trailkeeper healthcheck")]
    Healthcheck(HttpArgs),
    /// Try every dependency that the configuration names, and print what is missing and what to do; changes nothing
    ///
    /// Takes the variables of run. Run it where the worker runs, and with its role. It starts no trail and posts
    /// nothing. Exit 1 if anything failed; warnings, and what it has no permission to look at, are 0.
    #[command(after_long_help = "\
Examples:
  trailkeeper check
  trailkeeper check --json
  trailkeeper check --accounts 10")]
    Check {
        /// Print JSON, for machines
        #[arg(long)]
        json: bool,
        /// Try the member role in so many of the other accounts, drawn by lot, and not in all
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        accounts: Option<u32>,
        #[command(flatten)]
        args: RunArgs,
    },
    /// Look at every trail of every account of the policy once, and send a look at what differs to the queue
    ///
    /// What differs from what is known of a trail is looked at by a worker, which restarts or reports it. A trail of which nothing is
    /// known yet is left to the worker's own sweep. Takes the variables of run. Exit 1 if an account could not be looked at.
    #[command(after_long_help = "\
Examples:
  trailkeeper sweep --dry-run
  trailkeeper sweep --account 123456789012")]
    Sweep {
        /// Only this account
        #[arg(long, value_name = "ID", value_parser = account_id)]
        account: Option<AccountId>,
        /// Send nothing
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        args: RunArgs,
    },
    /// Send recorded events to the queue, or print what would be done about them
    ///
    /// Reads EventBridge envelopes, CloudTrail records, CloudTrail log files (objects with Records), arrays of
    /// records, what `aws cloudtrail lookup-events` prints as JSON, and notifications of SNS around any of these; one
    /// or several in a file. Reads every file in a folder and below it, and follows no links to other folders. Of a
    /// log file, an array or a lookup it sends only the calls that stop or weaken CloudTrail. Of calls on buckets and
    /// keys it sends only those on the ones that --bucket and --key name. The worker drops an event that it has
    /// handled before, so sending twice does no harm.
    #[command(after_long_help = "\
Examples:
  trailkeeper replay --dry-run stop-logging.json
  trailkeeper replay --dry-run --mode notify stop-logging.json
  trailkeeper replay stop-logging.json 111122223333_CloudTrail_eu-west-1_20261120T0915Z_example.json.gz
  trailkeeper replay --bucket org-trail-logs --key 1234abcd-12ab-34cd-56ef-1234567890ab stop-logging.json
  trailkeeper replay - < stop-logging.json")]
    Replay {
        /// Recorded events, or folders of them; - is standard input. Gzip is recognized
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Send nothing; print for each event what would be done and what Slack would show
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        resources: ResourceArgs,
        #[command(flatten)]
        args: ReplayArgs,
    },
    /// List dead letters, or put them back
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Check a policy, or print the schema of policies
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Print a shell's completions
    #[command(after_long_help = "\
Examples:
  trailkeeper completions bash > trailkeeper.bash
  trailkeeper completions zsh > _trailkeeper")]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page of the program or of a command
    #[command(after_long_help = "\
Examples:
  trailkeeper man > trailkeeper.1
  trailkeeper man dlq redrive > trailkeeper-dlq-redrive.1")]
    Man {
        /// The command
        command: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Print what a policy means, or every fault with its line: exit 2 then
    #[command(after_long_help = "\
Examples:
  trailkeeper policy check policy.toml")]
    Check {
        /// The policy
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Print the JSON Schema of policies, for editors
    #[command(after_long_help = "\
Examples:
  trailkeeper policy schema > policy.schema.json")]
    Schema,
}

#[derive(Debug, Subcommand)]
enum DlqCommand {
    /// Show the dead letters by reason, with age, attempts and event
    ///
    /// Each is hidden for a moment while it is looked at, and then given back.
    #[command(after_long_help = "\
Examples:
  trailkeeper dlq list
  trailkeeper dlq list --reason restore-refused
  trailkeeper dlq list --json")]
    List {
        #[command(flatten)]
        wanted: WantedArgs,
        /// Print JSON, for machines
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        args: DlqArgs,
    },
    /// Put dead letters back in the queue
    ///
    /// Each is sent first and deleted after, its reason and its attempts still on it. When this is interrupted,
    /// nothing is lost; at worst one is there twice, and is dropped where its event is done. Asks before all of
    /// them are put back.
    #[command(after_long_help = "\
Examples:
  trailkeeper dlq redrive --reason notify-refused
  trailkeeper dlq redrive --event 3b8f0a52-0000-4000-8000-000000000001
  trailkeeper dlq redrive --yes")]
    Redrive {
        #[command(flatten)]
        wanted: WantedArgs,
        /// Do not ask before all dead letters are put back
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        args: DlqArgs,
    },
}

/// How a command did not end well.
enum Failed {
    /// The command line or the configuration is wrong.
    Misconfigured(Vec<Fault>),
    /// It failed while running.
    Running(String),
    /// What there was to say has been said.
    Said,
}

impl<E: Display> From<E> for Failed {
    fn from(error: E) -> Self {
        // With the causes, where there are some.
        Self::Running(format!("{error:#}"))
    }
}

/// A command failed while running.
const FAILED: u8 = 1;
/// The command line or the configuration is wrong; also clap's own.
const MISCONFIGURED: u8 = 2;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    telemetry::hide_panics();
    let done = match Cli::parse().command {
        Command::Run(args) => run(&args),
        Command::Healthcheck(args) => healthcheck(&args),
        Command::Check { json, accounts, args } => check(json, accounts, &args),
        Command::Replay { files, dry_run, resources, args } => replay(&files, dry_run, &resources, &args),
        Command::Sweep { account, dry_run, args } => sweep(account.as_ref(), dry_run, &args),
        Command::Dlq(DlqCommand::List { wanted, json, args }) => dlq_list(wanted, json, &args),
        Command::Dlq(DlqCommand::Redrive { wanted, yes, args }) => dlq_redrive(wanted, yes, &args),
        Command::Policy(PolicyCommand::Check { file }) => policy_check(&file),
        Command::Policy(PolicyCommand::Schema) => print(policy::SCHEMA.trim_end()),
        Command::Completions { shell } => completions(shell),
        Command::Man { command } => man(&command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed::Misconfigured(faults)) => {
            faults.iter().for_each(tell);
            ExitCode::from(MISCONFIGURED)
        }
        Err(Failed::Running(error)) => {
            tell(&error);
            ExitCode::from(FAILED)
        }
        Err(Failed::Said) => ExitCode::from(FAILED),
    }
}

fn run(args: &RunArgs) -> Result<(), Failed> {
    let config = Config::read(&args.0, variable).map_err(Failed::Misconfigured)?;
    runtime()?.block_on(async {
        let Telemetry { metrics, traces } = telemetry::init(&config.telemetry)?;
        let shutdown = Shutdown::on_signals()?;
        let ran = match app::sdk_config().await {
            Ok(sdk) => app::run(config, sdk, metrics, shutdown).await,
            Err(error) => Err(error),
        };
        // Also of a start that failed: its calls say why.
        traces.flush().await;
        ran.map_err(start_failed)
    })
}

fn healthcheck(args: &HttpArgs) -> Result<(), Failed> {
    let address = http_address(&args.0).map_err(|fault| Failed::Misconfigured(vec![fault]))?;
    let healthy = runtime()?.block_on(http::ask_health(address))?;
    if healthy { Ok(()) } else { Err(Failed::Said) }
}

fn check(json: bool, accounts: Option<u32>, args: &RunArgs) -> Result<(), Failed> {
    let config = CheckConfig::read(&args.0, variable).map_err(Failed::Misconfigured)?;
    let config = CheckConfig { sample: accounts.and_then(|count| count.try_into().ok()), ..config };
    let findings = runtime()?.block_on(async { Ok::<_, Failed>(check::run(&config, sdk().await?).await) })?;
    print(if json { check::json(&findings)? } else { check::table(&findings) })?;
    if check::all_well(&findings) { Ok(()) } else { Err(Failed::Said) }
}

fn sweep(account: Option<&AccountId>, dry_run: bool, args: &RunArgs) -> Result<(), Failed> {
    let config = CheckConfig::read(&args.0, variable).map_err(Failed::Misconfigured)?;
    let swept = runtime()?
        .block_on(async { Ok::<_, Failed>(sweep::run(&config, sdk().await?, account, dry_run).await?) })?;
    swept.faults.iter().for_each(tell);
    print(&swept)?;
    if swept.faults.is_empty() { Ok(()) } else { Err(Failed::Said) }
}

fn account_id(text: &str) -> Result<AccountId, String> {
    AccountId::parse(text).ok_or_else(|| "an account is twelve digits".to_owned())
}

fn replay(
    files: &[PathBuf],
    dry_run: bool,
    resources: &ResourceArgs,
    args: &ReplayArgs,
) -> Result<(), Failed> {
    let config = ReplayConfig::read(&args.0, dry_run, variable).map_err(Failed::Misconfigured)?;
    let replayed = match &config.queue_url {
        None => replay::preview(&config, files, resources, &mut Output(io::stdout().lock()))?,
        Some(queue_url) => runtime()?.block_on(async {
            Ok::<_, Failed>(replay::send(queue_url, sdk().await?, files, resources).await)
        })?,
    };
    // First what went wrong: whoever reads the rest may be gone.
    replayed.faults.iter().for_each(tell);
    if replayed.more_faults > 0 {
        tell(&format!("and {} more", replayed.more_faults));
    }
    print(&replayed)?;
    if replayed.faults.is_empty() { Ok(()) } else { Err(Failed::Said) }
}

fn dlq_list(wanted: WantedArgs, json: bool, args: &DlqArgs) -> Result<(), Failed> {
    let config = DlqConfig::read(&args.0, wanted, variable).map_err(Failed::Misconfigured)?;
    let Listed { letters, end } = runtime()?.block_on(async {
        let dead_letters = DeadLetters::of(&config, sdk().await?).await?;
        let shutdown = Shutdown::on_signals()?;
        Ok::<_, Failed>(
            unless_given_up(&shutdown, dead_letters.list(&config.wanted, &shutdown.drain)).await??,
        )
    })?;
    end.remark().iter().for_each(tell);
    match (json, end) {
        (true, _) => print(screen::json(&letters)?)?,
        // Not that there are none.
        (false, End::AllHidden(_)) => {}
        (false, _) => print(dead_letters::table(&letters))?,
    }
    if end.is_whole() { Ok(()) } else { Err(Failed::Said) }
}

fn dlq_redrive(wanted: WantedArgs, yes: bool, args: &DlqArgs) -> Result<(), Failed> {
    let config = DlqConfig::read(&args.0, wanted, variable).map_err(Failed::Misconfigured)?;
    let redriven = runtime()?.block_on(async {
        let dead_letters = DeadLetters::of(&config, sdk().await?).await?;
        if config.wanted.is_everything() && !yes && !confirmed(&dead_letters, &config).await? {
            return Ok(None);
        }
        let shutdown = Shutdown::on_signals()?;
        let redriving = dead_letters.redrive(&config.wanted, &shutdown.drain);
        Ok::<_, Failed>(Some(unless_given_up(&shutdown, redriving).await?))
    })?;
    let Some(redriven) = redriven else { return print("nothing was put back") };
    redriven.end.remark().iter().chain(&redriven.faults).for_each(tell);
    print(&redriven)?;
    if redriven.is_whole() { Ok(()) } else { Err(Failed::Said) }
}

/// The first signal ends a command when it may; the second at once.
async fn unless_given_up<T>(shutdown: &Shutdown, doing: impl Future<Output = T>) -> Result<T, Failed> {
    tokio::select! {
        done = doing => Ok(done),
        () = shutdown.give_up.cancelled() => {
            Err(Failed::Running("stopped at once: the dead letters read so far stay hidden for up to five minutes".to_owned()))
        }
    }
}

/// Asks whether really every dead letter is meant.
async fn confirmed(dead_letters: &DeadLetters, config: &DlqConfig) -> Result<bool, Failed> {
    let count = dead_letters.about_how_many().await;
    let count = count.map_or_else(|| "all".to_owned(), |count| format!("all of about {count}"));
    let (from, to) = (dead_letters.url(), &config.queue_url);
    screen::asks(&format!("Put {count} dead letters of {from} back into {to}?"))?.ok_or_else(|| {
        let fault = "dlq redrive without --reason and --event puts every dead letter back, and there is no terminal to \
                     ask on: add --yes if you mean that";
        Failed::Misconfigured(vec![Fault::new(fault)])
    })
}

fn policy_check(file: &Path) -> Result<(), Failed> {
    print(read_policy(file).map_err(Failed::Misconfigured)?)
}

fn completions(shell: Shell) -> Result<(), Failed> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command(), "trailkeeper", &mut text);
    Ok(Output(io::stdout()).write_all(&text)?)
}

fn man(path: &[String]) -> Result<(), Failed> {
    let mut whole = command();
    whole.build();
    let mut page = &whole;
    for name in path {
        page = page.find_subcommand(name).ok_or_else(|| {
            Failed::Misconfigured(vec![Fault::new(format!(
                "there is no command {name:?}: see trailkeeper --help"
            ))])
        })?;
    }
    Ok(clap_mangen::Man::new(page.clone()).render(&mut Output(io::stdout()))?)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

async fn sdk() -> Result<Sdk, Failed> {
    app::sdk_config().await.map_err(start_failed)
}

fn start_failed(error: StartError) -> Failed {
    match error {
        StartError::Misconfigured(faults) => Failed::Misconfigured(faults),
        StartError::Failed(error) => Failed::Running(error),
    }
}

/// The whole command line, for who documents it.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn print(text: impl Display) -> Result<(), Failed> {
    Ok(writeln!(Output(io::stdout()), "{text}")?)
}

/// Standard output, whose reader may be gone, as in `trailkeeper dlq redrive | head`: the command goes on, and ends as if
/// everything had been read.
struct Output<W>(W);

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(bytes.len()),
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0.flush() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            flushed => flushed,
        }
    }
}

/// To standard error, whose reader may be gone too: then there is nobody left to tell.
fn tell(what: &impl Display) {
    let _ = writeln!(io::stderr(), "trailkeeper: {what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }
}
