//! What else recorded an account in a Region while one of its trails did not.

use aws_sdk_cloudtrail::operation::get_event_selectors::GetEventSelectorsOutput;
use aws_sdk_cloudtrail::types::{ReadWriteType, Trail};
use time::OffsetDateTime;

use super::accounts::Site;
use super::refusal::Refusal;
use super::trails::{Status, Trails};
use crate::event::{Region, TrailArn};
use crate::incident::{Coverage, Other, Recorded};

/// Other trails that are looked at: with the first call for all, each takes three at most, ten in all.
const MAX_OTHERS: usize = 3;

impl Trails {
    /// Which other trails have recorded the account and the home Region of a trail since it was stopped, as far as its account sees
    /// them: its own, of other Regions too, and its organization's.
    pub async fn coverage(&self, stopped: &TrailArn, since: OffsetDateTime) -> Coverage {
        let region = stopped.region();
        let mut coverage = Coverage { region: region.to_string(), others: Vec::new(), unknown: None };
        let site = self.accounts().site(stopped.account(), region).await;
        match self.others(stopped, &site).await {
            Ok(mut others) => {
                // What counts most is looked at first.
                others.sort_by_key(|(_, trail)| trail.is_organization_trail() != Some(true));
                let left = others.len().saturating_sub(MAX_OTHERS);
                coverage.unknown = (left > 0).then(|| format!("{left} more trails were not looked at"));
                for (arn, trail) in others.into_iter().take(MAX_OTHERS) {
                    let recorded = self.recorded_by(stopped, &arn, &trail, since, &site).await;
                    coverage.others.push(Other {
                        trail: arn.to_string(),
                        is_organizations: trail.is_organization_trail() == Some(true),
                        recorded,
                    });
                }
            }
            Err(refusal) => coverage.unknown = Some(refusal.detail),
        }
        coverage
    }

    /// Whether what a trail records is shown.
    pub async fn may_see_selectors(&self, trail: &TrailArn) -> Result<(), Refusal> {
        let site = self.accounts().site(trail.account(), trail.region()).await;
        let answer = site.client.get_event_selectors().trail_name(trail.to_string()).send().await;
        answer.map(drop).map_err(|error| self.refusal(&error, "GetEventSelectors", trail.account(), &site))
    }

    /// All trails but this one that record its account in its home Region, should they be on.
    async fn others(&self, stopped: &TrailArn, site: &Site) -> Result<Vec<(TrailArn, Trail)>, Refusal> {
        if let Some(refusal) = &site.without_role {
            return Err(refusal.clone());
        }
        let answer = site.client.describe_trails().include_shadow_trails(true).send().await;
        let answer =
            answer.map_err(|error| self.refusal(&error, "DescribeTrails", stopped.account(), site))?;
        let listed = answer.trail_list.unwrap_or_default().into_iter();
        let named = listed.filter_map(|trail| Some((TrailArn::parse(trail.trail_arn()?)?, trail)));
        Ok(named.filter(|(arn, _)| arn != stopped).collect())
    }

    async fn recorded_by(
        &self,
        stopped: &TrailArn,
        arn: &TrailArn,
        trail: &Trail,
        since: OffsetDateTime,
        site: &Site,
    ) -> Recorded {
        let status = match self.status_from(stopped.account(), arn, stopped.region()).await {
            Ok(status) => status,
            Err(refusal) => return Recorded::Unknown(refusal.detail),
        };
        if let Some(why) = why_not(&status, since) {
            return Recorded::Not(why.to_owned());
        }
        if trail.has_custom_event_selectors() == Some(false) {
            return Recorded::Throughout;
        }
        match self.records_writes(arn, trail, site).await {
            Some(true) => Recorded::Throughout,
            Some(false) => Recorded::Not("it records no management writes".to_owned()),
            None => Recorded::Unknown("its event selectors are not visible from here".to_owned()),
        }
    }

    /// Whether a trail records management writes; a member may not see that of its organization's trail, which is asked for in the account
    /// that it belongs to.
    async fn records_writes(&self, arn: &TrailArn, trail: &Trail, site: &Site) -> Option<bool> {
        let asked = async |site: &Site| {
            let answer = site.client.get_event_selectors().trail_name(arn.to_string()).send().await;
            answer.ok().map(|answer| records_management_writes(&answer))
        };
        if let Some(answer) = asked(site).await {
            return Some(answer);
        }
        let home = trail.home_region().and_then(Region::parse)?;
        let owners = self.accounts().site(arn.account(), &home).await;
        if owners.without_role.is_some() { None } else { asked(&owners).await }
    }
}

/// Why a trail has not recorded since then, by its own word.
fn why_not(status: &Status, since: OffsetDateTime) -> Option<&'static str> {
    match status {
        Status { logging: false, .. } => Some("it is off"),
        Status { started_at, .. } if started_at.is_none_or(|started_at| started_at > since) => {
            Some("it was started later")
        }
        Status { delivery, .. } if delivery.log_files.is_some() => Some("its log files cannot be delivered"),
        _ => None,
    }
}

/// By some classic selector, or by some advanced one that is not of reads alone.
fn records_management_writes(selectors: &GetEventSelectorsOutput) -> bool {
    let classic = selectors.event_selectors().iter().any(|selector| {
        selector.include_management_events() == Some(true)
            && matches!(selector.read_write_type(), Some(ReadWriteType::All | ReadWriteType::WriteOnly))
    });
    let advanced = selectors.advanced_event_selectors().iter().any(|selector| {
        let is = |field: &str, value: &str| {
            selector
                .field_selectors()
                .iter()
                .any(|one| one.field() == field && one.equals().iter().any(|one| one == value))
        };
        is("eventCategory", "Management") && !is("readOnly", "true")
    });
    classic || advanced
}
