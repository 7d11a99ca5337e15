"""Every `aws` command that the pages show does what it is for, by the real AWS CLI against moto.

A command runs as it stands in the page. What the pages' names mean is made anew before each.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from unittest.mock import patch

import boto3
import pytest
from moto.server import ThreadedMotoServer

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), REPOSITORY / "infra/README.md"])
# Longer than any command takes on a slow machine: a hang must end.
TIMEOUT = 60

# The pages' names, as the table in docs/runbook.md has them.
REGION = "eu-west-1"
ACCOUNT = "111122223333"
TRAIL = "management-events"
NAME = "trailkeeper"
CONTAINER = "worker"
SUBNET = "subnet-0123456789abcdef0"
QUEUES = {f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}": name for name in (NAME, f"{NAME}-dlq", f"{NAME}-undelivered")}
LOG_GROUP = f"/ecs/{NAME}"
SECRET = f"{NAME}/slack-webhook"
LOG_BUCKET = "example-cloudtrail-logs"
LOG_FOLDER = f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2026/11/22/"

WEBHOOK = "https://hooks.slack.com/services/T000/B000/new"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION}


def commands():
    """The lines that call aws in the pages' sh fences, each with the first place where it stands."""
    found = {}
    for page in PAGES:
        in_fence = False
        for number, line in enumerate(page.read_text().splitlines(), 1):
            line = line.strip()
            if line.startswith("```"):
                in_fence = line == "```sh"
            elif in_fence and re.search(r"(^|[\s(|;&])aws\s", line):
                found.setdefault(line, f"{page.relative_to(REPOSITORY)}:{number}")
    return found


def words_of(line):
    """A line's words. Of what a shell would work out, a time some seconds ago is all that the pages have."""
    line = re.sub(r"\$\(\(\$\(date \+%s\) - (\d+)\)\)", lambda ago: str(int(time.time()) - int(ago[1])), line)
    return shlex.split(line, comments=True)


def option(words, name):
    return words[words.index(name) + 1]


# Each of these prepares for a command, yields what is typed into it, is sent what it printed, and looks at what it did.


def get_trail_status(aws, words, folder):
    make_trail(aws)
    printed = yield
    assert json.loads(printed)["IsLogging"] is False


def start_logging(aws, words, folder):
    make_trail(aws)
    yield
    assert aws("cloudtrail").get_trail_status(Name=TRAIL)["IsLogging"] is True


def make_trail(aws):
    make_bucket(aws)
    aws("cloudtrail").create_trail(Name=TRAIL, S3BucketName=LOG_BUCKET)


def make_bucket(aws):
    aws("s3").create_bucket(Bucket=LOG_BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})


def copy_log_files(aws, words, folder):
    make_bucket(aws)
    aws("s3").put_object(Bucket=LOG_BUCKET, Key=f"{LOG_FOLDER}a.json.gz", Body=b"a log file")
    aws("s3").put_object(Bucket=LOG_BUCKET, Key=f"{LOG_FOLDER}b.json.gz", Body=b"another")
    yield
    # Where the next command in the page looks for them.
    assert {file.name: file.read_bytes() for file in folder.glob("missed/*.json.gz")} == {
        "a.json.gz": b"a log file",
        "b.json.gz": b"another",
    }


def receive_message(aws, words, folder):
    queue = make_queues(aws)[option(words, "--queue-url")]
    why = {"ERROR_CODE": {"DataType": "String", "StringValue": "NO_PERMISSIONS"}}
    aws("sqs").send_message(QueueUrl=queue, MessageBody="an event", MessageAttributes=why)
    printed = yield
    [message] = json.loads(printed)["Messages"]
    assert message["Body"] == "an event"
    assert message["MessageAttributes"] == why
    assert message["ReceiptHandle"]


def set_queue_attributes(aws, words, folder):
    queue = make_queues(aws)[option(words, "--queue-url")]
    text = option(words, "--attributes")
    wanted = json.loads(text) if text.startswith("{") else dict(pair.split("=") for pair in text.split(","))
    before = attributes(aws, queue)
    yield
    now = attributes(aws, queue)
    for name, value in wanted.items():
        assert before.get(name) != now[name]
        assert json.loads(now[name]) == json.loads(value)


def attributes(aws, queue):
    return aws("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]


def make_queues(aws):
    """moto's URLs of the queues, by their URLs in the pages."""
    return {url: aws("sqs").create_queue(QueueName=name)["QueueUrl"] for url, name in QUEUES.items()}


def update_time_to_live(aws, words, folder):
    key = {"AttributeName": "pk"}
    aws("dynamodb").create_table(
        TableName=NAME,
        KeySchema=[key | {"KeyType": "HASH"}],
        AttributeDefinitions=[key | {"AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    yield
    ttl = aws("dynamodb").describe_time_to_live(TableName=NAME)["TimeToLiveDescription"]
    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}


def describe_services(aws, words, folder):
    make_service(aws)
    printed = yield
    [service] = json.loads(printed)["services"]
    assert service["serviceName"] == NAME
    assert {"runningCount", "desiredCount", "events"} <= service.keys()


def update_service(aws, words, folder):
    make_service(aws)
    before = service(aws)
    yield
    now = service(aws)
    options = {word for word in words if word.startswith("--")} - {"--cluster", "--service"}
    assert options
    for name in options:
        match name:
            case "--force-new-deployment":
                assert now["deployments"][0]["id"] != before["deployments"][0]["id"]
            case "--task-definition":
                assert before["taskDefinition"] != now["taskDefinition"] == option(words, name)
            case "--desired-count":
                assert before["desiredCount"] != now["desiredCount"] == int(option(words, name))
            case _:
                pytest.fail(f"the test does not know what {name} does")


def run_task(aws, words, folder):
    make_service(aws)
    [vpc] = aws("ec2").describe_vpcs()["Vpcs"]
    # moto runs in this process, and would think of a name of its own.
    with patch("moto.ec2.models.subnets.random_subnet_id", return_value=SUBNET):
        aws("ec2").create_subnet(VpcId=vpc["VpcId"], CidrBlock="172.31.128.0/20")
    yield
    [arn] = aws("ecs").list_tasks(cluster=NAME)["taskArns"]
    [task] = aws("ecs").describe_tasks(cluster=NAME, tasks=[arn])["tasks"]
    assert task["launchType"] == "FARGATE"
    assert task["taskDefinitionArn"].endswith(f":task-definition/{NAME}:2")
    assert task["overrides"] == {"containerOverrides": [{"name": CONTAINER, "command": ["check"]}]}


def make_service(aws):
    """One task of the second revision."""
    ecs = aws("ecs")
    ecs.create_cluster(clusterName=NAME)
    for revision in ("old", "new"):
        ecs.register_task_definition(
            family=NAME,
            requiresCompatibilities=["FARGATE"],
            networkMode="awsvpc",
            cpu="256",
            memory="512",
            containerDefinitions=[{"name": CONTAINER, "image": revision, "memory": 512}],
        )
    ecs.create_service(cluster=NAME, serviceName=NAME, taskDefinition=NAME, desiredCount=1, launchType="FARGATE")


def service(aws):
    [found] = aws("ecs").describe_services(cluster=NAME, services=[NAME])["services"]
    return found


def filter_log_events(aws, words, folder):
    logs, stream = aws("logs"), {"logGroupName": LOG_GROUP, "logStreamName": f"worker/{CONTAINER}/1"}
    logs.create_log_group(logGroupName=LOG_GROUP)
    logs.create_log_stream(**stream)
    # No page looks further back than an hour.
    lines = {120: "too old", 2: '{"outcome":"restored"}', 1: "trailkeeper: ended"}
    now = int(time.time() * 1000)
    logs.put_log_events(**stream, logEvents=[{"timestamp": now - 60_000 * ago, "message": line} for ago, line in lines.items()])
    printed = yield
    assert printed.splitlines() == ['{"outcome":"restored"}', "trailkeeper: ended"]


def create_secret(aws, words, folder):
    yield WEBHOOK
    assert aws("secretsmanager").get_secret_value(SecretId=SECRET)["SecretString"] == WEBHOOK


def put_secret_value(aws, words, folder):
    aws("secretsmanager").create_secret(Name=SECRET, SecretString="an old webhook")
    yield WEBHOOK
    assert aws("secretsmanager").get_secret_value(SecretId=SECRET)["SecretString"] == WEBHOOK


PREPARATIONS = {
    "aws cloudtrail get-trail-status": get_trail_status,
    "aws cloudtrail start-logging": start_logging,
    "aws dynamodb update-time-to-live": update_time_to_live,
    "aws ecs describe-services": describe_services,
    "aws ecs run-task": run_task,
    "aws ecs update-service": update_service,
    "aws logs filter-log-events": filter_log_events,
    "aws s3 cp": copy_log_files,
    "aws secretsmanager create-secret": create_secret,
    "aws secretsmanager put-secret-value": put_secret_value,
    "aws sqs receive-message": receive_message,
    "aws sqs set-queue-attributes": set_queue_attributes,
}
COMMANDS = commands()


@pytest.fixture(scope="module")
def server():
    """The address of an AWS with nothing in it but the pages' account."""
    os.environ["MOTO_ACCOUNT_ID"] = ACCOUNT
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    yield "http://{}:{}".format(*moto.get_host_and_port())
    moto.stop()


@pytest.fixture
def aws(server):
    """Clients of an AWS that is empty."""
    urllib.request.urlopen(urllib.request.Request(f"{server}/moto-api/reset", method="POST")).close()
    keys = {name.lower(): value for name, value in CREDENTIALS.items() if "KEY" in name}
    return lambda name: boto3.client(name, endpoint_url=server, region_name=REGION, **keys)


@pytest.mark.parametrize(("line", "place"), COMMANDS.items(), ids=COMMANDS.values())
def test_a_command_does_what_it_is_for(line, place, server, aws, tmp_path):
    words = words_of(line)
    prepare = PREPARATIONS.get(" ".join(words[:3]))
    if prepare is None:
        pytest.fail(f"{place}: the test does not know what to prepare for this, tell it in PREPARATIONS:\n{line}", pytrace=False)
    environment = {
        **CREDENTIALS,
        "AWS_ENDPOINT_URL": server,
        "AWS_PAGER": "",
        # Which refuses: nothing may be asked of a real AWS.
        "HTTPS_PROXY": server,
        "HOME": str(tmp_path),
        "PATH": str(Path(sys.executable).parent),
    }
    # Version 1 of the CLI has SQS's endpoints written into it, and looks at no variable.
    endpoint = ["--endpoint-url", server] if words[1] == "sqs" else []
    steps = prepare(aws, words, tmp_path)
    done = subprocess.run(
        words + endpoint, input=next(steps) or "", env=environment, cwd=tmp_path, timeout=TIMEOUT, capture_output=True, text=True
    )
    if done.returncode != 0:
        pytest.fail(f"{place}: status {done.returncode}:\n{line}\n{done.stderr}", pytrace=False)
    with pytest.raises(StopIteration):
        steps.send(done.stdout)


def test_the_pages_show_what_is_prepared_for():
    shown = {" ".join(words_of(line)[:3]) for line in COMMANDS}
    assert shown, "the pages show no command at all"
    assert PREPARATIONS.keys() <= shown, "no page shows these any more"
