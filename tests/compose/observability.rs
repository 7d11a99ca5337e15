//! Prometheus in the stack: it finds every worker, its rules hold, and it knows every query of the dashboard.

use serde_json::Value;

use crate::stack::{Stack, eventually};
use crate::stops_of;

/// The queries of the dashboard's panels, with Grafana's variables filled in.
fn dashboard_queries() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/observability/grafana/dashboards/trailkeeper.json");
    let dashboard: Value =
        serde_json::from_str(&std::fs::read_to_string(path).expect("readable")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets"));
    targets
        .map(|target| target["expr"].as_str().expect("a query"))
        .map(|query| query.replace("$__rate_interval", "1m").replace("$__range", "15m"))
        .collect()
}

#[tokio::test]
#[ignore = "needs Docker: just compose-test"]
async fn prometheus_finds_every_worker_and_answers_every_query_of_the_dashboard() {
    let stack = Stack::shared().await;
    stack.compose(&["up", "--detach", "--no-deps", "prometheus"]);
    for args in [
        ["check", "config", "/etc/prometheus/prometheus.yml"],
        ["test", "rules", "/etc/prometheus/alerts.test.yml"],
    ] {
        println!("{}", stack.compose(&[&["exec", "-T", "prometheus", "promtool"], &args[..]].concat()));
    }
    eventually("Prometheus to scrape three workers", async || {
        let targets = stack.prometheus("targets", &[("state", "active")]).await?;
        let targets = targets["activeTargets"].as_array()?.clone();
        let up = targets.iter().filter(|target| target["health"] == "up").count();
        (targets.len() == 3 && up == 3).then_some(())
    })
    .await;
    let trails = ["watched".to_owned()];
    stack.aws.stopped_trails(&trails).await;
    stack.aws.publish(&stops_of(&trails)).await;
    stack.restarted(&trails).await;
    let queries = dashboard_queries();
    assert!(queries.len() > 10, "{queries:?}");
    for query in queries {
        // A rate needs two samples.
        eventually(&query, async || {
            let data = stack.prometheus("query", &[("query", &query)]).await?;
            (!data["result"].as_array()?.is_empty()).then_some(())
        })
        .await;
    }
    let rules = stack.prometheus("rules", &[("type", "alert")]).await.expect("rules");
    let rules = rules["groups"][0]["rules"].as_array().expect("a group").clone();
    assert!(!rules.is_empty());
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        assert_ne!(rule["state"], "firing", "{rule}");
    }
}
