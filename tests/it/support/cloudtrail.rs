//! A CloudTrail of the tests' own, in the place of winterbaume's: what no emulator knows. An organization's trails as its
//! members and its delegated administrators see them, answers that are older than a stop, delivery errors, a trail's times.
//! Each trait is one of AWS's that its documentation or recordings show.

#![allow(dead_code, unreachable_pub, reason = "shared with the benchmark, which uses a part")]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use trailkeeper::clock;
use trailkeeper::event::TrailArn;

use super::aws::{ACCOUNT, Aws, Call, Fault, REGION, Watch};

/// Who the caller's account is to the trail's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Owner, by far the most often.
    Owner,
    /// A delegated administrator of the trail's organization: may do everything, by whole ARN.
    Delegated,
    /// Another member: sees the trail, and may not start it.
    Member,
    /// Of another organization, or of none: for this account there is no such trail.
    Stranger,
}

/// A trail as CloudTrail has it.
#[derive(Debug, Clone)]
pub struct Trail {
    pub arn: String,
    pub caller: Caller,
    pub logging: bool,
    pub started_at: Option<OffsetDateTime>,
    pub stopped_at: Option<OffsetDateTime>,
    /// So many answers of `GetTrailStatus` are from before the last stop.
    pub stale_answers: usize,
    /// Whether a start of a trail that is on moves its time; AWS does not say.
    pub start_moves_time: bool,
    /// What `GetTrailStatus` says beside.
    pub beside: Value,
    /// What `GetEventSelectors` says, if these are not a new trail's own.
    pub selectors: Option<Value>,
}

impl Trail {
    /// A trail of the worker's account and Region that logs since a month.
    pub fn on(name: &str) -> Self {
        Self::at(&format!("arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/{name}"))
    }

    /// The same, anywhere.
    pub fn at(arn: &str) -> Self {
        Self {
            arn: arn.to_owned(),
            caller: Caller::Owner,
            logging: true,
            started_at: Some(clock::now() - Duration::days(30)),
            stopped_at: None,
            stale_answers: 0,
            start_moves_time: true,
            beside: json!({}),
            selectors: None,
        }
    }

    /// A trail that was stopped at this time.
    #[must_use]
    pub fn stopped(self, at: OffsetDateTime) -> Self {
        Self { logging: false, stopped_at: Some(at), ..self }
    }

    #[must_use]
    pub fn seen_by(self, caller: Caller) -> Self {
        Self { caller, ..self }
    }

    pub fn home(&self) -> String {
        TrailArn::parse(&self.arn).expect("an ARN").region().to_string()
    }

    pub fn status(&mut self) -> Fault {
        let is_stale = self.stale_answers > 0;
        self.stale_answers = self.stale_answers.saturating_sub(1);
        let seconds = |time: Option<OffsetDateTime>| time.map(OffsetDateTime::unix_timestamp);
        let mut status = self.beside.clone();
        status["IsLogging"] = json!(self.logging || is_stale);
        status["StartLoggingTime"] = json!(seconds(self.started_at));
        if !is_stale {
            status["StopLoggingTime"] = json!(seconds(self.stopped_at));
        }
        Fault::Answer(status)
    }

    pub fn start(&mut self, region: &str) -> Fault {
        if self.caller == Caller::Member {
            return Fault::Refuse(400, "NotOrganizationMasterAccountException");
        }
        if region != self.home() {
            return Fault::Refuse(400, "InvalidHomeRegionException");
        }
        if !self.logging || self.start_moves_time {
            self.started_at = Some(clock::now());
        }
        self.logging = true;
        Fault::Answer(json!({}))
    }
}

/// The trails of an account's CloudTrail.
#[derive(Debug, Clone)]
pub struct CloudTrail(Arc<Mutex<Vec<Trail>>>);

impl CloudTrail {
    pub fn of(trails: impl Into<Vec<Trail>>) -> Self {
        Self(Arc::new(Mutex::new(trails.into())))
    }

    /// Answers in the place of the server's own CloudTrail.
    pub fn instead_of(aws: &Aws, trails: impl Into<Vec<Trail>>) -> Self {
        let own = Self::of(trails);
        aws.watch(Arc::new(own.clone()));
        own
    }

    fn trails(&self) -> MutexGuard<'_, Vec<Trail>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the trail whose ARN ends with this logs.
    pub fn is_logging(&self, name: &str) -> bool {
        self.trails().iter().any(|trail| trail.arn.ends_with(&format!("/{name}")) && trail.logging)
    }
}

impl Watch for CloudTrail {
    fn fault(&self, call: &Call) -> Option<Fault> {
        let mut trails = self.trails();
        if call.operation == "DescribeTrails" {
            let named = call.body["trailNameList"].as_array();
            let list: Vec<_> = trails
                .iter()
                .filter(|trail| trail.caller != Caller::Stranger)
                .filter(|trail| named.is_none_or(|named| named.contains(&json!(trail.arn))))
                .map(|trail| json!({ "TrailARN": trail.arn, "HomeRegion": trail.home() }))
                .collect();
            return Some(Fault::Answer(json!({ "trailList": list })));
        }
        if !["GetTrailStatus", "StartLogging"].contains(&call.operation.as_str()) {
            return None;
        }
        let name = call.body["Name"].as_str().unwrap_or_default();
        let found = trails.iter_mut().find(|trail| trail.arn == name && trail.caller != Caller::Stranger);
        let Some(trail) = found else { return Some(Fault::Refuse(400, "TrailNotFoundException")) };
        Some(if call.operation == "StartLogging" { trail.start(&call.region) } else { trail.status() })
    }

    fn carried_out(&self, _: &Call, _: u16) {}
}
