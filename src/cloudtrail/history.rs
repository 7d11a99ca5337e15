//! The event history: who made a call, whether or not a trail was on. It keeps 90 days of management events, and is late: by some
//! minutes mostly, by more than an hour at times.
//!
//! <https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html>

use std::time::Duration;

use aws_sdk_cloudtrail::primitives::DateTime;
use aws_sdk_cloudtrail::types::{LookupAttribute, LookupAttributeKey};
use time::OffsetDateTime;

use super::refusal::{Meaning, Refusal};
use super::trails::Trails;
use crate::clock;
use crate::event::{self, AccountId, Event, Kind, Region, TrailArn};

/// Pages of 50 that are read at most, newest first: whoever makes that many calls of one name within minutes hides the one
/// that took effect, and each of them is an event of its own.
const MAX_PAGES: usize = 5;

impl Trails {
    /// The last call of this name that took effect on a trail in this time; nothing if the history does not show it, or not yet. It is
    /// asked in the account and the Region of the trail: another account's calls are in that one's history alone.
    pub async fn recorded(
        &self,
        trail: &TrailArn,
        name: &str,
        (from, until): (OffsetDateTime, OffsetDateTime),
    ) -> Result<Option<Event>, Refusal> {
        let site = self.accounts().site(trail.account(), trail.region()).await;
        if let Some(refusal) = site.without_role {
            return Err(refusal);
        }
        let by_name = LookupAttribute::builder()
            .attribute_key(LookupAttributeKey::EventName)
            .attribute_value(name)
            .build()
            .map_err(|error| Refusal::new(Meaning::Impossible, format!("LookupEvents: {error}")))?;
        let at = |time: OffsetDateTime| DateTime::from_secs(time.unix_timestamp());
        let mut next = None;
        for _ in 0..MAX_PAGES {
            self.lookup_turn(trail).await?;
            let request = site.client.lookup_events().lookup_attributes(by_name.clone());
            let request = request.start_time(at(from)).end_time(at(until)).set_next_token(next);
            let answer = request.send().await;
            let answer =
                answer.map_err(|error| self.refusal(&error, "LookupEvents", trail.account(), &site))?;
            let records = answer.events().iter().filter_map(|event| event.cloud_trail_event());
            let mut events = records.filter_map(|record| event::parse_record(record).ok());
            let found = events.find(|event| {
                event.name == name
                    && event.kind != Kind::FailedCall
                    && event.target().as_ref() == Some(trail)
                    && event.time.is_some_and(|time| (from..=until).contains(&time))
            });
            next = answer.next_token.filter(|next| !next.is_empty());
            if found.is_some() || next.is_none() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Whether the event history of an account may be read, in a Region: asked for what nobody has done.
    pub async fn may_read_history(&self, account: &AccountId, region: &Region) -> Result<(), Refusal> {
        const NOBODYS: &str = "trailkeeper-check";
        let Some(trail) = TrailArn::complete(Some(NOBODYS), Some(account), Some(region)) else {
            return Ok(());
        };
        let now = clock::now();
        self.recorded(&trail, NOBODYS, (now - Duration::from_mins(1), now)).await.map(drop)
    }
}
