//! The role that is assumed in another account. Pure.

use secrecy::SecretString;

use crate::event::AccountId;

/// The longest ARN of a role that STS takes, in bytes.
const MAX_ARN_BYTES: usize = 2_048;
/// The longest name of a role, in bytes.
const MAX_NAME_BYTES: usize = 64;
/// The longest name of a session, in bytes.
const MAX_SESSION_BYTES: usize = 64;
/// Begins the name of each session, so that whoever reads the account's CloudTrail sees who it was.
const SESSION: &str = "trailkeeper";
/// The longest name of a deployment, in bytes: with the beginning it must be a session's.
pub const MAX_DEPLOYMENT_BYTES: usize = MAX_SESSION_BYTES - SESSION.len() - 1;

/// What is assumed in another account, and how.
#[derive(Debug, Clone)]
pub struct MemberRole {
    pub template: RoleTemplate,
    /// What the role's trust policy asks for. No secret, and shown to nobody all the same.
    pub external_id: Option<SecretString>,
    /// The session's name: of this deployment.
    pub session: String,
}

/// A role in whatever account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleTemplate(String);

impl RoleTemplate {
    /// A role's name, or an ARN with `{account}` and, as one likes, `{partition}`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if is_name(text, MAX_NAME_BYTES) {
            return Some(Self(format!("arn:{{partition}}:iam::{{account}}:role/{text}")));
        }
        let mut parts = text.splitn(6, ':');
        let [arn, partition, service, region, account, role] =
            std::array::from_fn(|_| parts.next().unwrap_or_default());
        let is_partition = partition == "{partition}"
            || partition.starts_with("aws")
                && partition.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        let path = role.strip_prefix("role/")?;
        let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
        let fits = [arn, service, region, account] == ["arn", "iam", "", "{account}"]
            && is_partition
            && folders.bytes().all(|byte| byte.is_ascii_graphic() && !b"{}*?".contains(&byte))
            && is_name(name, MAX_NAME_BYTES)
            && text.len() <= MAX_ARN_BYTES - "{account}".len();
        fits.then(|| Self(text.to_owned()))
    }

    /// The role's ARN in an account.
    #[must_use]
    pub fn arn(&self, account: &AccountId, partition: &str) -> String {
        self.0.replace("{account}", account.as_str()).replace("{partition}", partition)
    }

    /// Whether an ARN of IAM's is this role's, in whatever account. A path is not compared: STS shows none.
    #[must_use]
    pub fn is(&self, arn: &str) -> bool {
        role_name(arn).is_some_and(|name| role_name(&self.0) == Some(name))
    }
}

/// The name of the role in an ARN of IAM's, without its path.
pub(super) fn role_name(arn: &str) -> Option<&str> {
    let role = arn.splitn(6, ':').nth(5)?.strip_prefix("role/")?;
    role.rsplit('/').next()
}

/// The name of a session of this deployment.
#[must_use]
pub fn session(deployment: &str) -> String {
    if deployment.contains(SESSION) { deployment.to_owned() } else { format!("{SESSION}-{deployment}") }
}

/// Whether it can stand in the name of a role or a session.
#[must_use]
pub fn is_name(text: &str, max_bytes: usize) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    (1..=max_bytes).contains(&text.len()) && text.bytes().all(fits)
}

/// Whether STS takes it for an external id.
#[must_use]
pub fn is_external_id(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&byte);
    (2..=1_224).contains(&text.len()) && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_a_name_or_an_arn_with_its_account_left_open() {
        let account = AccountId::parse("444455556666").expect("an account");
        for (text, arn) in [
            ("trailkeeper-member", Some("arn:aws-cn:iam::444455556666:role/trailkeeper-member")),
            ("arn:aws:iam::{account}:role/audit/keeper", Some("arn:aws:iam::444455556666:role/audit/keeper")),
            ("arn:{partition}:iam::{account}:role/keeper", Some("arn:aws-cn:iam::444455556666:role/keeper")),
            // One account's alone.
            ("arn:aws:iam::111122223333:role/keeper", None),
            ("arn:aws:iam::{account}:user/keeper", None),
            ("arn:aws:iam::{account}:role/{name}", None),
            ("arn:aws:iam::{account}:role/", None),
            ("a role", None),
            ("audit/keeper", None),
            ("", None),
        ] {
            let read = RoleTemplate::parse(text).map(|role| role.arn(&account, "aws-cn"));
            assert_eq!(read.as_deref(), arn, "{text}");
        }
    }

    #[test]
    fn a_role_is_known_by_its_name_whatever_its_account_and_path() {
        let role = RoleTemplate::parse("keeper").expect("a role");
        assert!(role.is("arn:aws:iam::444455556666:role/keeper"));
        assert!(role.is("arn:aws:iam::444455556666:role/audit/keeper"));
        assert!(!role.is("arn:aws:iam::444455556666:role/keeper/other"));
        assert!(!role.is("arn:aws:iam::444455556666:user/keeper"));
    }

    #[test]
    fn a_session_says_trailkeeper_and_the_deployment() {
        assert_eq!([session("trailkeeper"), session("eu")], ["trailkeeper", "trailkeeper-eu"]);
        let longest = "x".repeat(MAX_DEPLOYMENT_BYTES);
        assert!(is_name(&session(&longest), MAX_SESSION_BYTES));
    }
}
