//! CloudTrail, and a word of STS, behind the SDK's own HTTP client: nothing leaves the process, and everything
//! that a server, a network or a permission can do wrong is done.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::time::Instant;
use trailkeeper::clock;

use super::lost::Stop;
use super::world::{Process, Side, World, locked};
use crate::support::aws::{ACCOUNT, REGION};

/// A region that is not the one in the trail's ARN.
pub(super) const ELSEWHERE: &str = "us-east-1";
/// The event history shows nothing that is younger.
const HISTORY_IS_LATE: Duration = Duration::from_secs(90);
/// Far beyond every timeout.
const NEVER: Duration = Duration::from_hours(1);

/// What a trail is like, whatever the weather.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    Plain,
    /// Somebody switched it on again before we came.
    On,
    Deleted,
    /// `StartLogging` is refused with this code.
    Guarded(&'static str),
    /// Its status is not shown to us; it may be started.
    Unseen,
    /// It lives in another region than its ARN says.
    Abroad,
    /// Its status is shown as of before the stop, for a while.
    Stale,
    /// The event does not say that it is this one.
    Nameless,
    /// Its status has the true times. It is on at first.
    Kept,
}

/// When the fixture says that a trail was stopped, in seconds since 1970; and when it was started before and after that.
const STOPPED_AT: i64 = 1_795_166_102;
const STARTED_BEFORE: i64 = STOPPED_AT - 86_400;
const STARTED_AFTER: i64 = STOPPED_AT + 60;

/// The codes that facts name as final.
pub(super) const FINAL: [&str; 8] = [
    "AccessDeniedException",
    "AccessDenied",
    "CloudTrailARNInvalidException",
    "InvalidTrailNameException",
    "NotOrganizationMasterAccountException",
    "NoManagementAccountSLRExistsException",
    "InsufficientDependencyServiceAccessPermissionException",
    "OperationNotPermittedException",
];
const PASSING: [&str; 4] =
    ["ThrottlingException", "ConflictException", "InternalServiceError", "ServiceUnavailable"];

/// A trail.
#[derive(Debug)]
pub(super) struct Trail {
    pub(super) nature: Nature,
    pub(super) logging: bool,
    /// Logging is on because a worker started it.
    started: bool,
    /// Its status shows the start, or the stop, only from here on.
    shown_from: Instant,
    /// Whether a start moves the time of the last start; AWS does not say.
    start_moves_time: bool,
    /// In seconds since 1970, of one that is kept.
    started_at: i64,
    stopped_at: Option<i64>,
}

impl Trail {
    pub(super) fn stopped(nature: Nature, stale_for: Duration, start_moves_time: bool) -> Self {
        let shown_from = Instant::now() + if nature == Nature::Stale { stale_for } else { Duration::ZERO };
        Self {
            nature,
            logging: nature == Nature::On,
            started: false,
            shown_from,
            start_moves_time,
            started_at: STARTED_BEFORE,
            stopped_at: None,
        }
    }

    /// One that logs.
    pub(super) fn kept() -> Self {
        Self { logging: true, ..Self::stopped(Nature::Kept, Duration::ZERO, true) }
    }
}

enum Answer {
    Ok(Value),
    Code(u16, &'static str),
}

impl World {
    pub(super) fn is_logging(&self, trail: &str) -> bool {
        locked(&self.trails).get(trail).is_some_and(|trail| trail.logging)
    }

    /// Stops a trail that is on; when, in whole seconds.
    pub(super) fn stop(&self, trail: &str) -> Option<OffsetDateTime> {
        let mut trails = locked(&self.trails);
        let trail = trails.get_mut(trail).filter(|trail| trail.logging)?;
        let now = clock::now().replace_nanosecond(0).expect("a time");
        trail.logging = false;
        trail.stopped_at = Some(now.unix_timestamp());
        Some(now)
    }

    pub(super) fn was_started(&self, trail: &str) -> bool {
        locked(&self.trails).get(trail).is_some_and(|trail| trail.started)
    }

    /// What the service makes of a request that reached it.
    fn carry_out(&self, operation: &str, region: &str, name: &str) -> Answer {
        let mut trails = locked(&self.trails);
        if operation == "DescribeTrails" && name.is_empty() {
            let here = |trail: &&Trail| matches!(trail.nature, Nature::Plain | Nature::On | Nature::Nameless);
            let names = trails.iter().filter(|(_, trail)| here(trail)).map(|(name, _)| name);
            let arn = |name| format!("arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/{name}");
            let list: Vec<_> =
                names.map(|name| json!({ "TrailARN": arn(name), "HomeRegion": REGION })).collect();
            return Answer::Ok(json!({ "trailList": list }));
        }
        if operation == "ListTrails" {
            let arn = |name| format!("arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/{name}");
            let list: Vec<_> =
                trails.keys().map(|name| json!({ "TrailARN": arn(name), "HomeRegion": REGION })).collect();
            return Answer::Ok(json!({ "Trails": list }));
        }
        if operation == "LookupEvents" {
            let stops = locked(&self.stops);
            let record = |stop: &Stop| json!({ "CloudTrailEvent": stop.record()["detail"].to_string() });
            let known = stops.iter().rev().filter(|stop| clock::now() - stop.at > HISTORY_IS_LATE);
            return Answer::Ok(json!({ "Events": known.map(record).collect::<Vec<_>>() }));
        }
        let Some(trail) = trails.get_mut(name) else { return Answer::Code(400, "TrailNotFoundException") };
        let home = if trail.nature == Nature::Abroad { ELSEWHERE } else { REGION };
        match (operation, trail.nature) {
            (_, Nature::Deleted) => Answer::Code(400, "TrailNotFoundException"),
            ("DescribeTrails", _) => Answer::Ok(json!({ "trailList": [{ "HomeRegion": home }] })),
            (_, Nature::Abroad) if region != home => Answer::Code(400, "InvalidHomeRegionException"),
            ("GetTrailStatus", Nature::Unseen) => Answer::Code(400, "AccessDeniedException"),
            ("GetTrailStatus", Nature::Stale) => {
                let is_stale = !trail.started && trail.shown_from > Instant::now();
                let shown = is_stale || trail.logging && trail.shown_from <= Instant::now();
                let moved = trail.started && trail.start_moves_time;
                let started_at = if moved { STARTED_AFTER } else { STARTED_BEFORE };
                Answer::Ok(json!({ "IsLogging": shown, "StartLoggingTime": started_at }))
            }
            ("GetTrailStatus", Nature::Nameless) => {
                let shown = trail.logging && trail.shown_from <= Instant::now();
                let started_at = if trail.logging { STARTED_AFTER } else { STARTED_BEFORE };
                Answer::Ok(json!({
                    "IsLogging": shown, "StopLoggingTime": STOPPED_AT, "StartLoggingTime": started_at,
                }))
            }
            ("GetTrailStatus", Nature::Kept) => Answer::Ok(json!({
                "IsLogging": trail.logging,
                "StartLoggingTime": trail.started_at,
                "StopLoggingTime": trail.stopped_at,
            })),
            ("GetTrailStatus", _) => {
                let shown = trail.logging && trail.shown_from <= Instant::now();
                Answer::Ok(json!({ "IsLogging": shown }))
            }
            ("StartLogging", Nature::Guarded(code)) => Answer::Code(400, code),
            ("StartLogging", _) => {
                let was_on = std::mem::replace(&mut trail.logging, true);
                trail.started |= !was_on;
                trail.started_at = clock::now().unix_timestamp();
                if !was_on {
                    let lag =
                        if self.fails(self.rates.slow) { self.millis(0..=8_000) } else { Duration::ZERO };
                    trail.shown_from = Instant::now() + lag;
                }
                Answer::Ok(json!({}))
            }
            _ => Answer::Code(400, "UnsupportedOperationException"),
        }
    }
}

/// How a request goes wrong.
#[derive(Debug, Clone, Copy)]
enum Wrong {
    Refused(&'static str),
    /// The page of a load balancer.
    Page,
    Garbage,
    NoConnection,
    Unheard,
    Silence,
}

impl Process {
    /// What the SDK needs to reach this process's end of CloudTrail.
    pub(super) fn sdk_config(&self) -> SdkConfig {
        let credentials = Credentials::new("AKIAEXAMPLEEXAMPLE", "secret", None, None, "simulation");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .http_client(self.clone())
            .build()
    }

    fn goes_wrong(&self) -> Option<Wrong> {
        let world = &self.world;
        if !world.is_down(Side::CloudTrail) && !world.fails(world.rates.trail_fails) {
            return None;
        }
        let code = PASSING[world.chance().usize(..PASSING.len())];
        let all = [
            Wrong::Refused(code),
            Wrong::Refused(code),
            Wrong::Page,
            Wrong::Garbage,
            Wrong::NoConnection,
            Wrong::Unheard,
            Wrong::Silence,
        ];
        Some(all[world.chance().usize(..all.len())])
    }

    async fn trail_call(
        self,
        operation: String,
        region: String,
        arn: String,
    ) -> Result<HttpResponse, ConnectorError> {
        self.outward().await;
        let world = &self.world;
        let wrong = self.goes_wrong();
        let name = arn.rsplit('/').next().unwrap_or_default();
        let answer = match wrong {
            None | Some(Wrong::Unheard | Wrong::Garbage) => world.carry_out(&operation, &region, name),
            Some(Wrong::Refused(code)) => Answer::Code(if code.ends_with('n') { 400 } else { 503 }, code),
            Some(_) => Answer::Code(503, ""),
        };
        let told = match (&answer, wrong) {
            (_, Some(wrong)) => format!("{wrong:?}"),
            (Answer::Ok(body), None) => body.to_string(),
            (Answer::Code(_, code), None) => (*code).to_owned(),
        };
        world.book().note(&format!("{self:?} {operation} {name} in {region}: {told}"));
        if matches!(wrong, Some(Wrong::Unheard | Wrong::Silence)) {
            tokio::time::sleep(NEVER).await;
        }
        self.homeward().await;
        if let (Answer::Ok(body), None) = (&answer, wrong)
            && body["IsLogging"] == false
        {
            world.book().saw_off(name);
        }
        match (wrong, answer) {
            (Some(Wrong::NoConnection), _) => Err(ConnectorError::io("connection reset".into())),
            (Some(Wrong::Page), _) => Ok(response(503, "<html>unavailable</html>".to_owned())),
            (Some(Wrong::Garbage), _) => Ok(response(200, "{".to_owned())),
            (_, Answer::Ok(body)) => Ok(response(200, body.to_string())),
            (_, Answer::Code(status, code)) => {
                Ok(response(status, json!({ "__type": code, "message": "so" }).to_string()))
            }
        }
    }
}

pub(super) fn response(status: u16, body: String) -> HttpResponse {
    HttpResponse::new(status.try_into().expect("a status"), SdkBody::from(body))
}

fn identity() -> String {
    format!(
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
         <Account>{ACCOUNT}</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
    )
}

impl HttpConnector for Process {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        // https://cloudtrail.eu-west-1.amazonaws.com/
        let host = request.uri().trim_start_matches("https://").split('/').next().unwrap_or_default();
        if host.starts_with("sts") {
            return HttpConnectorFuture::ready(Ok(response(200, identity())));
        }
        let region = host.split('.').nth(1).unwrap_or_default().to_owned();
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let body: Value =
            serde_json::from_slice(request.body().bytes().unwrap_or_default()).unwrap_or_default();
        if host.starts_with("sqs") {
            return HttpConnectorFuture::new(self.clone().looks_sent(body));
        }
        if host.starts_with("dynamodb") {
            return HttpConnectorFuture::new(self.clone().table_call(operation, body));
        }
        let arn = body["Name"].as_str().or(body["trailNameList"][0].as_str()).unwrap_or_default().to_owned();
        if operation == "StartLogging" && !self.is_gone() {
            let name = arn.rsplit('/').next().unwrap_or_default();
            let trail = locked(&self.world.trails).get(name).map(|trail| trail.nature);
            self.world.book().starting(self.name, name, trail == Some(Nature::Nameless));
        }
        HttpConnectorFuture::new(self.clone().trail_call(operation, region, arn))
    }
}

impl HttpClient for Process {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}
