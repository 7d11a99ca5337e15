//! What the worker costs beside the bare SDK loop, as a Markdown table: `cargo bench --bench throughput`.
//!
//! This process is the AWS and the Slack. What is measured runs in processes of its own against it: the
//! `trailkeeper` program, or this program again with a [`Role`] for its first argument. Figures are printed and
//! never asserted: how fast a machine is, is no fault of the code. docs/benchmarks.md says what each row means.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, Message, QueueAttributeName, SendMessageBatchRequestEntry,
};
use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::time::Instant;
use trailkeeper::args::Args;
use trailkeeper::clock;
use trailkeeper::config::Config;
use trailkeeper::consumer::queue::{DeadLetter, SettleError};
use trailkeeper::consumer::sqs::{SqsClients, SqsQueue};
use trailkeeper::consumer::{
    self, Delivery, Disposition, Handled, Handler, Health, Hold, Queue, ReceiptHandle, Shutdown,
};
use trailkeeper::retry::Failure;
use trailkeeper::{app, event, telemetry};

use aws::{Aws, REGION};
use cloudtrail::Trail;
use organization::{Account, Organization};
use slack::Slack;

#[path = "../tests/it/support/aws.rs"]
mod aws;
#[path = "../tests/it/support/cloudtrail.rs"]
mod cloudtrail;
#[path = "../tests/it/support/events.rs"]
mod events;
#[path = "../tests/it/support/organization.rs"]
mod organization;
#[path = "../tests/it/support/slack.rs"]
mod slack;

/// How much is measured.
struct Sizes {
    /// Messages that wait when a worker starts.
    backlog: usize,
    /// Runs of each worker on a backlog, by turns; the table has their medians.
    rounds: usize,
    /// Messages for the runs in which each request takes [`DISTANCE`]: the bare loop needs two for ten messages.
    afar: usize,
    /// Messages after which memory is looked at. They come in portions of a backlog: the queue of this AWS is a
    /// list, and slow when it is long.
    many: usize,
    /// Intervals between polls of an idle worker.
    idle_polls: usize,
    /// Starts of the program; the table has their median.
    starts: usize,
    /// Events sent one by one.
    events: usize,
    /// Stopped trails that wait when a worker starts, for the whole job, and as many that are stopped one by one. This AWS
    /// copies all that it holds at each change, and a thousand would measure that: a worker whose AWS is busy on the same machine finds cold caches.
    jobs: usize,
    /// Stops of a storm over an organization, and its accounts.
    storm: (usize, usize),
}

/// For figures.
const WHOLE: Sizes = Sizes {
    backlog: 20_000,
    rounds: 5,
    afar: 2_000,
    many: 100_000,
    idle_polls: 5,
    starts: 21,
    events: 200,
    jobs: 200,
    storm: (1_000, 300),
};
/// To see that it works.
const SMALL: Sizes = Sizes {
    backlog: 100,
    rounds: 1,
    afar: 100,
    many: 200,
    idle_polls: 1,
    starts: 1,
    events: 5,
    jobs: 10,
    storm: (20, 6),
};
/// What a request to the real SQS takes, about.
const DISTANCE: Duration = Duration::from_millis(20);
/// The longest pause before such an event, in milliseconds. This AWS looks at its queue every 100 ms during a
/// long poll; a random pause hits every moment between two looks.
const PAUSE_MS: u64 = 200;
/// Workers that a storm meets.
const STORM_WORKERS: [usize; 2] = [1, 3];
/// The state table.
const TABLE: &str = "claims";
/// The longest that anything takes.
const PATIENCE: Duration = Duration::from_mins(10);

/// What a worker asks of SQS again and again.
const WORK: [&str; 3] = ["ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"];

/// What this program is when it measures.
#[derive(Debug, Clone, Copy)]
enum Role {
    /// The bare SDK loop.
    Bare,
    /// This project's consumer, with a handler that only parses.
    Consumer,
    /// The bare SDK loop that does the whole job.
    Job(Claims),
}

/// Where the whole job is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Claims {
    /// In memory; the bare loop claims nothing.
    Memory,
    /// In DynamoDB; the bare loop claims and writes down the end.
    Table,
}

impl Role {
    const OF_BACKLOGS: [Self; 2] = [Self::Bare, Self::Consumer];
    const ALL: [Self; 4] = [Self::Bare, Self::Consumer, Self::Job(Claims::Memory), Self::Job(Claims::Table)];

    fn word(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Consumer => "consumer",
            Self::Job(Claims::Memory) => "job",
            Self::Job(Claims::Table) => "job-with-table",
        }
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let first = args.next().unwrap_or_default();
    if let Some(role) = Role::ALL.into_iter().find(|role| role.word() == first) {
        let count = args.next().and_then(|count| count.parse().ok()).expect("a count");
        let url = std::env::var("TRAILKEEPER_QUEUE_URL").expect("a queue");
        // The runtime of the program itself.
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(work(role, url, count));
    } else {
        // Cargo says whether it benches or tests.
        let sizes = if std::env::args().any(|arg| arg == "--bench") { WHOLE } else { SMALL };
        Runtime::new().expect("a runtime").block_on(measure(sizes));
    }
}

/// Works through `count` messages, says so, and stays until killed: what the process used is read from outside.
async fn work(role: Role, url: String, count: usize) {
    match role {
        Role::Bare => bare(&url, count).await,
        Role::Consumer => consume(url, count).await,
        Role::Job(claims) => jobs(&url, count, claims).await,
    }
    println!("done");
    std::future::pending::<()>().await;
}

/// The least that does the job: receive ten, parse, delete ten.
async fn bare(url: &str, count: usize) {
    let sqs = aws_sdk_sqs::Client::new(&aws_config::load_defaults(BehaviorVersion::latest()).await);
    let mut deleted = 0;
    while deleted < count {
        let request = sqs.receive_message().queue_url(url).max_number_of_messages(10).wait_time_seconds(20);
        let messages = request.send().await.expect("received").messages.unwrap_or_default();
        for message in &messages {
            black_box(event::parse(message.body().unwrap_or_default())).expect("an event");
        }
        let entries: Vec<_> = messages.iter().enumerate().map(entry).collect();
        if entries.is_empty() {
            continue;
        }
        deleted += entries.len();
        sqs.delete_message_batch().queue_url(url).set_entries(Some(entries)).send().await.expect("deleted");
    }
}

/// To delete a message.
fn entry((position, message): (usize, &Message)) -> DeleteMessageBatchRequestEntry {
    let entry = DeleteMessageBatchRequestEntry::builder().id(position.to_string());
    entry.receipt_handle(message.receipt_handle().unwrap_or_default()).build().expect("whole")
}

/// The least that does the whole job: receive ten, see to all of them at once, delete ten.
async fn jobs(url: &str, count: usize, claims: Claims) {
    let sdk = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let job = Job {
        cloudtrail: aws_sdk_cloudtrail::Client::new(&sdk),
        dynamodb: (claims == Claims::Table).then(|| aws_sdk_dynamodb::Client::new(&sdk)),
        http: reqwest::Client::new(),
        webhook: std::env::var("TRAILKEEPER_SLACK_WEBHOOK_URL").expect("a webhook"),
    };
    let sqs = aws_sdk_sqs::Client::new(&sdk);
    let mut deleted = 0;
    while deleted < count {
        let request = sqs.receive_message().queue_url(url).max_number_of_messages(10).wait_time_seconds(20);
        let messages = request.send().await.expect("received").messages.unwrap_or_default();
        if messages.is_empty() {
            continue;
        }
        join_all(messages.iter().map(|message| job.see_to(message.body().unwrap_or_default()))).await;
        deleted += messages.len();
        let entries: Vec<_> = messages.iter().enumerate().map(entry).collect();
        sqs.delete_message_batch().queue_url(url).set_entries(Some(entries)).send().await.expect("deleted");
    }
}

/// What the whole job is done with.
struct Job {
    cloudtrail: aws_sdk_cloudtrail::Client,
    dynamodb: Option<aws_sdk_dynamodb::Client>,
    http: reqwest::Client,
    webhook: String,
}

impl Job {
    async fn see_to(&self, body: &str) {
        let event = event::parse(body).expect("an event");
        let trail = event.resource.as_deref().expect("a trail");
        self.write(event.id.as_str(), "held", Some("attribute_not_exists(pk)")).await;
        let status = || self.cloudtrail.get_trail_status().name(trail).send();
        assert_eq!(status().await.expect("a status").is_logging(), Some(false));
        self.cloudtrail.start_logging().name(trail).send().await.expect("started");
        assert_eq!(status().await.expect("a status").is_logging(), Some(true));
        let text = format!("{} turned off CloudTrail logging: {trail}. It is on again.", event.actor.who);
        let post = self.http.post(&self.webhook).header("content-type", "application/json");
        let answer = post.body(json!({ "text": text }).to_string()).send().await.expect("posted");
        assert!(answer.status().is_success());
        self.write(event.id.as_str(), "done", None).await;
    }

    async fn write(&self, event: &str, status: &str, condition: Option<&str>) {
        let Some(dynamodb) = &self.dynamodb else { return };
        let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
        let request = dynamodb.update_item().table_name(TABLE).key("pk", text(&format!("event#{event}")));
        let request = request.update_expression("SET #status = :status");
        let request = request.expression_attribute_names("#status", "status");
        let request = request.expression_attribute_values(":status", text(status));
        request.set_condition_expression(condition.map(str::to_owned)).send().await.expect("written");
    }
}

/// The consumer as the program configures it by default, metrics included.
async fn consume(url: String, count: usize) {
    let mut args = Args::default();
    args.set("TRAILKEEPER_QUEUE_URL", url.clone());
    args.set("TRAILKEEPER_MODE", "dry-run");
    let config = Config::read(&args, |_| None).expect("a configuration that holds");
    let telemetry = telemetry::init(&config.telemetry).expect("telemetry");
    let metrics = telemetry.metrics;
    let sdk = app::sdk_config().await.expect("AWS");
    let wait = config.queue.wait;
    let sqs = SqsClients::new(&sdk, wait).queue(url.clone(), url, config.pool.visibility);
    let queue = Arc::new(Counting { sqs, left: AtomicUsize::new(count), done: Notify::new() });
    tokio::spawn(async move { metrics.upkeep().await });
    let health = Arc::new(Health::new(wait));
    tokio::spawn(consumer::run(
        Arc::clone(&queue),
        Arc::new(Parsing),
        config.pool,
        health,
        Shutdown::default(),
    ));
    queue.done.notified().await;
}

struct Parsing;

impl Handler for Parsing {
    async fn handle(&self, delivery: &Delivery, _hold: &Hold) -> Handled {
        black_box(event::parse(&delivery.body)).expect("an event");
        ignored()
    }

    fn panicked(&self, _attempts: u32) -> Handled {
        ignored()
    }
}

fn ignored() -> Handled {
    Handled { disposition: Disposition::Delete, outcome: "ignored", failure: None }
}

/// A queue that tells when enough is deleted.
struct Counting {
    sqs: SqsQueue,
    left: AtomicUsize,
    done: Notify,
}

impl Queue for Counting {
    async fn receive(&self, max: usize) -> Result<Vec<Delivery>, Failure> {
        self.sqs.receive(max).await
    }

    async fn delete(&self, receipts: &[ReceiptHandle]) -> Vec<Result<(), SettleError>> {
        let results = self.sqs.delete(receipts).await;
        let deleted = results.iter().filter(|result| result.is_ok()).count();
        if self.left.fetch_sub(deleted, Ordering::Relaxed) == deleted {
            self.done.notify_one();
        }
        results
    }

    async fn hide(&self, entries: &[(ReceiptHandle, Duration)]) -> Vec<Result<(), SettleError>> {
        self.sqs.hide(entries).await
    }

    async fn copy_to_dead_letters(&self, letter: &DeadLetter<'_>) -> Result<(), Failure> {
        self.sqs.copy_to_dead_letters(letter).await
    }
}

/// A process under measurement; it ends with this.
struct Worker(Child);

impl Worker {
    /// This program again, for `count` messages.
    fn role(role: Role, aws: &Aws, count: usize) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg(role.word()).arg(count.to_string()).stdout(Stdio::piped());
        Self::spawn(command, aws)
    }

    /// This program again, for `count` whole jobs.
    fn job(claims: Claims, aws: &Aws, slack: &Slack, count: usize) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg(Role::Job(claims).word()).arg(count.to_string()).stdout(Stdio::piped());
        command.env("TRAILKEEPER_SLACK_WEBHOOK_URL", slack.webhook());
        Self::spawn(command, aws)
    }

    /// The program, restarting trails and telling Slack, as it is configured by default.
    fn program(aws: &Aws, slack: &Slack, claims: Claims) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trailkeeper"));
        // What is measured is what an event takes.
        command.arg("run").args(["--http-addr", "127.0.0.1:0", "--sweep-interval-seconds", "0"]);
        command.env("TRAILKEEPER_SLACK_WEBHOOK_URL", slack.webhook());
        if claims == Claims::Table {
            command.env("TRAILKEEPER_STATE_TABLE", TABLE);
        }
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self::spawn(command, aws)
    }

    /// The program, for an organization.
    fn fleet(aws: &Aws, slack: &Slack) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trailkeeper"));
        // What is measured is what an event takes.
        command.arg("run").args(["--http-addr", "127.0.0.1:0", "--sweep-interval-seconds", "0"]);
        command.env("TRAILKEEPER_SLACK_WEBHOOK_URL", slack.webhook());
        command.env("TRAILKEEPER_POLICY_TOML", "version = 1\n[accounts]\nsource = \"organization\"\n");
        command.env("TRAILKEEPER_MEMBER_ROLE", organization::ROLE);
        command.env("TRAILKEEPER_EXTERNAL_ID", organization::EXTERNAL_ID);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self::spawn(command, aws)
    }

    fn spawn(mut command: Command, aws: &Aws) -> Self {
        command.env("AWS_ENDPOINT_URL", aws.endpoint()).env("AWS_REGION", REGION);
        command.env("AWS_ACCESS_KEY_ID", "benchmark").env("AWS_SECRET_ACCESS_KEY", "benchmark");
        command.env("TRAILKEEPER_QUEUE_URL", aws.queue_url("events"));
        Self(command.kill_on_drop(true).spawn().expect("a process"))
    }

    /// Waits until the role says that it is done.
    async fn done(&mut self) {
        let said = self.0.stdout.as_mut().expect("piped");
        let read = BufReader::new(said).read_line(&mut String::new()).await;
        assert_eq!(read.expect("readable"), "done\n".len(), "the worker ended before it was done");
    }

    fn proc(&self, file: &str) -> String {
        let pid = self.0.id().expect("running");
        std::fs::read_to_string(format!("/proc/{pid}/{file}")).expect("Linux")
    }

    fn cpu_seconds(&self) -> f64 {
        cpu_seconds(&self.proc("stat"))
    }

    /// `VmRSS` or `VmHWM`.
    fn mebibytes(&self, name: &str) -> f64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
        let kibibytes = line.trim_start_matches(':').trim_end_matches("kB").trim();
        kibibytes.parse::<f64>().expect("kB") / 1024.0
    }
}

/// User and system time of a process so far, from its `stat`. The kernel counts in ticks of 10 ms.
fn cpu_seconds(stat: &str) -> f64 {
    // The second field, the name in parentheses, may hold anything; utime and stime are the 14th and 15th.
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.map(|field| field.parse::<f64>().expect("ticks")).sum::<f64>() / 100.0
}

async fn measure(sizes: Sizes) {
    let Sizes { rounds, many, idle_polls, starts, events, .. } = sizes;
    let mut table = Table { sizes, figures: BTreeMap::new() };
    for round in 1..=rounds {
        for role in Role::OF_BACKLOGS {
            eprintln!("round {round} of {rounds}: {}", role.word());
            table.backlog(role).await;
            table.afar(role).await;
        }
        for claims in [Claims::Memory, Claims::Table] {
            eprintln!("round {round} of {rounds}: whole jobs, claims in {claims:?}");
            table.whole_jobs(claims).await;
        }
        eprintln!("round {round} of {rounds}: whole jobs, one by one");
        table.one_by_one().await;
    }
    for role in Role::OF_BACKLOGS {
        eprintln!("{many} messages: {}", role.word());
        table.memory(role).await;
    }
    eprintln!("{many} messages: the program");
    table.memory_of_program().await;
    eprintln!("{idle_polls} idle polls");
    table.idle().await;
    eprintln!("{starts} starts");
    table.start().await;
    for workers in STORM_WORKERS {
        eprintln!("a storm over an organization, {workers} workers");
        table.storm(workers).await;
    }
    eprintln!("{events} events one by one");
    table.latency().await;
    table.print();
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    Cpu,
    Wall,
    AwsCpu,
    WallAfar,
    Peak,
    Requests,
    Resident,
    ResidentProgram,
    PeakProgram,
    Idle,
    FirstPoll,
    Latency50,
    Latency99,
    JobCpu(Claims),
    JobPeak(Claims),
    JobRequests(Claims),
    JobWrites,
    SingleCpu,
    SingleRequests,
    Storm(usize),
    StormThrottled(usize),
    StormPeak,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Column {
    Bare,
    Ours,
}

impl From<Role> for Column {
    fn from(role: Role) -> Self {
        match role {
            Role::Bare | Role::Job(_) => Self::Bare,
            Role::Consumer => Self::Ours,
        }
    }
}

/// Every figure taken.
struct Table {
    sizes: Sizes,
    figures: BTreeMap<(Row, Column), Vec<f64>>,
}

impl Table {
    fn add(&mut self, row: Row, column: impl Into<Column>, figure: f64) {
        self.figures.entry((row, column.into())).or_default().push(figure);
    }

    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 requests")]
    async fn backlog(&mut self, role: Role) {
        let own_cpu = || cpu_seconds(&std::fs::read_to_string("/proc/self/stat").expect("Linux"));
        let aws = Aws::start().await;
        send(&aws, self.sizes.backlog).await;
        let (started_at, cpu_before) = (Instant::now(), own_cpu());
        let mut worker = Worker::role(role, &aws, self.sizes.backlog);
        worker.done().await;
        self.add(Row::Wall, role, started_at.elapsed().as_secs_f64());
        self.add(Row::AwsCpu, role, own_cpu() - cpu_before);
        self.add(Row::Cpu, role, worker.cpu_seconds());
        self.add(Row::Peak, role, worker.mebibytes("VmHWM"));
        self.add(Row::Requests, role, requests(&aws) as f64 / self.sizes.backlog as f64);
    }

    async fn afar(&mut self, role: Role) {
        let aws = Aws::start().await;
        send(&aws, self.sizes.afar).await;
        aws.move_away(DISTANCE);
        let started_at = Instant::now();
        Worker::role(role, &aws, self.sizes.afar).done().await;
        self.add(Row::WallAfar, role, started_at.elapsed().as_secs_f64());
    }

    /// Stopped trails that wait: looked at, started, looked at again and reported, by the bare loop and by the program.
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 requests")]
    async fn whole_jobs(&mut self, claims: Claims) {
        let jobs = self.sizes.jobs;
        let for_each = |requests: usize| requests as f64 / jobs as f64;
        for column in [Column::Bare, Column::Ours] {
            let (aws, slack) = (Aws::start().await, Slack::start().await);
            aws.create_table(TABLE).await;
            let events = stopped_trails(&aws, jobs).await;
            aws.send_many("events", events.into_iter()).await;
            aws.forget();
            let mut worker = match column {
                Column::Bare => Worker::job(claims, &aws, &slack, jobs),
                Column::Ours => Worker::program(&aws, &slack, claims),
            };
            seen(&aws, "ReceiveMessage", 1).await;
            let start = worker.cpu_seconds();
            match column {
                Column::Bare => worker.done().await,
                Column::Ours => until(Duration::from_millis(10), async || aws.depth("events") == 0).await,
            }
            self.add(Row::JobCpu(claims), column, worker.cpu_seconds() - start);
            self.add(Row::JobPeak(claims), column, worker.mebibytes("VmHWM"));
            self.add(Row::JobRequests(claims), column, for_each(aws.all_calls().len()));
            if claims == Claims::Table {
                self.add(Row::JobWrites, column, for_each(aws.calls("UpdateItem").len()));
            }
            // A dead letter leaves the queue too.
            let (started, told) = (aws.calls("StartLogging").len(), slack.posts().await.len());
            assert!(started >= jobs && told >= jobs, "of {jobs} jobs, {started} started and {told} told");
        }
    }

    /// The same with a state table, each trail stopped when the one before it is on: mostly it is one that is stopped.
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 requests")]
    async fn one_by_one(&mut self) {
        let jobs = self.sizes.jobs;
        for column in [Column::Bare, Column::Ours] {
            let (aws, slack) = (Aws::start().await, Slack::start().await);
            aws.create_table(TABLE).await;
            let events = stopped_trails(&aws, jobs).await;
            let worker = match column {
                Column::Bare => Worker::job(Claims::Table, &aws, &slack, usize::MAX),
                Column::Ours => Worker::program(&aws, &slack, Claims::Table),
            };
            seen(&aws, "ReceiveMessage", 1).await;
            let start = worker.cpu_seconds();
            aws.forget();
            for event in events {
                aws.send_many("events", std::iter::once(event)).await;
                until(Duration::from_millis(1), async || aws.depth("events") == 0).await;
            }
            self.add(Row::SingleCpu, column, worker.cpu_seconds() - start);
            let requests = aws.all_calls().len() - aws.calls("SendMessageBatch").len();
            self.add(Row::SingleRequests, column, requests as f64 / jobs as f64);
        }
    }

    /// Stops spread evenly over the accounts of an organization, in one Region: whose quota of starts is one a second in each.
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 starts")]
    async fn storm(&mut self, workers: usize) {
        let (stops, accounts) = self.sizes.storm;
        let (aws, slack) = (Aws::start().await, Slack::start().await);
        let all = (0..accounts).map(|number| Account::new(&events::account(number), "member"));
        let organization = Organization::of(&aws, all);
        let mut stopped = Vec::new();
        for number in 0..stops {
            let (account, name) = (events::account(number % accounts), format!("trail-{number}"));
            let arn = format!("arn:aws:cloudtrail:{REGION}:{account}:trail/{name}");
            organization.add_trail(Trail::at(&arn).stopped(clock::now()));
            stopped.push(events::stop_in(&account, &format!("event-{number}"), &name).to_string());
        }
        aws.move_away(DISTANCE);
        // Without a table: this AWS's is slow once it holds a thousand items, and what is measured is the pace.
        let fleet: Vec<_> = (0..workers).map(|_| Worker::fleet(&aws, &slack)).collect();
        seen(&aws, "ReceiveMessage", workers).await;
        aws.send_many("events", stopped.into_iter()).await;
        let sent_at = Instant::now();
        until(Duration::from_millis(5), async || organization.starts().len() >= stops).await;
        let took = organization.starts().last().map_or(Duration::ZERO, |last| last.duration_since(sent_at));
        self.add(Row::Storm(workers), Column::Ours, took.as_secs_f64());
        self.add(Row::StormThrottled(workers), Column::Ours, organization.throttled() as f64);
        if workers == 1 {
            self.add(Row::StormPeak, Column::Ours, fleet[0].mebibytes("VmHWM"));
        }
    }

    async fn memory(&mut self, role: Role) {
        let aws = Aws::start().await;
        let mut worker = Worker::role(role, &aws, self.sizes.many);
        feed(&aws, &self.sizes).await;
        worker.done().await;
        self.add(Row::Resident, role, worker.mebibytes("VmRSS"));
    }

    /// Each event is claimed and remembered, and has its trail looked at and a post written.
    async fn memory_of_program(&mut self) {
        let (aws, slack) = (Aws::start().await, Slack::start().await);
        aws.stopped_trail("audit", REGION).await;
        let program = Worker::program(&aws, &slack, Claims::Memory);
        feed(&aws, &self.sizes).await;
        self.add(Row::ResidentProgram, Column::Ours, program.mebibytes("VmRSS"));
        self.add(Row::PeakProgram, Column::Ours, program.mebibytes("VmHWM"));
    }

    #[expect(clippy::cast_precision_loss, reason = "a handful of requests")]
    async fn idle(&mut self) {
        let slack = Slack::start().await;
        let (beside_bare, beside_program) = (Aws::start().await, Aws::start().await);
        let _bare = Worker::role(Role::Bare, &beside_bare, usize::MAX);
        let _program = Worker::program(&beside_program, &slack, Claims::Memory);
        let idle_polls = self.sizes.idle_polls;
        let requests_per_minute = async |aws: &Aws| {
            let begun_at = seen(aws, "ReceiveMessage", 1).await;
            let before = requests(aws);
            let ended_at = seen(aws, "ReceiveMessage", 1 + idle_polls).await;
            (requests(aws) - before) as f64 * 60.0 / (ended_at - begun_at).as_secs_f64()
        };
        let (bare, ours) =
            tokio::join!(requests_per_minute(&beside_bare), requests_per_minute(&beside_program));
        self.add(Row::Idle, Column::Bare, bare);
        self.add(Row::Idle, Column::Ours, ours);
    }

    async fn start(&mut self) {
        for _ in 0..self.sizes.starts {
            let (aws, slack) = (Aws::start().await, Slack::start().await);
            let started_at = Instant::now();
            let _program = Worker::program(&aws, &slack, Claims::Memory);
            let polled_at = seen(&aws, "ReceiveMessage", 1).await;
            self.add(Row::FirstPoll, Column::Ours, milliseconds(polled_at - started_at));
        }
    }

    async fn latency(&mut self) {
        let (aws, slack) = (Aws::start().await, Slack::start().await);
        for number in 0..self.sizes.events {
            aws.stopped_trail(&format!("trail-{number}"), REGION).await;
        }
        let program = Worker::program(&aws, &slack, Claims::Memory);
        self.percentiles(Column::Ours, latencies(&aws, "StartLogging", self.sizes.events).await);
        drop(program);
        let aws = Aws::start().await;
        let _bare = Worker::role(Role::Bare, &aws, usize::MAX);
        self.percentiles(Column::Bare, latencies(&aws, "DeleteMessageBatch", self.sizes.events).await);
    }

    fn percentiles(&mut self, column: Column, mut latencies: Vec<f64>) {
        latencies.sort_by(f64::total_cmp);
        self.add(Row::Latency50, column, latencies[latencies.len() / 2]);
        self.add(Row::Latency99, column, latencies[latencies.len() * 99 / 100]);
    }

    fn print(&self) {
        let Sizes { backlog, afar, many, jobs, .. } = self.sizes;
        let distance = DISTANCE.as_millis();
        let (memory, table) = (Claims::Memory, Claims::Table);
        let ((stops, accounts), [one, several]) = (self.sizes.storm, STORM_WORKERS);
        let rows = [
            (Row::Cpu, format!("CPU for {backlog} messages"), 2, "s", "at most 1.3 times"),
            (Row::Wall, format!("Wall time for {backlog} messages"), 2, "s", "at most 1.3 times"),
            (Row::AwsCpu, "CPU of the AWS meanwhile".to_owned(), 2, "s", "–"),
            (Row::WallAfar, format!("Wall time for {afar} messages, {distance} ms away"), 2, "s", "–"),
            (Row::Peak, format!("Peak memory in {backlog} messages"), 1, "MiB", "–"),
            (Row::Requests, "SQS requests for each message".to_owned(), 4, "", "at most 0.22"),
            (Row::Resident, format!("Memory after {many} messages"), 1, "MiB", "at most 24 MiB"),
            (Row::ResidentProgram, format!("The program's after {many} events"), 1, "MiB", "at most 24 MiB"),
            (Row::PeakProgram, "The program's at its peak".to_owned(), 1, "MiB", "–"),
            (Row::Idle, "SQS requests a minute, idle".to_owned(), 2, "", "at most 3.1"),
            (Row::FirstPoll, "The program's start to its first poll".to_owned(), 0, "ms", "–"),
            (Row::Latency50, "Send to effect, median".to_owned(), 0, "ms", "–"),
            (Row::Latency99, "Send to effect, 99th percentile".to_owned(), 0, "ms", "–"),
            (Row::JobCpu(memory), format!("CPU for {jobs} whole jobs"), 2, "s", "–"),
            (Row::JobRequests(memory), "Requests to AWS for each whole job".to_owned(), 2, "", "–"),
            (Row::JobPeak(memory), format!("Peak memory in {jobs} whole jobs"), 1, "MiB", "at most 24 MiB"),
            (Row::JobCpu(table), format!("CPU for {jobs} with a state table"), 2, "s", "–"),
            (Row::JobRequests(table), "Requests to AWS for each with a table".to_owned(), 2, "", "–"),
            (Row::JobWrites, "Those of them to DynamoDB".to_owned(), 2, "", "–"),
            (Row::JobPeak(table), format!("Peak memory in {jobs} with a table"), 1, "MiB", "at most 24 MiB"),
            (Row::SingleCpu, format!("CPU for {jobs} with a table, one by one"), 2, "s", "at most 1.3 times"),
            (Row::SingleRequests, "Requests to AWS for each of those".to_owned(), 2, "", "–"),
            (
                Row::Storm(one),
                format!(
                    "A storm of {stops} stops over {accounts} accounts, {distance} ms away: from the last stop to the last start"
                ),
                1,
                "s",
                "at most 10 s",
            ),
            (Row::StormThrottled(one), "Throttled starts in it".to_owned(), 0, "", "0"),
            (Row::StormPeak, "Peak memory in it".to_owned(), 1, "MiB", "–"),
            (Row::Storm(several), format!("The same with {several} workers"), 1, "s", "at most 13 s"),
            (Row::StormThrottled(several), "Throttled starts in it".to_owned(), 0, "", "–"),
        ];
        println!("| | Bare SDK loop | trailkeeper | Ratio | Target |");
        println!("|---|---:|---:|---:|---|");
        for (row, name, decimals, unit, target) in rows {
            let (bare, ours) = (self.figures(row, Column::Bare), self.figures(row, Column::Ours));
            let ratio = match (median(&bare), median(&ours)) {
                (Some(bare), Some(ours)) => format!("{:.2}", ours / bare),
                _ => "–".to_owned(),
            };
            let (bare, ours) = (cell(&bare, decimals, unit), cell(&ours, decimals, unit));
            println!("| {name} | {bare} | {ours} | {ratio} | {target} |");
        }
    }

    /// In ascending order.
    fn figures(&self, row: Row, column: Column) -> Vec<f64> {
        let mut figures = self.figures.get(&(row, column)).cloned().unwrap_or_default();
        figures.sort_by(f64::total_cmp);
        figures
    }
}

fn median(figures: &[f64]) -> Option<f64> {
    figures.get(figures.len() / 2).copied()
}

/// The median, with the least and the most where there are several figures.
fn cell(figures: &[f64], decimals: usize, unit: &str) -> String {
    let Some(median) = median(figures) else { return "–".to_owned() };
    let space = if unit.is_empty() { "" } else { " " };
    match figures {
        [least, .., most] => {
            format!("{median:.decimals$}{space}{unit} ({least:.decimals$} to {most:.decimals$})")
        }
        _ => format!("{median:.decimals$}{space}{unit}"),
    }
}

/// Sends many events, a backlog at a time, and waits until they are gone.
async fn feed(aws: &Aws, Sizes { many, backlog, .. }: &Sizes) {
    for _ in 0..many / backlog {
        send(aws, *backlog).await;
        until(Duration::from_millis(100), async || waiting(aws).await == 0).await;
    }
}

/// Sends `count` events, ten at a time.
async fn send(aws: &Aws, count: usize) {
    let sqs = aws.sqs();
    let body = events::stop("{id}", "audit").to_string();
    for first in (0..count).step_by(10) {
        let entries = (first..first + 10).map(|number| {
            // As long as CloudTrail's, which are UUIDs: ids are what is remembered.
            let id = format!("{:036x}", fastrand::u128(..));
            let entry = SendMessageBatchRequestEntry::builder().id(number.to_string());
            entry.message_body(body.replace("{id}", &id)).build().expect("whole")
        });
        let request = sqs.send_message_batch().queue_url(aws.queue_url("events"));
        request.set_entries(Some(entries.collect())).send().await.expect("sent");
    }
}

/// Creates trails that are off; the event of each.
async fn stopped_trails(aws: &Aws, count: usize) -> Vec<String> {
    let names: Vec<_> = (0..count).map(|number| format!("trail-{number}")).collect();
    // One client for all: a new one reads the system's certificates.
    let cloudtrail = aws.cloudtrail(REGION);
    for name in &names {
        cloudtrail.create_trail().name(name).s3_bucket_name("logs").send().await.expect("a trail");
        cloudtrail.start_logging().name(name).send().await.expect("started");
        cloudtrail.stop_logging().name(name).send().await.expect("stopped");
    }
    let stop = |(number, name): (usize, &String)| {
        events::stop_of(number, &format!("event-of-{name}"), name).to_string()
    };
    names.iter().enumerate().map(stop).collect()
}

/// Messages in the queue, hidden ones included.
async fn waiting(aws: &Aws) -> u64 {
    let request = aws.sqs().get_queue_attributes().queue_url(aws.queue_url("events"));
    let answer = request.attribute_names(QueueAttributeName::All).send().await.expect("attributes");
    let attributes = answer.attributes.unwrap_or_default();
    let names = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    ];
    names.iter().filter_map(|name| attributes.get(name)?.parse::<u64>().ok()).sum()
}

/// Requests that a worker made to get its work done.
fn requests(aws: &Aws) -> usize {
    WORK.into_iter().map(|operation| aws.calls(operation).len()).sum()
}

/// When the call number `count` of `operation` came, to a millisecond.
async fn seen(aws: &Aws, operation: &str, count: usize) -> Instant {
    until(Duration::from_millis(1), async || aws.calls(operation).len() >= count).await;
    Instant::now()
}

/// From an event's sending to the call of `operation` that follows from it, in milliseconds.
async fn latencies(aws: &Aws, operation: &str, events: usize) -> Vec<f64> {
    let sqs = aws.sqs();
    seen(aws, "ReceiveMessage", 1).await;
    let mut latencies = Vec::new();
    for number in 0..events {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..PAUSE_MS))).await;
        let body =
            events::stop_of(number, &format!("event-{number}"), &format!("trail-{number}")).to_string();
        let sent_at = Instant::now();
        let request = sqs.send_message().queue_url(aws.queue_url("events")).message_body(body);
        request.send().await.expect("sent");
        latencies.push(milliseconds(seen(aws, operation, number + 1).await - sent_at));
    }
    latencies
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

async fn until(pause: Duration, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(pause).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("in time");
}
