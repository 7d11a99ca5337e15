"""The worker of examples/organization gets what the example has for it."""

import json
import tomllib


def test_its_policy_is_for_all_accounts(organization):
    policy = organization["module.worker.aws_ssm_parameter.policy[0]"]["insecure_value"]
    assert tomllib.loads(policy) == {"version": 1, "accounts": {"source": "organization"}}


def test_it_may_list_the_accounts_and_act_in_them(organization):
    statements = json.loads(organization["module.worker.aws_iam_role_policy.task"]["policy"])["Statement"]
    assert {"ActInMemberAccounts", "ListAccounts", "SweepTrails", "RestartTrails"} <= {statement["Sid"] for statement in statements}
