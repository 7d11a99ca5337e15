//! The composition root: builds the parts, runs them, and drains them. Only this module knows all of them.

use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::args;
use crate::aws;
use crate::cloudtrail::accounts::Accounts;
use crate::cloudtrail::trails::Trails;
use crate::config::{self, Config, Fault, PolicyConfig, Respond};
use crate::consumer::redrive::RedrivePolicy;
use crate::consumer::sqs::{RECEIVE_MARGIN, SqsClients, SqsQueue};
use crate::consumer::{self, Handler, Health, Shutdown};
use crate::http;
use crate::policy::{Mode, Policy};
use crate::protection;
use crate::respond::{HELD_MARGIN, Hands, Membership, Rehearsal, Responder, Sweeping};
use crate::retry::{RetryPolicy, patiently};
use crate::state::{self, Answers, Claims, DynamoStore, Kept, MemoryStore, Records, Store};
use crate::telemetry::Metrics;
use crate::tell::slack::Slack;

/// Stands in the user agent of every call to AWS: whoever reads in CloudTrail that logging was started sees by whom.
const APP_NAME: &str = "trailkeeper";

/// At start: for an SQS that is slow to answer, some ten seconds. After that the platform starts us anew.
const START_RETRY: RetryPolicy =
    RetryPolicy { max_attempts: 6, base: Duration::from_millis(500), max: Duration::from_secs(5) };

/// A state table that does not answer is not waited for: the worker starts without.
const PROBE_RETRIES: usize = 2;

/// After the drain, for what is owed to the state table: below the platform's kill.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// What a worker held that dies is another's after this long at most.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(45);

/// The default visibility timeout is long enough to keep what is being worked on, whatever is as late as it may be, and short enough
/// to take over in time what is not.
const _: () = {
    let visibility = args::VISIBILITY_TIMEOUT_SECONDS.kind.default * 1_000;
    let tick = visibility / 6;
    // A message may have been hidden as soon as it was asked for, and its first beat is a tick after it came.
    let received = args::WAIT_SECONDS.kind.default as u128 * 1_000 + RECEIVE_MARGIN.as_millis();
    assert!(received + (tick as u128) < visibility as u128);
    // A lease is extended when half of it is left, or a tick later, and that may take the table until its last try.
    assert!((visibility / 2 + tick) as u128 + state::LONGEST_WRITE.as_millis() < visibility as u128);
    // From the last beat of a worker that died. The clocks of two workers differ by as much as the margin for that.
    let lease = visibility as u128 + 2 * state::CLOCK_MARGIN.as_millis();
    assert!(lease + HELD_MARGIN.as_millis() <= TAKEN_OVER_WITHIN.as_millis());
};

/// Why a worker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Somebody has to change the configuration.
    #[error("the configuration is wrong")]
    Misconfigured(Vec<Fault>),
    /// Something that the worker needs is not there.
    #[error("{0}")]
    Failed(String),
}

/// Runs a worker until told to shut down, and drains it.
///
/// # Errors
/// When it cannot start; once it has started, it ends well.
pub async fn run(
    config: Config,
    sdk: SdkConfig,
    metrics: Metrics,
    shutdown: Shutdown,
) -> Result<(), StartError> {
    let sdk = aws::named(sdk, APP_NAME);
    let policy = kept(config.policy.clone())?;
    let (mode, webhook) = match &config.respond {
        Respond::Act { mode, webhook } => (*mode, webhook.clone()),
        Respond::Rehearse => {
            let (queue, _) = queue(&config, &sdk).await?;
            // A rehearsal writes nothing, and finds out whether it could.
            if let Some(store) = state_table(&config, &sdk) {
                let _ = claims(store, Duration::ZERO).await?;
            }
            let rehearsal = Arc::new(Rehearsal { policy, retry: config.retry });
            return work(&config, queue, rehearsal, None, metrics, shutdown).await;
        }
    };
    let channel = Slack::new(webhook, config.name.clone())
        .map_err(|error| StartError::Failed(format!("setting up TLS for Slack: {error}")))?;
    let names_accounts = policy.borrow().names_accounts();
    let member_role = config.member_role.clone().filter(|_| names_accounts);
    if config.member_role.is_some() && !names_accounts {
        tracing::warn!(
            "there is no policy that names accounts: the member role is not used, and other accounts are only reported"
        );
    }
    if config.member_role.is_none() && policy.borrow().names_others() {
        tracing::warn!(
            "the policy names other accounts, and TRAILKEEPER_MEMBER_ROLE is not set: their trails are not restarted"
        );
    }
    let discovering = async { Ok(Accounts::discover(&sdk, member_role).await) };
    let ((queue, max_receive_count), accounts) = tokio::try_join!(queue(&config, &sdk), discovering)?;
    let members = Arc::new(Membership::new(max_receive_count));
    let sweeps = !config.sweep_interval.is_zero();
    let records = sweeps.then(|| match &config.state.table {
        Some(table) => Records::in_table(&sdk, table.clone()),
        None => Records::in_memory(),
    });
    let hands =
        Hands { trails: Trails::new(accounts), records, channel: Box::new(channel), retry: config.retry };
    let queue_url = config.queue.url.clone();
    let sweeping = sweeps.then(|| Sweeping {
        every: config.sweep_interval,
        queue: SqsClients::new(&sdk, config.queue.wait).outbox(queue_url),
    });
    let lease = config.pool.visibility;
    if let (Some(store), Some(table)) = (state_table(&config, &sdk), config.state.table.clone()) {
        let claims = claims(store, config.state.remember).await?;
        let responder = Responder::new(mode, policy, members, claims, hands, lease);
        let responder = responder.keeping(Kept::in_table(&sdk, table, worker_name())).sweeping(sweeping);
        return Box::pin(respond(&config, queue, responder, metrics, shutdown)).await;
    }
    tracing::warn!(
        "the state is in memory: run one worker only, since another worker would handle a duplicate again"
    );
    // What is done need not be remembered twice.
    let claims = claims(MemoryStore::new(config.state.remember), Duration::ZERO).await?;
    let responder = Responder::new(mode, policy, members, claims, hands, lease).sweeping(sweeping);
    // It is most of the program's state: not all of it on every stack that polls it.
    Box::pin(respond(&config, queue, responder, metrics, shutdown)).await
}

/// Works on events, and keeps what is done written down beside.
async fn respond<S: Store>(
    config: &Config,
    queue: SqsQueue,
    responder: Responder<S>,
    metrics: Metrics,
    shutdown: Shutdown,
) -> Result<(), StartError> {
    let (claims, responder) = (Arc::clone(&responder.claims), Arc::new(responder));
    let answers = Some(claims.answers());
    let ended = tokio::select! {
        ended = work(config, queue, Arc::clone(&responder), answers, metrics, shutdown) => ended,
        () = claims.keep() => Ok(()),
        () = responder.keep() => Ok(()),
    };
    // What is owed after this is lost with the process.
    let _ = tokio::time::timeout(LAST_WRITES, claims.catch_up()).await;
    let owed = claims.owed_count();
    if owed > 0 {
        tracing::warn!(
            owed,
            "the state table did not take what was done for these events: a copy of one may be reported again"
        );
    }
    ended
}

/// The policy, read again from its file on each SIGHUP. One that is wrong changes nothing.
fn kept(PolicyConfig { policy, file }: PolicyConfig) -> Result<watch::Receiver<Arc<Policy>>, StartError> {
    let (sender, receiver) = watch::channel(Arc::new(policy));
    let listening = |error| StartError::Failed(format!("listening for SIGHUP: {error}"));
    // Also without a file: what is not listened for ends the process.
    let mut hangups = signal(SignalKind::hangup()).map_err(listening)?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = sender.closed() => return,
                hangup = hangups.recv() => if hangup.is_none() { return },
            }
            let Some(file) = &file else {
                tracing::info!("SIGHUP, and no policy file to read again: TRAILKEEPER_POLICY is not set");
                continue;
            };
            // A small file, and nothing waits for it.
            match config::read_policy(file) {
                Ok(policy) => {
                    let is_new = **sender.borrow() != policy;
                    sender.send_replace(Arc::new(policy));
                    tracing::info!(is_new, "read the policy again");
                }
                Err(faults) => {
                    for fault in &faults {
                        tracing::error!(%fault, "the policy is wrong: the one before stays");
                    }
                }
            }
        }
    });
    Ok(receiver)
}

/// Consumes until told to shut down.
async fn work(
    config: &Config,
    queue: SqsQueue,
    handler: Arc<impl Handler>,
    state: Option<Arc<Answers>>,
    metrics: Metrics,
    shutdown: Shutdown,
) -> Result<(), StartError> {
    let health = Arc::new(Health::new(config.queue.wait));
    let serving = http::serve(config.http, Arc::clone(&health), state, metrics.clone())
        .await
        .map_err(|error| StartError::Failed(format!("listening on {}: {error}", config.http)))?;
    let upkeep = tokio::spawn({
        let metrics = metrics.clone();
        async move { metrics.upkeep().await }
    });
    let agent = config.ecs_agent.clone().filter(|_| config.task_protection);
    if config.task_protection && agent.is_none() {
        tracing::warn!("task protection is on, and there is no ECS agent: ECS_AGENT_URI is not set");
    }
    let protecting = agent.map(|agent| tokio::spawn(protection::keep(agent, Arc::clone(&health))));
    let mode = match &config.respond {
        Respond::Act { mode, .. } => *mode,
        Respond::Rehearse => Mode::DryRun,
    };
    tracing::info!(version = env!("TRAILKEEPER_VERSION"), ?mode, "started");
    let given_back = consumer::run(Arc::new(queue), handler, config.pool, health, shutdown).await;
    tracing::info!(given_back, "drained");
    upkeep.abort();
    if let Some(protecting) = protecting {
        protecting.abort();
    }
    serving.abort();
    metrics.flush();
    Ok(())
}

/// A name that no other worker has, and this one has only until it ends.
fn worker_name() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// The state table that is named, if one is.
fn state_table(config: &Config, sdk: &SdkConfig) -> Option<DynamoStore> {
    let table = config.state.table.clone()?;
    Some(DynamoStore::new(sdk, table, worker_name(), config.state.remember))
}

/// Claims in a store, and in memory for so long. A store that is wrong is better found out now. One that does not answer is no reason
/// not to start: events are then worked on without it.
async fn claims<S: Store>(store: S, remember: Duration) -> Result<Arc<Claims<S>>, StartError> {
    let claims = Arc::new(Claims::new(store, MemoryStore::new(remember)));
    match patiently(START_RETRY.waits().take(PROBE_RETRIES), || claims.probe()).await {
        Ok(()) => {}
        Err(failure) if failure.is_transient() => {
            tracing::warn!(%failure, "starting without the state table, which did not answer: events may be handled twice");
        }
        Err(failure) => return Err(StartError::Misconfigured(vec![Fault::new(failure.to_string())])),
    }
    Ok(claims)
}

/// AWS as it is configured around the process: environment, profile, or task.
///
/// # Errors
/// When nothing names a region.
pub async fn sdk_config() -> Result<SdkConfig, StartError> {
    let sdk = aws_config::defaults(BehaviorVersion::latest()).http_client(aws::http_client()).load().await;
    if sdk.region().is_none() {
        let fault =
            Fault::new("AWS_REGION is not set, and neither a profile nor the instance names a region");
        return Err(StartError::Misconfigured(vec![fault]));
    }
    Ok(sdk)
}

/// The queue, and after how many receives it gives a message up, once that is known.
async fn queue(
    config: &Config,
    sdk: &SdkConfig,
) -> Result<(SqsQueue, watch::Receiver<Option<u32>>), StartError> {
    let clients = SqsClients::new(sdk, config.queue.wait);
    let url = config.queue.url.clone();
    let max_attempts = config.retry.max_attempts;
    let (known, max_receive_count) = watch::channel(None);
    let dead_letter_url = if let Some(named) = config.queue.dead_letter_url.clone() {
        // Nothing waits for it, and where it cannot be read nothing is known.
        let (clients, url) = (clients.clone(), url.clone());
        tokio::spawn(async move {
            if let Ok(Some(policy)) = clients.redrive_policy(&url).await {
                warn_of_few_receives(&policy, max_attempts);
                known.send_replace(Some(policy.max_receive_count));
            }
        });
        named
    } else {
        let policy = patiently(START_RETRY.waits(), || clients.redrive_policy(&url)).await;
        let policy = policy.map_err(|failure| StartError::Failed(format!("{url}: {failure}")))?;
        if let Some(policy) = &policy {
            warn_of_few_receives(policy, max_attempts);
            known.send_replace(Some(policy.max_receive_count));
        }
        policy.and_then(|policy| policy.dead_letter_url(&url)).ok_or_else(|| {
            StartError::Misconfigured(vec![Fault::new(format!(
                "{} is not set, and the queue has no redrive policy that names a dead-letter queue: \
                 set one of the two, or poison would have nowhere to go",
                args::DLQ_URL.name
            ))])
        })?
    };
    Ok((clients.queue(url, dead_letter_url, config.pool.visibility), max_receive_count))
}

/// SQS gives up a message that is received too often, and says nothing of why: below the attempts, before the worker does.
fn warn_of_few_receives(policy: &RedrivePolicy, max_attempts: u32) {
    let max_receive_count = policy.max_receive_count;
    if max_receive_count < max_attempts {
        tracing::warn!(
            max_receive_count,
            max_attempts,
            "the queue's maxReceiveCount is below the attempts: SQS gives up stopped trails before the worker does"
        );
    }
}
