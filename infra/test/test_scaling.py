"""Plays arrivals of messages against the scaling policy of modules/worker, with the numbers of its plan.

    python3 infra/test/test_scaling.py     prints the table that stands in infra/README.md

The policy is target tracking: two CloudWatch alarms and a proportion. Three data points of a minute each above the
target add tasks; fifteen below nine tenths of it take some away. Either way to as many as bring the backlog of each
task to the target. A cooldown follows, in which nothing is taken away, and added is only what goes beyond.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import planned

# How Application Auto Scaling's two alarms look, as it makes them for a metric of a minute.
POINTS_ABOVE = 3
POINTS_BELOW = 15
BELOW = 0.9
# From "add a task" to its first poll: Fargate pulls the image and starts it.
TASK_START_SECONDS = 60
# Slack takes one message a second in a channel, whoever sends it.
SLACK_SECONDS = 1
# What the worker has at once: TRAILKEEPER_CONCURRENCY unless set.
CONCURRENCY = 32


@dataclass
class Policy:
    """The policy's numbers."""

    target: float
    min_tasks: int
    max_tasks: int
    out_cooldown: int
    in_cooldown: int


@dataclass
class Arrivals:
    """What comes, and what the work on it takes."""

    per_second: callable
    processing_seconds: float = 1
    # All of it must be told in Slack, which is then slower than any number of tasks.
    alerts: bool = False


@dataclass
class Played:
    """What happened."""

    # (minute, tasks wanted from then on)
    changes: list = field(default_factory=list)
    worst_delay_seconds: int = 0
    worst_backlog: int = 0
    left: int = 0

    @property
    def most_tasks(self):
        return max((tasks for _, tasks in self.changes), default=None)


def planned_policy(folder):
    """Reads the policy out of the plan of modules/worker with its defaults."""
    resources = planned("worker", "plans.tftest.hcl", "defaults", folder)
    limits = resources["aws_appautoscaling_target.worker"]
    [tracking] = resources["aws_appautoscaling_policy.backlog"]["target_tracking_scaling_policy_configuration"]
    return Policy(
        tracking["target_value"],
        limits["min_capacity"],
        limits["max_capacity"],
        tracking["scale_out_cooldown"],
        tracking["scale_in_cooldown"],
    )


def play(policy, arrivals, minutes):
    played = Played()
    wanted = running = policy.min_tasks
    starting = deque()  # when tasks that were asked for begin to work
    queue = deque()  # [when it came, how many], the oldest first
    backlog = done = 0.0
    points = deque(maxlen=POINTS_BELOW)
    quiet_until = 0

    for second in range(minutes * 60):
        while starting and starting[0] <= second:
            starting.popleft()
            running += 1
        came = arrivals.per_second(second)
        if came:
            queue.append([second, came])
            backlog += came

        rate = 1 / SLACK_SECONDS if arrivals.alerts else running * CONCURRENCY / arrivals.processing_seconds
        able = min(rate, backlog)
        backlog -= able
        while able > 1e-9:
            taken = min(able, queue[0][1])
            played.worst_delay_seconds = max(played.worst_delay_seconds, second + 1 - queue[0][0])
            queue[0][1] -= taken
            able -= taken
            if queue[0][1] < 1e-9:
                queue.popleft()
        played.worst_backlog = max(played.worst_backlog, math.ceil(backlog))

        if (second + 1) % 60:
            continue
        points.append(backlog / running)
        fitting = math.ceil(running * points[-1] / policy.target)
        above = list(points)[-POINTS_ABOVE:]
        if len(above) == POINTS_ABOVE and min(above) > policy.target and second >= quiet_until:
            new = min(fitting, policy.max_tasks)
            if new > wanted:
                starting.extend([second + TASK_START_SECONDS] * (new - wanted))
                quiet_until = second + policy.out_cooldown
        elif len(points) == POINTS_BELOW and max(points) < BELOW * policy.target and second >= quiet_until:
            new = max(fitting, policy.min_tasks)
            if new < wanted:
                running = new
                quiet_until = second + policy.in_cooldown
        else:
            new = wanted
        if new != wanted:
            wanted = new
            played.changes.append(((second + 1) // 60, wanted))
    played.left = math.ceil(backlog - 1e-6)
    return played


def at_once(count):
    return lambda second: count if second == 0 else 0


CASES = {
    "idle": (Arrivals(at_once(0)), 60),
    "a storm of 10,000": (Arrivals(at_once(10_000)), 60),
    "the same, each taking 10 s": (Arrivals(at_once(10_000), processing_seconds=10), 60),
    "the same, each an alert in Slack": (Arrivals(at_once(10_000), alerts=True), 240),
    # A little more than two tasks can do, for two hours.
    "a slow leak, 70 a second": (Arrivals(lambda second: 70 if second < 7200 else 0), 180),
    # Read and copied to the dead-letter queue at the first receive.
    "poison only, 10,000": (Arrivals(at_once(10_000), processing_seconds=0.1), 60),
}


def played(policy, name):
    return play(policy, *CASES[name])


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return planned_policy(tmp_path_factory.mktemp("scaling"))


def test_the_target_is_what_a_task_works_off_in_a_minute(policy):
    assert policy.target == 60 / 1 * CONCURRENCY


def test_when_idle_nothing_is_added(policy):
    assert played(policy, "idle").changes == []


def test_a_storm_is_over_before_tasks_could_come(policy):
    storm = played(policy, "a storm of 10,000")
    assert storm.changes == []
    assert storm.worst_delay_seconds <= 180
    assert storm.left == 0


def test_a_storm_that_lasts_gets_tasks_and_loses_them_after(policy):
    storm = played(policy, "the same, each taking 10 s")
    (added_at, added), *_, (_, last) = storm.changes
    assert added_at == POINTS_ABOVE
    assert policy.min_tasks < added <= policy.max_tasks
    assert last == policy.min_tasks
    alone = play(Policy(policy.target, 2, 2, 0, 0), *CASES["the same, each taking 10 s"])
    assert storm.worst_delay_seconds < alone.worst_delay_seconds / 2
    assert storm.left == 0


def test_more_tasks_do_not_tell_slack_sooner_and_their_number_is_bounded(policy):
    storm = played(policy, "the same, each an alert in Slack")
    assert storm.worst_delay_seconds == 10_000
    assert storm.most_tasks <= policy.max_tasks
    assert storm.changes[-1][1] == policy.min_tasks


def test_a_slow_leak_is_caught_up_with(policy):
    leak = played(policy, "a slow leak, 70 a second")
    assert leak.changes[0][1] == policy.min_tasks + 1
    assert leak.most_tasks == policy.min_tasks + 1
    assert leak.worst_delay_seconds <= 120
    assert leak.left == 0


def test_poison_alone_adds_nothing(policy):
    poison = played(policy, "poison only, 10,000")
    assert poison.changes == []
    assert poison.left == 0


def table(policy):
    lines = ["| arrivals | tasks, from minute | worst delay | left |", "|---|---|---:|---:|"]
    for name in CASES:
        seen = played(policy, name)
        changes = ", ".join([f"{policy.min_tasks}", *(f"{tasks} from {minute}" for minute, tasks in seen.changes)])
        lines.append(f"| {name} | {changes} | {seen.worst_delay_seconds} s | {seen.left} |")
    return "\n".join(lines)


def test_the_readme_shows_this_table(policy):
    assert table(policy) in (Path(__file__).resolve().parents[1] / "README.md").read_text()


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        print(table(planned_policy(Path(scratch))))
