"""Sets the stage: the queues, the rules and the table that Terraform makes in an account, and a trail to watch in it
and in a member account.

LocalStack runs this at every start, once it is ready (a "ready" init hook). LocalStack forgets all when it
stops, and moto does not: a trail that is there already is left as it is, stopped or not.
"""

import json
import os

import boto3

QUEUE = "trailkeeper-events"
RULE = "trailkeeper"
TABLE = "trailkeeper"
TRAIL = "audit"
BUCKET = "trailkeeper-audit-logs"
MEMBER_ACCOUNT = "444455556666"
MEMBER_TRAIL = "payments"
MEMBER_BUCKET = "trailkeeper-payments-logs"
# Terraform reads the same file.
PATTERNS = "/etc/trailkeeper/event-patterns.json"
# Those that Terraform makes rules for unasked.
SOURCES = ["cloudtrail", "organizations", "iam", "account"]
DAYS = 24 * 60 * 60
REGION = os.environ["AWS_REGION"]


def client(service, session=boto3):
    """Which server each service is on stands in the environment: AWS_ENDPOINT_URL and its like."""
    return session.client(service, region_name=REGION)


def in_member_account():
    """moto knows by the role that was assumed in which account a call is made. The role need not be there."""
    role = f"arn:aws:iam::{MEMBER_ACCOUNT}:role/administrator"
    answer = client("sts").assume_role(RoleArn=role, RoleSessionName="init")["Credentials"]
    return boto3.Session(answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"])


def make_queue(sqs, name, attributes):
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def make_queues_and_rules():
    sqs, events = client("sqs"), client("events")
    # Longer than the queue's own: a dead letter keeps the time at which it was first sent.
    dead_letters, dead_letters_arn = make_queue(sqs, f"{QUEUE}-dlq", {"MessageRetentionPeriod": str(14 * DAYS)})
    # Receives are not attempts, and deploys raise them: the worker counts attempts itself, and this is only the
    # last resort.
    redrive = {"deadLetterTargetArn": dead_letters_arn, "maxReceiveCount": 20}
    queue, queue_arn = make_queue(
        sqs,
        QUEUE,
        {
            "VisibilityTimeout": "40",
            "ReceiveMessageWaitTimeSeconds": "20",
            "MessageRetentionPeriod": str(4 * DAYS),
            "RedrivePolicy": json.dumps(redrive),
        },
    )
    allow = {"redrivePermission": "byQueue", "sourceQueueArns": [queue_arn]}
    sqs.set_queue_attributes(QueueUrl=dead_letters, Attributes={"RedriveAllowPolicy": json.dumps(allow)})
    with open(PATTERNS) as file:
        patterns = json.load(file)
    names = {source: RULE if source == "cloudtrail" else f"{RULE}-{source}" for source in SOURCES}
    rules = [
        events.put_rule(Name=name, EventPattern=json.dumps(patterns[source]))["RuleArn"]
        for source, name in names.items()
    ]
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": queue_arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": rules}},
            }
        ],
    }
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(policy)})
    for name in names.values():
        events.put_targets(Rule=name, Targets=[{"Id": QUEUE, "Arn": queue_arn}])


def make_table():
    dynamodb = client("dynamodb")
    if TABLE in dynamodb.list_tables()["TableNames"]:
        return
    dynamodb.create_table(
        TableName=TABLE,
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    expires = {"AttributeName": "expires_at", "Enabled": True}
    dynamodb.update_time_to_live(TableName=TABLE, TimeToLiveSpecification=expires)


def make_trail(session, name, bucket):
    cloudtrail = client("cloudtrail", session)
    if cloudtrail.describe_trails(trailNameList=[name])["trailList"]:
        return
    location = {"LocationConstraint": REGION}
    client("s3", session).create_bucket(Bucket=bucket, CreateBucketConfiguration=location)
    cloudtrail.create_trail(Name=name, S3BucketName=bucket)
    cloudtrail.start_logging(Name=name)


make_table()
make_trail(boto3, TRAIL, BUCKET)
make_trail(in_member_account(), MEMBER_TRAIL, MEMBER_BUCKET)
# Last: a worker that finds its queue finds everything.
make_queues_and_rules()
