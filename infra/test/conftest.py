"""What Terraform plans, for tests in Python."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

INFRA = Path(__file__).resolve().parents[1]


def planned(module, test_file, run, scratch, among="modules"):
    """The resources that a run of a module's own tests plans, by address. Nothing is asked of AWS."""
    copy = shutil.copytree(INFRA, scratch / "infra", ignore=shutil.ignore_patterns(".terraform*")) / among / module
    subprocess.run(["terraform", "init", "-no-color"], cwd=copy, check=True, capture_output=True)
    test = ["terraform", "test", "-json", "-verbose", f"-filter=tests/{test_file}"]
    lines = subprocess.run(test, cwd=copy, check=True, capture_output=True, text=True).stdout.splitlines()
    [plan] = [line["test_plan"] for line in map(json.loads, lines) if line["type"] == "test_plan" and line["@testrun"] == run]
    return {change["address"]: change["change"]["after"] for change in plan["resource_changes"]}


@pytest.fixture(scope="session")
def organization(tmp_path_factory):
    """The resources of examples/organization."""
    return planned("organization", "organization.tftest.hcl", "fits_together", tmp_path_factory.mktemp("organization"), among="examples")
