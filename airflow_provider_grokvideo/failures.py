"""How an error ends a task: with or without a retry, and with one traceback in its log."""

from __future__ import annotations

from typing import Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_grokvideo.exceptions import GenerationError, GrokVideoError


class FinalTaskError(AirflowFailException):
    """Failure of a task that a retry cannot repair.

    :param error: the error behind it, e.g. for a callback.
    """

    def __init__(self, error: GrokVideoError) -> None:
        super().__init__(str(error))
        self.error = error


def to_airflow_exception(error: GrokVideoError, *, paid_for: bool = False) -> Exception:
    """Return the error as a task raises it: one that a retry cannot repair forbids the retry.

    :param paid_for: whether a generation is under way. A retry resumes it free of charge, so that only a final state
        of the generation itself forbids the retry.
    """
    final = not error.retryable and (isinstance(error, GenerationError) or not paid_for)
    return FinalTaskError(error) if final else error


def raise_once(error: GrokVideoError, raised: Exception, task_log: Any) -> NoReturn:
    """Log an error as one line, and raise it so that Airflow logs one traceback instead of the chain of its causes."""
    task_log.error("%s", error)
    task_log.debug("The error and its causes", exc_info=error)
    raise raised.with_traceback(error.__traceback__) from None
