//! From flags and variables to a configuration that holds: parsed whole, and every fault named at once.

mod commands;
mod policy;

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;
use tracing_subscriber::filter::{LevelFilter, Targets};
use url::Url;

use crate::args::{self, Args, Number, Text, Variable, Words};
use crate::cloudtrail::role::{self, MAX_DEPLOYMENT_BYTES, MemberRole, RoleTemplate};
use crate::consumer::PoolConfig;
use crate::consumer::redrive::is_same_queue;
use crate::policy::{Mode, Policy};
use crate::retry::RetryPolicy;
use crate::telemetry::TelemetryConfig;

pub use commands::{DlqConfig, ReplayConfig, Wanted};
pub use policy::read_policy;

/// One thing that is wrong with the configuration. Names the variable; holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(String);

impl Fault {
    /// `what` is a whole sentence without its end.
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What a worker needs to know, one part for each concern.
#[derive(Debug, Clone)]
pub struct Config {
    pub respond: Respond,
    pub policy: PolicyConfig,
    /// What is assumed in other accounts; nothing without one.
    pub member_role: Option<MemberRole>,
    pub queue: QueueConfig,
    pub pool: PoolConfig,
    /// Between attempts of one message, and how many there are.
    pub retry: RetryPolicy,
    pub state: StateConfig,
    /// Between two looks at all trails; zero for none.
    pub sweep_interval: Duration,
    /// Whether to ask for scale-in protection while at work.
    pub task_protection: bool,
    /// The ECS agent of the task that this runs in.
    pub ecs_agent: Option<String>,
    /// Where health and metrics are served.
    pub http: SocketAddr,
    pub telemetry: TelemetryConfig,
    /// Of this deployment, where it has one of its own.
    pub name: Option<String>,
}

/// What is done about events. Whoever acts has a channel; a dry run needs none.
#[derive(Debug, Clone)]
pub enum Respond {
    Act {
        mode: Mode,
        /// Slack's incoming webhook.
        webhook: SecretString,
    },
    /// Neither restart nor notify: log what would be done.
    Rehearse,
}

/// What is wanted of the worker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyConfig {
    pub policy: Policy,
    /// Where it can be read again.
    pub file: Option<PathBuf>,
}

/// What somebody needs to know who looks whether a worker would have all that it needs.
#[derive(Debug, Clone)]
pub struct CheckConfig {
    pub mode: Mode,
    /// Whoever looks need not have it.
    pub webhook: Option<SecretString>,
    pub policy: Policy,
    pub member_role: Option<MemberRole>,
    /// In how many of the other accounts the role is tried; in all without it.
    pub sample: Option<usize>,
    pub queue: QueueConfig,
    pub visibility: Duration,
    pub max_attempts: u32,
    pub state: StateConfig,
    /// Whether the worker looks at all trails now and then.
    pub sweeps: bool,
}

/// Where claims live.
#[derive(Debug, Clone)]
pub struct StateConfig {
    /// The table that all workers share; in memory without one.
    pub table: Option<String>,
    /// How long a finished event is remembered.
    pub remember: Duration,
}

/// Where messages come from and go to.
#[derive(Debug, Clone)]
pub struct QueueConfig {
    pub url: String,
    /// The dead-letter queue, if it is not the redrive policy's.
    pub dead_letter_url: Option<String>,
    /// The long poll.
    pub wait: Duration,
}

impl Config {
    /// Reads the whole configuration. `environment` looks up the variables that have no flag.
    ///
    /// # Errors
    /// Every fault there is.
    pub fn read(args: &Args, environment: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::new(args);
        let mode = faults.one_of(&args::MODE);
        let webhook = faults.webhook();
        if webhook.is_none() && mode != Mode::DryRun {
            faults.add(format!(
                "{} is required, unless {} is dry-run",
                args::SLACK_WEBHOOK_URL.name,
                args::MODE.name
            ));
        }
        let respond = match (mode, webhook) {
            (Mode::Restore | Mode::Notify, Some(webhook)) => Respond::Act { mode, webhook },
            (Mode::DryRun, _) | (_, None) => Respond::Rehearse,
        };
        Self::read_rest(respond, faults, environment)
    }

    /// All but what is done about events.
    fn read_rest(
        respond: Respond,
        mut faults: Faults,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<Fault>> {
        let policy = faults.policy();
        let name = faults.name();
        let member_role = faults.member_role(name.as_deref());
        let queue = faults.queue();
        let visibility = faults.seconds(&args::VISIBILITY_TIMEOUT_SECONDS);
        let retry = faults.retry();
        let pool = PoolConfig {
            grace: faults.seconds(&args::SHUTDOWN_GRACE_SECONDS),
            concurrency: faults.count(&args::CONCURRENCY),
            max_pollers: faults.count(&args::MAX_POLLERS),
            visibility,
        };
        let state = faults.state();
        let sweep_interval = faults.seconds(&args::SWEEP_INTERVAL_SECONDS);
        let http = faults.http_address();
        let telemetry = faults.telemetry(name.clone());
        let task_protection = faults.one_of(&args::TASK_PROTECTION);
        let ecs_agent = present(environment("ECS_AGENT_URI"));
        faults.not_yet(environment);
        faults.none(queue.map(|queue| Self {
            respond,
            policy,
            member_role,
            queue,
            pool,
            retry,
            state,
            sweep_interval,
            task_protection,
            ecs_agent,
            http,
            telemetry,
            name,
        }))
    }
}

impl CheckConfig {
    /// Reads the same variables, with the same faults but for the webhook.
    ///
    /// # Errors
    /// Every fault there is.
    pub fn read(args: &Args, environment: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::new(args);
        let mode = faults.one_of(&args::MODE);
        let webhook = faults.webhook();
        let rest = Config::read_rest(Respond::Rehearse, faults, environment)?;
        let Config { policy, member_role, queue, pool, retry, state, sweep_interval, .. } = rest;
        let sweeps = mode != Mode::DryRun && !sweep_interval.is_zero();
        let (visibility, max_attempts) = (pool.visibility, retry.max_attempts);
        let policy = policy.policy;
        Ok(Self {
            mode,
            webhook,
            policy,
            member_role,
            sample: None,
            queue,
            visibility,
            max_attempts,
            state,
            sweeps,
        })
    }
}

/// Where health and metrics are served: the address alone, for the command that needs nothing else.
///
/// # Errors
/// When it is not an address and a port.
pub fn http_address(args: &Args) -> Result<SocketAddr, Fault> {
    let (name, default) = (args::HTTP_ADDR.name, args::HTTP_ADDR.kind.default);
    let text = args.get(name).unwrap_or_else(|| default.to_owned());
    SocketAddr::from_str(&text)
        .map_err(|_| Fault::new(format!("{name} is {text:?}, not an IP address and a port like {default}")))
}

/// Collects faults; each reader puts a default in place of what it could not read.
struct Faults<'a> {
    args: &'a Args,
    found: Vec<Fault>,
}

impl<'a> Faults<'a> {
    fn new(args: &'a Args) -> Self {
        Self { args, found: Vec::new() }
    }

    fn add(&mut self, what: String) {
        self.found.push(Fault(what));
    }

    /// What was read, if nothing is wrong with it: what is not there has a fault.
    fn none<T>(self, read: Option<T>) -> Result<T, Vec<Fault>> {
        match read {
            Some(read) if self.found.is_empty() => Ok(read),
            _ => Err(self.found),
        }
    }

    fn number(&mut self, variable: &Variable<Number>) -> u64 {
        let Number { range, default } = &variable.kind;
        let Some(text) = self.args.get(variable.name) else { return *default };
        match text.parse() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let (name, least, most) = (variable.name, range.start(), range.end());
                self.add(format!("{name} is {text:?}, not a whole number from {least} to {most}"));
                *default
            }
        }
    }

    fn count(&mut self, variable: &Variable<Number>) -> NonZeroUsize {
        usize::try_from(self.number(variable)).ok().and_then(NonZeroUsize::new).unwrap_or(NonZeroUsize::MIN)
    }

    fn seconds(&mut self, variable: &Variable<Number>) -> Duration {
        Duration::from_secs(self.number(variable))
    }

    fn retry(&mut self) -> RetryPolicy {
        let attempts = self.number(&args::MAX_ATTEMPTS);
        let base = self.seconds(&args::RETRY_BASE_SECONDS);
        let max = self.seconds(&args::RETRY_MAX_SECONDS);
        if base > max {
            let (base, max) = (base.as_secs(), max.as_secs());
            let (first, longest) = (args::RETRY_BASE_SECONDS.name, args::RETRY_MAX_SECONDS.name);
            self.add(format!("{first} is {base}, more than {longest}, which is {max}"));
        }
        RetryPolicy { max_attempts: u32::try_from(attempts).unwrap_or(u32::MAX), base, max }
    }

    /// The word's meaning; `None` if there is none.
    fn word<T: Copy>(&mut self, variable: &Variable<Words<T>>) -> Option<T> {
        let text = self.args.get(variable.name)?;
        let words = variable.kind.words;
        let known = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if known.is_none() {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.add(format!("{} is {text:?}, not one of {}", variable.name, words.join(", ")));
        }
        known
    }

    fn one_of<T: Copy>(&mut self, variable: &Variable<Words<T>>) -> T {
        self.word(variable).unwrap_or(variable.kind.words[0].1)
    }

    fn policy(&mut self) -> PolicyConfig {
        let (path, text) = (self.args.get(args::POLICY.name), self.args.whole(args::POLICY_TOML.name));
        let read = match (&path, text) {
            (Some(_), Some(_)) => {
                let (path, text) = (args::POLICY.name, args::POLICY_TOML.name);
                Err(vec![Fault(format!("both {path} and {text} are set: leave out one of them"))])
            }
            (Some(path), None) => read_policy(Path::new(path)),
            (None, Some(text)) => Policy::parse(&text).map_err(|faults| {
                let name = args::POLICY_TOML.name;
                faults.into_iter().map(|fault| Fault(format!("{name}: {fault}"))).collect()
            }),
            (None, None) => Ok(Policy::default()),
        };
        let policy = read.unwrap_or_else(|faults| {
            self.found.extend(faults);
            Policy::default()
        });
        PolicyConfig { policy, file: path.map(PathBuf::from) }
    }

    fn name(&mut self) -> Option<String> {
        let name = self.args.get(args::NAME.name)?;
        if !role::is_name(&name, MAX_DEPLOYMENT_BYTES) {
            let variable = args::NAME.name;
            self.add(format!(
                "{variable} is {name:?}, not 1 to {MAX_DEPLOYMENT_BYTES} letters, digits, or _ + = , . @ -"
            ));
        }
        Some(name)
    }

    fn member_role(&mut self, name: Option<&str>) -> Option<MemberRole> {
        let (role_name, id_name) = (args::MEMBER_ROLE.name, args::EXTERNAL_ID.name);
        let (text, external_id) = (self.args.get(role_name), self.args.get(id_name));
        if external_id.as_deref().is_some_and(|id| !role::is_external_id(id)) {
            self.add(format!(
                "{id_name} is not 2 to 1224 letters, digits, or _ + = , . @ : / - (its value is not shown)"
            ));
        }
        let Some(text) = text else {
            if external_id.is_some() {
                self.add(format!("{id_name} is set and {role_name} is not: name the role that asks for it"));
            }
            return None;
        };
        let template = RoleTemplate::parse(&text);
        if template.is_none() {
            self.add(format!(
                "{role_name} is {text:?}, not a role's name or an ARN like \
                 arn:{{partition}}:iam::{{account}}:role/trailkeeper-member"
            ));
        }
        Some(MemberRole {
            template: template?,
            external_id: external_id.map(SecretString::from),
            session: role::session(name.unwrap_or(args::DEPLOYMENT)),
        })
    }

    fn queue(&mut self) -> Option<QueueConfig> {
        let url = self.queue_url();
        let dead_letter_url = self.dead_letter_url(url.as_deref());
        let wait = self.seconds(&args::WAIT_SECONDS);
        Some(QueueConfig { url: url?, dead_letter_url, wait })
    }

    fn queue_url(&mut self) -> Option<String> {
        if self.args.get(args::QUEUE_URL.name).is_none() {
            self.add(format!("{} is required: the URL of the queue to consume", args::QUEUE_URL.name));
        }
        self.url(&args::QUEUE_URL)
    }

    fn dead_letter_url(&mut self, queue: Option<&str>) -> Option<String> {
        let url = self.url(&args::DLQ_URL);
        if let (Some(url), Some(queue)) = (&url, queue)
            && is_same_queue(url, queue)
        {
            self.add(format!("{} is the queue itself: poison would come back for ever", args::DLQ_URL.name));
        }
        url
    }

    fn url(&mut self, variable: &Variable<Text>) -> Option<String> {
        let text = self.args.get(variable.name)?;
        if is_web_address(&text) {
            return Some(text);
        }
        self.add(format!(
            "{} is {text:?}, not a URL like https://sqs.eu-west-1.amazonaws.com/111122223333/name",
            variable.name
        ));
        None
    }

    fn webhook(&mut self) -> Option<SecretString> {
        let name = args::SLACK_WEBHOOK_URL.name;
        let text = self.args.get(name)?;
        if !is_web_address(&text) {
            // What stands there may be the secret with a slip of the pen: it is not repeated.
            self.add(format!("{name} is not a URL (its value is a secret and not shown)"));
        }
        Some(SecretString::from(text))
    }

    fn state(&mut self) -> StateConfig {
        let hours = self.number(&args::STATE_TTL_HOURS);
        StateConfig {
            table: self.args.get(args::STATE_TABLE.name),
            remember: Duration::from_secs(hours * 3_600),
        }
    }

    fn http_address(&mut self) -> SocketAddr {
        http_address(self.args).unwrap_or_else(|fault| {
            self.found.push(fault);
            SocketAddr::from(([0, 0, 0, 0], 0))
        })
    }

    fn telemetry(&mut self, deployment: Option<String>) -> TelemetryConfig {
        let name = args::LOG.name;
        let text = self.args.get(name).unwrap_or_else(|| args::LOG.kind.default.to_owned());
        let log = log_filter(&text).unwrap_or_else(|| {
            self.add(format!(
                "{name} is {text:?}, not a level (error, warn, info, debug, trace) or a list like \
                 info,trailkeeper::consumer=debug"
            ));
            Targets::new()
        });
        TelemetryConfig {
            log,
            log_format: self.word(&args::LOG_FORMAT),
            metrics: self.one_of(&args::METRICS),
            otlp_endpoint: self.otlp_endpoint(),
            deployment,
        }
    }

    fn otlp_endpoint(&mut self) -> Option<SecretString> {
        let name = args::OTLP_ENDPOINT.name;
        let text = self.args.get(name)?;
        let url = Url::parse(&text).ok().filter(is_web);
        let wrong = match &url {
            None => "is not a URL like http://localhost:4318",
            Some(url) if url.path().trim_end_matches('/').ends_with("/v1/traces") => {
                "ends in /v1/traces, which is appended to it: leave that out"
            }
            Some(url) if !url.username().is_empty() || url.password().is_some() => {
                "holds a user or a password, which are not sent: set OTEL_EXPORTER_OTLP_HEADERS=authorization=…"
            }
            Some(_) => return Some(SecretString::from(text)),
        };
        // A token may stand in it: it is not repeated.
        self.add(format!("{name} {wrong}"));
        None
    }

    fn not_yet(&mut self, environment: impl Fn(&str) -> Option<String>) {
        for (name, harmless) in args::NOT_YET {
            let value = present(environment(name));
            if value.is_some() && value.as_deref() != harmless {
                self.add(format!("{name} is set, and this version does not support it yet: unset it"));
            }
        }
    }
}

/// A variable that is set to nothing is taken as not set: templates leave such behind.
fn present(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// A level for all, and levels for modules of ours. `Targets` itself would take a misspelt level for the name
/// of a module, and then log nothing.
fn log_filter(text: &str) -> Option<Targets> {
    let level = |text: &str| text.trim().parse::<LevelFilter>().ok();
    text.split(',').try_fold(Targets::new(), |targets, part| match part.split_once('=') {
        None => Some(targets.with_default(level(part)?)),
        Some((module, text)) if module.trim().starts_with("trailkeeper") => {
            Some(targets.with_target(module.trim(), level(text)?))
        }
        Some(_) => None,
    })
}

fn is_web_address(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| is_web(&url))
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.has_host()
}
