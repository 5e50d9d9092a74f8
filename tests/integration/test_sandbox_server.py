"""The sandbox without faults: keys, envelopes, prices, logs, limits, start and stop."""

from __future__ import annotations

import ssl
import threading
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
import requests

from airflow_provider_grokvideo.sandbox import Sandbox
from tests.support.sandbox_http import KEY, poll, submit


@pytest.fixture
def sandbox():
    with Sandbox(render_seconds=60) as running:
        yield running


# --- keys and paths -------------------------------------------------------------------------------

PROTECTED = [("POST", "/videos/generations"), ("GET", "/videos/some-id"), ("GET", "/models")]


@pytest.mark.parametrize(("method", "path"), PROTECTED)
@pytest.mark.parametrize("header", [None, "Bearer sk-wrong", "sandbox-key", "Bearer "])
def test_every_api_path_requires_the_key(sandbox, method, path, header):
    headers = {} if header is None else {"Authorization": header}
    comet = requests.request(method, sandbox.base_url + path, headers=headers, json={}, timeout=10)
    assert comet.status_code == 401
    assert comet.json()["error"]["type"] == "comet_api_error"
    assert "(request id: " in comet.json()["error"]["message"]
    xai = requests.request(method, sandbox.xai_base_url + path, headers=headers, json={}, timeout=10)
    if header == "Bearer sk-wrong":
        assert xai.status_code == 400
        assert xai.json()["code"] == "invalid-argument"
        assert xai.json()["error"].startswith("Incorrect API key provided: sk***")
    else:
        assert xai.status_code == 401
        assert xai.json() == {"code": "unauthenticated:no-credentials", "error": "No credentials provided"}
    assert sandbox.submissions == []


def test_models_and_key_info(sandbox):
    for base in (sandbox.base_url, sandbox.xai_base_url):
        listed = requests.get(f"{base}/models", headers=KEY, timeout=10).json()
        assert listed["object"] == "list"
        assert "grok-imagine-video" in {model["id"] for model in listed["data"]}
    shown = requests.get(f"{sandbox.xai_base_url}/api-key", headers=KEY, timeout=10)
    assert shown.status_code == 200
    assert sandbox.api_key not in shown.text


def test_unknown_paths_behave_like_the_gateway(sandbox):
    moved = requests.post(f"{sandbox.origin}/videos/generations", json={}, allow_redirects=False, timeout=10)
    assert moved.status_code == 301
    page = requests.get(f"{sandbox.origin}/videos/some-id", timeout=10)
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    for path in ("/v1/video/generations", "/grok/videos/generations", "/"):
        nowhere = requests.get(sandbox.origin + path, timeout=10)
        assert (nowhere.status_code, nowhere.headers["Content-Type"]) == (404, "text/html; charset=utf-8")


def test_unknown_id(sandbox):
    comet, xai = poll(sandbox.base_url, "never-given"), poll(sandbox.xai_base_url, "never-given")
    assert (comet.status_code, comet.json()) == (
        400,
        {"code": "task_not_exist", "message": "task_not_exist", "data": None},
    )
    assert (xai.status_code, xai.json()) == (404, {"error": {"message": "No deferred video"}})


# --- envelopes ------------------------------------------------------------------------------------


def test_raw_envelope(sandbox):
    request_id = submit(sandbox.base_url, duration=5)
    assert poll(sandbox.base_url, request_id).json() == {"request_id": request_id}
    sandbox.set_progress(request_id, 42)
    pending = poll(sandbox.base_url, request_id)
    assert pending.status_code == 200
    assert pending.json() == {"request_id": request_id, "status": "processing", "progress": 42}
    sandbox.finish(request_id)
    done = poll(sandbox.base_url, request_id).json()
    url = done["video"].pop("url")
    assert url.startswith(f"{sandbox.origin}/videos/{request_id}.mp4?")
    assert done == {
        "request_id": request_id,
        "status": "done",
        "progress": 100,
        "model": "grok-imagine-video",
        "usage": {"cost_in_usd_ticks": 2_500_000_000},
        "video": {"duration": 5, "respect_moderation": True},
    }


def test_xai_envelope(sandbox):
    request_id = submit(sandbox.xai_base_url)
    sandbox.set_progress(request_id, 24)
    pending = poll(sandbox.xai_base_url, request_id)
    assert (pending.status_code, pending.json()) == (202, {"status": "pending", "progress": 24})
    sandbox.finish(request_id)
    done = poll(sandbox.xai_base_url, request_id)
    assert done.status_code == 200
    assert set(done.json()) == {"status", "progress", "model", "usage", "video"}


def test_wrapped_envelope():
    with Sandbox(envelope="wrapped", render_seconds=60) as sandbox:
        request_id = submit(sandbox.base_url)
        statuses = []
        for _ in range(2):
            body = poll(sandbox.base_url, request_id).json()
            assert (body["code"], body["data"]["task_id"]) == ("success", request_id)
            assert body["data"]["data"] == {"status": "pending"}
            statuses.append(body["data"]["status"])
        assert statuses == ["QUEUED", "IN_PROGRESS"]
        sandbox.finish(request_id)
        data = poll(sandbox.base_url, request_id).json()["data"]
        assert (data["status"], data["progress"]) == ("SUCCESS", "100%")
        assert data["fail_reason"] == data["data"]["video"]["url"]
        assert requests.get(data["fail_reason"], headers={"Range": "bytes=0-0"}, timeout=30).status_code == 206
        # The paths of xAI ignore the option.
        assert poll(sandbox.xai_base_url, request_id).json()["status"] == "done"


def test_xai_envelope_under_cometapi_paths():
    with Sandbox(envelope="xai", render_seconds=60) as sandbox:
        assert poll(sandbox.base_url, submit(sandbox.base_url)).status_code == 202


@pytest.mark.parametrize(
    ("body", "usd"),
    [
        ({"duration": 10}, "0.50"),
        ({"duration": 10, "resolution": "720p"}, "0.70"),
        ({"duration": 10, "model": "grok-imagine-video-1.5"}, "0.80"),
        ({"duration": 10, "model": "grok-imagine-video-1.5", "resolution": "1080p"}, "2.50"),
        ({"duration": 5, "model": "grok-imagine-video-1.5", "image": {"url": "https://e.com/a.png"}}, "0.41"),
        ({"duration": 10, "model": "grok-imagine-video-1.5-lite", "resolution": "1080p"}, "1.40"),
        ({}, "0.40"),
    ],
)
def test_prices(sandbox, body, usd):
    request_id = submit(sandbox.base_url, **body)
    sandbox.finish(request_id)
    ticks = poll(sandbox.base_url, request_id).json()["usage"]["cost_in_usd_ticks"]
    assert ticks == round(float(usd) * 10_000_000_000)


def test_edits_and_extensions_have_format_of_source(sandbox):
    source = submit(sandbox.base_url, duration=4, aspect_ratio="9:16", resolution="720p")
    sandbox.finish(source)
    video = {"url": poll(sandbox.base_url, source).json()["video"]["url"]}
    edited = submit(sandbox.base_url, what="edits", video=video)
    extended = submit(sandbox.base_url, what="extensions", video=video, duration=3)
    for request_id, seconds, ticks in ((edited, 4, 3_200_000_000), (extended, 7, 2_500_000_000)):
        sandbox.finish(request_id)
        body = poll(sandbox.base_url, request_id).json()
        assert body["video"]["duration"] == seconds
        assert body["usage"]["cost_in_usd_ticks"] == ticks


def test_edits_and_extensions_ignore_requested_format(sandbox):
    odd = {"video": {"url": "https://e.com/v.mp4"}, "resolution": ["4k"], "aspect_ratio": 7}
    edited = submit(sandbox.base_url, what="edits", duration="long", **odd)
    extended = submit(sandbox.base_url, what="extensions", **odd)
    for request_id, seconds in ((edited, 8), (extended, 6)):
        sandbox.finish(request_id)
        assert poll(sandbox.base_url, request_id).json()["video"]["duration"] == seconds


def test_jobs_end_after_render_seconds():
    with Sandbox(render_seconds=0) as sandbox:
        request_id = submit(sandbox.base_url)
        assert poll(sandbox.base_url, request_id).json()["status"] == "done"


# --- logs and control -----------------------------------------------------------------------------


def test_logs_contain_requests_without_the_key(sandbox):
    request_id = submit(sandbox.base_url, user="me")
    poll(sandbox.base_url, request_id)
    logs = {
        name: requests.get(f"{sandbox.origin}/sandbox/{name}", timeout=10)
        for name in ("requests", "polls", "downloads", "uploads", "refusals")
    }
    record = logs["requests"].json()[0]
    assert record == sandbox.submissions[0]
    assert record["kind"] == "generation"
    assert record["state"] == "pending"
    assert record["body"]["user"] == "me"
    assert record["headers"]["Content-Type"] == "application/json"
    assert logs["polls"].json() == sandbox.polls
    assert (sandbox.polls[0]["request_id"], sandbox.polls[0]["status"]) == (request_id, 200)
    assert all(sandbox.api_key not in answer.text for answer in logs.values())


def test_control_over_http(sandbox):
    def control(path, body):
        return requests.post(f"{sandbox.origin}/sandbox/{path}", json=body, timeout=10)

    request_id = submit(sandbox.xai_base_url)
    assert control("progress", {"request_id": request_id, "progress": 77}).status_code == 200
    assert poll(sandbox.xai_base_url, request_id).json()["progress"] == 77
    assert control("finish", {"request_id": request_id, "state": "failed"}).json()["state"] == "failed"
    assert poll(sandbox.xai_base_url, request_id).json()["status"] == "failed"
    for path, body in (
        ("finish", {"request_id": "unknown"}),
        ("finish", {"request_id": request_id, "state": "melted"}),
        ("finish", []),
        ("progress", {"request_id": request_id}),
        ("faults", {"on": "submit", "fault": "melted"}),
        ("faults", {"on": "moon", "fault": "html"}),
        ("faults", {"fault": "html"}),
        ("faults", ["html"]),
        ("faults", {"on": "submit", "fault": "html", "times": "often"}),
    ):
        refused = control(path, body)
        assert refused.status_code == 400, (path, body)
        assert refused.json()["error"]


def test_faults_apply_in_order_and_can_be_cleared(sandbox):
    url = f"{sandbox.origin}/sandbox/faults"
    armed = requests.post(
        url,
        json=[
            {"on": "submit", "fault": "server_error"},
            {"on": "submit", "fault": "no_quota", "times": None, "prompt_contains": "cat"},
        ],
        timeout=10,
    )
    assert [fault["fault"] for fault in armed.json()] == ["server_error", "no_quota"]

    def status(prompt):
        body = {"prompt": prompt}
        return requests.post(f"{sandbox.base_url}/videos/generations", json=body, headers=KEY, timeout=10).status_code

    assert [status("a cat") for _ in range(3)] == [500, 403, 403]
    assert status("a dog") == 200
    assert requests.get(url, timeout=10).json() == sandbox.armed
    assert len(sandbox.armed) == 1
    assert requests.delete(url, timeout=10).json() == []
    assert status("a cat") == 200


def test_rate_limit():
    with Sandbox(rate_limit=2) as sandbox:
        answers = [poll(sandbox.base_url, "some-id") for _ in range(12)]
        limited = [answer for answer in answers if answer.status_code == 429]
        assert limited
        assert int(limited[0].headers["Retry-After"]) >= 1
        assert "Requests per Second" in limited[0].json()["error"]["message"]
        # The rate limit does not count requests for models.
        assert requests.get(f"{sandbox.base_url}/models", headers=KEY, timeout=10).status_code == 200


def test_tls(tmp_path):
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sandbox")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "sandbox.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    with Sandbox(ssl_context=context) as sandbox:
        assert sandbox.base_url.startswith("https://127.0.0.1:")
        answer = requests.get(f"{sandbox.base_url}/models", headers=KEY, verify=str(pem), timeout=10)
        assert answer.status_code == 200
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(f"{sandbox.base_url}/models", headers=KEY, timeout=10)


# --- start and stop -------------------------------------------------------------------------------


def test_exception_in_with_block_frees_port_and_thread():
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), Sandbox() as sandbox:
        origin = sandbox.origin
        raise ZeroDivisionError
    assert threading.active_count() == before
    with pytest.raises(requests.ConnectionError):
        requests.get(origin, timeout=10)
    with pytest.raises(RuntimeError, match="not running"):
        _ = sandbox.origin


def test_start_raises_if_the_port_is_in_use(sandbox):
    port = int(sandbox.origin.rpartition(":")[2])
    with pytest.raises(OSError), Sandbox(port=port):
        pass


@pytest.mark.parametrize("options", [{"envelope": "paper"}, {"rate_limit": 0}, {"render_seconds": -1}, {"api_key": ""}])
def test_invalid_options_are_rejected(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Sandbox(**options)


def test_seed_makes_ids_reproducible():
    ids = []
    for _ in range(2):
        with Sandbox(seed=7) as sandbox:
            ids.append([submit(sandbox.base_url) for _ in range(3)])
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 3
