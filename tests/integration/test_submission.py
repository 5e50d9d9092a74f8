"""The paid POST: content of the ledger after each outcome."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.api.summary import RequestSummary
from airflow_provider_grokvideo.exceptions import (
    AuthenticationError,
    GrokVideoError,
    InsufficientQuotaError,
    LedgerError,
    RateLimitError,
    RequestRejectedError,
    SubmissionUnknownError,
    TransportError,
)
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.ledger import Attempt
from airflow_provider_grokvideo.ledger_stores import FileStore, Ledger
from airflow_provider_grokvideo.sandbox import Sandbox
from airflow_provider_grokvideo.submission import PreparedRequest, RetryLater, submit_once
from tests.support.connections import connection

REQUEST = VideoRequest(prompt="A red fox in the snow", duration=1)
PREPARED = PreparedRequest(REQUEST, "f1", "here", RequestSummary("grok-imagine-video"))


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Return an API of one's own."""
    with Sandbox(render_seconds=0) as running:
        yield running


@pytest.fixture
def hook(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> GrokVideoHook:
    """Return a hook of it."""
    monkeypatch.setenv("AIRFLOW_CONN_GROKVIDEO_TEST", connection(sandbox.base_url, sandbox.api_key))
    return GrokVideoHook("grokvideo_test")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Return a ledger on disk."""
    return Ledger(FileStore(ObjectStoragePath(f"file://{tmp_path}/ledger/entry.json")), Attempt())


def submit(hook: GrokVideoHook, ledger: Ledger, *, seconds: float = 600.0, max_sleep: float = 5.0) -> str:
    """Submit once."""
    deadline = time.time() + seconds
    return submit_once(hook, PREPARED, ledger, attempt=0, submit_deadline=deadline, max_sleep=max_sleep)


def test_accepted_submission_is_in_ledger(hook: GrokVideoHook, ledger: Ledger, sandbox: Sandbox) -> None:
    request_id = submit(hook, ledger)
    entry = ledger.read()
    assert entry is not None
    assert (entry.state, entry.request_id, entry.fingerprint) == ("submitted", request_id, "f1")
    assert [submission["request_id"] for submission in sandbox.submissions] == [request_id]


@pytest.mark.parametrize("fault", ["close_before_accept", "close_after_accept", "server_error", "no_id"])
def test_unknown_outcome_keeps_intent_and_advises(
    fault: str, hook: GrokVideoHook, ledger: Ledger, sandbox: Sandbox
) -> None:
    sandbox.fault("submit", fault)
    with pytest.raises(SubmissionUnknownError) as caught:
        submit(hook, ledger)
    entry = ledger.read()
    assert entry is not None
    assert (entry.state, entry.request_id) == ("intent", None)
    words = (
        "is unknown",
        "it may be billed",
        "console",
        "UTC",
        "GrokVideoSensor",
        'on_unknown_submission="resubmit"',
        "clear",
    )
    assert [word for word in words if word not in str(caught.value)] == []
    assert len(sandbox.submissions) + len(sandbox.refusals) == 1


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("bad_key", AuthenticationError),
        ("no_quota", InsufficientQuotaError),
        ("out_of_credit_429", InsufficientQuotaError),
        ("invalid_request", RequestRejectedError),
        ("model_not_found", RequestRejectedError),
    ],
)
def test_rejected_submission_restores_ledger_and_is_sent_once(
    fault: str, kind: type[GrokVideoError], hook: GrokVideoHook, ledger: Ledger, sandbox: Sandbox
) -> None:
    sandbox.fault("submit", fault)
    with pytest.raises(kind):
        submit(hook, ledger)
    assert ledger.read() is None
    assert (len(sandbox.submissions), len(sandbox.refusals)) == (0, 1)


def test_short_rate_limit_is_waited_out(hook: GrokVideoHook, ledger: Ledger, sandbox: Sandbox) -> None:
    sandbox.fault("submit", "rate_limited", times=2, retry_after=0)
    request_id = submit(hook, ledger)
    entry = ledger.read()
    assert entry is not None
    assert entry.request_id == request_id
    assert (len(sandbox.submissions), len(sandbox.refusals)) == (1, 2)


def test_long_rate_limit_raises_retry_later(hook: GrokVideoHook, ledger: Ledger, sandbox: Sandbox) -> None:
    sandbox.fault("submit", "rate_limited", retry_after=60)
    with pytest.raises(RetryLater) as caught:
        submit(hook, ledger)
    assert 60 <= caught.value.pause <= 60 * 1.25
    assert caught.value.attempt == 1
    assert ledger.read() is None
    assert sandbox.submissions == []


def test_rate_limit_beyond_deadline_is_final(hook: GrokVideoHook, ledger: Ledger, sandbox: Sandbox) -> None:
    sandbox.fault("submit", "rate_limited", retry_after=60)
    with pytest.raises(RateLimitError):
        submit(hook, ledger, seconds=30)
    assert ledger.read() is None


def test_unreachable_api_leaves_empty_ledger(hook: GrokVideoHook, ledger: Ledger, sandbox: Sandbox) -> None:
    assert hook.client.settings.base_url == sandbox.base_url
    sandbox.stop()
    with pytest.raises(TransportError) as caught:
        submit(hook, ledger, seconds=0)
    assert caught.value.delivered is False
    assert ledger.read() is None


def test_nothing_is_sent_if_intent_cannot_be_written(hook: GrokVideoHook, sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    ledger = Ledger(FileStore(ObjectStoragePath(f"file://{tmp_path}/file/entry.json")), Attempt())
    with pytest.raises(LedgerError, match=r"cannot be (locked|written)"):
        submit(hook, ledger)
    assert (sandbox.submissions, sandbox.refusals) == ([], [])


@pytest.mark.parametrize("fault", ["invalid_request", "bad_key", "model_not_found", "no_quota"])
def test_rejected_submission_restores_earlier_entry(
    fault: str, hook: GrokVideoHook, ledger: Ledger, sandbox: Sandbox
) -> None:
    request_id = submit(hook, ledger)
    sandbox.fault("submit", fault)
    with pytest.raises(GrokVideoError):
        submit(hook, ledger)
    entry = ledger.read()
    assert entry is not None
    assert (entry.state, entry.request_id) == ("submitted", request_id)
