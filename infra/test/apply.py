#!/usr/bin/env python3
"""Applies examples/single-account to an emulated AWS, lets the worker restart a trail there, and destroys it all.

    AWS_ENDPOINT_URL=http://127.0.0.1:5000 apply.py target/debug/trailkeeper

What the server behind AWS_ENDPOINT_URL must be is said in infra/README.md. It should be fresh: what an earlier run
left there is in the way. Terraform runs in a copy of infra/ that is removed in the end.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import boto3

INFRA = Path(__file__).resolve().parent.parent
REGION = "eu-west-1"
# Where calls to IAM are recorded, whatever Region they are made in.
GLOBAL_REGION = "us-east-1"
TRAIL = "audit"
# Longer than any of them takes on a slow machine: a hang must end.
TERRAFORM_TIMEOUT = 600
WORKER_PATIENCE = 60

started = time.monotonic()


def tell(what):
    print(f"{time.monotonic() - started:7.1f} s  {what}", flush=True)


def expect(what, seen):
    tell(f"{'observed' if seen else 'MISSING '}  {what}")
    if not seen:
        sys.exit(1)


def wait_until(condition, seconds=WORKER_PATIENCE):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.2)
    return condition()


class Terraform:
    def __init__(self, folder):
        self.folder = folder

    def run(self, *arguments, expected=0):
        begun = time.monotonic()
        command = ["terraform", arguments[0], "-no-color", *arguments[1:]]
        done = subprocess.run(command, cwd=self.folder, timeout=TERRAFORM_TIMEOUT, capture_output=True, text=True)
        tell(f"terraform {arguments[0]}: {time.monotonic() - begun:.0f} s")
        if done.returncode != expected:
            sys.exit(f"terraform {' '.join(arguments)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def outputs(self):
        return {name: output["value"] for name, output in json.loads(self.run("output", "-json")).items()}

    def state(self):
        return subprocess.check_output(["terraform", "state", "list"], cwd=self.folder, text=True).split()


class Around(BaseHTTPRequestHandler):
    """What a task has around it: Slack, which takes what is posted to a webhook, and the ECS agent, which protects tasks."""

    messages = []
    protections = []

    def do_POST(self):
        self.messages.append(self.body())
        self.answer(b"ok")

    def do_PUT(self):
        self.protections.append(self.body()["ProtectionEnabled"])
        self.answer(b"{}")

    def body(self):
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, text):
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def set_the_stage():
    """What an account has before trailkeeper comes: a network, a secret, and a trail that logs."""
    ec2 = boto3.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=f"{REGION}{zone}")["Subnet"]["SubnetId"]
        for number, zone in enumerate("ab")
    ]
    secret = boto3.client("secretsmanager").create_secret(Name="trailkeeper/slack-webhook", SecretString="unused here")
    boto3.client("s3").create_bucket(Bucket=TRAIL, CreateBucketConfiguration={"LocationConstraint": REGION})
    boto3.client("cloudtrail").create_trail(Name=TRAIL, S3BucketName=TRAIL)
    boto3.client("cloudtrail").start_logging(Name=TRAIL)
    return {
        "region": REGION,
        "vpc_id": vpc,
        "subnet_ids": subnets,
        "image": "ghcr.io/example/trailkeeper:1.0.0",
        "slack_webhook_secret_arn": secret["ARN"],
    }


@contextlib.contextmanager
def worker(binary, environment):
    """The worker with the variables that its task has; the webhook is what ECS would have read from the secret."""
    around = HTTPServer(("127.0.0.1", 0), Around)
    threading.Thread(target=around.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{around.server_port}"
    process = subprocess.Popen(
        [binary, "run"],
        env={
            **os.environ,
            **environment,
            "TRAILKEEPER_SLACK_WEBHOOK_URL": f"{address}/services/T000/B000/secret",
            # ECS sets it.
            "ECS_AGENT_URI": address,
            "TRAILKEEPER_HTTP_ADDR": "127.0.0.1:0",
            # So that it need not be waited for in the end.
            "TRAILKEEPER_WAIT_SECONDS": "1",
        },
        stdout=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        if process.wait(timeout=30) != 0:
            sys.exit("the worker did not end well")
        around.shutdown()


def stop_logging_event(account):
    """What CloudTrail records of the call. No emulator makes this event itself."""
    return {
        "Source": "aws.cloudtrail",
        "DetailType": "AWS API Call via CloudTrail",
        "Detail": json.dumps({
            "eventVersion": "1.11",
            "userIdentity": {"type": "IAMUser", "userName": "mallory", "accountId": account},
            "eventTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "eventSource": "cloudtrail.amazonaws.com",
            "eventName": "StopLogging",
            "awsRegion": REGION,
            "requestParameters": {"name": TRAIL},
            "eventID": str(uuid.uuid4()),
            "recipientAccountId": account,
        }),
    }


def play_an_incident(binary, outputs):
    cloudtrail, events, sqs = boto3.client("cloudtrail"), boto3.client("events"), boto3.client("sqs")
    account = boto3.client("sts").get_caller_identity()["Account"]

    def is_logging():
        return cloudtrail.get_trail_status(Name=TRAIL)["IsLogging"]

    def messages_in(url):
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        return sum(int(count) for count in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values())

    stopped = stop_logging_event(account)
    near_miss = {**stopped, "Detail": stopped["Detail"].replace("StopLogging", "StartLogging")}
    cloudtrail.stop_logging(Name=TRAIL)
    events.put_events(Entries=[near_miss, stopped])
    expect("one of two events comes through the bus into the queue", wait_until(lambda: messages_in(outputs["queue_url"]) == 1, 10))
    expect("the trail is off", not is_logging())
    with worker(binary, outputs["environment"]):
        expect("the worker restarts the trail", wait_until(is_logging))
        expect("Slack is told of it", wait_until(lambda: any("restarted and verified" in message["text"] for message in Around.messages)))
        expect("the task was protected while at work", wait_until(lambda: Around.protections[:1] == [True], 10))
        expect("the queue is empty", wait_until(lambda: messages_in(outputs["queue_url"]) == 0))
    in_global_region = stopped["Detail"].replace("cloudtrail.", "iam.").replace("StopLogging", "DeleteServiceLinkedRole")
    boto3.client("events", region_name=GLOBAL_REGION).put_events(Entries=[{**stopped, "Source": "aws.iam", "Detail": in_global_region}])
    expect("a call to IAM comes from its Region into the queue", wait_until(lambda: messages_in(outputs["queue_url"]) == 1, 10))
    expect("nothing is in the dead-letter queues", messages_in(outputs["dead_letter_queue_url"]) + messages_in(outputs["undelivered_queue_url"]) == 0)


def left_over():
    """What Terraform made, if any of it is still there."""
    return (
        boto3.client("sqs").list_queues().get("QueueUrls", [])
        + boto3.client("dynamodb").list_tables()["TableNames"]
        + [rule["Name"] for region in [REGION, GLOBAL_REGION] for rule in boto3.client("events", region_name=region).list_rules()["Rules"]]
        + [role["RoleName"] for role in boto3.client("iam").list_roles()["Roles"] if role["RoleName"].startswith("trailkeeper")]
        + [policy["PolicyName"] for policy in boto3.client("iam").list_policies(Scope="Local")["Policies"]]
        + [group["logGroupName"] for group in boto3.client("logs").describe_log_groups()["logGroups"]]
        + [alarm["AlarmName"] for alarm in boto3.client("cloudwatch").describe_alarms()["MetricAlarms"]]
    )


def main():
    if len(sys.argv) != 2 or not os.environ.get("AWS_ENDPOINT_URL"):
        sys.exit(__doc__)
    binary = Path(sys.argv[1]).resolve()
    os.environ |= {"TF_INPUT": "0", "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    # The server answers once its modules are loaded.
    expect("the emulated AWS answers", wait_until(answers, 120))
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(INFRA, f"{copy}/infra", ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
        terraform = Terraform(f"{copy}/infra/examples/single-account")
        Path(terraform.folder, "terraform.tfvars.json").write_text(json.dumps(set_the_stage()))
        terraform.run("init")
        terraform.run("apply", "-auto-approve")
        tell(f"{len(terraform.state())} resources and data sources")
        # 2 would say that there is something to change.
        terraform.run("plan", "-detailed-exitcode")
        expect("a second plan changes nothing", True)
        play_an_incident(binary, terraform.outputs())
        terraform.run("destroy", "-auto-approve")
        expect("the state is empty", terraform.state() == [])
    expect("nothing is left over", left_over() == [])


def answers():
    try:
        with urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"], timeout=5):
            return True
    except OSError:
        return False


main()
