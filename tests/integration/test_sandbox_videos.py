"""Rendered videos: duration, size, content, caching and downloads."""

from __future__ import annotations

import base64
import io
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from airflow_provider_grokvideo.sandbox import Sandbox, video_cache
from airflow_provider_grokvideo.sandbox.models import FRAME_SIZES
from dev.processes import wait_until
from tests.support.sandbox_http import KEY

av = pytest.importorskip("av")
Image = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(render_seconds=0) as running:
        yield running


def submit(sandbox, what="generations", **body):
    body.setdefault("prompt", "Slow dolly over a misty lake")
    answer = requests.post(f"{sandbox.base_url}/videos/{what}", json=body, headers=KEY, timeout=10)
    answer.raise_for_status()
    return answer.json()["request_id"]


def url_of(sandbox, request_id):
    answer = requests.get(f"{sandbox.base_url}/videos/{request_id}", headers=KEY, timeout=10)
    return answer.json()["video"]["url"]


def make(sandbox, **body):
    answer = requests.get(url_of(sandbox, submit(sandbox, **body)), timeout=120)
    assert answer.headers["Content-Type"] == "video/mp4"
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    return answer.content


def frames_of(content):
    with av.open(io.BytesIO(content)) as container:
        return [frame.to_image() for frame in container.decode(video=0)]


def check(content, seconds, size):
    with av.open(io.BytesIO(content)) as container:
        (stream,) = container.streams.video
        rate = float(stream.average_rate)
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == size
        assert abs(container.duration / 1_000_000 - seconds) <= 1 / rate
        assert sum(1 for _ in container.decode(video=0)) == round(seconds * rate)
    # faststart: the index is before the media data.
    assert 0 < content.find(b"moov") < content.find(b"mdat")


@pytest.mark.parametrize(
    ("body", "seconds", "size"),
    [
        ({}, 8, (848, 480)),
        ({"duration": 1, "aspect_ratio": "1:1"}, 1, (480, 480)),
        ({"duration": 3, "aspect_ratio": "9:16"}, 3, (480, 848)),
        ({"duration": 1, "aspect_ratio": "4:3"}, 1, (640, 480)),
        ({"duration": 2, "aspect_ratio": "3:4", "resolution": "720p"}, 2, (720, 960)),
        ({"duration": 1, "aspect_ratio": "16:9", "resolution": "720p"}, 1, (1280, 720)),
        ({"duration": 1, "aspect_ratio": "2:3", "resolution": "720p"}, 1, (720, 1080)),
        ({"duration": 1, "resolution": "1080p", "model": "grok-imagine-video-1.5"}, 1, (1920, 1080)),
        ({"duration": 15, "aspect_ratio": "3:2"}, 15, (720, 480)),
    ],
)
def test_duration_ratio_and_resolution(sandbox, body, seconds, size):
    check(make(sandbox, **body), seconds, size)


def test_frame_sizes_match_resolution_and_ratio():
    for resolution, sizes in FRAME_SIZES.items():
        for ratio, (width, height) in sizes.items():
            across, down = map(int, ratio.split(":"))
            assert abs(width / height - across / down) <= 0.01 * across / down, (resolution, ratio)
            assert min(width, height) == int(resolution.removesuffix("p"))
            assert width % 2 == height % 2 == 0


def test_edits_and_extensions(sandbox):
    source = submit(sandbox, duration=2, aspect_ratio="1:1")
    video = {"url": url_of(sandbox, source)}
    check(make(sandbox, what="edits", video=video), 2, (480, 480))
    check(make(sandbox, what="extensions", video=video, duration=2), 4, (480, 480))
    elsewhere = {"url": "https://example.com/in.mp4"}
    check(make(sandbox, what="edits", video=elsewhere), 8, (848, 480))


def test_frames_move_and_show_the_prompt(sandbox):
    frames = frames_of(make(sandbox, duration=1))
    other = frames_of(make(sandbox, duration=1, prompt="Something else entirely, and rather longer than that"))
    assert frames[0].tobytes() != frames[-1].tobytes()
    assert frames[0].tobytes() != other[0].tobytes()
    # White letters on a dark panel in the lower half.
    panel = frames[0].convert("L").crop((40, 240, 808, 450))
    darkest, brightest = panel.getextrema()
    assert brightest - darkest > 180


@pytest.mark.parametrize(
    "prompt",
    ["日本の雪 🎬 снег عربى", "word " * 500, "x" * 2000, "\x00\n\t ok", "…", "a\u0301", "half \ud83c"],
)
def test_any_prompt_can_be_rendered(sandbox, prompt):
    check(make(sandbox, prompt=prompt, duration=1, aspect_ratio="9:16"), 1, (480, 848))


def red_image():
    content = io.BytesIO()
    Image.new("RGB", (64, 64), (255, 0, 0)).save(content, "PNG")
    return content.getvalue()


def is_red(frame):
    red, green, blue = frame.getpixel((frame.width // 2, frame.height // 4))
    return red > 150 and green < 60 and blue < 60


def test_image_becomes_the_background(sandbox):
    uri = "data:image/png;base64," + base64.b64encode(red_image()).decode()
    assert is_red(frames_of(make(sandbox, duration=1, image={"url": uri}))[5])
    assert is_red(frames_of(make(sandbox, duration=1, reference_images=[{"url": uri}]))[5])
    # It has only the first bytes of a PNG, so it cannot be drawn.
    broken = "data:image/png;base64," + base64.b64encode(red_image()[:30]).decode()
    for url in (broken, "http://127.0.0.1:9/none.png", "https://unreachable.invalid/a.png"):
        assert not is_red(frames_of(make(sandbox, duration=1, image={"url": url}))[5])


def test_image_on_this_machine_is_fetched(sandbox):
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Picture(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(red_image())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Picture)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/red.png"
        assert is_red(frames_of(make(sandbox, duration=1, image={"url": url}))[5])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_same_seed_and_request_give_the_same_file():
    files = []
    for seed in (3, 3, 4):
        with Sandbox(render_seconds=0, seed=seed) as sandbox:
            files.append(make(sandbox, duration=2))
    assert files[0] == files[1]
    assert files[0] != files[2]


def test_ranges(sandbox):
    url = url_of(sandbox, submit(sandbox, duration=1))
    whole = requests.get(url, timeout=30).content
    total = len(whole)
    for asked, part in (
        ("bytes=0-99", slice(0, 100)),
        ("bytes=100-", slice(100, None)),
        ("bytes=-50", slice(total - 50, None)),
        (f"bytes=10-{total * 2}", slice(10, None)),
    ):
        answer = requests.get(url, headers={"Range": asked}, timeout=30)
        assert (answer.status_code, answer.content) == (206, whole[part])
        assert answer.headers["Content-Range"].endswith(f"/{total}")
    beyond = requests.get(url, headers={"Range": f"bytes={total}-"}, timeout=30)
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{total}")
    assert requests.get(url, headers={"Range": "lines=1-2"}, timeout=30).content == whole
    assert sandbox.downloads[-1]["range"] == "lines=1-2"
    head = requests.head(url, timeout=30)
    assert (head.headers["Content-Length"], head.headers["Accept-Ranges"]) == (str(total), "bytes")


@pytest.fixture
def renderings(monkeypatch):
    """Return the list of encoded files, and the event that lets the encoding start."""
    files, may_begin = [], threading.Event()
    encode = av.open

    def counted(file, mode="r", **kwargs):
        if mode == "w":
            files.append(file)
            assert may_begin.wait(60)
        return encode(file, mode, **kwargs)

    monkeypatch.setattr(av, "open", counted)
    return files, may_begin


def test_concurrent_downloads_share_one_rendering(sandbox, renderings):
    files, may_begin = renderings
    request_id = submit(sandbox, duration=2)
    url = url_of(sandbox, request_id)

    def fetches():
        return [download for download in sandbox.downloads if download["request_id"] == request_id]

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(requests.get, url, timeout=60) for _ in range(8)]
        wait_until(lambda: len(fetches()) == 8, timeout=30, what="all fetches to arrive", interval=0.01)
        may_begin.set()
        contents = {answer.result().content for answer in answers}

    assert len(contents) == 1
    assert len(files) == 1
    assert {requests.get(url, timeout=60).content} == contents
    assert len(files) == 1


def test_cache_is_bounded_and_renders_again(sandbox, renderings, monkeypatch):
    files, may_begin = renderings
    may_begin.set()
    monkeypatch.setattr(video_cache, "_MAX_CACHE_BYTES", 1)
    first, second = (url_of(sandbox, submit(sandbox, duration=1)) for _ in range(2))

    content = requests.get(first, timeout=60).content
    requests.get(second, timeout=60)
    requests.get(second, timeout=60)
    assert len(files) == 2
    assert requests.get(first, timeout=60).content == content
    assert len(files) == 3


def test_disconnected_client_does_not_stop_rendering(sandbox, renderings):
    files, may_begin = renderings
    request_id = submit(sandbox, duration=1)
    url = url_of(sandbox, request_id)
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(requests.Timeout):
            requests.get(url, timeout=0.2)
        answer = pool.submit(requests.get, url, timeout=60)
        wait_until(
            lambda: sum(one["request_id"] == request_id for one in sandbox.downloads) == 2,
            timeout=30, what="the second fetch",
        )  # fmt: skip
        may_begin.set()
        assert answer.result().content[4:8] == b"ftyp"
    assert len(files) == 1


def test_image_on_another_machine_is_not_fetched(sandbox, monkeypatch):
    asked = []
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, **_: asked.append(url) or io.BytesIO())

    assert make(sandbox, duration=1, image={"url": "https://192.0.2.1/red.png"})[4:8] == b"ftyp"
    assert asked == []


def test_log_records_a_key_sent_to_the_video_host(sandbox):
    url = url_of(sandbox, submit(sandbox, duration=1))
    requests.get(url, timeout=30)
    assert sandbox.downloads[-1]["authorization"] is False
    requests.get(url, headers=KEY, timeout=30)
    assert sandbox.downloads[-1]["authorization"] is True


def test_video_host_can_differ_from_the_api():
    with Sandbox(render_seconds=0, video_origin="http://cdn.example:1") as sandbox:
        assert url_of(sandbox, submit(sandbox)).startswith("http://cdn.example:1/videos/")


def test_unfinished_video_is_not_found():
    with Sandbox(render_seconds=60) as sandbox:
        request_id = submit(sandbox)
        for name in (request_id, "unknown"):
            assert requests.get(f"{sandbox.origin}/videos/{name}.mp4", timeout=10).status_code == 404
