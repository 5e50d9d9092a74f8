"""Checks before submission: destinations and images."""

from __future__ import annotations

import errno
import re
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_grokvideo.api.media import MAX_IMAGE_BYTES
from airflow_provider_grokvideo.exceptions import InvalidRequestError, StorageError
from airflow_provider_grokvideo.storage import check_writable, read_image
from tests.support.saved_videos import FullStore, names_in

Attached = Callable[..., str]


def test_check_leaves_no_file(folder: ObjectStoragePath) -> None:
    check_writable(f"{folder}/")
    check_writable(folder / "fox.mp4")
    folder.fs.invalidate_cache()
    assert not folder.exists() or names_in(folder) == []


def test_unwritable_destination_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for path in (f"file://{tmp_path}/file/fox.mp4", f"file://{tmp_path}/file/", "nonsense://bucket/fox.mp4"):
        with pytest.raises(InvalidRequestError) as caught:
            check_writable(path)
        assert str(caught.value).startswith("Cannot")
        assert f"output_path='{path}'" in str(caught.value)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), StorageError),
        (TimeoutError("timed out"), StorageError),
        (PermissionError(errno.EACCES, "Permission denied"), InvalidRequestError),
    ],
    ids=["full", "timeout", "forbidden"],
)
def test_check_writes_real_bytes(error: Exception, kind: type[Exception], attached: Attached) -> None:
    url = f"{attached(FullStore(error))}{uuid.uuid4().hex}/fox.mp4"
    with pytest.raises(kind) as caught:
        check_writable(url)
    assert str(caught.value).startswith(f"Cannot write to output_path='{url}': ")
    assert str(caught.value).endswith("Nothing was billed.")


def test_image_is_read_from_every_store(folder: ObjectStoragePath) -> None:
    folder.fs.makedirs(folder.path, exist_ok=True)
    (folder / "cat.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert read_image(str(folder / "cat.png")) == b"\x89PNG\r\n\x1a\n"


def test_unreadable_image_is_refused_by_name(tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    with large.open("wb") as file:
        file.truncate(50 * 1024 * 1024)
    cases = {
        str(tmp_path / "no-such.png"): "no such file on this worker",
        str(tmp_path): "it is a directory",
        str(large): f"up to {MAX_IMAGE_BYTES // 1024**2} MiB",
        "nonsense://bucket/cat.png": "nonsense",
    }
    for path, words in cases.items():
        with pytest.raises(InvalidRequestError) as caught:
            read_image(path, "reference_images[2]")
        assert re.search(rf"reference_images\[2\][= ]'{path}'", str(caught.value))
        assert words in str(caught.value)
