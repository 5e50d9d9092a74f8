"""The command ``python -m airflow_provider_grokvideo.sandbox``."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress

import pytest
import requests

COMMAND = [sys.executable, "-m", "airflow_provider_grokvideo.sandbox"]
READY = re.compile(r"^sandbox ready: (http://127\.0\.0\.1:(\d+))/grok/v1\n$")


@contextmanager
def started(*options):
    """Run the program; yield it with its first line of output; stop it at the end."""
    command = [*COMMAND, "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            ready = READY.match(line)
            assert ready, line
            yield process, ready
        finally:
            process.terminate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_command_prints_one_line_and_exits_cleanly(number):
    with started("--api-key", "mine", "--envelope", "wrapped", "--seed", "1") as (process, ready):
        origin = ready.group(1)
        headers = {"Authorization": "Bearer mine"}
        submitted = requests.post(
            f"{origin}/grok/v1/videos/generations", json={"prompt": "x"}, headers=headers, timeout=10
        )
        request_id = submitted.json()["request_id"]
        polled = requests.get(f"{origin}/grok/v1/videos/{request_id}", headers=headers, timeout=10)
        assert polled.json()["data"]["task_id"] == request_id
        process.send_signal(number)
        rest, errors = process.communicate(timeout=30)
    assert (process.returncode, rest, errors) == (0, "", "")


def test_faults_leave_no_traceback_in_log():
    """A fault set by a test must not produce a traceback in the log."""
    headers = {"Authorization": "Bearer sandbox-key"}
    with started("--render-seconds", "0") as (process, ready):
        base = f"{ready.group(1)}/grok/v1/videos"

        def submit(hashtag):
            body = {"prompt": f"x #fault:{hashtag}", "duration": 1}
            return requests.post(f"{base}/generations", json=body, headers=headers, timeout=10).json()["request_id"]

        for hashtag in ("close_before_accept", "close_after_accept", "submit:half_answer"):
            with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
                submit(hashtag)
        for hashtag in ("poll:close", "poll:half_answer"):
            request_id = submit(hashtag)
            with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
                requests.get(f"{base}/{request_id}", headers=headers, timeout=10)
        for hashtag in ("video:close", "video:cut_short", "video:trickle"):
            request_id = submit(hashtag)
            url = requests.get(f"{base}/{request_id}", headers=headers, timeout=10).json()["video"]["url"]
            with suppress(requests.ConnectionError), requests.get(url, timeout=10, stream=True) as answer:
                next(answer.iter_content(100))
        process.terminate()
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_invalid_options_are_rejected():
    for wrong in (["--envelope", "paper"], ["--rate-limit", "0"], ["--port", "x"]):
        ended = subprocess.run([*COMMAND, *wrong], check=False, capture_output=True, text=True, timeout=30)
        assert ended.returncode == 2
        assert ended.stdout == ""


def test_error_names_the_port_in_use():
    with started() as (_, ready):
        second = subprocess.run(
            [*COMMAND, "--port", ready.group(2)], check=False, capture_output=True, text=True, timeout=30
        )
    assert second.returncode == 1
    assert ready.group(2) in second.stderr
    assert "Traceback" not in second.stderr


def test_importing_the_sandbox_loads_nothing_else():
    """The import loads no web server, no renderer and no other module of the provider."""
    code = (
        "import sys, airflow_provider_grokvideo.sandbox as s; s.Sandbox;"
        "print(sorted(m for m in sys.modules"
        " if m.split('.')[0] in {'aiohttp','av','PIL','airflow','requests'}"
        " or (m.startswith('airflow_provider_grokvideo.') and '.sandbox' not in m)))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert printed.stdout.strip() == "[]"
