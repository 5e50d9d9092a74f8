"""Landing, ledger and images on an object store that speaks S3, through Airflow's own amazon provider."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator
from tests.support.task_run import TaskRun

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
    arguments = {"task_id": "task", "prompt": "A lake", "duration": 1, "poll_interval": 0.05, "timeout": 20, **kwargs}
    return TaskRun(lambda: GrokVideoGenerateOperator(**arguments), retries=retries, store=None).run()


def keys(s3: Any, prefix: str) -> list[str]:
    return [one["Key"] for one in s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])]


def test_a_video_lands_and_its_path_opens_alone(s3: Any, sandbox: Any) -> None:
    task = run(sandbox, output_path=f"s3://{CONN}@{BUCKET}/landed/")

    assert task.state == "success", task.error
    request_id = task.result["request_id"]
    assert task.result["path"] == f"s3://{CONN}@{BUCKET}/landed/{request_id}.mp4"
    path = ObjectStoragePath(task.result["path"])
    assert path.stat().st_size == task.result["size_bytes"]
    with path.open("rb") as file:
        assert file.read(12)[4:8] == b"ftyp"
    # Neither a partial object nor the probe is left.
    assert keys(s3, "landed/") == [keys(s3, "landed/.grokvideo/")[0], f"landed/{request_id}.mp4"]


@pytest.mark.parametrize("how", ["in the path", "as output_conn_id", "from the surroundings"])
def test_the_result_names_the_connection_that_wrote_it(how: str, s3: Any, sandbox: Any) -> None:
    given: dict[str, dict[str, Any]] = {
        "in the path": {"output_path": f"s3://{CONN}@{BUCKET}/{how}.mp4"},
        "as output_conn_id": {"output_path": f"s3://{BUCKET}/{how}.mp4", "output_conn_id": CONN},
        "from the surroundings": {"output_path": f"s3://{BUCKET}/{how}.mp4"},
    }

    task = run(sandbox, prompt=how, **given[how])

    assert task.state == "success", task.error
    assert (f"{CONN}@" in task.result["path"]) == (how != "from the surroundings")
    assert ObjectStoragePath(task.result["path"]).stat().st_size == task.result["size_bytes"]


def test_the_ledger_keeps_a_retry_from_paying_again(s3: Any, sandbox: Any) -> None:
    submissions = len(sandbox.submissions)
    attempts = {"output_path": f"s3://{CONN}@{BUCKET}/paid/", "ledger_path": f"s3://{CONN}@{BUCKET}/ledger/"}
    first = run(sandbox, prompt="ledger", wait_for_completion=False, **attempts)
    (key,) = keys(s3, "ledger/")
    entry = json.loads(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    second = run(sandbox, prompt="ledger", **attempts)

    assert (entry["state"], entry["request_id"]) == ("submitted", first.result["request_id"])
    assert second.result["request_id"] == first.result["request_id"]
    assert len(sandbox.submissions) - submissions == 1
    assert json.loads(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())["state"] == "finished"
    assert keys(s3, "ledger/") == [key]


def test_a_ledger_that_cannot_be_read_is_not_an_empty_one(s3: Any, sandbox: Any) -> None:
    submissions = len(sandbox.submissions)
    where = {"output_path": f"s3://{CONN}@{BUCKET}/torn/", "ledger_path": f"s3://{CONN}@{BUCKET}/torn-ledger/"}
    run(sandbox, prompt="torn", wait_for_completion=False, **where)
    (key,) = keys(s3, "torn-ledger/")
    s3.put_object(Bucket=BUCKET, Key=key, Body=b"{")

    task = run(sandbox, prompt="torn", **where)

    assert "torn-ledger" in str(task.error)
    assert len(sandbox.submissions) - submissions == 1


def test_an_image_is_read(s3: Any, sandbox: Any) -> None:
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
def test_what_is_missing_is_said_before_anything_is_paid(
    wrong: dict[str, Any], named: str, s3: Any, sandbox: Any
) -> None:
    submissions = len(sandbox.submissions)

    task = run(sandbox, retries=1, **{"output_path": f"s3://{CONN}@{BUCKET}/missing/", **wrong})

    assert task.state == "failed"
    assert named in str(task.error), task.error
    assert len(sandbox.submissions) == submissions


@pytest.fixture
def denied(s3: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """A connection whose user may look, and not write."""
    import boto3

    url = s3.meta.endpoint_url
    iam = boto3.client("iam", endpoint_url=url, region_name="us-east-1")
    iam.create_user(UserName="reader")
    allowed = {"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=policy)
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    reader = {**connection(url, key["AccessKeyId"]), "password": key["SecretAccessKey"]}
    monkeypatch.setenv("AIRFLOW_CONN_S3_READER", json.dumps(reader))
    # moto asks for permissions only when it is told to, after this many calls.
    _authenticate(url, 0)
    yield "s3_reader"
    _authenticate(url, float("inf"))


def _authenticate(url: str, after: float) -> None:
    requests.post(f"{url}/moto-api/reset-auth", data=str(after), timeout=10).raise_for_status()


def test_a_missing_permission_is_said_before_anything_is_paid(denied: str, sandbox: Any) -> None:
    submissions = len(sandbox.submissions)

    task = run(sandbox, retries=1, output_path=f"s3://{denied}@{BUCKET}/denied/")

    assert task.state == "failed"
    assert "denied" in str(task.error).lower(), task.error
    assert f"s3://{denied}@{BUCKET}" in str(task.error)
    assert len(sandbox.submissions) == submissions


def test_a_hook_lands_there_too(s3: Any, sandbox: Any) -> None:
    hook = GrokVideoHook()
    generation = hook.wait(
        run(sandbox, prompt="hook", wait_for_completion=False).result["request_id"], poll_interval=0.1
    )

    landed = hook.download(generation, f"s3://{BUCKET}/hook.mp4", CONN)

    assert ObjectStoragePath(landed.path).stat().st_size == landed.size_bytes


def test_the_preview_plays_what_lies_there(s3: Any, sandbox: Any) -> None:
    pytest.importorskip("airflow.sdk", reason="Airflow 2 has no preview")
    from airflow_provider_grokvideo.plugins.preview_media import Span, chunks, open_granted
    from airflow_provider_grokvideo.plugins.preview_videos import Record, Refused, may_play

    output = f"s3://{CONN}@{BUCKET}/preview/"
    task = run(sandbox, prompt="preview", output_path=output)
    module = GrokVideoGenerateOperator.__module__
    record = Record("task", -1, "success", module, fields={"output_path": output}, returned=json.dumps(task.result))

    whole = b"".join(chunks(open_granted(may_play(record, [])), Span(0, task.result["size_bytes"] - 1)))
    part = b"".join(chunks(open_granted(may_play(record, [])), Span(100, 299)))

    key = f"preview/{task.result['request_id']}.mp4"
    assert whole == s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    assert part == whole[100:300]
    elsewhere = {**task.result, "path": f"s3://{CONN}@{BUCKET}/landed/other.mp4"}
    with pytest.raises(Refused):
        may_play(replace(record, returned=json.dumps(elsewhere)), [])
