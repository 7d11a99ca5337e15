"""What Terraform plans, for tests in Python."""

import json
import shutil
import subprocess
from pathlib import Path

MODULES = Path(__file__).resolve().parents[1] / "modules"


def planned(module, test_file, run, scratch):
    """The resources that a run of a module's own tests plans, by address. Nothing is asked of AWS."""
    copy = shutil.copytree(MODULES, scratch / "modules", ignore=shutil.ignore_patterns(".terraform*")) / module
    subprocess.run(["terraform", "init", "-no-color"], cwd=copy, check=True, capture_output=True)
    test = ["terraform", "test", "-json", "-verbose", f"-filter=tests/{test_file}"]
    lines = subprocess.run(test, cwd=copy, check=True, capture_output=True, text=True).stdout.splitlines()
    [plan] = [line["test_plan"] for line in map(json.loads, lines) if line["type"] == "test_plan" and line["@testrun"] == run]
    return {change["address"]: change["change"]["after"] for change in plan["resource_changes"]}
