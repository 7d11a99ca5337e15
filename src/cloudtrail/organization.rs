//! The accounts of an organization.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_organizations::Client;
use aws_sdk_organizations::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_organizations::operation::list_accounts::{ListAccountsError, ListAccountsOutput};
use aws_sdk_organizations::types::{Account, AccountState};

use crate::aws;
use crate::event::AccountId;
use crate::retry::{Failure, RetryPolicy, patiently};

/// Pages at most, of twenty accounts and often fewer: more than the largest organizations have.
const MAX_PAGES: usize = 20_000;
/// For the whole list.
const LIST_TIMEOUT: Duration = Duration::from_mins(1);
/// For each page: Organizations allows few requests at once.
const TRIES: RetryPolicy =
    RetryPolicy { max_attempts: 5, base: Duration::from_millis(500), max: Duration::from_secs(5) };
/// The longest name of an account, in characters.
const MAX_NAME_CHARS: usize = 50;

/// An account, as Organizations lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub id: AccountId,
    /// Untrusted text.
    pub name: String,
    /// Where it is not `ACTIVE`.
    pub state: Option<String>,
}

/// Lists the organization's accounts, as the management account and delegated administrators may.
///
/// # Errors
/// When not all of them could be read: part of a list would make members of nobody.
pub async fn list(sdk: &SdkConfig) -> Result<Vec<Listed>, Failure> {
    let config = aws_sdk_organizations::config::Builder::from(sdk)
        .interceptor(aws::Traced)
        .retry_config(RetryConfig::disabled())
        .timeout_config(aws::timeouts(aws::ANSWER_TIMEOUT));
    let client = Client::from_conf(config.build());
    let reading = tokio::time::timeout(LIST_TIMEOUT, pages(&client)).await;
    reading.unwrap_or_else(|_| {
        Err(Failure::transient("organizations:ListAccounts: not all pages came within a minute"))
    })
}

async fn pages(client: &Client) -> Result<Vec<Listed>, Failure> {
    let (mut all, mut token) = (Vec::new(), None);
    for _page in 0..MAX_PAGES {
        let answer = patiently(TRIES.waits(), || page(client, token.clone())).await?;
        all.extend(answer.accounts().iter().filter_map(read));
        // A page may be empty and not the last.
        let before = std::mem::replace(&mut token, answer.next_token);
        if token.is_none() {
            return Ok(all);
        }
        if token == before {
            return Err(Failure::transient("organizations:ListAccounts: the same page again and again"));
        }
    }
    Err(Failure::permanent(format!("organizations:ListAccounts: more than {MAX_PAGES} pages")))
}

async fn page(client: &Client, token: Option<String>) -> Result<ListAccountsOutput, Failure> {
    client.list_accounts().set_next_token(token).send().await.map_err(|error| failure(&error))
}

fn read(account: &Account) -> Option<Listed> {
    let state = account.state().filter(|state| **state != AccountState::Active);
    Some(Listed {
        id: AccountId::parse(account.id()?)?,
        name: account.name().unwrap_or_default().chars().take(MAX_NAME_CHARS).collect(),
        state: state.map(|state| state.as_str().chars().take(MAX_NAME_CHARS).collect()),
    })
}

fn failure(error: &SdkError<ListAccountsError>) -> Failure {
    let told = aws::describe(error);
    match error.code() {
        Some("AccessDenied" | "AccessDeniedException") => Failure::Denied {
            detail: format!(
                "organizations:ListAccounts: {told}: allow it to the worker's role, in the management account or in an account that is a \
                 delegated administrator of any service"
            ),
        },
        Some("AWSOrganizationsNotInUseException") => Failure::permanent(format!(
            "organizations:ListAccounts: {told}: this account is in no organization; set another source in the policy"
        )),
        _ => Failure::transient(format!("organizations:ListAccounts: {told}")),
    }
}
