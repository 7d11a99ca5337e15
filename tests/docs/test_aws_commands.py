"""Every `aws` command that the pages show does what it is for, by the real AWS CLI against moto.

A command runs in a shell as it stands in the page, and where lines hang together the whole block does. What the pages' names
mean is made anew before each.
"""

import contextlib
import json
import os
import re
import shlex
import subprocess
import sysconfig
import time
import urllib.request
from pathlib import Path
from unittest.mock import patch

import boto3
import pytest
from moto.cloudtrail.responses import CloudTrailResponse
from moto.ecs.responses import EC2ContainerServiceResponse
from moto.moto_api import state_manager
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
TASK = "0123456789abcdef0123456789abcdef"
QUEUES = {f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}": name for name in (NAME, f"{NAME}-dlq", f"{NAME}-undelivered")}
LOG_GROUP = f"/ecs/{NAME}"
SECRET = f"{NAME}/slack-webhook"
LOG_BUCKET = "example-cloudtrail-logs"
LOG_FOLDER = f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2026/11/22/"

WEBHOOK = "https://hooks.slack.com/services/T000/B000/new"
# As a receipt handle stands in the pages.
HANDLE = "AQEBexample"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


def blocks(page):
    """The sh fences of a page, each with the number of its first line and its lines without what indents them all."""
    fence = None
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if fence is None:
            if line.strip() == "```sh":
                fence = (number + 1, [])
        elif line.strip() == "```":
            yield fence
            fence = None
        else:
            fence[1].append(line.strip())


def commands():
    """What calls aws in the pages' sh fences, each with the first place where it stands and what its page exports."""
    found = {}
    for page in PAGES:
        fences = list(blocks(page))
        exports = dict(re.findall(r"^export (\w+)=(.*)$", "\n".join(line for _, lines in fences for line in lines), re.MULTILINE))
        for first, lines in fences:
            hang_together = any(re.search(r"^\w+=\$\(|[|>]", unquoted(line)) for line in lines)
            parts = {first: "\n".join(lines)} if hang_together else {first + n: line for n, line in enumerate(lines)}
            for number, part in parts.items():
                if calls(part):
                    found.setdefault(part, (f"{page.relative_to(REPOSITORY)}:{number}", exports))
    return found


def unquoted(line):
    return re.sub(r"'[^']*'", "", line)


def calls(text):
    """The calls of aws in a text: `ecs run-task`, and of its waiters `ecs wait tasks-stopped`."""
    return re.findall(r"\baws ([a-z0-9]+ (?:wait )?[a-z][a-z-]*)", text)


def words_of(line):
    """A line's words, as far as a shell need not work them out."""
    return shlex.split(line, comments=True)


def option(words, name):
    return words[words.index(name) + 1]


# Each of these prepares for a command, yields what is typed into it, is sent what it printed, and looks at what it did.


def get_trail_status(aws, words, folder):
    make_trail(aws)
    printed = yield
    assert json.loads(printed)["IsLogging"] is False


def get_trail(aws, words, folder):
    make_trail(aws)
    printed = yield
    assert json.loads(printed)["Trail"]["S3BucketName"] == LOG_BUCKET


def get_event_selectors(aws, words, folder):
    make_trail(aws)
    aws("cloudtrail").put_event_selectors(TrailName=TRAIL, EventSelectors=[{"ReadWriteType": "WriteOnly"}])
    printed = yield
    [selector] = json.loads(printed)["EventSelectors"]
    assert selector["ReadWriteType"] == "WriteOnly"


def lookup_events(aws, words, folder):
    # moto has no event history.
    records = [json.dumps({"eventID": id, "userAgent": "with spaces"}) for id in ("one", "two")]
    answer = {"Events": [{"EventName": "StopLogging", "CloudTrailEvent": record} for record in records]}
    asked = []

    def history(self):
        asked.append(json.loads(self.body))
        return json.dumps(answer)

    with patch.object(CloudTrailResponse, "lookup_events", history, create=True):
        yield
    assert asked == [{"LookupAttributes": [{"AttributeKey": "EventName", "AttributeValue": "StopLogging"}]}]
    # One after the other, which `trailkeeper replay` reads.
    assert json_values((folder / "record.json").read_text()) == [json.loads(record) for record in records]
    assert replayed(folder) == ["replay --dry-run record.json", "replay record.json"]


def json_values(text):
    decoder, values = json.JSONDecoder(), []
    while text := text.strip():
        value, end = decoder.raw_decode(text)
        values.append(value)
        text = text[end:]
    return values


def replayed(folder):
    """What trailkeeper was called with."""
    return (folder / "trailkeeper.log").read_text().splitlines()


def describe_rule(aws, words, folder):
    make_rule(aws)
    printed = json.loads((yield))
    assert printed["State"] == "ENABLED"
    assert "StopLogging" in json.loads(printed["EventPattern"])["detail"]["eventName"]


def list_targets_by_rule(aws, words, folder):
    make_rule(aws)
    printed = json.loads((yield))
    # What the runbook says that must not be there is not there.
    assert printed["Targets"] == [{"Id": "queue", "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{NAME}"}]


def make_rule(aws):
    patterns = json.loads((REPOSITORY / "infra/modules/pipeline/event-patterns.json").read_text())
    aws("events").put_rule(Name=NAME, EventPattern=json.dumps(patterns["cloudtrail"]), State="ENABLED")
    aws("events").put_targets(Rule=NAME, Targets=[{"Id": "queue", "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{NAME}"}])


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


def delete_message(aws, words, folder):
    queue = make_queues(aws)[option(words, "--queue-url")]
    aws("sqs").send_message(QueueUrl=queue, MessageBody="a dead letter")
    # moto runs in this process, and would think of a handle of its own.
    with patch("moto.sqs.models.generate_receipt_handle", return_value=HANDLE):
        aws("sqs").receive_message(QueueUrl=queue)
    yield
    assert how_many(aws, queue) == 0


def how_many(aws, queue):
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    return sum(int(attributes(aws, queue)[name]) for name in names)


UNDELIVERED = [
    # To the queue, and to Slack as a direct alert.
    (f"arn:aws:sqs:{REGION}:{ACCOUNT}:{NAME}", '{"id": "one", "detail": {"userAgent": "with  spaces"}}'),
    (f"arn:aws:events:{REGION}:{ACCOUNT}:api-destination/slack/1", '{"id": "two"}'),
]


def list_undelivered(aws, words, folder):
    queue = make_queues(aws)[f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{NAME}-undelivered"]
    for target, body in UNDELIVERED:
        why = {"TARGET_ARN": target, "ERROR_CODE": "NO_PERMISSIONS", "ERROR_MESSAGE": "not  allowed"}
        why = {name: {"DataType": "String", "StringValue": value} for name, value in why.items()}
        aws("sqs").send_message(QueueUrl=queue, MessageBody=body, MessageAttributes=why)
    printed = yield
    lines = [line.split("\t") for line in printed.splitlines()]
    assert sorted((line[0], line[4]) for line in lines) == sorted(UNDELIVERED)
    assert all(line[1:3] == ["NO_PERMISSIONS", "not  allowed"] for line in lines)
    assert how_many(aws, queue) == 2


def delete_undelivered(aws, words, folder):
    queue = make_queues(aws)[f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{NAME}-undelivered"]
    lines = []
    for target, body in UNDELIVERED:
        aws("sqs").send_message(QueueUrl=queue, MessageBody=body)
        [message] = aws("sqs").receive_message(QueueUrl=queue)["Messages"]
        lines.append("\t".join([target, "NO_PERMISSIONS", "not  allowed", message["ReceiptHandle"], body]))
    (folder / "undelivered.txt").write_text("\n".join(lines) + "\n")
    yield
    # What was for Slack is not for the queue.
    assert (folder / "undelivered.json").read_text() == UNDELIVERED[0][1] + "\n"
    assert replayed(folder) == ["replay --dry-run undelivered.json", "replay undelivered.json"]
    assert how_many(aws, queue) == 0


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
    wanted = dict(pair.split("=") for pair in option(words, "--time-to-live-specification").split(","))
    if wanted["Enabled"] == "false":
        before = {"Enabled": True, "AttributeName": wanted["AttributeName"]}
        aws("dynamodb").update_time_to_live(TableName=NAME, TimeToLiveSpecification=before)
    yield
    ttl = aws("dynamodb").describe_time_to_live(TableName=NAME)["TimeToLiveDescription"]
    if wanted["Enabled"] == "false":
        assert ttl["TimeToLiveStatus"] == "DISABLED"
    else:
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


def check_as_the_worker(aws, words, folder):
    make_service(aws)
    make_log(aws, f"worker/{CONTAINER}/{TASK}", {1: "14 ok, 0 warnings, 0 unknown, 1 failed"})
    make_log(aws, f"worker/{CONTAINER}/another", {1: "the line of another task"})
    state_manager.set_transition("ecs::task", {"progression": "manual", "times": 1})
    with patch("moto.ecs.models.mock_random.uuid4", return_value=TASK):
        printed = yield
    [arn] = aws("ecs").list_tasks(cluster=NAME)["taskArns"]
    [task] = aws("ecs").describe_tasks(cluster=NAME, tasks=[arn])["tasks"]
    assert task["lastStatus"] == "STOPPED"
    assert task["launchType"] == "FARGATE"
    # That of the service, which is not the newest.
    assert task["taskDefinitionArn"] == service(aws)["taskDefinition"]
    assert task["overrides"] == {"containerOverrides": [{"name": CONTAINER, "command": ["check"]}]}
    assert printed.splitlines()[1:] == ["14 ok, 0 warnings, 0 unknown, 1 failed"]


def list_task_definitions(aws, words, folder):
    make_service(aws)
    unsorted = EC2ContainerServiceResponse.list_task_definitions

    def in_order(self):
        # moto leaves them as they were made.
        answer = unsorted(self)
        answer.result["taskDefinitionArns"].sort(key=lambda arn: int(arn.rsplit(":")[-1]), reverse=self._get_param("sort") == "DESC")
        return answer

    with patch.object(EC2ContainerServiceResponse, "list_task_definitions", in_order):
        printed = yield
    assert [arn.rsplit("/")[-1] for arn in json.loads(printed)["taskDefinitionArns"]] == [f"{NAME}:{n}" for n in (42, 41, 40)]


def services_stable(aws, words, folder):
    with patch.dict(os.environ, MOTO_ECS_SERVICE_RUNNING="1"):
        make_service(aws)
    yield
    found = service(aws)
    assert (found["runningCount"], len(found["deployments"])) == (1, 1)


def make_service(aws):
    """One task of the revision before the newest, of which there are as many as the pages say."""
    ecs = aws("ecs")
    ecs.create_cluster(clusterName=NAME)
    for _ in range(42):
        ecs.register_task_definition(
            family=NAME,
            requiresCompatibilities=["FARGATE"],
            networkMode="awsvpc",
            cpu="256",
            memory="512",
            containerDefinitions=[{"name": CONTAINER, "image": "an image", "memory": 512}],
        )
    subnet = aws("ec2").describe_subnets()["Subnets"][0]
    group = aws("ec2").create_security_group(GroupName=NAME, Description=NAME, VpcId=subnet["VpcId"])["GroupId"]
    network = {"awsvpcConfiguration": {"subnets": [subnet["SubnetId"]], "securityGroups": [group], "assignPublicIp": "DISABLED"}}
    ecs.create_service(
        cluster=NAME, serviceName=NAME, taskDefinition=f"{NAME}:40", desiredCount=1, launchType="FARGATE", networkConfiguration=network
    )


def service(aws):
    [found] = aws("ecs").describe_services(cluster=NAME, services=[NAME])["services"]
    return found


def filter_log_events(aws, words, folder):
    # No page looks further back than an hour.
    metrics = '{"_aws":{"CloudWatchMetrics":[]}}'
    make_log(aws, f"worker/{CONTAINER}/1", {120: "too old", 3: metrics, 2: '{"outcome":"restored"}', 1: "trailkeeper: ended"})
    printed = yield
    assert printed.splitlines() == ['{"outcome":"restored"}', "trailkeeper: ended"]


def make_log(aws, name, lines):
    """A log stream; of each line, how many minutes ago it was."""
    logs, stream = aws("logs"), {"logGroupName": LOG_GROUP, "logStreamName": name}
    with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName=LOG_GROUP)
    logs.create_log_stream(**stream)
    now = int(time.time() * 1000)
    logs.put_log_events(**stream, logEvents=[{"timestamp": now - 60_000 * ago, "message": line} for ago, line in lines.items()])


def list_stack_instances(aws, words, folder):
    aws("cloudformation").create_stack_set(StackSetName=f"{NAME}-forwarder", TemplateBody='{"Resources": {}}')
    printed = yield
    assert json.loads(printed) == {"Summaries": []}


def create_secret(aws, words, folder):
    yield WEBHOOK
    assert aws("secretsmanager").get_secret_value(SecretId=SECRET)["SecretString"] == WEBHOOK


def put_secret_value(aws, words, folder):
    aws("secretsmanager").create_secret(Name=SECRET, SecretString="an old webhook")
    yield WEBHOOK
    assert aws("secretsmanager").get_secret_value(SecretId=SECRET)["SecretString"] == WEBHOOK


# By what is called, in the order in which it is.
PREPARATIONS = {
    "cloudformation list-stack-instances": list_stack_instances,
    "cloudtrail get-event-selectors": get_event_selectors,
    "cloudtrail get-trail": get_trail,
    "cloudtrail get-trail-status": get_trail_status,
    "cloudtrail lookup-events": lookup_events,
    "cloudtrail start-logging": start_logging,
    "dynamodb update-time-to-live": update_time_to_live,
    "ecs describe-services": describe_services,
    "ecs describe-services, ecs describe-services, ecs run-task, ecs wait tasks-stopped, ecs describe-tasks, logs filter-log-events": check_as_the_worker,
    "ecs list-task-definitions": list_task_definitions,
    "ecs update-service": update_service,
    "ecs wait services-stable": services_stable,
    "events describe-rule": describe_rule,
    "events list-targets-by-rule": list_targets_by_rule,
    "logs filter-log-events": filter_log_events,
    "s3 cp": copy_log_files,
    "secretsmanager create-secret": create_secret,
    "secretsmanager put-secret-value": put_secret_value,
    "sqs delete-message": delete_message,
    "sqs receive-message": receive_message,
    "sqs set-queue-attributes": set_queue_attributes,
}
# Those whose calls are others' too, by what stands in them.
BY_TEXT = {"> undelivered.txt": list_undelivered, "cut -s -f 4 undelivered.txt": delete_undelivered}
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


@pytest.fixture
def shell(server, tmp_path):
    """Runs a text in a shell that has aws, and a trailkeeper that writes down what it is called with."""
    tools, home = tmp_path / "tools", tmp_path / "home"
    tools.mkdir()
    home.mkdir()
    # Version 1 of the CLI has SQS's endpoints written into it, and looks at no variable.
    script(tools / "aws", f'''[ "$1" != sqs ] || set -- "$@" --endpoint-url {server}\nexec {shlex.quote(sysconfig.get_path("scripts"))}/aws "$@"''')
    script(tools / "trailkeeper", 'echo "$*" >> trailkeeper.log')

    def run(text, exports, typed):
        environment = {
            **exports,
            **CREDENTIALS,
            "AWS_ENDPOINT_URL": server,
            "AWS_PAGER": "",
            # Which refuses: nothing may be asked of a real AWS.
            "HTTPS_PROXY": server,
            "HOME": str(home),
            "PATH": f"{tools}:/usr/bin:/bin",
        }
        return subprocess.run(
            ["sh", "-euc", text], input=typed, env=environment, cwd=home, timeout=TIMEOUT, capture_output=True, text=True
        )

    return run


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(("text", "where"), COMMANDS.items(), ids=[place for place, _ in COMMANDS.values()])
def test_a_command_does_what_it_is_for(text, where, shell, aws, tmp_path):
    (place, exports), name = where, ", ".join(calls(text))
    by_text = [prepare for part, prepare in BY_TEXT.items() if part in text]
    prepare = by_text[0] if by_text else PREPARATIONS.get(name)
    if prepare is None:
        pytest.fail(f"{place}: the test does not know what to prepare for this, tell it in PREPARATIONS:\n{name}", pytrace=False)
    steps = prepare(aws, words_of(text), tmp_path / "home")
    done = shell(text, exports, next(steps) or "")
    if done.returncode != 0:
        pytest.fail(f"{place}: status {done.returncode}:\n{text}\n{done.stderr}", pytrace=False)
    with pytest.raises(StopIteration):
        steps.send(done.stdout)


def actions_of(call):
    """The IAM actions that a call of aws needs: as a rule one, by the call's own name."""
    match call.split():
        case ["s3", "cp"]:
            return {"s3:GetObject", "s3:ListBucket"}
        case ["ecs", "run-task"]:
            return {"ecs:RunTask", "iam:PassRole"}
        case ["ecs", "wait", what]:
            return {{"services-stable": "ecs:DescribeServices", "tasks-stopped": "ecs:DescribeTasks"}[what]}
        case [service, operation]:
            return {f"{service}:{operation.title().replace('-', '')}"}


def section(page, heading):
    """A page from this heading on, to the next of the same rank."""
    [_, rest] = (REPOSITORY / page).read_text().split(f"\n## {heading}\n")
    return rest.split("\n## ")[0]


def test_people_who_are_paged_are_told_which_rights_they_need():
    shown = (REPOSITORY / "docs/runbook.md").read_text() + section("infra/README.md", "Day by day")
    fences = re.findall(r"```sh\n(.*?)```", shown, re.DOTALL)
    needed = set().union(*(actions_of(call) for fence in fences for call in calls(fence)))
    rows = [line.split("|") for line in section("docs/permissions.md", "People who are paged").splitlines() if line.startswith("| `")]
    assert {action for row in rows for action in re.findall(r"`([a-z0-9]+:\w+)`", row[1])} == needed


def test_the_pages_show_what_is_prepared_for():
    assert COMMANDS, "the pages show no command at all"
    shown = {", ".join(calls(text)) for text in COMMANDS}
    assert PREPARATIONS.keys() <= shown, "no page shows these any more"
    assert all(any(part in text for text in COMMANDS) for part in BY_TEXT), "no page shows these any more"
