//! The policy that the fleet used last, so that a change of it is reported once.
//!
//! One item, `policy`, and conditional writes alone: who finds another policy there takes it up for a minute, reports the difference,
//! and writes its own in its place.
//!
//! | attribute | type | meaning |
//! |---|---|---|
//! | `pk` | S | `policy` |
//! | `digest` | S | SHA-256 of the text |
//! | `text` | B | the text, packed with gzip; nothing if it is too long |
//! | `seen_at` | N | when a worker found its own policy here, likewise |
//! | `teller`, `told_until` | S, N | who reports that it has changed, and until when, in seconds since 1970 |

use std::io::{Read, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::StoreError;
use super::dynamodb::{self, Item, Written, number, text_in, written};
use crate::clock;

/// The longest packed text kept, in bytes: an item of DynamoDB's has 400 KB at most.
const MAX_PACKED_BYTES: usize = 300_000;
/// The longest text that is unpacked, in bytes: no policy is longer.
const MAX_UNPACKED_BYTES: u64 = 8 * 1_024 * 1_024;
/// For one report: a post or two, and the write after it.
const TELLING: Duration = Duration::from_mins(1);

/// Where the last policy is kept: in the table that workers share, or in this process.
#[derive(Debug)]
pub struct Kept(Place);

#[derive(Debug)]
enum Place {
    Table(KeptInTable),
    Memory(Mutex<Option<String>>),
}

#[derive(Debug)]
struct KeptInTable {
    client: Client,
    table: String,
    teller: String,
}

/// How a policy compares with the one that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looked {
    /// It is that one, or there was none, and it is kept from now on.
    Same,
    /// It is another, and this worker is to report that; the text before is not there if it was too long.
    Changed { before: Option<String>, digest: String },
    /// It is another, and somebody else is about to report that.
    TakenUp,
}

impl Kept {
    /// In the state table; `teller` names this worker.
    #[must_use]
    pub fn in_table(sdk: &SdkConfig, table: String, teller: String) -> Self {
        Self(Place::Table(KeptInTable { client: dynamodb::client(sdk), table, teller }))
    }

    /// In this process alone.
    #[must_use]
    pub fn in_memory() -> Self {
        Self(Place::Memory(Mutex::default()))
    }

    /// Compares a policy's text with the one that is kept.
    ///
    /// # Errors
    /// When the table did not say.
    pub async fn look(&self, text: &str) -> Result<Looked, StoreError> {
        let kept = match &self.0 {
            Place::Table(kept) => return kept.look(text).await,
            Place::Memory(kept) => kept,
        };
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let before = kept.get_or_insert_with(|| text.to_owned());
        if before == text {
            return Ok(Looked::Same);
        }
        Ok(Looked::Changed { digest: digest(before), before: Some(before.clone()) })
    }

    /// Keeps this policy from now on, in place of the one with this digest, which this worker has taken up.
    ///
    /// # Errors
    /// When the table did not say.
    pub async fn replace(&self, before: String, text: &str) -> Result<(), StoreError> {
        match &self.0 {
            Place::Table(kept) => kept.replace(before, text).await,
            Place::Memory(kept) => {
                *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.to_owned());
                Ok(())
            }
        }
    }
}

impl KeptInTable {
    async fn look(&self, text: &str) -> Result<Looked, StoreError> {
        let now = clock::now().unix_timestamp();
        let compare = self
            .update("SET seen_at = :now")
            .condition_expression("digest = :mine")
            .expression_attribute_values(":mine", dynamodb::text(digest(text)))
            .expression_attribute_values(":now", number(now));
        let Some(item) = refused(compare).await? else { return Ok(Looked::Same) };
        let Some(old) = text_in(&item, "digest").map(str::to_owned) else {
            let first = self.write(text, "").condition_expression("attribute_not_exists(digest)");
            return Ok(if refused(first).await?.is_none() { Looked::Same } else { Looked::TakenUp });
        };
        let until = now + i64::try_from(TELLING.as_secs()).unwrap_or_default();
        let take_up = self
            .update("SET told_until = :until, teller = :teller")
            .condition_expression("digest = :old AND (attribute_not_exists(told_until) OR told_until < :now)")
            .expression_attribute_values(":old", dynamodb::text(old.clone()))
            .expression_attribute_values(":now", number(now))
            .expression_attribute_values(":until", number(until))
            .expression_attribute_values(":teller", dynamodb::text(self.teller.clone()));
        if refused(take_up).await?.is_some() {
            return Ok(Looked::TakenUp);
        }
        let before = item
            .get("text")
            .and_then(|packed| packed.as_b().ok())
            .and_then(|packed| unpacked(packed.as_ref()));
        Ok(Looked::Changed { before, digest: old })
    }

    async fn replace(&self, before: String, text: &str) -> Result<(), StoreError> {
        let request = self
            .write(text, " REMOVE told_until, teller")
            .condition_expression("digest = :old AND teller = :teller")
            .expression_attribute_values(":old", dynamodb::text(before))
            .expression_attribute_values(":teller", dynamodb::text(self.teller.clone()));
        // Refused, somebody else was faster, after a minute: what they wrote stands.
        refused(request).await.map(drop)
    }

    fn update(&self, expression: impl Into<String>) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .key("pk", dynamodb::text("policy".to_owned()))
            .update_expression(expression)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }

    fn write(&self, text: &str, beside: &str) -> UpdateItemFluentBuilder {
        self.update(format!("SET digest = :mine, #text = :text{beside}"))
            .expression_attribute_names("#text", "text")
            .expression_attribute_values(":mine", dynamodb::text(digest(text)))
            .expression_attribute_values(":text", AttributeValue::B(Blob::new(packed(text))))
    }
}

/// The item as it is, if the write's condition does not hold.
async fn refused(request: UpdateItemFluentBuilder) -> Result<Option<Item>, StoreError> {
    Ok(match written(request.send().await, false)? {
        Written::Done(_) => None,
        Written::Refused { item, .. } => Some(item),
    })
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::new(), |digest, byte| digest + &format!("{byte:02x}"))
}

/// Nothing of a text that is too long.
fn packed(text: &str) -> Vec<u8> {
    let mut packing = GzEncoder::new(Vec::new(), Compression::best());
    let packed = packing.write_all(text.as_bytes()).and_then(|()| packing.finish()).unwrap_or_default();
    if packed.len() > MAX_PACKED_BYTES { Vec::new() } else { packed }
}

fn unpacked(packed: &[u8]) -> Option<String> {
    let mut text = String::new();
    GzDecoder::new(packed).take(MAX_UNPACKED_BYTES).read_to_string(&mut text).ok().map(|_| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_packed_and_unpacked_and_one_that_is_too_long_is_not_kept() {
        let text = "version = 1\n".repeat(1_000);
        assert_eq!(unpacked(&packed(&text)), Some(text));
        let noise: String = (0..400_000).map(|_| fastrand::alphanumeric()).collect();
        assert_eq!((packed(&noise), unpacked(&[])), (Vec::new(), None));
    }
}
