"""Ledger entries of released versions: understood, and not paid again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_grokvideo.api.summary import fingerprint_address
from airflow_provider_grokvideo.exceptions import LedgerEntryError
from airflow_provider_grokvideo.sandbox import Sandbox
from tests.support.task_run import MemoryStore, TaskRun
from tests.support.video_tasks import video_task

FIXTURES = Path(__file__).parents[2] / "fixtures" / "ledger_entries"


def _stored(release: Path, state: str, request_id: str, path: str, address: str) -> dict[str, Any]:
    """Return an entry as a release has written it, of this generation."""
    text = json.dumps(json.loads(release.read_text())[state])
    return json.loads(text.replace("REQUEST_ID", request_id).replace("PATH", path).replace("ADDRESS", address))


@pytest.mark.parametrize("release", sorted(FIXTURES.glob("*.json")), ids=lambda file: file.stem)
@pytest.mark.parametrize(("state", "ends"), [("intent", "failed"), ("submitted", "success"), ("finished", "success")])
def test_released_entry_is_not_paid_again(
    release: Path, state: str, ends: str, sandbox: Sandbox, store: MemoryStore | None, tmp_path: Path
) -> None:
    made = video_task(store=None, wait_for_completion=False, ledger_path=f"file://{tmp_path}/elsewhere/").run()
    request_id = made.result["request_id"]
    video = tmp_path / f"{request_id}.mp4"
    video.write_bytes(b"saved before the upgrade")
    address = fingerprint_address(sandbox.base_url)
    entry = _stored(release, state, request_id, f"file://{tmp_path}/{request_id}.mp4", address)
    run = video_task(store=store, retries=0, output_path=f"file://{tmp_path}/")
    run.try_number, run.max_tries = 1, entry.get("attempt", {}).get("max_tries", 0)
    _place(run, store, tmp_path, entry)

    run.attempt()

    assert run.state == ends, run.error
    assert len(sandbox.submissions) == 1
    if state == "finished":
        assert video.read_bytes() == b"saved before the upgrade"
    # The first clear after the upgrade is recognised.
    run.clear().attempt()
    assert run.state == "success"
    assert len(sandbox.submissions) == 2


def test_entry_of_a_newer_release_submits_nothing(sandbox: Sandbox, store: MemoryStore | None, tmp_path: Path) -> None:
    entry = _stored(max(FIXTURES.glob("*.json")), "submitted", "some-id", "", "")
    run = video_task(store=store, retries=2, output_path=f"file://{tmp_path}/")
    _place(run, store, tmp_path, {**entry, "priority": "high"})

    run.run()

    assert run.state == "failed"
    assert isinstance(run.error.__cause__, LedgerEntryError)
    assert "newer release" in str(run.error)
    assert sandbox.submissions == []


def _place(run: TaskRun, store: MemoryStore | None, tmp_path: Path, entry: dict[str, Any]) -> None:
    """Put an entry where each release of this package looks for it."""
    if store is not None:
        store.values["grokvideo"] = entry
        return
    # sha256 of "dag\0manual__1\0task\0-1"
    name = "grokvideo-61f4f09ea03cd9ac371f1fb7843806cd1320791e.json"
    (tmp_path / ".grokvideo").mkdir()
    (tmp_path / ".grokvideo" / name).write_text(json.dumps(entry))
