"""Messages about stores: an image that cannot be read, a destination that cannot be used, a video that is not saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_grokvideo import storage
from airflow_provider_grokvideo.api.download import VideoTooLargeError
from airflow_provider_grokvideo.api.generation import Generation
from airflow_provider_grokvideo.exceptions import DownloadError, GrokVideoError, InvalidRequestError, StorageError
from airflow_provider_grokvideo.utils import retries

DONE = Generation("4b2c", "done", video_url="https://v.example.com/x.mp4")
SAVED_LATER = "It is billed. A retry downloads it again and does not pay again."
ONE_NAME = (
    "ObjectStoragePath does not open it under exactly this name. Leave out control characters, '::', a '?' or '#' with "
    "nothing behind it, and on SFTP and FTP any '?'."
)


def call(act: Callable[[], Any]) -> GrokVideoError:
    """Return the error that a call ends with."""
    with pytest.raises(GrokVideoError) as caught:
        act()
    return caught.value


def test_image_that_is_missing_gets_its_message(tmp_path: Path) -> None:
    error = call(lambda: storage.read_image(f"{tmp_path}/cat.png"))
    assert type(error) is InvalidRequestError
    assert str(error) == f"Cannot read image '{tmp_path}/cat.png': no such file on this worker."


def test_image_that_is_a_directory_gets_its_message(tmp_path: Path) -> None:
    error = call(lambda: storage.read_image(str(tmp_path), "reference_images[2]"))
    assert type(error) is InvalidRequestError
    assert str(error) == f"Cannot read reference_images[2] '{tmp_path}': it is a directory."


def test_image_that_is_too_large_gets_its_message(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(bytes(storage.MAX_IMAGE_BYTES + 1))
    error = call(lambda: storage.read_image(f"{tmp_path}/cat.png"))
    assert str(error) == f"image='{tmp_path}/cat.png' is not valid. Use an image of up to 15 MiB."


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "nonsense://bucket/x.mp4",
            "Cannot open nonsense://: Airflow knows no such store. This is the scheme of "
            "output_path='nonsense://bucket/x.mp4'.",
        ),
        ("file:///videos/a\nb.mp4", f"Cannot use output_path='file:///videos/a\\nb.mp4': {ONE_NAME}"),
    ],
    ids=["scheme", "control-character"],
)
def test_path_that_no_store_opens_gets_its_message(path: str, message: str) -> None:
    error = call(lambda: storage.check_writable(path))
    assert (type(error), str(error)) == (InvalidRequestError, message)


def test_store_without_its_package_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    class Missing(str):
        """A path whose filesystem is not installed."""

        __slots__ = ()

        def __new__(cls, *_: Any, **__: Any) -> Missing:
            raise ValueError("No filesystem registered for scheme s3")

    monkeypatch.setattr(storage, "ObjectStoragePath", Missing)
    error = call(lambda: storage.open_path("s3://bucket/x.mp4"))
    assert type(error) is InvalidRequestError
    assert str(error) == (
        "Cannot open s3://: install apache-airflow-providers-amazon[s3fs]. This is the scheme of "
        "output_path='s3://bucket/x.mp4'."
    )


def test_destination_below_a_file_gets_its_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    error = call(lambda: storage.check_writable(f"{tmp_path}/file/x.mp4"))
    assert type(error) is InvalidRequestError
    assert str(error) == (
        f"Cannot write to output_path='{tmp_path}/file/x.mp4': a part of the path is a file, not a directory. "
        "Nothing was billed."
    )


def test_full_disk_gets_its_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage.StoreFile, "writer", full)
    error = call(lambda: storage.check_writable(f"{tmp_path}/x.mp4"))
    assert type(error) is StorageError
    assert str(error) == (
        f"Cannot write to output_path='{tmp_path}/x.mp4': No space left on device. Nothing was billed."
    )


def test_wrong_limit_of_the_configuration_gets_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__MAX_VIDEO_BYTES", "much")
    error = call(storage.max_video_bytes)
    assert type(error) is InvalidRequestError
    assert str(error) == "[grokvideo] max_video_bytes=much is not valid. Use a whole number of bytes above 0."


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (
            DownloadError("the video's host answers HTTP 403 (the URL has expired)"),
            "Could not save the video of generation 4b2c to '/videos/x.mp4': the video's host answers HTTP 403 (the "
            f"URL has expired). {SAVED_LATER}",
        ),
        (
            VideoTooLargeError("the video is larger than 1,000 bytes; raise [grokvideo] max_video_bytes to save it"),
            "Could not save the video of generation 4b2c to '/videos/x.mp4': the video is larger than 1,000 bytes; "
            f"raise [grokvideo] max_video_bytes to save it. {SAVED_LATER}",
        ),
        (
            DownloadError("cannot write to '/videos/x.mp4': No space left on device"),
            "Could not save the video of generation 4b2c: cannot write to '/videos/x.mp4': No space left on device. "
            f"{SAVED_LATER}",
        ),
    ],
    ids=["expired", "too-large", "full"],
)
def test_video_that_is_not_saved_gets_its_message(
    failure: DownloadError, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise failure

    monkeypatch.setattr(retries, "ATTEMPTS", 1)
    monkeypatch.setattr(storage, "_save_once", fail)
    error = call(lambda: storage.save(None, DONE, "/videos/x.mp4"))  # type: ignore[arg-type]
    assert (type(error), str(error)) == (type(failure), message)
