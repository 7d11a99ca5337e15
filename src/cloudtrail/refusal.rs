//! What CloudTrail's errors mean: what is to be done about each, its cause, and what somebody can do. Pure.
//!
//! Codes: <https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_StartLogging.html#API_StartLogging_Errors>

use crate::event::AccountId;

/// What an error of CloudTrail means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    Passing,
    /// Too many calls: it is a matter of waiting for a turn.
    Throttled,
    /// The trail lives in another region.
    Elsewhere,
    Gone,
    /// Not found, asked from another account than the trail's: that says nothing about the trail.
    NotSeenFromHere,
    Denied,
    Impossible,
}

/// An error of CloudTrail, understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    pub meaning: Meaning,
    /// What was refused, why, and what to do.
    pub detail: String,
}

/// Whose rights are asked for where no role of the trail's account is.
pub(super) const WORKER: &str = "the worker's role";

/// What CloudTrail answered.
pub(super) struct Answer<'a> {
    pub(super) call: &'static str,
    /// Whose rights they are: `the worker's role`, or that of an account.
    pub(super) by: &'a str,
    /// The error's code, if there is one.
    pub(super) code: Option<&'a str>,
    /// AWS's own text: looked at, and never repeated.
    pub(super) message: &'a str,
    /// The error in a line: its code, or why there is none.
    pub(super) told: String,
}

impl Refusal {
    pub(super) fn new(meaning: Meaning, detail: String) -> Self {
        Self { meaning, detail }
    }

    /// A member role that could not be assumed, so that the trail was not reached in its own account.
    pub(super) fn of_role(code: Option<&str>, told: &str, arn: &str, account: &AccountId) -> Self {
        let (meaning, why) = match code.unwrap_or_default() {
            "AccessDenied" | "AccessDeniedException" => (
                Meaning::NotSeenFromHere,
                "there is no such role, or it does not let this worker in, which STS does not tell apart; roll it out there, and \
                 compare its trust policy and external id",
            ),
            "RegionDisabledException" => (
                Meaning::NotSeenFromHere,
                "the account has switched off the Regions in which STS was asked; enable one of them",
            ),
            "ValidationError" | "ValidationException" => {
                (Meaning::NotSeenFromHere, "STS takes this for no role; correct TRAILKEEPER_MEMBER_ROLE")
            }
            "ExpiredToken"
            | "ExpiredTokenException"
            | "InvalidClientTokenId"
            | "UnrecognizedClientException" => (
                Meaning::Passing,
                "STS does not take the worker's own credentials; look at where it gets them from",
            ),
            "Throttling" | "ThrottlingException" | "RequestLimitExceeded" => {
                (Meaning::Throttled, "STS is asked too often")
            }
            _ => (Meaning::Passing, "STS did not give a session"),
        };
        Self::new(meaning, format!("AssumeRole of {arn} in account {account}: {told}: {why}"))
    }

    /// Whether a trail is the own account's is not known, so that no role was assumed for it.
    pub(super) fn unknown_caller(account: &AccountId) -> Self {
        let detail = format!(
            "STS does not say which account the worker is in, so no role was assumed in account {account}; it is asked again"
        );
        Self::new(Meaning::Passing, detail)
    }

    /// Whether the same may work later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self.meaning, Meaning::Passing | Meaning::Throttled)
    }

    /// `another`: the account of the trail that the call was about, if it may be another than the caller's.
    pub(super) fn of(answer: Answer, another: Option<&AccountId>) -> Self {
        let Answer { call, by, code, message, told } = answer;
        let (meaning, why) = match (code.unwrap_or_default(), another) {
            ("TrailNotFoundException", Some(account)) => (
                Meaning::NotSeenFromHere,
                format!(
                    "asked from another account, which says nothing about the trail; look at it in account {account}"
                ),
            ),
            ("AccessDenied" | "AccessDeniedException", _) => (Meaning::Denied, denied(call, message, by)),
            (code, _) => match REFUSALS.iter().find(|(codes, ..)| codes.contains(&code)) {
                Some((_, meaning, why)) => (*meaning, (*why).to_owned()),
                // A code that is not known is taken as passing: the attempts are bounded, and giving up on a trail that
                // could be restarted is worse than a few calls too many.
                None => (Meaning::Passing, String::new()),
            },
        };
        let colon = if why.is_empty() { "" } else { ": " };
        Self::new(meaning, format!("{call}: {told}{colon}{why}"))
    }
}

/// Codes, what they mean, their cause and what to do.
const REFUSALS: [(&[&str], Meaning, &str); 13] = [
    (
        &["ThrottlingException", "Throttling", "RequestLimitExceeded", "TooManyRequestsException"],
        Meaning::Throttled,
        "",
    ),
    (&["TrailNotFoundException"], Meaning::Gone, "CloudTrail knows no such trail in its own account"),
    (&["InvalidHomeRegionException"], Meaning::Elsewhere, "the trail lives in another Region"),
    (
        &["UnrecognizedClientException", "InvalidClientTokenId", "OptInRequired"],
        Meaning::Denied,
        "AWS does not take the worker's credentials in the trail's Region; enable that Region for the account, or restart \
         the trail from an account that has it",
    ),
    (
        &["NotOrganizationMasterAccountException"],
        Meaning::Denied,
        "an organization's trail is started from the management account, or from a delegated administrator by its whole \
         ARN; restart it from there",
    ),
    (
        &["InsufficientDependencyServiceAccessPermissionException"],
        Meaning::Denied,
        "the worker's role lacks a right in AWS Organizations that an organization's trail needs; allow what CloudTrail's guide \
         lists for organization trails, or restart it from the management account",
    ),
    (
        &["NoManagementAccountSLRExistsException"],
        Meaning::Impossible,
        "the organization's management account has no service-linked role for CloudTrail; enable trusted access for \
         CloudTrail there again",
    ),
    (
        &["OperationNotPermittedException"],
        Meaning::Denied,
        "CloudTrail does not permit it to this account; restart the trail from the account that made it",
    ),
    (
        &["UnsupportedOperationException"],
        Meaning::Impossible,
        "CloudTrail does not support it for this trail; look at how the trail was made, and restart it there",
    ),
    (
        &["CloudTrailARNInvalidException"],
        Meaning::Impossible,
        "CloudTrail takes this for no trail's ARN; look up the event, and the trail that it means",
    ),
    (
        &["InvalidTrailNameException"],
        Meaning::Impossible,
        "CloudTrail takes this for no trail's name; look up the event, and the trail that it means",
    ),
    (
        &["ExpiredToken", "ExpiredTokenException"],
        Meaning::Passing,
        "the worker's credentials have expired; look at where it gets them from",
    ),
    (
        &["ConflictException"],
        Meaning::Passing,
        "CloudTrail is at work on another change of the trail, which takes some minutes",
    ),
];

/// Why a call was denied. AWS says it in a sentence of many shapes, of which these parts are recognised:
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>
fn denied(call: &str, message: &str, by: &str) -> String {
    let action = format!("cloudtrail:{call}");
    let says = |part: &str| message.contains(part);
    let denies = says("explicit deny");
    if says("service control policy") {
        return format!(
            "a service control policy denies it; ask whoever keeps the organization's policies to allow {action} to {by}"
        );
    }
    let bounds = [
        ("permissions boundary", format!("the permissions boundary of {by}")),
        ("session policy", "the session policy that the worker's session was opened with".to_owned()),
    ];
    match bounds.iter().find(|(part, _)| says(part)) {
        Some((_, bound)) if denies => format!("{bound} denies it; take the Deny of {action} out of it"),
        Some((_, bound)) => format!("{bound} does not allow it; add {action} to it"),
        None if denies => {
            format!(
                "a policy denies it explicitly; look for the Deny of {action} in every policy that binds {by}"
            )
        }
        None if says("no identity-based policy allows") || says("no resource-based policy allows") => {
            format!("no policy allows it; allow {action} on this trail to {by}")
        }
        None => {
            format!("allow {action} on this trail to {by}, and look for a policy that denies it")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: &str, message: &str, of_another_account: bool) -> Refusal {
        let answer =
            Answer { call: "StartLogging", by: WORKER, code: Some(code), message, told: code.to_owned() };
        let another = AccountId::parse("999999999999").filter(|_| of_another_account);
        Refusal::of(answer, another.as_ref())
    }

    #[test]
    fn each_refusal_has_a_cause_and_advice_of_its_own() {
        let has_cause = |(_, _, why): &&(_, _, &str)| !why.is_empty();
        let codes: Vec<_> =
            REFUSALS.iter().filter(has_cause).map(|(codes, ..)| codes[0]).chain(["AccessDenied"]).collect();
        let mut said: Vec<_> = codes.iter().map(|code| of(code, "", false).detail).collect();
        insta::assert_snapshot!(said.join("\n"));
        said.sort_unstable();
        said.dedup_by_key(|said| said.split_once(": ").map(|(_, why)| why.to_owned()));
        assert_eq!(said.len(), codes.len());
    }

    #[test]
    fn of_the_reason_for_a_denial_only_what_is_known_is_said_and_in_our_words() {
        let user = "User: arn:aws:sts::1:assumed-role/w/x is not authorized to perform: cloudtrail:StartLogging on resource: \
                    arn:aws:cloudtrail:eu-west-1:1:trail/audit";
        let said: Vec<_> = [
            "with an explicit deny in a service control policy: arn:aws:organizations::1:policy/o-1/p-secret",
            "because no service control policy allows the cloudtrail:StartLogging action",
            "with an explicit deny in a permissions boundary",
            "because no permissions boundary allows the cloudtrail:StartLogging action",
            "because no session policy allows the cloudtrail:StartLogging action",
            "with an explicit deny in a session policy",
            "with an explicit deny in an identity-based policy",
            "because no identity-based policy allows the cloudtrail:StartLogging action",
            "for a reason that nobody has heard of: secret",
        ]
        .map(|reason| of("AccessDeniedException", &format!("{user} {reason}"), false).detail)
        .into();
        assert!(said.iter().all(|said| !said.contains("secret") && !said.contains("arn:")), "{said:?}");
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn not_found_from_another_account_says_nothing_about_the_trail() {
        assert_eq!(of("TrailNotFoundException", "", false).meaning, Meaning::Gone);
        let elsewhere = of("TrailNotFoundException", "", true);
        assert_eq!(elsewhere.meaning, Meaning::NotSeenFromHere);
        assert!(elsewhere.detail.ends_with("look at it in account 999999999999"), "{elsewhere}");
        let unknown = Refusal::new(Meaning::Passing, "StartLogging: NewException".to_owned());
        assert_eq!(of("NewException", "", true), unknown);
    }
}
