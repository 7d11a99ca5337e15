"""The worker's role gives what the worker calls, and nothing else.

`cargo test` writes down every call that the worker makes to AWS over the whole suite.
"""

import json
import os
from pathlib import Path

from conftest import planned

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).resolve().parents[2] / "target"))
# Anybody may ask who they are.
WITHOUT_RIGHT = {"sts:GetCallerIdentity"}
# The worker asks the ECS agent, which calls ECS with the worker's role.
BY_THE_AGENT = {"ecs:UpdateTaskProtection"}


def right_for(call):
    """SQS asks for the same right for a batch as for one."""
    return call.removesuffix("Batch") if call.startswith("sqs:") else call


def test_the_role_gives_what_the_worker_calls_and_nothing_else(tmp_path):
    calls = {path.name for path in (TARGET / "tmp" / "calls" / "trailkeeper").glob("*")}
    assert calls, "nothing is written down: run `cargo test` first"
    needed = {right_for(call) for call in calls - WITHOUT_RIGHT} | BY_THE_AGENT
    role = planned("worker", "defaults.tftest.hcl", "defaults", tmp_path)["aws_iam_role_policy.task"]
    statements = json.loads(role["policy"])["Statement"]
    given = set()
    for statement in statements:
        assert statement["Effect"] == "Allow"
        actions = statement["Action"]
        given.update([actions] if isinstance(actions, str) else actions)
    assert given == needed
