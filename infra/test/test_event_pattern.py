"""Which events the rules take, by EventBridge's matching rules as moto has them."""

import json
from pathlib import Path

import pytest
from conftest import planned
from moto.events.models import EventPattern

REPOSITORY = Path(__file__).resolve().parents[2]
FIXTURES = sorted((REPOSITORY / "tests/fixtures").glob("*.json"))
# Events recorded on real accounts, where there is a copy of them.
RECORDED = sorted((REPOSITORY / "../shared/events").glob("*.json"))

# By source. `cargo test` holds them to the calls that the worker knows.
CALLS = {
    source: pattern["detail"]["eventName"]
    for source, pattern in json.loads((REPOSITORY / "infra/modules/pipeline/event-patterns.json").read_text()).items()
}
ALL = [(source, name) for source, names in CALLS.items() for name in names]
# What EventBridge takes for a pattern, in characters.
MAX_PATTERN = 2048
# As in the run of pipeline's tests that the patterns are read from.
BUCKET = "example-cloudtrail-logs"
KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"
OTHER_KEY = "mrk-1234abcd12ab34cd56ef1234567890ab"


@pytest.fixture(scope="module")
def patterns(tmp_path_factory):
    """The patterns of the rules on the default bus, by source, as Terraform renders them."""
    resources = planned("pipeline", "pipeline.tftest.hcl", "buckets_and_keys", tmp_path_factory.mktemp("pipeline"))
    rules = [rule for address, rule in resources.items() if address.startswith("aws_cloudwatch_event_rule.")]
    return {json.loads(rule["event_pattern"])["source"][0].removeprefix("aws."): rule["event_pattern"] for rule in rules}


@pytest.fixture
def takers(patterns):
    """The sources whose rules take an event."""
    return lambda event: [source for source, pattern in patterns.items() if EventPattern.load(pattern).matches_event(event)]


def envelope(detail, **changes):
    """What EventBridge makes of a CloudTrail record."""
    return {
        "version": "0",
        "id": "5f1b6a1c-0000-4000-8000-000000000001",
        "detail-type": "AWS API Call via CloudTrail",
        "source": "aws.cloudtrail",
        "account": "111122223333",
        "time": "2026-11-20T09:15:02Z",
        "region": "eu-west-1",
        "resources": [],
        "detail": detail,
        **changes,
    }


def call(name="StopLogging", **changes):
    """A record of a call, as far as the pattern looks."""
    return {"eventSource": "cloudtrail.amazonaws.com", "eventName": name, "eventID": "3b8f0a52", **changes}


def call_to(source, name, parameters=None):
    """The event of a call to a service; without parameters, as of one that was denied."""
    return envelope(call(name, eventSource=f"{source}.amazonaws.com", requestParameters=parameters), source=f"aws.{source}")


def test_each_pattern_is_one_that_eventbridge_takes(patterns):
    assert patterns.keys() == CALLS.keys()
    for pattern in patterns.values():
        assert len(pattern) < MAX_PATTERN


@pytest.mark.parametrize("file", FIXTURES + RECORDED, ids=lambda file: file.stem)
def test_takes_a_recorded_event_that_weakens_cloudtrail_and_no_other(file, takers):
    event = json.loads(file.read_text())
    if "detail" not in event:
        event = envelope(event)
    assert takers(event) == (["cloudtrail"] if event["detail"]["eventName"] in CALLS["cloudtrail"] else [])


@pytest.mark.parametrize(("source", "name"), ALL)
def test_one_rule_takes_each_call(source, name, takers):
    parameters = {"s3": {"bucketName": BUCKET, "Host": "…"}, "kms": {"keyId": KEY, "pendingWindowInDays": 7}}
    assert takers(call_to(source, name, parameters.get(source, {"name": "audit"}))) == [source]


@pytest.mark.parametrize(
    "event",
    [
        envelope(call(errorCode="AccessDenied", errorMessage="…", requestParameters=None)),
        envelope(call(errorCode="TrailNotFoundException")),
        envelope(call(unknown={"eventName": "Other"}), unknown=1),
        envelope(call(), region="us-gov-west-1", account="999999999999"),
    ],
    ids=["denied", "no such trail", "unknown fields", "another account and Region"],
)
def test_takes_attempts_and_what_it_need_not_know(event, takers):
    assert takers(event) == ["cloudtrail"]


@pytest.mark.parametrize(
    ("source", "name", "parameters"),
    [
        # Denied, or padded until CloudTrail left the parameters out.
        *[(source, name, parameters) for source, name in ALL if source not in ("s3", "kms") for parameters in (None, {}, {"omitted": True})],
        ("organizations", "DisableAWSServiceAccess", {"servicePrincipal": "cloudtrail.amazonaws.com"}),
        ("organizations", "DeregisterDelegatedAdministrator", {"servicePrincipal": "cloudtrail.amazonaws.com", "accountId": "…"}),
        ("organizations", "DetachPolicy", {"policyId": "p-examplepolicyid", "targetId": "r-abcd"}),
        ("iam", "DeleteServiceLinkedRole", {"roleName": "AWSServiceRoleForCloudTrail"}),
        ("kms", "DisableKey", {"keyId": f"arn:aws:kms:us-east-1:999999999999:key/{KEY}"}),
        ("kms", "DisableKey", {"keyId": OTHER_KEY}),
        ("kms", "DisableKey", {"keyId": f"arn:aws:kms:eu-west-1:111122223333:key/{OTHER_KEY}"}),
    ],
)
def test_takes_what_concerns_cloudtrail_or_may(source, name, parameters, takers):
    assert takers(call_to(source, name, parameters)) == [source]


@pytest.mark.parametrize(
    ("source", "name", "parameters"),
    [
        ("organizations", "DisableAWSServiceAccess", {"servicePrincipal": "config.amazonaws.com"}),
        ("organizations", "DeregisterDelegatedAdministrator", {"servicePrincipal": "cloudtrail.amazonaws.com.example"}),
        ("organizations", "EnableAWSServiceAccess", {"servicePrincipal": "cloudtrail.amazonaws.com"}),
        ("organizations", "AttachPolicy", None),
        ("iam", "DeleteServiceLinkedRole", {"roleName": "AWSServiceRoleForSupport"}),
        ("iam", "DeleteRole", {"roleName": "AWSServiceRoleForCloudTrail"}),
        ("account", "EnableRegion", {"RegionName": "af-south-1"}),
        ("s3", "DeleteBucket", {"bucketName": "pictures"}),
        ("s3", "DeleteBucket", {"bucketName": f"{BUCKET}-3"}),
        ("s3", "PutObject", {"bucketName": BUCKET}),
        # It could be anybody's.
        *[(source, name, parameters) for source, name in ALL if source in ("s3", "kms") for parameters in (None, {})],
        ("kms", "DisableKey", {"keyId": "abcd1234-ab12-cd34-ef56-abcdef123456"}),
        ("kms", "DisableKey", {"keyId": f"{KEY}0"}),
        ("kms", "EnableKey", {"keyId": KEY}),
        # Only a rule that names the resource can tell these from an account's everyday.
        ("logs", "DeleteLogGroup", None),
        ("sns", "DeleteTopic", None),
        ("events", "DisableRule", None),
        ("sqs", "PurgeQueue", None),
        ("guardduty", "DeleteDetector", None),
    ],
)
def test_leaves_what_concerns_something_else(source, name, parameters, takers):
    assert takers(call_to(source, name, parameters)) == []


@pytest.mark.parametrize(
    "event",
    [
        # Anybody may put an event with any source but one that begins with "aws.".
        envelope(call(), source="com.example.cloudtrail"),
        envelope(call(), source="aws.cloudtrail.example"),
        envelope(call(), source="AWS.CloudTrail"),
        envelope(call(), source="aws.s3"),
        envelope(call(), source="aws.iam"),
        envelope(call(), source=None),
        envelope(call(), **{"detail-type": "AWS Service Event via CloudTrail"}),
        envelope(call(), **{"detail-type": "AWS Console Sign In via CloudTrail"}),
        envelope(call(), **{"detail-type": "AWS Console Action via CloudTrail"}),
        envelope(call(eventSource="s3.amazonaws.com")),
        envelope(call(eventSource="cloudtrail.amazonaws.com.example")),
        envelope(call("StartLogging")),
        envelope(call("CreateTrail")),
        envelope(call("GetTrailStatus")),
        envelope(call("LeaveOrganization")),
        envelope(call("stopLogging")),
        envelope(call("StopLoggingNow")),
        envelope(call("StopLoggin")),
        envelope(call("")),
        envelope(call(None)),
        envelope({"eventSource": "cloudtrail.amazonaws.com"}),
        envelope({"record": call()}),
        envelope(json.dumps(call())),
        envelope({}),
        {**call(), "source": "aws.cloudtrail", "detail-type": "AWS API Call via CloudTrail"},
        call(),
        {},
    ],
    ids=lambda event: json.dumps(event)[-60:],
)
def test_leaves_near_misses(event, takers):
    assert takers(event) == []
