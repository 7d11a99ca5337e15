//! Records of what is known, where all workers find them.
//!
//! One item for each. A write names the version that it was made from, and is refused if there is a newer one.
//!
//! | attribute | type | meaning |
//! |---|---|---|
//! | `pk` | S | `trail#` and its ARN, `account#` and its id, or `sweep` |
//! | `version` | N | raised by each write |
//! | `document` | S | JSON |

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{KeysAndAttributes, ReturnValuesOnConditionCheckFailure};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StoreError;
use super::dynamodb::{self, Item, Written, number, number_in, text, text_in};
use crate::event::{AccountId, TrailArn};

/// Items in one request: DynamoDB takes no more.
const BATCH: usize = 100;
/// Requests for one batch, should DynamoDB leave some of it out.
const MAX_ROUNDS: usize = 5;
/// Tries of one change, should others be faster: few write to one record.
const MAX_TRIES: usize = 5;

/// Where records are: in the table that workers share, or in this process.
#[derive(Debug)]
pub struct Records(Place);

#[derive(Debug)]
enum Place {
    Table { client: Client, table: String },
    Memory(Mutex<HashMap<String, Document>>),
}

/// Its version, and what it says.
type Document = (u64, String);

/// What a record is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RecordKey {
    Trail(TrailArn),
    Account(AccountId),
    Sweep,
}

impl fmt::Display for RecordKey {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Trail(trail) => write!(formatter, "trail#{trail}"),
            Self::Account(account) => write!(formatter, "account#{account}"),
            Self::Sweep => formatter.write_str("sweep"),
        }
    }
}

impl Records {
    /// In the state table.
    #[must_use]
    pub fn in_table(sdk: &SdkConfig, table: String) -> Self {
        Self(Place::Table { client: dynamodb::client(sdk), table })
    }

    /// In this process alone.
    #[must_use]
    pub fn in_memory() -> Self {
        Self(Place::Memory(Mutex::default()))
    }

    /// Whether they last, and others see them.
    #[must_use]
    pub fn are_kept(&self) -> bool {
        matches!(self.0, Place::Table { .. })
    }

    /// Reads a record; none if there is none.
    ///
    /// # Errors
    /// When the table did not say, or what it says cannot be read.
    pub async fn read<T: DeserializeOwned>(&self, about: &RecordKey) -> Result<Option<T>, StoreError> {
        Ok(self.read_all(std::slice::from_ref(about)).await?.remove(about))
    }

    /// Reads those of these records that there are.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn read_all<T: DeserializeOwned>(
        &self,
        about: &[RecordKey],
    ) -> Result<HashMap<RecordKey, T>, StoreError> {
        let mut read = HashMap::new();
        for about in about.chunks(BATCH) {
            let documents = self.documents(about).await?;
            for about in about {
                if let Some((_, document)) = documents.get(&about.to_string()) {
                    read.insert(about.clone(), parse(about, document)?);
                }
            }
        }
        Ok(read)
    }

    /// Changes a record, or makes one, unless the change says not to; what the change returns. It may be made more than once, each
    /// time of the record as it is then.
    ///
    /// # Errors
    /// When the table did not say, or others were faster each time.
    pub async fn change<T: Serialize + DeserializeOwned, R>(
        &self,
        about: &RecordKey,
        mut change: impl FnMut(Option<T>) -> (Option<T>, R),
    ) -> Result<R, StoreError> {
        for _ in 0..MAX_TRIES {
            let documents = self.documents(std::slice::from_ref(about)).await?;
            let before = documents.get(&about.to_string());
            let value = before.map(|(_, document)| parse(about, document)).transpose()?;
            let (after, returned) = change(value);
            let Some(after) = after else { return Ok(returned) };
            let document = serde_json::to_string(&after).unwrap_or_default();
            if before.is_some_and(|(_, before)| *before == document) {
                return Ok(returned);
            }
            let version = before.map(|(version, _)| *version);
            if self.write(&about.to_string(), version, document).await? {
                return Ok(returned);
            }
        }
        Err(StoreError::Silent(format!("{about} is written to by others, {MAX_TRIES} times in a row")))
    }

    async fn documents(&self, about: &[RecordKey]) -> Result<HashMap<String, Document>, StoreError> {
        let keys = about.iter().map(ToString::to_string);
        let (client, table) = match &self.0 {
            Place::Table { client, table } => (client, table),
            Place::Memory(documents) => {
                let documents = documents.lock().unwrap_or_else(PoisonError::into_inner);
                return Ok(keys
                    .filter_map(|key| documents.get_key_value(&key))
                    .map(|(key, one)| (key.clone(), one.clone()))
                    .collect());
            }
        };
        let keys = keys.map(|key| Item::from([("pk".to_owned(), text(key))])).collect();
        let wanted = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
        let mut left = wanted.ok().map(|wanted| HashMap::from([(table.clone(), wanted)]));
        let mut found = HashMap::new();
        for _ in 0..MAX_ROUNDS {
            let Some(asked) = left.take() else { break };
            let answer =
                dynamodb::asked(|| client.batch_get_item().set_request_items(Some(asked.clone())).send())
                    .await?;
            for item in answer.responses.unwrap_or_default().into_values().flatten() {
                let version = number_in(&item, "version").and_then(|version| u64::try_from(version).ok());
                if let (Some(key), Some(document)) = (text_in(&item, "pk"), text_in(&item, "document")) {
                    found.insert(key.to_owned(), (version.unwrap_or_default(), document.to_owned()));
                }
            }
            left = answer.unprocessed_keys.filter(|left| !left.is_empty());
        }
        if left.is_some() {
            return Err(StoreError::Silent("BatchGetItem left some of the records out".to_owned()));
        }
        Ok(found)
    }

    /// Whether it was written: there is no newer version.
    async fn write(&self, key: &str, before: Option<u64>, document: String) -> Result<bool, StoreError> {
        let version = before.unwrap_or_default() + 1;
        let (client, table) = match &self.0 {
            Place::Table { client, table } => (client, table),
            Place::Memory(documents) => {
                let mut documents = documents.lock().unwrap_or_else(PoisonError::into_inner);
                let is_as_read = documents.get(key).map(|(version, _)| *version) == before;
                if is_as_read {
                    documents.insert(key.to_owned(), (version, document));
                }
                return Ok(is_as_read);
            }
        };
        let request = client
            .update_item()
            .table_name(table)
            .key("pk", text(key))
            .update_expression("SET version = :version, document = :document")
            .expression_attribute_values(":version", number(version))
            .expression_attribute_values(":document", text(document.clone()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let request = match before {
            None => request.condition_expression("attribute_not_exists(pk)"),
            Some(before) => request
                .condition_expression("version = :before")
                .expression_attribute_values(":before", number(before)),
        };
        Ok(match dynamodb::write(&request).await? {
            Written::Done(_) => true,
            // An earlier try was carried out, and its answer lost.
            Written::Refused { item, again } => again && text_in(&item, "document") == Some(&document),
        })
    }
}

fn parse<T: DeserializeOwned>(about: &RecordKey, document: &str) -> Result<T, StoreError> {
    // The error may quote it.
    serde_json::from_str(document)
        .map_err(|_| StoreError::Refused(format!("the item {about} cannot be read: delete it")))
}
