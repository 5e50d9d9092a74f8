"""Attempts of a task instance, and entries of its ledger."""

from __future__ import annotations

from dataclasses import replace

from airflow_provider_grokvideo.api.summary import RequestSummary
from airflow_provider_grokvideo.ledger import Attempt, LedgerEntry

ID = "a3d1008e-4544-40d4-d075-11527e794e4a"
AT = 1_790_000_000.0
HERE, ELSEWHERE = "here", "elsewhere"
RESULT = {"request_id": ID, "status": "done", "path": "file:///v.mp4"}
SUMMARY = RequestSummary("grok-imagine-video", inputs=("https://host/a.png",))
FIRST = Attempt(try_number=1, max_tries=2, run_after="2026-11-24T00:00:00+00:00", run_started="s1", retries=2)
RETRY = replace(FIRST, try_number=2)
OTHER_TASK_CLEARED = replace(RETRY, clear_number=1)
CLEARED = replace(FIRST, try_number=2, max_tries=3)
CREATED_AGAIN = replace(FIRST, run_started="s2")

INTENT = LedgerEntry("intent", AT, FIRST, "f1", HERE, SUMMARY, owner="o")
SUBMITTED = LedgerEntry("submitted", AT, FIRST, "f1", HERE, SUMMARY, ID)
FINISHED = LedgerEntry("finished", AT, FIRST, "f1", HERE, SUMMARY, ID, RESULT)
OF_0_1_0 = LedgerEntry("submitted", AT, request_id=ID, clear_number=0)
INTENT_OF_0_1_0 = LedgerEntry("intent", AT, clear_number=0)
