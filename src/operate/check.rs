//! Tries everything that the configuration names, and changes nothing.

use indicatif::ProgressBar;
use serde_json::json;

use super::finding::{Check, Finding, Status};
use super::judge::{self, Attributes};
use super::patience::{TRIES, failure, todo};
use super::{identity, members, queue_policy, screen};
use crate::aws::{self, Sdk};
use crate::cloudtrail::accounts::{Accounts, Own};
use crate::cloudtrail::trails::{Asked, Trails, another_region};
use crate::cloudtrail::{Meaning, Refusal};
use crate::config::CheckConfig;
use crate::consumer::redrive::RedrivePolicy;
use crate::consumer::sqs::SqsClients;
use crate::event::{AccountId, Region, TrailArn};
use crate::policy::Mode;
use crate::retry::{Failure, patiently};
use crate::state::{DynamoStore, RecordKey, Records, Store, SweepRecord, Table, Unseen};
use crate::tell::ShowError;
use crate::tell::slack::{Slack, Webhook};
use crate::text::harmless;

/// Stands in the user agent of the calls.
const APP_NAME: &str = "trailkeeper-check";
/// The longest text of what was found shown in the table, in characters: why there are no credentials is the longest.
const MAX_FOUND_CHARS: usize = 1_000;

/// Makes every check, one after the other, and returns what was found in that order.
pub async fn run(config: &CheckConfig, sdk: Sdk) -> Vec<Finding> {
    let mut checks = Checks {
        config,
        sdk: aws::named(sdk, APP_NAME),
        own: None,
        progress: screen::spinner(),
        findings: Vec::new(),
    };
    // Without credentials every other call to AWS fails of that.
    if checks.identity().await {
        checks.queues().await;
        checks.state_table().await;
        checks.accounts().await;
    }
    checks.slack().await;
    checks.progress.finish_and_clear();
    checks.findings
}

/// Whether nothing failed.
#[must_use]
pub fn all_well(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.status != Status::Failed)
}

/// The findings for people.
#[must_use]
pub fn table(findings: &[Finding]) -> String {
    let mut table = screen::table(&["", "check", "found, and what to do"]);
    for finding in findings {
        let subject = finding.subject.iter().map(|subject| format!("{subject}: "));
        let todo = finding.todo.iter().map(|todo| format!("\n→ {todo}"));
        // AWS's own words are among it.
        let found = harmless(&finding.found, MAX_FOUND_CHARS);
        let text: String = subject.chain([found]).chain(todo).collect();
        table.add_row([finding.status.as_str(), finding.check.as_str(), &text]);
    }
    let count = |status| findings.iter().filter(|finding| finding.status == status).count();
    let (failed, warnings, unknown) = (count(Status::Failed), count(Status::Warning), count(Status::Unknown));
    let good = findings.len() - failed - warnings - unknown;
    format!("{}\n{good} ok, {warnings} warnings, {unknown} unknown, {failed} failed", table.trim_fmt())
}

/// The findings for machines.
///
/// # Errors
/// None that can happen.
pub fn json(findings: &[Finding]) -> serde_json::Result<String> {
    screen::json(&json!({ "ok": all_well(findings), "checks": findings }))
}

struct Checks<'a> {
    config: &'a CheckConfig,
    sdk: Sdk,
    /// Who asks, once STS has said it.
    own: Option<Own>,
    progress: ProgressBar,
    findings: Vec<Finding>,
}

impl Checks<'_> {
    fn found(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    fn looks_at(&self, what: &str) {
        self.progress.set_message(format!("looks at {what}"));
    }

    /// Whether there are credentials.
    async fn identity(&mut self) -> bool {
        self.looks_at("the credentials");
        let identity::Answer { who, offset } = match identity::ask(&self.sdk).await {
            Ok(answer) => answer,
            Err(error) => {
                let found = format!("there are no credentials, so AWS was not asked anything: {error}");
                let todo = "look at the role, the profile or the variables that they come from";
                self.found(Finding::failed(Check::Credentials, found, todo));
                return false;
            }
        };
        self.own = who.as_ref().ok().and_then(|who| {
            AccountId::parse(&who.account).map(|account| Own { account, arn: who.arn.clone() })
        });
        self.found(match who {
            Ok(who) => Finding::ok(Check::Credentials, format!("{} in account {}", who.arn, who.account)),
            Err(failure) => {
                let todo = todo(
                    &failure,
                    "look at the role, the profile or the variables that the credentials come from",
                );
                // A worker starts without this answer.
                let status = if failure.is_transient() { Status::Unknown } else { Status::Failed };
                let found = format!("AWS did not say whose credentials these are: {failure}");
                Finding::new(Check::Credentials, status, found, todo)
            }
        });
        self.found(match offset {
            Some(offset) => judge::clock(offset),
            None => Finding::new(
                Check::Clock,
                Status::Unknown,
                "AWS did not say what time it is",
                "see why STS does not answer",
            ),
        });
        true
    }

    async fn queues(&mut self) {
        self.looks_at("the queue");
        let clients = SqsClients::new(&self.sdk, self.config.queue.wait);
        let url = self.config.queue.url.clone();
        let queue = match attributes(&clients, &url).await {
            Ok(queue) => queue,
            Err(failure) => {
                let todo = todo(
                    &failure,
                    "check TRAILKEEPER_QUEUE_URL, and allow sqs:GetQueueAttributes on the queue",
                );
                self.found(Finding::failed(Check::Queue, format!("{url}: {failure}"), todo));
                if let Some(named) = self.config.queue.dead_letter_url.clone() {
                    self.dead_letters(&clients, named, None).await;
                }
                return;
            }
        };
        let fine = || Finding::ok(Check::Queue, format!("{url} (receiving and deleting are not tried)"));
        self.found(judge::fifo(&queue, &url).unwrap_or_else(fine));
        let named = self.config.queue.dead_letter_url.as_deref();
        let redrive = judge::redrive(&queue, &url, named, self.config.max_attempts);
        self.found(redrive);
        self.found(judge::visibility(&queue, self.config.visibility));
        self.found(queue_policy::judge(&queue));
        let target = queue.get("RedrivePolicy").and_then(|policy| RedrivePolicy::parse(policy));
        let target = target.and_then(|policy| policy.dead_letter_url(&url));
        let Some(dead_letters) = self.config.queue.dead_letter_url.clone().or(target) else {
            let todo = "set TRAILKEEPER_DLQ_URL, or give the queue a redrive policy";
            return self.found(Finding::failed(Check::DeadLetters, "there is no dead-letter queue", todo));
        };
        self.dead_letters(&clients, dead_letters, Some(&queue)).await;
    }

    /// `queue` is what is known of the queue, if anything is.
    async fn dead_letters(&mut self, clients: &SqsClients, url: String, queue: Option<&Attributes>) {
        self.looks_at("the dead-letter queue");
        match attributes(clients, &url).await {
            Ok(dead_letters) => {
                self.found(Finding::ok(Check::DeadLetters, format!("{url} (sending is not tried)")));
                if let Some(queue) = queue {
                    self.found(judge::retention(queue, &dead_letters));
                }
            }
            // The right to send there is what the worker needs, and it cannot be tried without sending.
            Err(Failure::Denied { detail }) => {
                let todo = "allow sqs:GetQueueAttributes on the dead-letter queue to see it";
                let found = format!("{url}: {detail}");
                self.found(Finding::new(Check::DeadLetters, Status::Unknown, found, todo));
            }
            Err(failure) => {
                let todo = todo(&failure, "create it, or name another");
                self.found(Finding::failed(Check::DeadLetters, format!("{url}: {failure}"), todo));
            }
        }
    }

    async fn state_table(&mut self) {
        let Some(name) = self.config.state.table.clone() else {
            let todo = "set TRAILKEEPER_STATE_TABLE before there is more than one worker";
            let found = "the state is in memory: right for one worker only";
            self.found(Finding::new(Check::StateTable, Status::Warning, found, todo));
            return;
        };
        self.looks_at("the state table");
        let table = Table::new(&self.sdk, name.clone());
        match table.has_our_key().await {
            Err(Unseen::Missing) => {
                let found = format!("there is no table {name} in this account and region");
                let todo = "create it, or correct TRAILKEEPER_STATE_TABLE";
                return self.found(Finding::failed(Check::StateTable, found, todo));
            }
            Ok(false) => {
                let found = format!("the key of {name} is not a partition key `pk` of type string alone");
                let todo = "create another table with that key: a table's key cannot be changed";
                return self.found(Finding::failed(Check::StateTable, found, todo));
            }
            // A worker need not be allowed to describe the table; the write that follows tells the same.
            Ok(true) | Err(Unseen::MayNotLook | Unseen::Failed(_)) => {}
        }
        let store =
            DynamoStore::new(&self.sdk, name.clone(), APP_NAME.to_owned(), self.config.state.remember);
        self.found(match patiently(TRIES.waits(), || store.probe()).await {
            Ok(()) => Finding::ok(Check::StateTable, name),
            Err(failure) => Finding::failed(
                Check::StateTable,
                failure.to_string(),
                todo(
                    &failure,
                    "fix it before the next worker starts: a worker does not start with this table",
                ),
            ),
        });
        self.found(ttl(table.ttl_attribute().await));
    }

    async fn accounts(&mut self) {
        self.looks_at("the trails");
        let Some(region) = self.sdk.region().and_then(|region| Region::parse(region.as_ref())) else {
            let todo = "set AWS_REGION to the worker's";
            return self.found(Finding::failed(Check::Trails, "AWS_REGION is no region's name", todo));
        };
        let accounts = Accounts::of(&self.sdk, self.own.clone(), self.config.member_role.clone());
        let trails = Trails::new(accounts);
        self.trails(&trails, region.clone()).await;
        if self.config.sweeps {
            self.sweep(&trails, &region).await;
        }
        let others = members::check(self.config, &trails, &region, &self.progress).await;
        self.findings.extend(others);
    }

    async fn trails(&mut self, trails: &Trails, region: Region) {
        let all = match patiently(TRIES.waits(), || async {
            trails.all(None, &region).await.map_err(failure)
        })
        .await
        {
            Ok(all) if all.is_empty() => {
                let found = format!("there is no trail in {region}, or none that these credentials see");
                let todo = "create one: without a trail there is nothing to keep on, and EventBridge gets no events of calls";
                return self.found(Finding::failed(Check::Trails, found, todo));
            }
            Ok(all) => all,
            Err(failure) => {
                let todo = todo(&failure, "allow cloudtrail:DescribeTrails");
                return self.found(Finding::new(Check::Trails, self.blind(), failure.to_string(), todo));
            }
        };
        self.found(Finding::ok(Check::Trails, format!("{} in {region}", all.len())));
        for (trail, _) in all {
            let is_own = self.own.as_ref().is_none_or(|own| own.account == *trail.account());
            if is_own || trails.accounts().has_member_role() {
                self.trail(trails, &trail, &region).await;
            } else {
                let account = trail.account();
                let found = format!(
                    "it belongs to account {account}: it can be restarted there, and from here only if this account is a delegated \
                     administrator of CloudTrail"
                );
                let todo = "make sure that a worker runs in one of the two";
                self.found(Finding::new(Check::TrailHomeRegion, Status::Warning, found, todo).about(&trail));
            }
        }
    }

    /// What the sweep needs beside: without it a stop whose event never arrives stays unnoticed.
    async fn sweep(&mut self, trails: &Trails, region: &Region) {
        let Some(own) = self.own.as_ref().map(|own| own.account.clone()) else { return };
        let listed =
            patiently(TRIES.waits(), || async { trails.of_account(&own).await.map_err(failure) }).await;
        let listed = match listed {
            Ok(listed) => listed.len(),
            Err(failure) => {
                let todo = todo(&failure, "allow cloudtrail:ListTrails, here and in the member role");
                return self.found(Finding::failed(Check::Sweep, failure.to_string(), todo));
            }
        };
        // What fails for now is the event history's own trouble, and it is asked again when it is needed.
        if let Err(refusal) = trails.may_read_history(&own, region).await
            && !refusal.may_pass()
        {
            let found = format!("who made a stop of which no event told cannot be looked up: {refusal}");
            let todo = "allow cloudtrail:LookupEvents, here and in the member role";
            return self.found(Finding::new(Check::Sweep, Status::Warning, found, todo));
        }
        let is_there = |finding: &Finding| finding.check == Check::StateTable && finding.status == Status::Ok;
        if let Some(table) = self.config.state.table.clone().filter(|_| self.findings.iter().any(is_there)) {
            let records = Records::in_table(&self.sdk, table);
            if let Err(error) = records.read::<SweepRecord>(&RecordKey::Sweep).await {
                let todo = "allow dynamodb:BatchGetItem on the state table";
                return self.found(Finding::failed(Check::Sweep, error.to_string(), todo));
            }
        }
        self.found(Finding::ok(
            Check::Sweep,
            format!("it sees {listed} trails of this account, in all Regions"),
        ));
    }

    async fn trail(&mut self, trails: &Trails, trail: &TrailArn, here: &Region) {
        self.looks_at(trail.name());
        let status = patiently(TRIES.waits(), || async {
            trails.status(trail, trail.region()).await.map_err(failure)
        })
        .await;
        let sees = status.is_ok();
        match status {
            Ok(status) => {
                let selectors = patiently(TRIES.waits(), || async {
                    trails.may_see_selectors(trail).await.map_err(failure)
                });
                let finding = match selectors.await {
                    Ok(()) => Finding::ok(Check::TrailStatusRight, "GetTrailStatus is allowed"),
                    Err(failure) => {
                        let found = format!("whether it covers for another trail cannot be told: {failure}");
                        let todo = todo(
                            &failure,
                            "allow cloudtrail:GetEventSelectors on this trail to the worker's role",
                        );
                        Finding::new(Check::TrailStatusRight, Status::Warning, found, todo)
                    }
                };
                self.found(finding.about(trail));
                self.found(logging(status.logging, status.delivery.log_files).about(trail));
            }
            Err(failure) => {
                let todo =
                    todo(&failure, "allow cloudtrail:GetTrailStatus on this trail to the worker's role");
                let found = Finding::new(Check::TrailStatusRight, self.blind(), failure.to_string(), todo);
                self.found(found.about(trail));
            }
        }
        if self.config.mode == Mode::Restore {
            self.found(start_right(trails, trail, sees).await.about(trail));
        }
        if trail.region() != here {
            let home = trail.region();
            let found =
                format!("its home Region is {home}: calls that stop it are made there, and so is the event");
            let todo = format!("add a rule in {home} that forwards to this queue, or run a worker there");
            self.found(Finding::new(Check::TrailHomeRegion, Status::Warning, found, todo).about(trail));
        }
    }

    /// What it is to be refused a look at trails. A worker that only tells needs none.
    fn blind(&self) -> Status {
        if self.config.mode == Mode::Restore { Status::Failed } else { Status::Unknown }
    }

    async fn slack(&mut self) {
        let webhook = match (&self.config.webhook, self.config.mode) {
            (Some(webhook), _) => webhook.clone(),
            (None, Mode::DryRun) => return,
            (None, _) => {
                let todo = "run the check where the worker runs, which has it";
                let found = "TRAILKEEPER_SLACK_WEBHOOK_URL is not set here";
                return self.found(Finding::new(Check::Slack, Status::Unknown, found, todo));
            }
        };
        self.looks_at("Slack");
        let asked = match Slack::new(webhook, None) {
            Ok(slack) => {
                patiently(TRIES.waits(), || async { slack.check().await.map_err(post_failure) }).await
            }
            Err(error) => Err(Failure::permanent(format!("setting up TLS for Slack: {error}"))),
        };
        self.found(match asked {
            Ok(Webhook::Alive) => Finding::ok(Check::Slack, "the webhook is alive; nothing was posted"),
            Ok(Webhook::TakesAnything) => {
                let found = "this address accepts anything, and a Slack webhook does not; nothing was posted";
                let todo = "check the address: a relay may be intended, a login page is not";
                Finding::new(Check::Slack, Status::Warning, found, todo)
            }
            Err(failure) => {
                let new = "make a new webhook for the channel, and set TRAILKEEPER_SLACK_WEBHOOK_URL to it";
                Finding::failed(Check::Slack, failure.to_string(), todo(&failure, new))
            }
        });
    }
}

fn ttl(attribute: Result<Option<String>, Unseen>) -> Finding {
    let check = Check::StateTableTtl;
    let todo = "switch the table's TTL on, with the attribute expires_at";
    match attribute {
        Ok(Some(name)) if name == "expires_at" => Finding::ok(check, "by expires_at"),
        Ok(Some(name)) => Finding::failed(check, format!("TTL goes by {name}, not expires_at"), todo),
        Ok(None) => Finding::failed(check, "TTL is off: the table grows for ever", todo),
        Err(Unseen::MayNotLook) => {
            let todo = "allow dynamodb:DescribeTimeToLive on the table to see it";
            Finding::new(check, Status::Unknown, "DescribeTimeToLive is denied", todo)
        }
        Err(Unseen::Missing) => Finding::failed(check, "there is no such table", "create it"),
        Err(Unseen::Failed(failure)) => {
            Finding::new(check, Status::Unknown, failure.to_string(), "try again")
        }
    }
}

fn logging(on: bool, delivery_error: Option<String>) -> Finding {
    let check = Check::TrailLogging;
    match delivery_error {
        _ if !on => Finding::failed(check, "it is off", "find out who stopped it, and start it"),
        Some(error) => Finding::failed(
            check,
            format!("it is on, and its logs cannot be delivered: {error}"),
            "look at the log bucket's policy and its key",
        ),
        None => Finding::ok(check, "it is on"),
    }
}

/// `sees`: a look at the trail is allowed in its own region.
async fn start_right(trails: &Trails, trail: &TrailArn, sees: bool) -> Finding {
    let check = Check::TrailStartRight;
    let Some(elsewhere) = another_region(trail.region()) else {
        let found = "there is no other region to ask in without starting it";
        let todo = "look at the role's policy for cloudtrail:StartLogging";
        return Finding::new(check, Status::Unknown, found, todo);
    };
    match patiently(TRIES.waits(), || async { trails.may_start(trail, &elsewhere).await.map_err(failure) })
        .await
    {
        Ok(Asked::Refused) => Finding::ok(check, "StartLogging is allowed; it was not started"),
        Ok(Asked::Accepted) => {
            let found = format!(
                "StartLogging was accepted in {elsewhere}, which is not the trail's home: AWS's CloudTrail does not do that"
            );
            let todo = "look at AWS_ENDPOINT_URL_CLOUDTRAIL, and at the trail: it may have been started";
            Finding::new(check, Status::Warning, found, todo)
        }
        Err(failure) if failure.is_transient() => {
            Finding::new(check, Status::Unknown, failure.to_string(), todo(&failure, "try again"))
        }
        // A region that is locked is locked for looking, too.
        Err(_) if sees && is_denied(&trails.status(trail, &elsewhere).await) => {
            let found =
                format!("nothing is allowed in {elsewhere}, where it could be asked without starting it");
            let todo = "look at the role's policy for cloudtrail:StartLogging";
            Finding::new(check, Status::Unknown, found, todo)
        }
        Err(failure) => {
            let found = format!("{failure} (asked in {elsewhere}, where nothing can be started)");
            Finding::failed(check, found, "allow it: without it no trail is restarted")
        }
    }
}

fn is_denied<T>(answer: &Result<T, Refusal>) -> bool {
    matches!(answer, Err(Refusal { meaning: Meaning::Denied, .. }))
}

async fn attributes(clients: &SqsClients, url: &str) -> Result<Attributes, Failure> {
    patiently(TRIES.waits(), || clients.attributes(url)).await
}

fn post_failure(error: ShowError) -> Failure {
    match error {
        ShowError::Refused(detail) => Failure::permanent(detail),
        error => Failure::transient(error.to_string()),
    }
}
