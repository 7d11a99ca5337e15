"""The CloudFormation templates, by CloudFormation's own specification of its resources."""

import pytest
from cfnlint.api import lint
from conftest import planned


@pytest.mark.parametrize(
    ("module", "run", "address"),
    [
        ("forwarder", "rule", "module.rollout.aws_cloudformation_stack.here[0]"),
        ("member-role", "trust", "module.rollout.aws_cloudformation_stack.here[0]"),
        ("direct-alert", "token_by_reference", "aws_cloudformation_stack.connection"),
    ],
)
def test_a_template_is_valid(module, run, address, tmp_path):
    stack = planned(module, f"{module}.tftest.hcl", run, tmp_path)[address]
    matches = [match for match in lint(stack["template_body"], regions=["eu-west-1"]) if match.rule.severity != "informational"]
    assert matches == []
