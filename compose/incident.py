"""Plays an incident against the running stack: mallory stops the trail, and trailkeeper should restart it and tell.

No emulator makes an event of StopLogging, so this puts it on EventBridge's bus itself, as CloudTrail would.
Every line is about what was just asked of a service and answered; none is there because trailkeeper says so.
Exits with 1 if the trail is not restarted, or nobody is told, within a minute.
"""

import json
import os
import sys
import textwrap
import time
import urllib.error
import urllib.request
import uuid

TRAIL = "audit"
QUEUE = "trailkeeper-events"
SLACK = "http://slack:8080/messages"
PATIENCE = 60
ACCOUNT, REGION = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_REGION"]
AWS = os.environ["AWS_ENDPOINT_URL"]
CLOUDTRAIL = os.environ.get("AWS_ENDPOINT_URL_CLOUDTRAIL", AWS)

started = time.monotonic()


def tell(who, what):
    print(f"{time.monotonic() - started:7.2f} s  {who:<11}  {what}")


def fetch(request):
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def aws(endpoint, service, target, request):
    """One call. Emulators read service, region and account from the signature, and do not check it."""
    scope = f"{ACCOUNT}/20260101/{REGION}/{service}/aws4_request"
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": target,
        "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=none",
    }
    return fetch(urllib.request.Request(endpoint, json.dumps(request).encode(), headers))


def cloudtrail(action):
    prefix = "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101"
    return aws(CLOUDTRAIL, "cloudtrail", f"{prefix}.{action}", {"Name": TRAIL})


def is_logging():
    return cloudtrail("GetTrailStatus")["IsLogging"]


def messages_in(queue):
    """How many are waiting in a queue, and how many are being worked on."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    request = {"QueueUrl": f"{AWS}/{ACCOUNT}/{queue}", "AttributeNames": names}
    attributes = aws(AWS, "sqs", "AmazonSQS.GetQueueAttributes", request)["Attributes"]
    return [int(attributes[name]) for name in names]


def stop_event(event_id):
    """What CloudTrail records of the call."""
    return {
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "IAMUser",
            "principalId": "AIDAEXAMPLEEXAMPLE",
            "arn": f"arn:aws:iam::{ACCOUNT}:user/mallory",
            "accountId": ACCOUNT,
            "accessKeyId": "AKIAEXAMPLEEXAMPLE",
            "userName": "mallory",
        },
        "eventTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "eventSource": "cloudtrail.amazonaws.com",
        "eventName": "StopLogging",
        "awsRegion": REGION,
        "sourceIPAddress": "203.0.113.7",
        "userAgent": "aws-cli/2.31.1",
        "requestParameters": {"name": TRAIL},
        "responseElements": None,
        "eventID": event_id,
        "readOnly": False,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": ACCOUNT,
        "eventCategory": "Management",
    }


def publish(event_id):
    entry = {
        "Source": "aws.cloudtrail",
        "DetailType": "AWS API Call via CloudTrail",
        "Detail": json.dumps(stop_event(event_id)),
    }
    refused = aws(AWS, "events", "AWSEvents.PutEvents", {"Entries": [entry]})["FailedEntryCount"]
    if refused:
        sys.exit("EventBridge refused the event")


def play():
    """Whether all was seen that should be."""
    event_id = str(uuid.uuid4())
    tell("CloudTrail", f"the trail {TRAIL} is {'logging' if is_logging() else 'not logging'}")
    cloudtrail("StopLogging")
    tell("mallory", f"calls StopLogging: {TRAIL} is {'still logging' if is_logging() else 'off'}")
    publish(event_id)
    tell("EventBridge", f"takes the event {event_id}")

    restarted, told, settled = False, 0, False
    ended = False
    while time.monotonic() - started < PATIENCE:
        if not restarted and is_logging():
            restarted = True
            tell("CloudTrail", f"{TRAIL} is logging again")
        posts = [post["message"]["text"] for post in fetch(SLACK) if event_id in json.dumps(post)]
        for text in posts[told:]:
            tell("Slack", "shows a message:")
            print(textwrap.indent(textwrap.fill(text, 72), " " * 24 + "| "))
            # A restart that takes long is told twice: first that it does.
            ended = ended or "restarted and verified" in text
        told = len(posts)
        waiting, worked_on = messages_in(QUEUE)
        settled = waiting + worked_on == 0
        if restarted and ended and settled:
            break
        time.sleep(0.05)

    for queue in (QUEUE, f"{QUEUE}-dlq"):
        waiting, worked_on = messages_in(queue)
        tell("SQS", f"{queue}: {waiting} waiting, {worked_on} being worked on")
    for seen, what in [
        (restarted, "the trail was restarted"),
        (ended, "Slack was told how it ended"),
        (settled, "the message was deleted from the queue"),
    ]:
        print(f"  {'observed' if seen else 'MISSING ':<8}  {what}")
    return restarted and ended and settled


try:
    sys.exit(0 if play() else 1)
except (urllib.error.URLError, ConnectionError) as error:
    sys.exit(f"a service does not answer ({error}): is the stack up? docker compose up --detach")
