//! Whether the worker can act in the other accounts of its policy.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use futures_util::stream;
use indicatif::ProgressBar;

use super::finding::{Check, Finding, Status};
use super::patience::{TRIES, failure, todo};
use crate::cloudtrail::Refusal;
use crate::cloudtrail::organization::Listed;
use crate::cloudtrail::trails::{Trails, another_region};
use crate::config::CheckConfig;
use crate::event::{AccountId, Region};
use crate::policy::Mode;
use crate::retry::{Failure, patiently};

/// Accounts that are asked side by side.
const AT_ONCE: usize = 16;
/// Accounts that are named one by one, of each kind.
const MAX_NAMED: usize = 20;

const ROLL_OUT: &str =
    "roll the member role out there, and compare its trust policy and external id with the worker's";

/// Lists the accounts of the policy, and tries the member role in each: all, or as many as are asked for.
pub(super) async fn check(
    config: &CheckConfig,
    trails: &Trails,
    region: &Region,
    progress: &ProgressBar,
) -> Vec<Finding> {
    let policy = &config.policy;
    let own = trails.own_account();
    let mut found = Vec::new();
    let mut wanted: Vec<AccountId> = if policy.is_for_an_organization() {
        progress.set_message("lists the accounts of the organization");
        match trails.accounts().list().await {
            Ok(listed) => {
                found.push(listed_accounts(config, &listed));
                let active = listed.into_iter().filter(|one| one.state.is_none());
                active.map(|one| one.id).collect()
            }
            Err(failure) => {
                let todo = todo(
                    &failure,
                    "mend that: stops in other accounts wait until the accounts can be listed",
                );
                found.push(Finding::failed(Check::Accounts, failure.to_string(), todo));
                return found;
            }
        }
    } else {
        policy.list().into_iter().flatten().cloned().collect()
    };
    if let Some(own) = own.filter(|own| policy.excludes(own)) {
        let out =
            format!("the worker's own account {own} is excluded by the policy: its trails are not restarted");
        found.push(Finding::new(
            Check::Accounts,
            Status::Warning,
            out,
            "take it out of exclude, unless that is intended",
        ));
    }
    wanted.retain(|account| own != Some(account) && !policy.excludes(account));
    if trails.accounts().has_member_role() && !policy.names_accounts() {
        let role = "TRAILKEEPER_MEMBER_ROLE is set, and no policy names accounts: it is not used";
        found.push(Finding::new(Check::MemberRole, Status::Warning, role, "name the accounts in a policy"));
    }
    if wanted.is_empty() {
        return found;
    }
    if !trails.accounts().has_member_role() {
        let role = "the policy concerns other accounts, and TRAILKEEPER_MEMBER_ROLE is not set: their trails are not restarted";
        let status = if config.mode == Mode::Restore { Status::Failed } else { Status::Warning };
        found.push(Finding::new(Check::MemberRole, status, role, "set it, and roll the role out"));
        return found;
    }
    fastrand::shuffle(&mut wanted);
    let all = wanted.len();
    wanted.truncate(config.sample.unwrap_or(all));
    found.extend(try_roles(config, trails, region, &wanted, all, progress).await);
    found
}

/// What there is, and what of it the policy leaves out.
fn listed_accounts(config: &CheckConfig, listed: &[Listed]) -> Finding {
    let outside: Vec<_> =
        listed.iter().filter(|one| config.policy.excludes(&one.id)).map(|one| &one.id).collect();
    let mut states = BTreeMap::<&str, Vec<&AccountId>>::new();
    for one in listed {
        if let Some(state) = &one.state {
            states.entry(state).or_default().push(&one.id);
        }
    }
    let mut said = vec![format!("{} in the organization", listed.len())];
    if !outside.is_empty() {
        said.push(format!("outside by the policy: {}", named(&outside)));
    }
    said.extend(states.iter().map(|(state, accounts)| format!("{state}: {}", named(accounts))));
    Finding::ok(Check::Accounts, said.join("; "))
}

/// Looks at an account's trails, at whether one logs, and at whether it might be started, where nothing can be; then at what the sweep
/// needs beside.
async fn try_one(
    config: &CheckConfig,
    trails: &Trails,
    account: &AccountId,
    region: &Region,
) -> Result<(), Refusal> {
    let all = trails.all(Some(account), region).await?;
    if let Some((trail, _)) = all.iter().find(|(trail, _)| trail.account() == account) {
        trails.status(trail, trail.region()).await?;
        trails.may_see_selectors(trail).await?;
        if let (Mode::Restore, Some(elsewhere)) = (config.mode, another_region(trail.region())) {
            trails.may_start(trail, &elsewhere).await?;
        }
    }
    if config.sweeps {
        trails.of_account(account).await?;
        if let Err(refusal) = trails.may_read_history(account, region).await
            && !refusal.may_pass()
        {
            return Err(refusal);
        }
    }
    Ok(())
}

async fn try_roles(
    config: &CheckConfig,
    trails: &Trails,
    region: &Region,
    wanted: &[AccountId],
    all: usize,
    progress: &ProgressBar,
) -> Vec<Finding> {
    let mut tried = 0;
    let mut refused = Vec::<(AccountId, Failure)>::new();
    let mut asking = stream::iter(wanted)
        .map(async |account| {
            let ask = || async { try_one(config, trails, account, region).await.map_err(failure) };
            (account, patiently(TRIES.waits(), ask).await)
        })
        .buffer_unordered(AT_ONCE);
    while let Some((account, answer)) = asking.next().await {
        tried += 1;
        progress.set_message(format!("tries the member role, in {tried} of {} accounts", wanted.len()));
        if let Err(failure) = answer {
            refused.push((account.clone(), failure));
        }
    }
    refused.sort_by(|(one, _), (other, _)| one.cmp(other));
    let works = tried - refused.len();
    let sample = if tried < all { format!(", of {all} that there are") } else { String::new() };
    let may = if config.mode == Mode::Restore { "look at trails and restart them" } else { "look at trails" };
    let summary = format!("it may {may} in {works} of {tried} accounts{sample}");
    let summary = match works {
        _ if refused.is_empty() => Finding::ok(Check::MemberRole, summary),
        0 => Finding::failed(Check::MemberRole, summary, "see to the accounts that are named"),
        _ => Finding::new(Check::MemberRole, Status::Warning, summary, "see to the accounts that are named"),
    };
    let more = refused.len().saturating_sub(MAX_NAMED);
    let one_by_one = refused.into_iter().take(MAX_NAMED).map(|(account, failure)| {
        let is_role = failure.to_string().starts_with("AssumeRole");
        let todo = todo(&failure, if is_role { ROLL_OUT } else { "allow it to the member role there" });
        Finding::failed(Check::MemberRole, failure.to_string(), todo).about(&account)
    });
    let rest = (more > 0).then(|| {
        Finding::failed(
            Check::MemberRole,
            format!("and in {more} more accounts"),
            "see to those that are named first",
        )
    });
    std::iter::once(summary).chain(one_by_one).chain(rest).collect()
}

fn named(accounts: &[&AccountId]) -> String {
    let shown: Vec<_> = accounts.iter().take(MAX_NAMED).map(ToString::to_string).collect();
    let more = accounts.len().saturating_sub(MAX_NAMED);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}
