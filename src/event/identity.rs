//! Who made the call: `userIdentity`, in every shape that CloudTrail gives it.
//!
//! Shapes: <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html>

use serde::Deserialize;

use super::lenient::{Object, Text};

/// Roles that IAM Identity Center makes are named `AWSReservedSSO_<permission set>_<hash>`.
const SSO_ROLE_PREFIX: &str = "AWSReservedSSO_";

/// Who made the call. Every text in it was chosen by the caller, or could have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// One line that names the actor; never empty.
    pub who: String,
    /// The root user of an account: nobody should be, so its alerts are louder.
    pub is_root: bool,
    /// Of the user, or of the role that the session was issued for: a session's own ARN ends in a name that its holder
    /// chose, and is none.
    pub arn: Option<String>,
    /// The access key that signed the call.
    pub access_key_id: Option<String>,
    /// Whether the session was opened with MFA, where the event says so.
    pub mfa: Option<bool>,
}

/// `userIdentity` as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct UserIdentity {
    #[serde(rename = "type")]
    kind: Text,
    principal_id: Text,
    arn: Text,
    account_id: Text,
    access_key_id: Text,
    user_name: Text,
    invoked_by: Text,
    identity_provider: Text,
    session_context: Object<SessionContext>,
    on_behalf_of: Object<OnBehalfOf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SessionContext {
    session_issuer: Object<SessionIssuer>,
    attributes: Object<SessionAttributes>,
    source_identity: Text,
}

/// The person of IAM Identity Center for whom the call was made.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct OnBehalfOf {
    user_id: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SessionIssuer {
    #[serde(rename = "type")]
    kind: Text,
    arn: Text,
    user_name: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SessionAttributes {
    /// CloudTrail writes it as a string, and some flags as booleans.
    mfa_authenticated: serde_json::Value,
}

impl Actor {
    /// Reads the actor; a missing or unreadable identity is somebody unknown, not an error.
    pub(super) fn from_identity(identity: Option<&UserIdentity>) -> Self {
        let unknown = UserIdentity::default();
        let identity = identity.unwrap_or(&unknown);
        let attributes =
            identity.session_context.0.as_ref().and_then(|context| context.attributes.0.as_ref());
        let mfa = attributes.and_then(|attributes| match &attributes.mfa_authenticated {
            serde_json::Value::Bool(flag) => Some(*flag),
            serde_json::Value::String(flag) if flag == "true" => Some(true),
            serde_json::Value::String(flag) if flag == "false" => Some(false),
            _ => None,
        });
        Self {
            who: identity.who(),
            is_root: identity.is_root(),
            arn: identity.lasting_arn().map(str::to_owned),
            access_key_id: identity.access_key_id.take(),
            mfa,
        }
    }
}

impl UserIdentity {
    /// The name that the event has, and who stands behind it where the event says so.
    fn who(&self) -> String {
        let source = self.session_context.0.as_ref().and_then(|context| context.source_identity.get());
        let person = self.on_behalf_of.0.as_ref().and_then(|person| person.user_id.get());
        let name = self
            .name()
            .or_else(|| self.user_name.take())
            .or_else(|| self.after(":user/").or_else(|| self.after(":role/")).map(last).map(str::to_owned));
        let behind = [
            source.map(|source| format!("source identity {source}")),
            person.map(|person| format!("Identity Center user {person}")),
        ];
        let mut behind = behind.into_iter().flatten();
        let name = name
            .or_else(|| behind.next())
            .or_else(|| self.principal_id.take())
            .or_else(|| self.invoked_by.take())
            .unwrap_or_else(|| "unknown".to_owned());
        behind.fold(name, |who, behind| format!("{who} ({behind})"))
    }

    /// The name that the identity's type gives it, if its fields are there.
    fn name(&self) -> Option<String> {
        match self.kind.get().unwrap_or_default() {
            "FederatedUser" if self.is_root() => self.after("federated-user/").map(|user| {
                let account = self.account_id.get().unwrap_or("an unknown account");
                format!("{user} (federated by root of {account})")
            }),
            _ if self.is_root() => {
                let account = self.account_id.get().unwrap_or("an unknown account");
                Some(format!("root of {account}"))
            }
            "AssumedRole" => self.assumed_role(),
            "FederatedUser" => self.after("federated-user/").map(|user| match self.issuer() {
                Some(issuer) => format!("{user} (federated by {issuer})"),
                None => user.to_owned(),
            }),
            "SAMLUser" | "WebIdentityUser" => match (self.user_name.get(), self.identity_provider.get()) {
                (Some(user), Some(provider)) => Some(format!("{user} ({provider})")),
                (Some(one), None) | (None, Some(one)) => Some(one.to_owned()),
                (None, None) => None,
            },
            "AWSService" => self.invoked_by.take(),
            "AWSAccount" => self.account_id.get().map(|account| match self.principal_id.get() {
                Some(principal) => format!("account {account} ({principal})"),
                None => format!("account {account}"),
            }),
            _ => None,
        }
    }

    /// The root user, or a session that it has opened for somebody.
    fn is_root(&self) -> bool {
        let kinds = [self.kind.get(), self.session_issuer().and_then(|issuer| issuer.kind.get())];
        kinds.into_iter().flatten().any(|kind| kind.eq_ignore_ascii_case("root")) || self.is_roots_arn()
    }

    /// IAM's ARN of whoever holds the permissions: a user, a role, or root.
    fn lasting_arn(&self) -> Option<&str> {
        let arns = [self.session_issuer().and_then(|issuer| issuer.arn.get()), self.arn.get()];
        arns.into_iter().flatten().find(|arn| arn.split(':').nth(2) == Some("iam"))
    }

    fn is_roots_arn(&self) -> bool {
        self.arn.get().is_some_and(|arn| arn.starts_with("arn:") && arn.ends_with(":root"))
    }

    /// `role/session`, or for a role of IAM Identity Center the person and the permission set.
    fn assumed_role(&self) -> Option<String> {
        let (arn_role, arn_session) = match self.after("assumed-role/") {
            Some(rest) => match rest.split_once('/') {
                Some((role, session)) => (Some(role), session.rsplit('/').next()),
                None => (Some(rest), None),
            },
            None => (None, None),
        };
        let principal_session =
            || self.principal_id.get().and_then(|id| id.split_once(':')).map(|(_, session)| session);
        let session = arn_session.or_else(principal_session).filter(|session| !session.is_empty());
        let role = self.issuer().or(arn_role);
        match (role.and_then(permission_set), role, session) {
            (Some(set), _, Some(person)) => Some(format!("{person} (permission set {set})")),
            (_, Some(role), Some(session)) => Some(format!("{role}/{session}")),
            (_, Some(one), None) | (_, None, Some(one)) => Some(one.to_owned()),
            (_, None, None) => None,
        }
    }

    /// The name of the role or user behind a session.
    fn issuer(&self) -> Option<&str> {
        self.session_issuer()?.user_name.get()
    }

    /// Whoever a session was issued for; `{}` where nobody was.
    fn session_issuer(&self) -> Option<&SessionIssuer> {
        self.session_context.0.as_ref()?.session_issuer.0.as_ref()
    }

    /// What follows `marker` in the identity's ARN.
    fn after(&self, marker: &str) -> Option<&str> {
        self.arn.get()?.split_once(marker).map(|(_, rest)| rest).filter(|rest| !rest.is_empty())
    }
}

/// The name of a user or role, behind its path.
fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The permission set in the name of an Identity Center role.
fn permission_set(role: &str) -> Option<&str> {
    let (set, _hash) = role.strip_prefix(SSO_ROLE_PREFIX)?.rsplit_once('_')?;
    Some(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_of_identity_is_named() {
        let sso = "AWSReservedSSO_AdministratorAccess_1b74cd717d47002b";
        let cases = [
            (r#"{"type":"IAMUser","userName":"bert-jan"}"#.to_owned(), "bert-jan"),
            (r#"{"type":"Root","accountId":"111122223333"}"#.to_owned(), "root of 111122223333"),
            (
                r#"{"type":"AssumedRole","arn":"arn:aws:sts::1:assumed-role/admin/eve","sessionContext":{"sessionIssuer":{"userName":"admin"}}}"#
                    .to_owned(),
                "admin/eve",
            ),
            (
                r#"{"type":"AssumedRole","arn":"arn:aws:sts::1:assumed-role/admin/eve","sessionContext":{"sessionIssuer":{}}}"#
                    .to_owned(),
                "admin/eve",
            ),
            (
                r#"{"type":"AssumedRole","arn":"arn:aws:sts::1:assumed-role/admin","principalId":"x"}"#.to_owned(),
                "admin",
            ),
            (r#"{"type":"AssumedRole","principalId":"AROA:eve"}"#.to_owned(), "eve"),
            (
                format!(r#"{{"type":"AssumedRole","arn":"arn:aws:sts::1:assumed-role/{sso}/adan@example.com"}}"#),
                "adan@example.com (permission set AdministratorAccess)",
            ),
            (
                r#"{"type":"FederatedUser","arn":"arn:aws:sts::1:federated-user/red","sessionContext":{"sessionIssuer":{"userName":"team"}}}"#
                    .to_owned(),
                "red (federated by team)",
            ),
            (r#"{"type":"SAMLUser","userName":"eve","identityProvider":"idp"}"#.to_owned(), "eve (idp)"),
            (r#"{"type":"WebIdentityUser","identityProvider":"accounts.google.com"}"#.to_owned(), "accounts.google.com"),
            (r#"{"type":"AWSService","invokedBy":"config.amazonaws.com"}"#.to_owned(), "config.amazonaws.com"),
            (
                r#"{"type":"AWSAccount","accountId":"111122223333","principalId":"AIDA"}"#.to_owned(),
                "account 111122223333 (AIDA)",
            ),
            (r#"{"type":"Unknown","principalId":"AROA:User"}"#.to_owned(), "AROA:User"),
            (r#"{"accountId":"1","invokedBy":"ec2.amazonaws.com"}"#.to_owned(), "ec2.amazonaws.com"),
            (r#"{"type":"IAMUser","arn":"arn:aws:iam::1:user/ops/eve","principalId":"AIDA"}"#.to_owned(), "eve"),
            (r#"{"type":"IAMUser","arn":"arn:aws:iam::1:user/","principalId":"AIDA"}"#.to_owned(), "AIDA"),
            (r#"{"type":"Role","arn":"arn:aws:iam::1:role/aws/admin"}"#.to_owned(), "admin"),
            (r#"{"type":"Directory","userName":"eve@example.com"}"#.to_owned(), "eve@example.com"),
            (r#"{"type":"Unheard-of","userName":"eve","principalId":"AIDA"}"#.to_owned(), "eve"),
            (
                r#"{"type":"IdentityCenterUser","onBehalfOf":{"userId":"u-1"},"credentialId":"c","principalId":"p"}"#.to_owned(),
                "Identity Center user u-1",
            ),
            (
                r#"{"type":"AssumedRole","arn":"arn:aws:sts::1:assumed-role/admin/eve","onBehalfOf":{"userId":"u-1"},"sessionContext":{"sourceIdentity":"eve@example.com"}}"#.to_owned(),
                "admin/eve (source identity eve@example.com) (Identity Center user u-1)",
            ),
            (r#"{"type":"Root","accountId":"1","sessionContext":{"sourceIdentity":"eve"}}"#.to_owned(), "root of 1 (source identity eve)"),
            (r#"{"type":"IAMUser","userName":7,"principalId":"AIDA"}"#.to_owned(), "AIDA"),
            ("{}".to_owned(), "unknown"),
        ];
        for (json, who) in cases {
            let identity: UserIdentity = serde_json::from_str(&json).expect("lenient");
            assert_eq!(Actor::from_identity(Some(&identity)).who, who, "{json}");
        }
        assert_eq!(Actor::from_identity(None).who, "unknown");
    }

    #[test]
    fn a_session_is_known_by_its_role() {
        let arn = |json| Actor::from_identity(Some(&serde_json::from_str(json).expect("lenient"))).arn;
        let role = "arn:aws:iam::1:role/ops/admin";
        let session = r#"{"type":"AssumedRole","arn":"arn:aws:sts::1:assumed-role/admin/deploy","sessionContext":{"sessionIssuer":{"arn":"arn:aws:iam::1:role/ops/admin"}}}"#;
        assert_eq!(arn(session).as_deref(), Some(role));
        let user = r#"{"type":"IAMUser","arn":"arn:aws:iam::1:user/eve"}"#;
        assert_eq!(arn(user).as_deref(), Some("arn:aws:iam::1:user/eve"));
        assert_eq!(arn(r#"{"type":"AssumedRole","arn":"arn:aws:sts::1:assumed-role/admin/deploy"}"#), None);
        assert_eq!(arn(r#"{"type":"AWSService","invokedBy":"config.amazonaws.com"}"#), None);
    }

    #[test]
    fn root_is_told_apart() {
        let is_root =
            |json| Actor::from_identity(Some(&serde_json::from_str(json).expect("lenient"))).is_root;
        assert!(is_root(r#"{"type":"Root"}"#));
        assert!(is_root(r#"{"type":"Unknown","arn":"arn:aws:iam::111122223333:root"}"#));
        assert!(is_root(r#"{"type":"FederatedUser","sessionContext":{"sessionIssuer":{"type":"Root"}}}"#));
        assert!(!is_root(r#"{"type":"IAMUser","userName":"Root"}"#));
        assert!(!is_root(r#"{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/root"}"#));
    }
}
