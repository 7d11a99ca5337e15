//! The calls that stop or weaken CloudTrail, those on what it rests on, and those on what watches it: one row a call.
//!
//! MITRE ATT&CK T1685.002 (T1562.008 before its version 19). What a call asked for is judged elsewhere; a row says what the
//! call does by its name alone.

use super::trail::{TrailArn, find_arn};

/// One call that this program reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// `eventSource`.
    pub service: &'static str,
    /// `eventName`.
    pub name: &'static str,
    pub about: About,
    pub effect: Effect,
    /// What it does, in a sentence. Nothing of it was looked at.
    pub means: &'static str,
    /// The parameter that must say this, for a call that concerns more than CloudTrail. Where it is missing or cannot be
    /// read, the call may concern CloudTrail.
    pub only: Option<(&'static str, &'static str)>,
}

/// What a call that succeeded does, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Stops a trail, which can be started again.
    Stops,
    /// Something no longer records, and this program cannot start it again.
    Ends,
    /// What would tell of it no longer does.
    Unwatches,
    /// Less is recorded, kept or shown than before.
    Weakens,
    /// The same, if it asks for that: the name does not say.
    MayWeaken,
    /// Nothing by itself: something that CloudTrail rests on is different now.
    MayMatter,
}

/// Declares what calls can be about: how people call it, and the parameters that name it, the first that is there.
macro_rules! about {
    ($($(#[$doc:meta])* $variant:ident = $label:literal, [$($parameter:literal),*]);+ $(;)?) => {
        /// What a call is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum About { $($(#[$doc])* $variant),+ }

        impl About {
            /// As people call it.
            #[must_use]
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label),+ }
            }

            /// The parameters that may name it, in this order.
            pub(super) fn parameters(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($parameter),*]),+ }
            }
        }
    };
}

about! {
    Trail = "Trail", ["name", "trailName"];
    /// A trail or an event data store.
    Recorder = "Trail or event data store", ["trailName", "eventDataStore"];
    EventDataStore = "Event data store", ["eventDataStore"];
    Channel = "Channel", ["channel"];
    Resource = "Resource", ["resourceArn"];
    /// Of CloudTrail, in an organization.
    DelegatedAdministrator = "Delegated administrator", ["delegatedAdminAccountId", "memberAccountId", "accountId"];
    Service = "Service", ["servicePrincipal"];
    /// An account that leaves the organization.
    Member = "Member account", ["accountId"];
    Policy = "Policy", ["policyId"];
    PolicyType = "Policy type", ["policyType"];
    Role = "Role", ["roleName"];
    DisabledRegion = "Disabled Region", ["regionName"];
    Bucket = "Bucket", ["bucketName"];
    Key = "Key", ["keyId"];
    LogGroup = "Log group", ["logGroupName"];
    Topic = "Topic", ["topicArn"];
    Rule = "Rule", ["name", "rule"];
    EventBus = "Event bus", ["name"];
    Queue = "Queue", ["queueUrl"];
    Detector = "Detector", ["detectorId"];
}

impl About {
    /// The first ARN of such a thing in what AWS says of a denied call, where up to three ARNs stand: the caller's, the
    /// resource's and a policy's. Of a bucket or a role, its name.
    pub(super) fn find(self, message: &str) -> Option<String> {
        // The caller's comes first, and callers may have chosen what stands in it.
        let message = message.split_once(" on resource: ").map_or(message, |(_, resource)| resource);
        let (service, kind) = match self {
            Self::Trail => return TrailArn::find(message).map(|arn| arn.to_string()),
            Self::EventDataStore => ("cloudtrail", "eventdatastore/"),
            Self::Role => ("iam", "role/"),
            Self::Bucket => ("s3", ""),
            Self::Key => ("kms", "key/"),
            _ => return None,
        };
        find_arn(message, |arn| {
            let parts: Vec<_> = arn.splitn(6, ':').collect();
            let [_, _, of, _, _, resource] = parts[..] else { return None };
            let found = of == service && resource.starts_with(kind) && resource.len() > kind.len();
            let named = match self {
                Self::Bucket => resource,
                Self::Role => resource.rsplit('/').next().unwrap_or(resource),
                _ => arn,
            };
            found.then(|| named.to_owned())
        })
    }

    /// Whether an account has many of these that have nothing to do with CloudTrail. Then the name of a call says little
    /// unless somebody chose the resource: the rule that sends it, or whoever replays a file.
    #[must_use]
    pub fn is_everyday(self) -> bool {
        matches!(
            self,
            Self::Bucket
                | Self::Key
                | Self::LogGroup
                | Self::Topic
                | Self::Rule
                | Self::EventBus
                | Self::Queue
                | Self::Detector
        )
    }
}

const CLOUDTRAIL: &str = "cloudtrail.amazonaws.com";
const ORGANIZATIONS: &str = "organizations.amazonaws.com";
const IAM: &str = "iam.amazonaws.com";
const ACCOUNT: &str = "account.amazonaws.com";
const S3: &str = "s3.amazonaws.com";
const KMS: &str = "kms.amazonaws.com";
const LOGS: &str = "logs.amazonaws.com";
const SNS: &str = "sns.amazonaws.com";
const EVENTS: &str = "events.amazonaws.com";
const SQS: &str = "sqs.amazonaws.com";
const GUARDDUTY: &str = "guardduty.amazonaws.com";

const fn call(
    service: &'static str,
    name: &'static str,
    about: About,
    effect: Effect,
    means: &'static str,
) -> Call {
    Call { service, name, about, effect, means, only: None }
}

impl Call {
    const fn only(self, parameter: &'static str, value: &'static str) -> Self {
        Self { only: Some((parameter, value)), ..self }
    }
}

/// All of them, by service.
#[rustfmt::skip]
pub const CALLS: &[Call] = {
    use About::{
        Bucket, Channel, DelegatedAdministrator, Detector, DisabledRegion, EventBus, EventDataStore, Key, LogGroup, Member, Policy,
        PolicyType, Queue, Recorder, Resource, Role, Rule, Service, Topic, Trail,
    };
    use Effect::{Ends, MayMatter, MayWeaken, Stops, Unwatches, Weakens};
    &[
        call(CLOUDTRAIL, "StopLogging", Trail, Stops,
            "The trail records nothing until it is started again."),
        call(CLOUDTRAIL, "DeleteTrail", Trail, Ends,
            "The trail is deleted: it records nothing any more, and cannot be started again."),
        call(CLOUDTRAIL, "UpdateTrail", Trail, MayWeaken,
            "It can point a trail at another bucket or key, or narrow what it covers."),
        call(CLOUDTRAIL, "PutEventSelectors", Trail, MayWeaken,
            "It replaces what a trail records: management, data and network events."),
        call(CLOUDTRAIL, "PutInsightSelectors", Recorder, MayWeaken,
            "It can switch off the detection of unusual activity."),
        call(CLOUDTRAIL, "StopEventDataStoreIngestion", EventDataStore, Ends,
            "The event data store takes in no events until its ingestion is started again."),
        call(CLOUDTRAIL, "DeleteEventDataStore", EventDataStore, Ends,
            "The event data store takes in no events, and is gone with what it holds in seven days unless it is restored."),
        call(CLOUDTRAIL, "UpdateEventDataStore", EventDataStore, MayWeaken,
            "It can narrow what an event data store takes in, how long it keeps that, and its protection from deletion."),
        call(CLOUDTRAIL, "DeregisterOrganizationDelegatedAdmin", DelegatedAdministrator, Weakens,
            "The account no longer manages the organization's trails."),
        call(CLOUDTRAIL, "RegisterOrganizationDelegatedAdmin", DelegatedAdministrator, MayMatter,
            "One more account may stop, change and delete the organization's trails."),
        call(CLOUDTRAIL, "PutEventConfiguration", Recorder, MayMatter,
            "It changes how events are aggregated and how large they may be."),
        call(CLOUDTRAIL, "PutResourcePolicy", Resource, MayMatter,
            "It changes who may use an event data store, a dashboard or a channel."),
        call(CLOUDTRAIL, "DeleteResourcePolicy", Resource, MayMatter,
            "Accounts that could use an event data store, a dashboard or a channel may no longer."),
        call(CLOUDTRAIL, "DisableFederation", EventDataStore, MayMatter,
            "Athena can no longer query the event data store."),
        call(CLOUDTRAIL, "DeleteChannel", Channel, MayMatter,
            "Events from outside of AWS no longer arrive by this channel."),
        call(CLOUDTRAIL, "UpdateChannel", Channel, MayMatter,
            "It can lead events from outside of AWS to another event data store."),

        call(ORGANIZATIONS, "DisableAWSServiceAccess", Service, Ends,
            "CloudTrail loses its access to the organization: the organization's trails are gone in every member account, and \
             those of the management account record that account alone. Enabling access again does not bring them back.")
            .only("servicePrincipal", CLOUDTRAIL),
        call(ORGANIZATIONS, "DeregisterDelegatedAdministrator", DelegatedAdministrator, Weakens,
            "The account no longer manages the organization's trails.").only("servicePrincipal", CLOUDTRAIL),
        call(ORGANIZATIONS, "LeaveOrganization", Member, Weakens,
            "The account leaves the organization: trails of the organization, if there are any, no longer record it."),
        call(ORGANIZATIONS, "RemoveAccountFromOrganization", Member, Weakens,
            "The account leaves the organization: trails of the organization, if there are any, no longer record it."),
        call(ORGANIZATIONS, "DetachPolicy", Policy, MayMatter,
            "What the policy forbade may be allowed now, such as stopping trails."),
        call(ORGANIZATIONS, "UpdatePolicy", Policy, MayMatter,
            "What the policy forbade may be allowed now, such as stopping trails."),
        call(ORGANIZATIONS, "DeletePolicy", Policy, MayMatter,
            "What the policy forbade may be allowed now, such as stopping trails."),
        call(ORGANIZATIONS, "DisablePolicyType", PolicyType, MayMatter,
            "No policy of this type forbids anything any more, such as stopping trails."),

        call(IAM, "DeleteServiceLinkedRole", Role, Weakens,
            "CloudTrail loses the role by which it reads the organization for its trails.")
            .only("roleName", "AWSServiceRoleForCloudTrail"),
        call(ACCOUNT, "DisableRegion", DisabledRegion, MayWeaken,
            "Once the Region is off, trails that live there no longer record, nor does an organization's trail of that Region in this account."),

        call(S3, "PutBucketLifecycle", Bucket, MayWeaken,
            "Log files may be deleted earlier than before."),
        call(S3, "PutBucketLifecycleConfiguration", Bucket, MayWeaken,
            "Log files may be deleted earlier than before."),
        call(S3, "DeleteBucket", Bucket, Weakens,
            "Log files can no longer be delivered, and anybody may take the bucket's name."),
        call(S3, "PutBucketPolicy", Bucket, MayWeaken,
            "CloudTrail may no longer be allowed to deliver log files, or others to read them."),
        call(S3, "DeleteBucketPolicy", Bucket, Weakens,
            "CloudTrail is no longer allowed to deliver log files to this bucket."),
        call(S3, "PutBucketVersioning", Bucket, MayMatter,
            "If it suspends versioning, log files that are overwritten or deleted are gone for good."),
        call(S3, "PutBucketReplication", Bucket, MayMatter,
            "It changes where copies of log files go."),
        call(S3, "DeleteBucketReplication", Bucket, MayMatter,
            "Log files are no longer copied elsewhere."),
        call(S3, "PutObjectLockConfiguration", Bucket, MayMatter,
            "It changes for how long new log files are kept from being deleted."),
        // Its name as an IAM action: which of the two is recorded is not documented.
        call(S3, "PutBucketObjectLockConfiguration", Bucket, MayMatter,
            "It changes for how long new log files are kept from being deleted."),
        call(S3, "PutBucketEncryption", Bucket, MayMatter,
            "New log files may be encrypted with another key, which others may not read or somebody may delete."),
        call(S3, "PutBucketAcl", Bucket, MayMatter,
            "It changes who may read or write log files."),

        call(KMS, "ScheduleKeyDeletion", Key, Weakens,
            "Log files can no longer be encrypted with this key, and after the waiting period none can be read."),
        call(KMS, "DisableKey", Key, Weakens,
            "Log files can no longer be encrypted with this key, and none can be read until it is enabled."),
        call(KMS, "PutKeyPolicy", Key, MayWeaken,
            "CloudTrail may no longer be allowed to encrypt log files, or others to read them."),
        call(KMS, "DeleteImportedKeyMaterial", Key, Weakens,
            "Log files can no longer be encrypted with this key, and none can be read until its material is imported again."),
        call(KMS, "RevokeGrant", Key, MayMatter,
            "Somebody may no longer use this key, such as to read log files."),

        call(LOGS, "DeleteLogGroup", LogGroup, Weakens,
            "A trail's events no longer reach this log group, and its filters and alarms see nothing."),
        call(LOGS, "DeleteSubscriptionFilter", LogGroup, Weakens,
            "Whoever took a trail's events from this log group no longer gets them."),
        call(LOGS, "PutRetentionPolicy", LogGroup, MayMatter,
            "It changes for how long a trail's events are kept in this log group."),
        call(SNS, "DeleteTopic", Topic, Weakens,
            "Whoever waits for word of new log files no longer gets it."),

        call(EVENTS, "DisableRule", Rule, Unwatches,
            "Events no longer reach trailkeeper by this rule."),
        call(EVENTS, "DeleteRule", Rule, Unwatches,
            "Events no longer reach trailkeeper by this rule."),
        call(EVENTS, "RemoveTargets", Rule, Unwatches,
            "Events no longer reach what this rule led them to."),
        call(EVENTS, "DeleteEventBus", EventBus, Unwatches,
            "Events no longer reach trailkeeper by this bus."),
        call(EVENTS, "PutRule", Rule, Unwatches,
            "It can narrow or disable the rule by which events reach trailkeeper."),
        call(EVENTS, "PutTargets", Rule, Unwatches,
            "It can change what reaches trailkeeper by this rule, or let invented events through."),
        call(SQS, "PurgeQueue", Queue, Unwatches,
            "What waited in this queue is gone."),
        call(SQS, "DeleteQueue", Queue, Unwatches,
            "Events no longer reach trailkeeper by this queue, and what waited in it is gone."),
        call(SQS, "SetQueueAttributes", Queue, Unwatches,
            "It can keep events out of this queue, let others write to it, or let what waits there expire."),
        call(GUARDDUTY, "DeleteDetector", Detector, Unwatches,
            "GuardDuty, which watches without any trail, is off in this Region."),
        call(GUARDDUTY, "UpdateDetector", Detector, Unwatches,
            "It can switch GuardDuty off in this Region, or make it report less often."),
    ]
};

/// The row of a call. An absent service is taken for the right one: the name alone then decides, and deciding wrongly costs
/// a call to CloudTrail, where ignoring wrongly would cost a trail.
pub(super) fn find(service: Option<&str>, name: &str) -> Option<&'static Call> {
    CALLS.iter().find(|call| call.name == name && service.is_none_or(|service| service == call.service))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_call_stands_once_and_says_what_it_does() {
        let all: BTreeSet<_> = CALLS.iter().map(|call| (call.service, call.name)).collect();
        assert_eq!(all.len(), CALLS.len());
        for call in CALLS {
            assert!(call.means.ends_with('.') && call.means.len() < 300, "{}", call.name);
        }
        assert_eq!(CALLS[0].effect, Effect::Stops);
    }
}
