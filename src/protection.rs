//! ECS scale-in protection: a task that is at work is not the one that a scale-in takes.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html>

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::consumer::Health;

/// For one request to the agent on the same host.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long nothing must be in flight before the protection is lifted: messages come in bursts, and the agent
/// limits the rate.
const IDLE: Duration = Duration::from_secs(5);
/// Between attempts to lift it.
const LIFT_AGAIN: Duration = Duration::from_mins(1);
/// How long a protection lasts by itself, should this worker die: less than the agent's own two hours.
const EXPIRES_IN_MINUTES: u32 = 60;
/// While the work goes on, the protection is renewed well before it ends.
const RENEWAL: Duration = Duration::from_mins(30);

/// Protects the task while messages are in flight, until dropped. `agent` is `ECS_AGENT_URI`.
pub async fn keep(agent: String, health: Arc<Health>) {
    let Ok(http) = reqwest::Client::builder().timeout(ANSWER_TIMEOUT).no_proxy().build() else {
        tracing::warn!("task protection: the HTTP client could not be set up");
        return;
    };
    let url = format!("{}/task-protection/v1/state", agent.trim_end_matches('/'));
    let mut in_flight = health.in_flight();
    loop {
        if in_flight.wait_for(|count| *count > 0).await.is_err() {
            return;
        }
        loop {
            put(&http, &url, true).await;
            if tokio::time::timeout(RENEWAL, idle(&mut in_flight)).await.is_ok() {
                break;
            }
        }
        // A protection that stays keeps a deploy waiting.
        while !put(&http, &url, false).await {
            let busy = in_flight.wait_for(|count| *count > 0);
            if tokio::time::timeout(LIFT_AGAIN, busy).await.is_ok() {
                break;
            }
        }
    }
}

/// Ends when nothing has been in flight for a while.
async fn idle(in_flight: &mut watch::Receiver<usize>) {
    loop {
        // The sender lives in the health, which outlives this.
        let _ = in_flight.wait_for(|count| *count == 0).await;
        let busy = in_flight.wait_for(|count| *count > 0);
        if tokio::time::timeout(IDLE, busy).await.is_err() {
            return;
        }
    }
}

/// A protection that cannot be set costs a retry of the work at worst: it is logged and otherwise harmless.
/// Whether it was set.
async fn put(http: &reqwest::Client, url: &str, enabled: bool) -> bool {
    let mut state = json!({ "ProtectionEnabled": enabled });
    if enabled {
        state["ExpiresInMinutes"] = json!(EXPIRES_IN_MINUTES);
    }
    let asked = ask(http.put(url).json(&state)).await;
    match &asked {
        Ok(()) => tracing::debug!(enabled, "task protection"),
        Err(error) => tracing::warn!(error, enabled, "task protection could not be changed"),
    }
    asked.is_ok()
}

/// The agent answers 200 to what ECS refused, and says so in the body.
async fn ask(request: reqwest::RequestBuilder) -> Result<(), String> {
    let answer = request.send().await.and_then(reqwest::Response::error_for_status);
    let answer = answer.map_err(|error| error.to_string())?;
    let body: Value = answer.json().await.map_err(|error| error.to_string())?;
    match body["failure"]["Reason"].as_str() {
        Some(reason) => Err(format!("ECS refused: {reason}")),
        None => Ok(()),
    }
}
