"""Which events the rule takes, by EventBridge's matching rules as moto has them."""

import json
from pathlib import Path

import pytest
from moto.events.models import EventPattern

REPOSITORY = Path(__file__).resolve().parents[2]
PATTERN = EventPattern.load((REPOSITORY / "infra/modules/pipeline/event-pattern.json").read_text())
FIXTURES = sorted((REPOSITORY / "tests/fixtures").glob("*.json"))
# Events recorded on real accounts, where there is a copy of them.
RECORDED = sorted((REPOSITORY / "../shared/events").glob("*.json"))

WANTED = {
    "StopLogging",
    "DeleteTrail",
    "UpdateTrail",
    "PutEventSelectors",
    "PutInsightSelectors",
    "StopEventDataStoreIngestion",
    "DeleteEventDataStore",
    "UpdateEventDataStore",
    "DeregisterOrganizationDelegatedAdmin",
}


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


@pytest.mark.parametrize("file", FIXTURES + RECORDED, ids=lambda file: file.stem)
def test_takes_a_recorded_event_that_weakens_cloudtrail_and_no_other(file):
    event = json.loads(file.read_text())
    if "detail" not in event:
        event = envelope(event)
    assert PATTERN.matches_event(event) == (event["detail"]["eventName"] in WANTED)


@pytest.mark.parametrize("name", sorted(WANTED))
def test_takes_every_call_that_weakens_cloudtrail(name):
    assert PATTERN.matches_event(envelope(call(name)))


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
def test_takes_attempts_and_what_it_need_not_know(event):
    assert PATTERN.matches_event(event)


@pytest.mark.parametrize(
    "event",
    [
        # Anybody may put an event with any source but one that begins with "aws.".
        envelope(call(), source="com.example.cloudtrail"),
        envelope(call(), source="aws.cloudtrail.example"),
        envelope(call(), source="AWS.CloudTrail"),
        envelope(call(), source="aws.s3"),
        envelope(call(), source=None),
        envelope(call(), **{"detail-type": "AWS Service Event via CloudTrail"}),
        envelope(call(), **{"detail-type": "AWS Console Sign In via CloudTrail"}),
        envelope(call(), **{"detail-type": "AWS Console Action via CloudTrail"}),
        envelope(call(eventSource="s3.amazonaws.com")),
        envelope(call(eventSource="cloudtrail.amazonaws.com.example")),
        envelope(call("StartLogging")),
        envelope(call("CreateTrail")),
        envelope(call("GetTrailStatus")),
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
def test_leaves_near_misses(event):
    assert not PATTERN.matches_event(event)
