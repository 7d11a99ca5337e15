//! Which trail, in which account and region: the newtypes, and how they are found in an event.

use std::fmt;

/// The longest `eventID` taken, in bytes. CloudTrail's are UUIDs of 36; the id becomes a key in the state
/// table and a message attribute, so it is bounded and plain.
pub(super) const MAX_EVENT_ID_BYTES: usize = 128;
/// The longest region name taken, in bytes; the longest known is 14.
const MAX_REGION_BYTES: usize = 32;
/// The longest trail name that CloudTrail accepts, in bytes.
const MAX_TRAIL_NAME_BYTES: usize = 128;
/// How much of a message is searched for an ARN's end; a trail's ARN is shorter than this.
const MAX_ARN_BYTES: usize = 256;

/// `detail.eventID`: the identity of an event. Duplicates of an event carry the same one, while the
/// envelope's `id` and the queue's message id differ.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(String);

impl EventId {
    /// `None` unless `text` is 1 to 128 bytes of ASCII letters, digits, `-`, `_`, `.` and `:`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        (!text.is_empty() && text.len() <= MAX_EVENT_ID_BYTES && text.bytes().all(plain))
            .then(|| Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// An AWS account: twelve digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(String);

impl AccountId {
    /// `None` unless `text` is twelve ASCII digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// An AWS region. The shape is checked and no list is: new regions appear, and the name becomes part of a
/// host name, so nothing but lower-case letters, digits and inner hyphens may stand in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Region(String);

impl Region {
    /// `None` unless `text` is 1 to 32 bytes of lower-case letters, digits and inner hyphens, a letter first.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = text.len() <= MAX_REGION_BYTES
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && !text.ends_with('-')
            && text.bytes().all(plain);
        fits.then(|| Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Region {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The partition that a region belongs to, by the prefix of its name.
#[must_use]
pub fn partition_of(region: &Region) -> &'static str {
    const PREFIXES: [(&str, &str); 7] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("us-isof-", "aws-iso-f"),
        ("eu-isoe-", "aws-iso-e"),
        ("eusc-", "aws-eusc"),
    ];
    PREFIXES
        .iter()
        .find(|(prefix, _)| region.as_str().starts_with(prefix))
        .map_or("aws", |(_, partition)| partition)
}

/// A trail's ARN, taken apart: `arn:aws:cloudtrail:eu-west-1:111122223333:trail/management-events`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TrailArn {
    partition: String,
    region: Region,
    account: AccountId,
    name: String,
}

impl TrailArn {
    /// `None` unless `text` is a whole ARN of a trail.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        let (arn, partition, service) = (parts.next()?, parts.next()?, parts.next()?);
        let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
        let name = resource.strip_prefix("trail/")?;
        let partition_fits = partition.starts_with("aws")
            && partition.len() <= MAX_REGION_BYTES
            && partition.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        if arn != "arn" || service != "cloudtrail" || !partition_fits || !is_trail_name(name) {
            return None;
        }
        Some(Self {
            partition: partition.to_owned(),
            region: Region::parse(region)?,
            account: AccountId::parse(account)?,
            name: name.to_owned(),
        })
    }

    /// The first trail ARN that stands anywhere in `message`, such as in the text of an access denial.
    #[must_use]
    pub fn find(message: &str) -> Option<Self> {
        find_arn(message, Self::parse)
    }

    /// The trail as an event names it, with the event's account and region where the name is not an ARN: always a whole
    /// ARN, so that no call can reach a trail of the same name in another account. `None` if it names none, or if account
    /// or region are not known.
    #[must_use]
    pub fn complete(
        trail: Option<&str>,
        account: Option<&AccountId>,
        region: Option<&Region>,
    ) -> Option<Self> {
        let trail = trail?;
        if let Some(arn) = Self::parse(trail) {
            return Some(arn);
        }
        let (account, region) = (account?.clone(), region?.clone());
        let partition = partition_of(&region).to_owned();
        is_trail_name(trail).then(|| Self { partition, region, account, name: trail.to_owned() })
    }

    /// The region in the ARN: the trail's home region.
    #[must_use]
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// The account in the ARN: the trail's owner.
    #[must_use]
    pub fn account(&self) -> &AccountId {
        &self.account
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for TrailArn {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let Self { partition, region, account, name } = self;
        write!(formatter, "arn:{partition}:cloudtrail:{region}:{account}:trail/{name}")
    }
}

/// CloudTrail's rule for names is 3 to 128 of these characters; shorter ones are left to CloudTrail to refuse.
fn is_trail_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !text.is_empty() && text.len() <= MAX_TRAIL_NAME_BYTES && text.bytes().all(plain)
}

/// The name in a trail's ARN, whose account and region stand beside it; anything else as it is.
#[must_use]
pub fn trail_name(resource: &str) -> &str {
    match TrailArn::parse(resource) {
        Some(_) => resource.rsplit('/').next().unwrap_or(resource),
        None => resource,
    }
}

/// The first ARN in `message` of which `read` makes something.
pub(super) fn find_arn<T>(message: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
    message.match_indices("arn:").find_map(|(start, _)| {
        let rest = &message.as_bytes()[start..message.len().min(start + MAX_ARN_BYTES)];
        let in_arn = |byte: &&u8| byte.is_ascii_alphanumeric() || b":/-_.".contains(byte);
        let length = rest.iter().take_while(in_arn).count();
        // A sentence may end right behind the ARN, and a name cannot end in a dot.
        read(message[start..start + length].trim_end_matches(['.', ':', '/']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_is_found_in_what_aws_says_of_a_denied_call() {
        let denied = "User: arn:aws:iam::111111111111:user/eve is not authorized to perform: \
            cloudtrail:DeleteTrail on resource: arn:aws-us-gov:cloudtrail:us-gov-west-1:222233334444:trail/audit \
            because no identity-based policy allows it";
        let found = TrailArn::find(denied).expect("an ARN stands in it");
        assert_eq!(found.to_string(), "arn:aws-us-gov:cloudtrail:us-gov-west-1:222233334444:trail/audit");
        assert_eq!(TrailArn::find("Unknown trail: arn:aws:cloudtrail:eu-west-1:1:trail/x"), None);
        let ended = "No such trail: arn:aws:cloudtrail:eu-west-1:111122223333:trail/x.";
        assert_eq!(TrailArn::find(ended).expect("found").name(), "x");
        assert_eq!(TrailArn::find("arn:arn:aws:cloudtrail:é"), None);
    }

    #[test]
    fn a_region_that_is_no_host_label_is_refused() {
        for good in ["us-east-1", "us-gov-west-1", "apiso-centralnorth-2r", "cn-northsouth-2r"] {
            assert!(Region::parse(good).is_some(), "{good}");
        }
        for bad in ["", "-a", "a-", "us east", "evil.com/x", "US-EAST-1", "a@b", "é", &"a".repeat(33)] {
            assert!(Region::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_bare_name_is_completed_by_the_account_and_region_of_the_event() {
        let (account, region) = (AccountId::parse("111122223333"), Region::parse("cn-north-1"));
        let target = TrailArn::complete(Some("audit"), account.as_ref(), region.as_ref()).expect("complete");
        assert_eq!(target.to_string(), "arn:aws-cn:cloudtrail:cn-north-1:111122223333:trail/audit");
        let none = |trail, account: Option<&AccountId>, region| {
            assert_eq!(TrailArn::complete(trail, account, region), None, "{trail:?}");
        };
        none(None, account.as_ref(), region.as_ref());
        none(Some("a b"), account.as_ref(), region.as_ref());
        none(Some("audit"), None, region.as_ref());
        none(Some("audit"), account.as_ref(), None);
    }
}
