"""The policies for the worker, for its role in other accounts and for people give what trailkeeper calls, and nothing else.

`cargo test` writes down every call that each of its programs makes to AWS over the whole suite.
"""

import json
import os
from pathlib import Path

import pytest
from conftest import planned

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).resolve().parents[2] / "target"))
# Anybody may ask who they are.
WITHOUT_RIGHT = {"sts:GetCallerIdentity"}
# The worker asks the ECS agent, which calls ECS with the worker's role.
BY_THE_AGENT = {"ecs:UpdateTaskProtection"}


def right_for(call):
    """SQS asks for the same right for a batch as for one."""
    return call.removesuffix("Batch") if call.startswith("sqs:") else call


def needed_by(*programs):
    needed = set()
    for program in programs:
        calls = {path.name for path in (TARGET / "tmp" / "calls" / program).glob("*")}
        assert calls, f"nothing is written down of {program}: run `cargo test` first"
        needed |= {right_for(call) for call in calls - WITHOUT_RIGHT}
    return needed


def given_by(policy):
    given = set()
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow"
        actions = statement["Action"]
        given.update([actions] if isinstance(actions, str) else actions)
    return given


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    """With everything that the module can give."""
    return planned("worker", "plans.tftest.hcl", "all_rights", tmp_path_factory.mktemp("worker"))


def test_the_role_gives_what_the_worker_and_its_check_call_and_nothing_else(worker):
    needed = needed_by("trailkeeper", "trailkeeper-check") | BY_THE_AGENT
    assert given_by(json.loads(worker["aws_iam_role_policy.task"]["policy"])) == needed


def test_the_role_in_other_accounts_gives_what_is_called_of_cloudtrail_and_nothing_else(organization):
    stack_set = organization["module.member_roles.module.rollout.aws_cloudformation_stack_set.everywhere[0]"]
    [policy] = json.loads(stack_set["template_body"])["Resources"]["Role"]["Properties"]["Policies"]
    needed = {call for call in needed_by("trailkeeper", "trailkeeper-check") if call.startswith("cloudtrail:")}
    assert given_by(policy["PolicyDocument"]) == needed


def test_the_policy_for_people_gives_what_their_commands_call_and_nothing_else(worker):
    needed = needed_by("trailkeeper-check", "trailkeeper-sweep", "trailkeeper-replay", "trailkeeper-dlq")
    assert given_by(json.loads(worker["aws_iam_policy.operators"]["policy"])) == needed


def test_the_policy_for_people_is_attached_to_nobody(worker):
    assert not [address for address in worker if "attachment" in address]
