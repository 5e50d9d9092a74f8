"""The points at which the harness kills, and the outcome that each must have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

LEDGER = "airflow_provider_grokvideo.ledger_stores:Ledger"
CLIENT = "airflow_provider_grokvideo.api.client:GrokVideoClient"
OPERATOR = "airflow_provider_grokvideo.operators.grokvideo:GrokVideoOperator"

Victim = Literal["machine", "runner", "triggerer", "nobody", "cleared"]


@dataclass(frozen=True)
class KillPoint:
    """One row of the table.

    :param run_id: of its DAG run; the prompt carries it, so that its submissions can be told apart.
    :param where: the row's words.
    :param victim: ``machine`` is the task's process with its supervisor, ``runner`` the task's process alone.
    :param hold: a function of the package at which the first attempt stands still, and ``before`` or ``after`` it.
    :param fault: what the sandbox does to the call that is to be cut.
    :param seen: what shows from outside that the point is reached.
    :param done_first: the generation is done before the kill; else it is done after it.
    :param submissions: expected count.
    :param clears: another task of the run, which a person clears directly after the kill.
    :param known: whether the id can be known, so that the task has to succeed with the video saved.
    """

    run_id: str
    where: str
    victim: Victim = "machine"
    dag_id: str = "kill_deferred"
    hold: tuple[Literal["before", "after"], str] | None = None
    fault: dict[str, Any] = field(default_factory=dict)
    seen: Literal["hold", "fault", "submission", "download", "polls", "retry"] = "hold"
    done_first: bool = False
    clears: str = ""
    submissions: int = 1
    known: bool = True


def _held(run_id: str, where: str, when: Literal["before", "after"], function: str, **kwargs: Any) -> KillPoint:
    return KillPoint(run_id, where, hold=(when, function), **kwargs)


WORKER_POINTS = [
    _held("before-intent", "before the intent", "before", f"{LEDGER}.record_intent"),
    _held(
        "before-post", "between the intent and the POST", "before", f"{CLIENT}.submit", submissions=0, known=False
    ),
    KillPoint(
        "post-arrived",
        "after the POST reached the API, before it was accepted",
        fault={"on": "submit", "fault": "slow_before_accept", "delay": 25},
        seen="fault",
        known=False,
    ),
    KillPoint(
        "post-accepted",
        "after the POST was accepted, before its response",
        fault={"on": "submit", "fault": "slow_after_accept", "delay": 25},
        seen="submission",
        known=False,
    ),
    _held(
        "before-stored", "after the response, before the id is stored", "after", f"{CLIENT}.submit", known=False
    ),
    _held(
        "other-cleared", "after the response, before the id is stored; another task is cleared", "after",
        f"{CLIENT}.submit", dag_id="kill_beside_another", clears="another", known=False,
    ),
    _held("before-deferral", "after the id is stored, before deferral", "after", f"{LEDGER}.record_submitted"),
    KillPoint("waiting", "while waiting, `deferrable=False`", dag_id="kill_on_worker", seen="polls"),
    KillPoint(
        "waiting-runner", "while waiting, `deferrable=False`", victim="runner", dag_id="kill_on_worker", seen="polls"
    ),
    _held(
        "before-resume", "after the event, before resume", "before", f"{OPERATOR}.execute_complete", done_first=True
    ),
    KillPoint(
        "download",
        "during the download",
        fault={"on": "video", "fault": "trickle", "bytes_per_second": 500},
        seen="download",
        done_first=True,
    ),
    _held(
        "before-finished", "after saving, before the result is stored", "before", f"{LEDGER}.record_result",
        done_first=True,
    ),
    _held(
        "before-success", "after the result is stored, before success", "after", f"{LEDGER}.record_result",
        done_first=True,
    ),
    KillPoint(
        "timeout", "`execution_timeout` while waiting, `deferrable=False`", victim="nobody", dag_id="kill_timed",
        seen="retry",
    ),
    KillPoint("cleared", "cleared by hand while deferred", victim="cleared", seen="polls"),
    KillPoint("peer", "while waiting: an operator without a ledger", dag_id="kill_peer", seen="polls", submissions=2),
]  # fmt: skip

TAKEN_OVER = KillPoint("taken-over", "while waiting; another triggerer takes over", victim="triggerer", seen="polls")
TRIGGERER_POINTS = [
    KillPoint("restarted", "while waiting; a triggerer is started again", victim="triggerer", seen="polls"),
    KillPoint(
        "last-answer",
        "after the last poll, before its response",
        victim="triggerer",
        fault={"on": "poll", "fault": "slow", "delay": 20},
        seen="fault",
        done_first=True,
    ),
]
DOWN_TOO_LONG = KillPoint(
    "down-too-long",
    "while waiting; the triggerer is down past the deadline, and the video is done meanwhile",
    victim="triggerer",
    dag_id="kill_soon_due",
    seen="polls",
)
POINTS = [*WORKER_POINTS, TAKEN_OVER, *TRIGGERER_POINTS, DOWN_TOO_LONG]
