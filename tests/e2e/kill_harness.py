"""Kill real Airflow processes at chosen points; report the cost and the outcome."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dev.airflow_stack import AirflowStack, SandboxProcess, StackError, wait_until
from tests.e2e.kill_points import DOWN_TOO_LONG, TAKEN_OVER, TRIGGERER_POINTS, WORKER_POINTS, KillPoint

TASK = "video"
PATIENCE = 600
DOWN_FOR = 25
"""Seconds for which the triggerer is down, longer than the wait of ``kill_soon_due``."""
TABLE = pytest.StashKey[str]()
"""Where a test run keeps the table for its last words."""
ENDED = ("success", "failed")


@dataclass(frozen=True)
class Outcome:
    """What a row of the table says.

    :param submissions: how many the sandbox accepted, each of which is billed.
    :param saved: how many of their videos are at the destination.
    :param state: in which the task ended.
    :param tries: how many attempts it took.
    :param result: the task's, ``None`` where it has none.
    :param log: of the last attempt.
    """

    point: KillPoint
    submissions: int
    saved: int
    state: str
    tries: int
    result: Any
    log: str


def defects(outcome: Outcome) -> list[str]:
    """Return in what a row differs from what has to come of its kill."""
    point, found = outcome.point, []
    if outcome.submissions != point.submissions:
        found.append(f"{outcome.submissions} submissions instead of {point.submissions}")
    if point.known and (outcome.state, outcome.saved) != ("success", 1):
        found.append(f"{outcome.state} with {outcome.saved} videos saved, instead of success with 1")
    if not point.known and outcome.state != "failed":
        found.append(f"{outcome.state} instead of failed")
    return found


class Case:
    """One run that is killed at one point."""

    def __init__(self, point: KillPoint, airflow: AirflowStack, sandbox: SandboxProcess, folder: Path) -> None:
        self.point = point
        self.airflow = airflow
        self.sandbox = sandbox
        self.marker = folder / point.run_id
        self.killed = False

    @property
    def mark(self) -> str:
        """What the prompt of this run holds, and no other's."""
        return f"Killed at {self.point.run_id}."

    def start(self) -> None:
        point = self.point
        if point.fault:
            self.sandbox.fault({**point.fault, "prompt_contains": self.mark})
        conf = {}
        if point.hold:
            conf = {"hold": point.hold[1], "when": point.hold[0], "marker": str(self.marker)}
        self.airflow.client.trigger(point.dag_id, conf=conf, run_id=point.run_id)

    def task(self) -> dict[str, Any]:
        return self.airflow.client.task_instance(self.point.dag_id, self.point.run_id, TASK)

    def submissions(self) -> list[dict[str, Any]]:
        return [entry for entry in self.sandbox.requests() if self.mark in entry["body"]["prompt"]]

    def polled(self, times: int) -> bool:
        ids = {entry["request_id"] for entry in self.submissions()}
        return len([poll for poll in self.sandbox.entries("polls") if poll["request_id"] in ids]) >= times

    def reached(self) -> bool:
        """Whether the point is reached, as far as can be seen from outside."""
        match self.point.seen:
            case "hold":
                return self.marker.exists()
            case "fault":
                return all(self.mark != fault.get("prompt_contains") for fault in self.sandbox.faults())
            case "submission":
                return bool(self.submissions())
            case "download":
                ids = {entry["request_id"] for entry in self.submissions()}
                return any(entry["request_id"] in ids for entry in self.sandbox.entries("downloads"))
            case "polls":
                waits = self.point.victim not in {"triggerer", "cleared"} or self.task()["state"] == "deferred"
                return waits and self.polled(2)
            case "retry":
                return self.task()["state"] == "up_for_retry" or self.task()["try_number"] > 1

    def kill(self) -> None:
        """Do to the task what the row says; a triggerer is killed for several rows at once, elsewhere."""
        point = self.point
        if point.victim == "cleared":
            self.airflow.client.clear(point.dag_id, point.run_id, [TASK])
        elif point.victim in {"machine", "runner"}:
            only = "runner" if point.victim == "runner" else None
            self.airflow.kill_task(point.dag_id, point.run_id, TASK, only=only)
        if point.clears:
            self.airflow.client.clear(point.dag_id, point.run_id, [point.clears])
        self.killed = True

    def finish_generations(self) -> None:
        """End them at the API as the row says, but not so early that the trigger's first answer is the last."""
        if self.killed or (self.point.done_first and (self.polled(1) or self.reached())):
            for entry in self.submissions():
                if entry["state"] == "pending":
                    self.sandbox.finish(entry["request_id"])

    def ended(self) -> bool:
        return self.airflow.client.run_state(self.point.dag_id, self.point.run_id) in ENDED

    def outcome(self, videos: Path) -> Outcome:
        """Look at what is left."""
        with suppress(StackError):
            # A slow API may accept what was sent by a process that is gone, and bills it all the same.
            wait_until(lambda: len(self.submissions()) >= self.point.submissions, timeout=40, what="submissions")
        point, client, task = self.point, self.airflow.client, self.task()
        submitted = self.submissions()
        saved = [entry for entry in submitted if (videos / f"{entry['request_id']}.mp4").exists()]
        return Outcome(
            point=point,
            submissions=len(submitted),
            saved=len(saved),
            state=task["state"],
            tries=task["try_number"],
            result=client.xcom(point.dag_id, point.run_id, TASK) if task["state"] == "success" else None,
            log=client.logs(point.dag_id, point.run_id, TASK, task["try_number"]),
        )


class KillHarness:
    """Runs the rows, those that do not disturb each other at the same time.

    :param sandbox: one whose generations are pending until the harness ends them.
    :param videos: the folder of ``$GROKVIDEO_OUTPUT``.
    :param folder: for the signs of life of runs that stand still.
    """

    def __init__(self, airflow: AirflowStack, sandbox: SandboxProcess, videos: Path, folder: Path) -> None:
        self.airflow = airflow
        self.sandbox = sandbox
        self.videos = videos
        self.folder = folder

    def run(self) -> list[Outcome]:
        return [*self.kill_workers(), *self.kill_triggerers()]

    def kill_workers(self, points: Sequence[KillPoint] = WORKER_POINTS) -> list[Outcome]:
        cases = self._start(points)
        self._go_on(cases, lambda: all(case.killed and case.ended() for case in cases), kill=True)
        return self._outcomes(cases)

    def kill_triggerers(self) -> list[Outcome]:
        """First with a second triggerer at hand, then with one that starts later."""
        outcomes = self._kill_triggerer([TAKEN_OVER], "triggerer", successor_first=True)
        outcomes += self._kill_triggerer(TRIGGERER_POINTS, "triggerer-2", successor_first=False)
        outcomes += self._kill_triggerer([DOWN_TOO_LONG], "triggerer", successor_first=False, down_for=DOWN_FOR)
        return outcomes

    def _kill_triggerer(
        self, points: Sequence[KillPoint], name: str, *, successor_first: bool, down_for: float = 0
    ) -> list[Outcome]:
        successor = "triggerer" if name != "triggerer" else "triggerer-2"
        cases = self._start(points)
        self._go_on(cases, lambda: all(case.reached() for case in cases), kill=False)
        if successor_first:
            self.airflow.start("triggerer", name=successor)
        self.airflow.kill(name)
        if down_for:
            for case in cases:
                case.kill()
                case.finish_generations()
            # A deadline is a time of day: that it passes cannot be seen from outside.
            time.sleep(down_for)
        if not successor_first:
            self.airflow.start("triggerer", name=successor)
        for case in cases:
            case.kill()
        self._go_on(cases, lambda: all(case.ended() for case in cases), kill=False)
        return self._outcomes(cases)

    def _start(self, points: Sequence[KillPoint]) -> list[Case]:
        cases = [Case(point, self.airflow, self.sandbox, self.folder) for point in points]
        for case in cases:
            case.start()
        return cases

    def _go_on(self, cases: Sequence[Case], over: Callable[[], bool], *, kill: bool) -> None:
        deadline = time.monotonic() + PATIENCE
        while not over():
            self.airflow.check()
            for case in cases:
                if kill and not case.killed and case.reached():
                    case.kill()
                case.finish_generations()
            if time.monotonic() > deadline:
                raise StackError(f"not within {PATIENCE} s: {_stuck(cases)}")
            time.sleep(0.2)

    def _outcomes(self, cases: Sequence[Case]) -> list[Outcome]:
        return [case.outcome(self.videos) for case in cases]


def _stuck(cases: Sequence[Case]) -> str:
    return "; ".join(
        f"{case.point.run_id} killed={case.killed} {case.task()['state']} try {case.task()['try_number']}"
        for case in cases
        if not case.ended()
    )
