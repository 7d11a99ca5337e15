//! Every variable of the interface, one row each: what it means, what it may be, what it is without, and why. Help, the
//! parser and docs/configuration.md read them from here. [`crate::config`] reads the values, so that every fault is named
//! in one go.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use clap::{Arg, ArgMatches, Command, FromArgMatches};
use secrecy::{ExposeSecret, SecretString};

use crate::policy::Mode;
use crate::telemetry::{LogFormat, MetricsFormat};

/// One variable. Its flag has the same name: `--queue-url` is `TRAILKEEPER_QUEUE_URL`.
#[derive(Debug)]
pub struct Variable<K> {
    pub name: &'static str,
    /// In a sentence without its end.
    pub meaning: &'static str,
    /// What stands for its value in the help.
    pub unit: &'static str,
    pub kind: K,
    /// Why the default is what it is, or why there is none.
    pub because: &'static str,
}

/// A whole number.
#[derive(Debug)]
pub struct Number {
    pub range: RangeInclusive<u64>,
    pub default: u64,
}

/// One of a few words.
#[derive(Debug)]
pub struct Words<T: 'static> {
    pub words: &'static [(&'static str, T)],
    /// What holds without one, in words; the first of the words if it is not said.
    pub otherwise: Option<&'static str>,
}

/// Text that is read by whoever needs it.
#[derive(Debug)]
pub struct Text {
    /// What holds without it, in words.
    pub default: &'static str,
    /// Without it, something else must be set or the command refuses to start; `default` then says so.
    pub has_default: bool,
    /// It is not shown where values of the environment are.
    pub is_secret: bool,
}

/// What stands for a number that has no unit.
const COUNT: &str = "N";

const fn default(default: &'static str) -> Text {
    Text { default, has_default: true, is_secret: false }
}

/// The first is the default.
const fn one_of<T>(words: &'static [(&'static str, T)]) -> Words<T> {
    Words { words, otherwise: None }
}

pub const QUEUE_URL: Variable<Text> = Variable {
    name: "TRAILKEEPER_QUEUE_URL",
    meaning: "The queue that the worker consumes: an https URL",
    unit: "URL",
    kind: Text { default: "required", has_default: false, is_secret: false },
    because: "the worker has nothing to consume without it",
};
pub const DLQ_URL: Variable<Text> = Variable {
    name: "TRAILKEEPER_DLQ_URL",
    meaning: "Where poison goes",
    unit: "URL",
    kind: default("the target of the queue's redrive policy"),
    because: "what SQS itself gives up goes there too, and one queue is enough to watch",
};
pub const MODE: Variable<Words<Mode>> = Variable {
    name: "TRAILKEEPER_MODE",
    meaning: "restore (restart logging and notify), notify (notify only), or dry-run (neither; log the decision)",
    unit: "MODE",
    kind: one_of(&[("restore", Mode::Restore), ("notify", Mode::Notify), ("dry-run", Mode::DryRun)]),
    because: "a stopped trail records nothing until somebody restarts it",
};
pub const POLICY: Variable<Text> = Variable {
    name: "TRAILKEEPER_POLICY",
    meaning: "The policy: a file, read again on SIGHUP",
    unit: "FILE",
    kind: default("none; restart and notify, as far as CloudTrail lets the worker"),
    because: "one account needs none",
};
pub const POLICY_TOML: Variable<Text> = Variable {
    name: "TRAILKEEPER_POLICY_TOML",
    meaning: "The policy's text, instead of a file: ECS puts it there from a parameter or a secret",
    unit: "TOML",
    // No secret, and too long to be shown.
    kind: Text { default: "none", has_default: true, is_secret: true },
    because: "a task has no files of its own",
};
pub const MEMBER_ROLE: Variable<Text> = Variable {
    name: "TRAILKEEPER_MEMBER_ROLE",
    meaning: "The role that is assumed in another account: its name, or an ARN with {account} and {partition}",
    unit: "ROLE",
    kind: default("none; act in the own account only"),
    because: "a role in another account is somebody's decision there",
};
pub const EXTERNAL_ID: Variable<Text> = Variable {
    name: "TRAILKEEPER_EXTERNAL_ID",
    meaning: "The external id that the member role's trust policy asks for",
    unit: "ID",
    // No secret; logs and process lists need not have it.
    kind: Text { default: "none", has_default: true, is_secret: true },
    because: "a trust policy need not ask for one",
};
pub const NAME: Variable<Text> = Variable {
    name: "TRAILKEEPER_NAME",
    meaning: "This deployment: in the names of sessions, in messages and, where it is set, as the dimension deployment of EMF metrics",
    unit: "NAME",
    kind: default(DEPLOYMENT),
    because: "most have one",
};
/// What a deployment is called that has no name.
pub const DEPLOYMENT: &str = "trailkeeper";
pub const SLACK_WEBHOOK_URL: Variable<Text> = Variable {
    name: "TRAILKEEPER_SLACK_WEBHOOK_URL",
    meaning: "Slack's incoming webhook, a secret: better set in the environment",
    unit: "URL",
    kind: Text { default: "required, unless dry-run", has_default: false, is_secret: true },
    because: "a restart that nobody hears of hides who stopped the trail",
};
pub const STATE_TABLE: Variable<Text> = Variable {
    name: "TRAILKEEPER_STATE_TABLE",
    meaning: "The DynamoDB table shared by all workers: partition key pk (string), TTL attribute expires_at",
    unit: "NAME",
    kind: default("none; the state is in memory, right for one worker only"),
    because: "one worker can be tried without a table",
};
pub const STATE_TTL_HOURS: Variable<Number> = Variable {
    name: "TRAILKEEPER_STATE_TTL_HOURS",
    meaning: "How long a finished event is remembered",
    unit: "HOURS",
    kind: Number { range: 1..=8_760, default: 336 },
    because: "14 days, the longest that a dead-letter queue keeps a duplicate",
};
pub const SWEEP_INTERVAL_SECONDS: Variable<Number> = Variable {
    name: "TRAILKEEPER_SWEEP_INTERVAL_SECONDS",
    meaning: "Between two looks at every trail of every account of the policy; 0: no trail is looked at without an event",
    unit: "SECONDS",
    kind: Number { range: 0..=86_400, default: 300 },
    because: "an event that never arrives costs some minutes of recording",
};
pub const CONCURRENCY: Variable<Number> = Variable {
    name: "TRAILKEEPER_CONCURRENCY",
    meaning: "Messages worked on at once",
    unit: COUNT,
    kind: Number { range: 1..=1_000, default: 32 },
    because: "the work is waiting for AWS and Slack, and a quarter of a CPU bears that many",
};
pub const MAX_POLLERS: Variable<Number> = Variable {
    name: "TRAILKEEPER_MAX_POLLERS",
    meaning: "Concurrent long polls at most; one when idle",
    unit: COUNT,
    kind: Number { range: 1..=32, default: 4 },
    because: "four polls of ten messages fill the default concurrency",
};
pub const WAIT_SECONDS: Variable<Number> = Variable {
    name: "TRAILKEEPER_WAIT_SECONDS",
    meaning: "Long poll",
    unit: "SECONDS",
    kind: Number { range: 0..=20, default: 20 },
    because: "SQS's longest: the fewest requests while idle, and messages come no later",
};
pub const VISIBILITY_TIMEOUT_SECONDS: Variable<Number> = Variable {
    name: "TRAILKEEPER_VISIBILITY_TIMEOUT_SECONDS",
    meaning: "Set on every receive and extended while work goes on",
    unit: "SECONDS",
    kind: Number { range: 1..=43_200, default: 40 },
    because: "a message in the hands of a worker that died comes back after it; long enough for a receive that is late, \
              six heartbeats, and a table that answers at the fourth try",
};
pub const MAX_ATTEMPTS: Variable<Number> = Variable {
    name: "TRAILKEEPER_MAX_ATTEMPTS",
    meaning: "Executions before a message is poison",
    unit: COUNT,
    kind: Number { range: 1..=1_000, default: 10 },
    because: "with the waits below, nine minutes at most: outages that last longer need people anyway",
};
pub const RETRY_BASE_SECONDS: Variable<Number> = Variable {
    name: "TRAILKEEPER_RETRY_BASE_SECONDS",
    meaning: "The longest first wait between attempts of one message; it doubles with each, full jitter",
    unit: "SECONDS",
    kind: Number { range: 0..=3_600, default: 1 },
    because: "throttling passes within a second, and the trail is waiting",
};
pub const RETRY_MAX_SECONDS: Variable<Number> = Variable {
    name: "TRAILKEEPER_RETRY_MAX_SECONDS",
    meaning: "The longest wait between attempts of one message",
    unit: "SECONDS",
    kind: Number { range: 0..=36_000, default: 300 },
    because: "an outage of more than some minutes is retried every five",
};
pub const SHUTDOWN_GRACE_SECONDS: Variable<Number> = Variable {
    name: "TRAILKEEPER_SHUTDOWN_GRACE_SECONDS",
    meaning: "From SIGTERM: drain for this long, then give everything back",
    unit: "SECONDS",
    kind: Number { range: 1..=3_600, default: 100 },
    because: "above a long poll, and with room below ECS's longest stopTimeout of 120 s",
};
pub const TASK_PROTECTION: Variable<Words<bool>> = Variable {
    name: "TRAILKEEPER_TASK_PROTECTION",
    meaning: "on: ECS scale-in protection while work is in flight; needs ECS_AGENT_URI, which ECS sets",
    unit: "on|off",
    kind: one_of(&[("off", false), ("on", true)]),
    because: "a drain gives everything back in any case, and there is no agent outside of ECS",
};
pub const METRICS: Variable<Words<MetricsFormat>> = Variable {
    name: "TRAILKEEPER_METRICS",
    meaning: "prometheus (/metrics), emf (CloudWatch embedded metrics on standard output), or off",
    unit: "FORM",
    kind: one_of(&[
        ("prometheus", MetricsFormat::Prometheus),
        ("emf", MetricsFormat::Emf),
        ("off", MetricsFormat::Off),
    ]),
    because: "it costs nothing until somebody scrapes it",
};
pub const LOG: Variable<Text> = Variable {
    name: "TRAILKEEPER_LOG",
    meaning: "A level (error, warn, info, debug, trace), or levels by module: info,trailkeeper::consumer=debug",
    unit: "FILTER",
    kind: default("info"),
    because: "shows one line for each decision",
};
pub const LOG_FORMAT: Variable<Words<LogFormat>> = Variable {
    name: "TRAILKEEPER_LOG_FORMAT",
    meaning: "json or text, on standard error",
    unit: "FORM",
    kind: Words {
        words: &[("json", LogFormat::Json), ("text", LogFormat::Text)],
        otherwise: Some("json unless a terminal"),
    },
    because: "log collectors read JSON, people do not",
};
pub const OTLP_ENDPOINT: Variable<Text> = Variable {
    name: "TRAILKEEPER_OTLP_ENDPOINT",
    meaning: "Where traces go: the base endpoint of a collector that takes OTLP over HTTP, like http://localhost:4318",
    unit: "URL",
    // A token may stand in it.
    kind: Text { default: "nowhere", has_default: true, is_secret: true },
    because: "without a collector, traces would cost and help nobody",
};
pub const HTTP_ADDR: Variable<Text> = Variable {
    name: "TRAILKEEPER_HTTP_ADDR",
    meaning: "Serves /healthz, /readyz and /metrics",
    unit: "ADDRESS:PORT",
    kind: default("0.0.0.0:9090"),
    because: "reached from beside the container; nothing that it serves is a secret",
};

/// What `run` and `check` are configured with, in the order of their help.
pub const OF_RUN: [&dyn Row; 26] = [
    &QUEUE_URL,
    &DLQ_URL,
    &MODE,
    &POLICY,
    &POLICY_TOML,
    &MEMBER_ROLE,
    &EXTERNAL_ID,
    &NAME,
    &SLACK_WEBHOOK_URL,
    &STATE_TABLE,
    &STATE_TTL_HOURS,
    &SWEEP_INTERVAL_SECONDS,
    &CONCURRENCY,
    &MAX_POLLERS,
    &WAIT_SECONDS,
    &VISIBILITY_TIMEOUT_SECONDS,
    &MAX_ATTEMPTS,
    &RETRY_BASE_SECONDS,
    &RETRY_MAX_SECONDS,
    &SHUTDOWN_GRACE_SECONDS,
    &TASK_PROTECTION,
    &METRICS,
    &LOG,
    &LOG_FORMAT,
    &OTLP_ENDPOINT,
    &HTTP_ADDR,
];

/// Variables of the interface that this version does not act on. Whoever sets one expects something of it, so it is an
/// error rather than a surprise. Beside each stands the one value that asks for nothing.
pub const NOT_YET: [(&str, Option<&str>); 14] = [
    ("TRAILKEEPER_SLACK_BOT_TOKEN", None),
    ("TRAILKEEPER_SLACK_CHANNEL", None),
    ("TRAILKEEPER_SLACK_API_URL", None),
    ("TRAILKEEPER_BUS_ARN", None),
    ("TRAILKEEPER_CANARY_INTERVAL_SECONDS", Some("0")),
    ("TRAILKEEPER_EVIDENCE_DAYS", None),
    ("TRAILKEEPER_RUNBOOK_URL", None),
    ("TRAILKEEPER_EVENT_BUS", None),
    ("TRAILKEEPER_SNS_TOPIC_ARN", None),
    ("TRAILKEEPER_SNS_FORMAT", None),
    ("TRAILKEEPER_PAGERDUTY_ROUTING_KEY", None),
    ("TRAILKEEPER_PAGERDUTY_URL", None),
    ("TRAILKEEPER_WEBHOOK_URL", None),
    ("TRAILKEEPER_WEBHOOK_SECRET", None),
];

/// A row, whatever kind of variable it is of.
pub trait Row: Sync {
    fn name(&self) -> &'static str;
    /// With the range, where there is one.
    fn meaning(&self) -> String;
    fn unit(&self) -> &'static str;
    fn default(&self) -> String;
    fn because(&self) -> &'static str;
    fn has_default(&self) -> bool;
    fn is_secret(&self) -> bool;
}

/// A kind of variable, as far as people are told of it.
pub trait Kind {
    fn range(&self) -> Option<&RangeInclusive<u64>> {
        None
    }
    fn default(&self) -> String;
    fn has_default(&self) -> bool {
        true
    }
    fn is_secret(&self) -> bool {
        false
    }
}

impl Kind for Number {
    fn range(&self) -> Option<&RangeInclusive<u64>> {
        Some(&self.range)
    }

    fn default(&self) -> String {
        self.default.to_string()
    }
}

impl<T> Kind for Words<T> {
    fn default(&self) -> String {
        self.otherwise.unwrap_or(self.words[0].0).to_owned()
    }
}

impl Kind for Text {
    fn default(&self) -> String {
        self.default.to_owned()
    }

    fn has_default(&self) -> bool {
        self.has_default
    }

    fn is_secret(&self) -> bool {
        self.is_secret
    }
}

impl<K: Kind + Sync> Row for Variable<K> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn meaning(&self) -> String {
        let Some(range) = self.kind.range() else { return self.meaning.to_owned() };
        let unit =
            if self.unit == COUNT { String::new() } else { format!(" {}", self.unit.to_ascii_lowercase()) };
        format!("{}: {} to {}{unit}", self.meaning, range.start(), range.end())
    }

    fn unit(&self) -> &'static str {
        self.unit
    }

    fn default(&self) -> String {
        self.kind.default()
    }

    fn because(&self) -> &'static str {
        self.because
    }

    fn has_default(&self) -> bool {
        self.kind.has_default()
    }

    fn is_secret(&self) -> bool {
        self.kind.is_secret()
    }
}

/// `--queue-url`, without its hyphens.
#[must_use]
pub fn flag(name: &str) -> String {
    name.trim_start_matches("TRAILKEEPER_").to_ascii_lowercase().replace('_', "-")
}

/// The values of variables, as text: from flags and from the environment. Any of them may be a secret.
#[derive(Debug, Default, Clone)]
pub struct Args(BTreeMap<&'static str, SecretString>);

impl Args {
    /// The value of a variable; an empty one is an absent one, since templates leave such behind.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        let text = self.0.get(name)?.expose_secret().trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The same with its blanks, which count lines.
    #[must_use]
    pub fn whole(&self, name: &str) -> Option<String> {
        let text = self.0.get(name)?.expose_secret();
        (!text.trim().is_empty()).then(|| text.to_owned())
    }

    pub fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.0.insert(name, SecretString::from(value.into()));
    }
}

impl FromIterator<(&'static str, String)> for Args {
    fn from_iter<I: IntoIterator<Item = (&'static str, String)>>(values: I) -> Self {
        let mut args = Self::default();
        values.into_iter().for_each(|(name, value)| args.set(name, value));
        args
    }
}

/// Declares what a command is configured with: these rows, as flags and variables.
macro_rules! takes {
    ($(#[$doc:meta])* $name:ident: $rows:expr) => {
        $(#[$doc])*
        #[derive(Debug, Default, Clone)]
        pub struct $name(pub Args);

        impl clap::Args for $name {
            fn augment_args(command: Command) -> Command {
                with($rows, command)
            }

            fn augment_args_for_update(command: Command) -> Command {
                with($rows, command)
            }
        }

        impl FromArgMatches for $name {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                Ok(Self(values($rows, matches)))
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                self.0 = values($rows, matches);
                Ok(())
            }
        }
    };
}

takes!(
    /// The flags of `run` and `check`.
    RunArgs: &OF_RUN
);
takes!(
    /// The flags of `replay`.
    ReplayArgs: &[&QUEUE_URL, &MODE, &POLICY, &POLICY_TOML]
);
takes!(
    /// The flags of the commands on dead letters.
    DlqArgs: &[&QUEUE_URL, &DLQ_URL]
);
takes!(
    /// The flag of `healthcheck`.
    HttpArgs: &[&HTTP_ADDR]
);

fn with(rows: &[&dyn Row], command: Command) -> Command {
    rows.iter().fold(command, |command, row| {
        let arg = Arg::new(row.name()).long(flag(row.name())).env(row.name()).value_name(row.unit());
        let label = if row.has_default() { "default: " } else { "" };
        let help = format!("{} [{label}{}]", row.meaning(), row.default());
        command.arg(arg.help(help).hide_env_values(row.is_secret()))
    })
}

fn values(rows: &[&dyn Row], matches: &ArgMatches) -> Args {
    let value = |row: &&dyn Row| Some((row.name(), matches.get_one::<String>(row.name())?.clone()));
    rows.iter().filter_map(value).collect()
}

/// Which dead letters.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct WantedArgs {
    /// Only those with this reason: malformed, unsupported, restore-refused, notify-refused,
    /// attempts-exhausted, or none (moved by SQS itself)
    #[arg(long, value_name = "REASON")]
    pub reason: Option<String>,
    /// Only those of the event with this eventID
    #[arg(long, value_name = "ID")]
    pub event: Option<String>,
}

/// Which buckets and keys are those of the trails.
#[derive(Debug, Default, Clone, PartialEq, Eq, clap::Args)]
pub struct ResourceArgs {
    /// A log bucket: calls on other buckets are left out. May be given several times
    #[arg(long = "bucket", value_name = "NAME")]
    pub buckets: Vec<String>,
    /// A key of the logs, by id, ARN or alias, as the calls name it: calls on other keys are left out. May be given several times
    #[arg(long = "key", value_name = "ID")]
    pub keys: Vec<String>,
}
