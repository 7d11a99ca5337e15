//! What DynamoDB says of the state table itself.

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{KeyType, ScalarAttributeType, TableDescription, TimeToLiveStatus};

use crate::aws;
use crate::retry::Failure;

/// Asks about one table. Changes nothing.
#[derive(Debug)]
pub struct Table {
    client: Client,
    name: String,
}

/// Why the table could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unseen {
    /// There is none of this name.
    Missing,
    /// The right to look, which no worker needs, is missing.
    MayNotLook,
    /// Neither is known.
    Failed(Failure),
}

impl Table {
    /// The table of this name in the account and region of `sdk`.
    #[must_use]
    pub fn new(sdk: &SdkConfig, name: String) -> Self {
        let config = aws_sdk_dynamodb::config::Builder::from(sdk)
            .retry_config(RetryConfig::disabled())
            .timeout_config(aws::timeouts(aws::ANSWER_TIMEOUT));
        Self { client: Client::from_conf(config.build()), name }
    }

    /// Whether the key is what every worker expects: `pk`, a string, alone.
    pub async fn has_our_key(&self) -> Result<bool, Unseen> {
        let answer = self.client.describe_table().table_name(&self.name).send().await;
        let answer = answer.map_err(|error| unseen(&error, "DescribeTable"))?;
        Ok(answer.table().is_some_and(|table| keys(table) == [("pk", KeyType::Hash)] && pk_is_text(table)))
    }

    /// The attribute by which the table's TTL goes; `None` if it is off.
    pub async fn ttl_attribute(&self) -> Result<Option<String>, Unseen> {
        let answer = self.client.describe_time_to_live().table_name(&self.name).send().await;
        let answer = answer.map_err(|error| unseen(&error, "DescribeTimeToLive"))?;
        Ok(answer.time_to_live_description().and_then(|ttl| {
            let on =
                matches!(ttl.time_to_live_status()?, TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling);
            ttl.attribute_name().filter(|_| on).map(str::to_owned)
        }))
    }
}

fn keys(table: &TableDescription) -> Vec<(&str, KeyType)> {
    table.key_schema().iter().map(|key| (key.attribute_name(), key.key_type().clone())).collect()
}

fn pk_is_text(table: &TableDescription) -> bool {
    let is_ours = |name: &str, kind: &ScalarAttributeType| name == "pk" && *kind == ScalarAttributeType::S;
    table.attribute_definitions().iter().any(|one| is_ours(one.attribute_name(), one.attribute_type()))
}

fn unseen<E>(error: &SdkError<E>, call: &str) -> Unseen
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error.code() {
        Some("ResourceNotFoundException") => Unseen::Missing,
        Some("AccessDeniedException") => Unseen::MayNotLook,
        _ => Unseen::Failed(Failure::transient(format!("{call}: {}", aws::describe(error)))),
    }
}
