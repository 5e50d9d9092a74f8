"""Videos, ledger and images on S3, through Airflow's amazon provider."""

from __future__ import annotations

import gc
import json
import os
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_grokvideo.exceptions import InvalidRequestError, StorageError
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator
from airflow_provider_grokvideo.storage import check_writable, destination, exists, open_path, read_image, replace_file
from airflow_provider_grokvideo.store_files import StoreFile
from tests.support.task_run import TaskRun
from tests.support.video_tasks import video_task

if not os.environ.get("CI"):
    pytest.importorskip("airflow.providers.amazon.aws.fs.s3", reason="apache-airflow-providers-amazon[s3fs] is missing")
    pytest.importorskip("moto.server", reason="moto[server] is missing")

CONN = "s3_test"
BUCKET = "videos"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc0000003010100c9fe92ef"
    "0000000049454e44ae426082"
)


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A boto3 client of an S3 server of its own, with one bucket; the connection ``s3_test`` leads there."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    patch = pytest.MonkeyPatch()
    patch.setenv(f"AIRFLOW_CONN_{CONN.upper()}", json.dumps(connection(url)))
    # For who names no connection: the credentials and the address of the surroundings.
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        patch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=url, region_name="us-east-1")
    client.create_bucket(Bucket=BUCKET)
    yield client
    patch.undo()
    server.stop()


def connection(url: str, login: str = "testing") -> dict[str, Any]:
    extra = {"endpoint_url": url, "region_name": "us-east-1"}
    return {"conn_type": "aws", "login": login, "password": "testing", "extra": extra}


def run(sandbox: Any, *, retries: int = 0, **kwargs: Any) -> TaskRun:
    """Attempts on an Airflow without a task state store, so that the ledger has to be a file."""
    return video_task(retries=retries, store=None, **kwargs).run()


def keys(s3: Any, prefix: str) -> list[str]:
    return [one["Key"] for one in s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])]


def test_saved_path_opens_without_a_connection_argument(s3: Any, sandbox: Any) -> None:
    task = run(sandbox, output_path=f"s3://{CONN}@{BUCKET}/saved/")

    assert task.state == "success", task.error
    request_id = task.result["request_id"]
    assert task.result["path"] == f"s3://{CONN}@{BUCKET}/saved/{request_id}.mp4"
    path = ObjectStoragePath(task.result["path"])
    assert path.stat().st_size == task.result["size_bytes"]
    with path.open("rb") as file:
        assert file.read(12)[4:8] == b"ftyp"
    # Neither a partial object nor the probe is left.
    assert keys(s3, "saved/") == [keys(s3, "saved/.grokvideo/")[0], f"saved/{request_id}.mp4"]


@pytest.mark.parametrize("how", ["in the path", "as output_conn_id", "from the surroundings"])
def test_result_names_the_connection_of_the_store(how: str, s3: Any, sandbox: Any) -> None:
    given: dict[str, dict[str, Any]] = {
        "in the path": {"output_path": f"s3://{CONN}@{BUCKET}/{how}.mp4"},
        "as output_conn_id": {"output_path": f"s3://{BUCKET}/{how}.mp4", "output_conn_id": CONN},
        "from the surroundings": {"output_path": f"s3://{BUCKET}/{how}.mp4"},
    }

    task = run(sandbox, prompt=how, **given[how])

    assert task.state == "success", task.error
    assert (f"{CONN}@" in task.result["path"]) == (how != "from the surroundings")
    assert ObjectStoragePath(task.result["path"]).stat().st_size == task.result["size_bytes"]


def test_ledger_prevents_a_second_payment(s3: Any, sandbox: Any) -> None:
    submissions = len(sandbox.submissions)
    attempts = {"output_path": f"s3://{CONN}@{BUCKET}/paid/", "ledger_path": f"s3://{CONN}@{BUCKET}/ledger/"}
    first = run(sandbox, prompt="ledger", wait_for_completion=False, **attempts)
    (key,) = keys(s3, "ledger/")
    entry = json.loads(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    second = run(sandbox, prompt="ledger", **attempts)

    assert (entry["state"], entry["request_id"]) == ("finished", first.result["request_id"])
    assert second.result["request_id"] == first.result["request_id"]
    assert len(sandbox.submissions) - submissions == 1
    assert json.loads(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())["state"] == "finished"
    assert keys(s3, "ledger/") == [key]


def test_unreadable_ledger_is_not_an_empty_one(s3: Any, sandbox: Any) -> None:
    submissions = len(sandbox.submissions)
    where = {"output_path": f"s3://{CONN}@{BUCKET}/torn/", "ledger_path": f"s3://{CONN}@{BUCKET}/torn-ledger/"}
    run(sandbox, prompt="torn", wait_for_completion=False, **where)
    (key,) = keys(s3, "torn-ledger/")
    s3.put_object(Bucket=BUCKET, Key=key, Body=b"{")

    task = run(sandbox, prompt="torn", **where)

    assert "torn-ledger" in str(task.error)
    assert len(sandbox.submissions) - submissions == 1


def test_image_is_read_from_s3(s3: Any, sandbox: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="images/dot.png", Body=PNG)

    task = run(sandbox, prompt="an image", image=f"s3://{CONN}@{BUCKET}/images/dot.png")

    assert task.state == "success", task.error
    (submission,) = [one for one in sandbox.submissions if one["body"]["prompt"] == "an image"]
    assert submission["body"]["image"]["url"].startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"output_path": f"s3://{CONN}@nowhere/v.mp4"}, "nowhere"),
        ({"output_path": f"s3://{CONN}@nowhere/v/"}, "nowhere"),
        ({"image": f"s3://{CONN}@nowhere/dot.png"}, "nowhere"),
        ({"image": f"s3://{CONN}@{BUCKET}/no-such.png"}, "no-such.png"),
        ({"ledger_path": f"s3://{CONN}@nowhere/ledger/"}, "nowhere"),
    ],
    ids=["bucket of a file", "bucket of a folder", "bucket of an image", "image", "bucket of the ledger"],
)
def test_missing_s3_object_is_refused_before_submission(
    wrong: dict[str, Any], named: str, s3: Any, sandbox: Any
) -> None:
    submissions = len(sandbox.submissions)

    task = run(sandbox, retries=1, **{"output_path": f"s3://{CONN}@{BUCKET}/missing/", **wrong})

    assert task.state == "failed"
    assert named in str(task.error), task.error
    assert len(sandbox.submissions) == submissions


@pytest.fixture
def denied(s3: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A connection whose user may look, and not write."""
    yield restricted(s3, monkeypatch, "reader", ["s3:Get*", "s3:List*"])
    _authenticate(s3.meta.endpoint_url, float("inf"))


def restricted(s3: Any, monkeypatch: pytest.MonkeyPatch, name: str, rights: list[str]) -> str:
    """A connection whose user may do this, and nothing else, from now on."""
    import boto3

    url = s3.meta.endpoint_url
    iam = boto3.client("iam", endpoint_url=url, region_name="us-east-1")
    iam.create_user(UserName=name)
    allowed = {"Effect": "Allow", "Action": rights, "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName=name, PolicyName="some", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    user = {**connection(url, key["AccessKeyId"]), "password": key["SecretAccessKey"]}
    conn_id = f"s3_{name.replace('-', '_')}"
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(user))
    # moto asks for permissions only when it is told to, after this many calls.
    _authenticate(url, 0)
    return conn_id


def _authenticate(url: str, after: float) -> None:
    requests.post(f"{url}/moto-api/reset-auth", data=str(after), timeout=10).raise_for_status()


def test_missing_permission_is_refused_before_submission(denied: str, sandbox: Any) -> None:
    submissions = len(sandbox.submissions)

    task = run(sandbox, retries=1, output_path=f"s3://{denied}@{BUCKET}/denied/")

    assert task.state == "failed"
    assert "denied" in str(task.error).lower(), task.error
    assert f"s3://{denied}@{BUCKET}" in str(task.error)
    assert len(sandbox.submissions) == submissions


def test_hook_saves_to_s3(s3: Any, sandbox: Any) -> None:
    hook = GrokVideoHook()
    generation = hook.wait(
        run(sandbox, prompt="hook", wait_for_completion=False).result["request_id"], poll_interval=0.1
    )

    saved = hook.download(generation, f"s3://{BUCKET}/hook.mp4", CONN)

    assert ObjectStoragePath(saved.path).stat().st_size == saved.size_bytes


def test_preview_plays_the_saved_object(s3: Any, sandbox: Any) -> None:
    pytest.importorskip("airflow.sdk", reason="Airflow 2 has no preview")
    from airflow_provider_grokvideo.plugins.preview.access import AccessDenied, authorize_playback
    from airflow_provider_grokvideo.plugins.preview.media import ByteRange, open_authorized, read_range
    from airflow_provider_grokvideo.plugins.preview.records import TaskRecord

    output = f"s3://{CONN}@{BUCKET}/preview/"
    task = run(sandbox, prompt="preview", output_path=output)
    module = GrokVideoGenerateOperator.__module__
    returned = json.dumps(task.result)
    record = TaskRecord("task", -1, "success", module, fields={"output_path": output}, return_value_xcom=returned)

    file = authorize_playback(record, [])
    whole = b"".join(read_range(open_authorized(file), ByteRange(0, file.size_bytes - 1)))
    part = b"".join(read_range(open_authorized(file), ByteRange(100, 299)))

    key = f"preview/{task.result['request_id']}.mp4"
    assert whole == s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    assert part == whole[100:300]
    elsewhere = {**task.result, "path": f"s3://{CONN}@{BUCKET}/saved/other.mp4"}
    with pytest.raises(AccessDenied):
        authorize_playback(replace(record, return_value_xcom=json.dumps(elsewhere)), [])


# --- how objects are made ----------------------------------------------------------------------------

MANY = 20 * 1024 * 1024


def file_at(key: str) -> StoreFile:
    path = open_path(f"s3://{CONN}@{BUCKET}/{key}")
    return StoreFile(path.fs, path.path)


def uploads(s3: Any) -> list[str]:
    return [one["Key"] for one in s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])]


@pytest.mark.parametrize("size", [0, 1000, MANY])
def test_object_appears_with_its_last_byte(size: int, s3: Any) -> None:
    key = f"whole/{size}?*.mp4"
    with file_at(key).writer() as file:
        for _ in range(size // 1000):
            file.write(bytes(1000))
        assert keys(s3, "whole/") == [one for one in keys(s3, "whole/") if one != key]
    assert key in keys(s3, "whole/")
    assert s3.head_object(Bucket=BUCKET, Key=key)["ContentLength"] == size // 1000 * 1000
    assert uploads(s3) == []


@pytest.mark.parametrize("size", [1000, MANY])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_aborted_upload_leaves_nothing(size: int, error: type[BaseException], s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="given-up/v.mp4", Body=b"an earlier video")

    def upload() -> None:
        with file_at("given-up/v.mp4").writer() as file:
            file.write(bytes(size))
            raise error

    with pytest.raises(error):
        upload()
    gc.collect()
    assert s3.get_object(Bucket=BUCKET, Key="given-up/v.mp4")["Body"].read() == b"an earlier video"
    assert keys(s3, "given-up/") == ["given-up/v.mp4"]
    assert uploads(s3) == []


def test_large_object_takes_little_memory(s3: Any) -> None:
    piece = bytes(256 * 1024)
    tracemalloc.start()
    try:
        with file_at("large.mp4").writer() as file:
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(28):
                file.write(piece)
            _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 24 * 1024 * 1024


@pytest.mark.parametrize("more", [[], ["s3:Get*"]], ids=["write", "write-and-read"])
def test_permission_to_list_is_not_needed(more: list[str], s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    conn_id = restricted(s3, monkeypatch, f"writer-{len(more)}", ["s3:PutObject", "s3:DeleteObject", *more])
    path = f"s3://{conn_id}@{BUCKET}/restricted/{len(more)}.mp4"
    try:
        check_writable(path)
        replace_file(destination(path, "id"), b"video")
    finally:
        _authenticate(s3.meta.endpoint_url, float("inf"))
    assert s3.get_object(Bucket=BUCKET, Key=f"restricted/{len(more)}.mp4")["Body"].read() == b"video"


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [("SlowDown", 503, StorageError), ("InternalError", 500, StorageError), ("AccessDenied", 403, InvalidRequestError)],
)
def test_temporary_s3_fault_allows_a_retry(
    code: str, status: int, kind: type[Exception], s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import ClientError
    from s3fs import S3FileSystem
    from s3fs.errors import translate_boto_error

    answer = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}

    async def fail(self: Any, method: str, *_: Any, **__: Any) -> None:
        raise translate_boto_error(ClientError(answer, method))

    path = f"s3://{CONN}@{BUCKET}/faulty/v.mp4"
    s3.put_object(Bucket=BUCKET, Key="faulty/v.mp4", Body=b"video")
    assert exists(path)
    with monkeypatch.context() as patched:
        patched.setattr(S3FileSystem, "_call_s3", fail)
        with pytest.raises(kind, match="output_path="):
            check_writable(path)
        with pytest.raises(kind, match="image"):
            read_image(path)
        if kind is StorageError:
            with pytest.raises(StorageError):
                exists(path)
        else:
            assert not exists(path)
    assert read_image(path) == b"video"
