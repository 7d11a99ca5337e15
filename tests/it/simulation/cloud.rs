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
use tokio::time::Instant;

use super::world::{Process, Side, World, locked};
use crate::support::aws::{ACCOUNT, REGION};

/// A region that is not the one in the trail's ARN.
pub(super) const ELSEWHERE: &str = "us-east-1";
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
}

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
    /// Its status shows the start only from here on.
    shown_from: Instant,
}

impl Trail {
    pub(super) fn stopped(nature: Nature) -> Self {
        Self { nature, logging: nature == Nature::On, started: false, shown_from: Instant::now() }
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

    pub(super) fn was_started(&self, trail: &str) -> bool {
        locked(&self.trails).get(trail).is_some_and(|trail| trail.started)
    }

    /// What the service makes of a request that reached it.
    fn carry_out(&self, operation: &str, region: &str, name: &str) -> Answer {
        let mut trails = locked(&self.trails);
        let Some(trail) = trails.get_mut(name) else { return Answer::Code(400, "TrailNotFoundException") };
        let home = if trail.nature == Nature::Abroad { ELSEWHERE } else { REGION };
        match (operation, trail.nature) {
            (_, Nature::Deleted) => Answer::Code(400, "TrailNotFoundException"),
            ("DescribeTrails", _) => Answer::Ok(json!({ "trailList": [{ "HomeRegion": home }] })),
            (_, Nature::Abroad) if region != home => Answer::Code(400, "InvalidHomeRegionException"),
            ("GetTrailStatus", Nature::Unseen) => Answer::Code(400, "AccessDeniedException"),
            ("GetTrailStatus", _) => {
                let shown = trail.logging && trail.shown_from <= Instant::now();
                Answer::Ok(json!({ "IsLogging": shown }))
            }
            ("StartLogging", Nature::Guarded(code)) => Answer::Code(400, code),
            ("StartLogging", _) => {
                let was_on = std::mem::replace(&mut trail.logging, true);
                trail.started |= !was_on;
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
        if host.starts_with("dynamodb") {
            return HttpConnectorFuture::new(self.clone().table_call(operation, body));
        }
        let arn = body["Name"].as_str().or(body["trailNameList"][0].as_str()).unwrap_or_default().to_owned();
        if operation == "StartLogging" && !self.is_gone() {
            self.world.book().starting(self.name, arn.rsplit('/').next().unwrap_or_default());
        }
        HttpConnectorFuture::new(self.clone().trail_call(operation, region, arn))
    }
}

impl HttpClient for Process {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}
