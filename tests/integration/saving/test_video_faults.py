"""Faults of the video host: a fresh URL and a whole video, or a clear error and no file."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_grokvideo.api.client import GrokVideoClient
from airflow_provider_grokvideo.api.generation import Generation
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.exceptions import DownloadError
from airflow_provider_grokvideo.sandbox import Sandbox
from airflow_provider_grokvideo.storage import save
from airflow_provider_grokvideo.utils.retries import ATTEMPTS
from tests.support.saved_videos import check_saved, client_of

Attached = Callable[..., str]


FAULTS = {
    "expired_url": "HTTP 403 (the URL has expired)",
    "not_found": "HTTP 404 (the URL has expired)",
    "server_error": "HTTP 500",
    "cut_short": "the download broke off",
    "cut_clean": "cut short",
    "html": "no MP4 file",
    "close": "no answer from the video's host",
    "slow": "timed out",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_temporary_fault_costs_one_more_download(
    fault: str, sandbox: Sandbox, request_id: str, content: bytes, tmp_path: Path
) -> None:
    options = {"delay": 60.0} if fault == "slow" else {}
    with client_of(sandbox, request_timeout=0.5 if fault == "slow" else 20.0) as client:
        done = client.get_generation(request_id)
        polls, downloads = len(sandbox.polls), len(sandbox.downloads)
        sandbox.fault("video", fault, **options)
        check_saved(save(client, done, f"file://{tmp_path}/fox.mp4"), content)
    assert len(sandbox.downloads) == downloads + 2
    assert len(sandbox.polls) == polls + 1
    assert len(sandbox.submissions) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["fox.mp4"]


@pytest.mark.parametrize("fault", [name for name in FAULTS if name != "slow"])
def test_permanent_fault_is_a_clear_error_without_a_file(
    fault: str, sandbox: Sandbox, client: GrokVideoClient, done: Generation, tmp_path: Path
) -> None:
    downloads = len(sandbox.downloads)
    sandbox.fault("video", fault, times=None)
    with pytest.raises(DownloadError) as caught:
        save(client, done, f"file://{tmp_path}/fox.mp4")
    assert FAULTS[fault] in str(caught.value)
    assert len(sandbox.downloads) == downloads + ATTEMPTS
    assert list(tmp_path.iterdir()) == []
    assert sandbox.api_key not in str(caught.value)
    assert "signature" not in str(caught.value)


def test_missing_url_is_requested_first(
    client: GrokVideoClient, request_id: str, content: bytes, tmp_path: Path
) -> None:
    check_saved(save(client, Generation(request_id, "done"), f"file://{tmp_path}/fox.mp4"), content)


def test_expired_url_is_renewed(
    sandbox: Sandbox, client: GrokVideoClient, done: Generation, content: bytes, tmp_path: Path
) -> None:
    url = (done.video_url or "").replace("signature=", "signature=0")
    stale = Generation(done.request_id, "done", video_url=url)
    check_saved(save(client, stale, f"file://{tmp_path}/fox.mp4"), content)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("expired", "reports it as expired"),
        ("not_found", "no fresh URL"),
        ("server_error", "no fresh URL"),
        ("bare_id", "pending"),
    ],
)
def test_missing_fresh_url_is_a_clear_error(
    fault: str, words: str, sandbox: Sandbox, client: GrokVideoClient, done: Generation, tmp_path: Path
) -> None:
    sandbox.fault("video", "expired_url", times=1)
    sandbox.fault("poll", fault, times=None)
    with pytest.raises(DownloadError, match=words) as caught:
        save(client, done, f"file://{tmp_path}/fox.mp4")
    assert done.request_id in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_key_is_not_sent_to_the_video_host(
    sandbox: Sandbox,
    client: GrokVideoClient,
    done: Generation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {sandbox.api_key}\n")
    monkeypatch.setenv("NETRC", str(netrc))
    count = len(sandbox.downloads)
    save(client, done, f"file://{tmp_path}/fox.mp4")
    assert len(sandbox.downloads) == count + 1
    assert [download for download in sandbox.downloads if download["authorization"]] == []


def test_ca_file_of_the_api_is_used_for_videos(ca_file: str, context: ssl.SSLContext, tmp_path: Path) -> None:
    with Sandbox(render_seconds=0, ssl_context=context) as secure, client_of(secure, verify=ca_file) as client:
        generation = client.get_generation(client.submit(VideoRequest(prompt="p", duration=1)))
        assert (generation.video_url or "").startswith("https://")
        assert save(client, generation, f"file://{tmp_path}/fox.mp4").size_bytes > 1000


def test_untrusted_video_host_is_replaced_by_a_fresh_url(
    client: GrokVideoClient, done: Generation, context: ssl.SSLContext, tmp_path: Path
) -> None:
    with Sandbox(ssl_context=context) as secure:
        elsewhere = Generation(done.request_id, "done", video_url=f"{secure.origin}/videos/x.mp4")
        saved = save(client, elsewhere, f"file://{tmp_path}/fox.mp4")
        # The fresh URL is the API's own again.
        assert saved.size_bytes > 1000
        assert secure.downloads == []
