"""Files on stores that copy, rename or lose bytes, and temporary files of killed writers."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

import airflow_provider_grokvideo
from airflow_provider_grokvideo.exceptions import StorageError
from airflow_provider_grokvideo.storage import (
    check_writable,
    destination,
    exists,
    open_path,
    replace_file,
)
from airflow_provider_grokvideo.store_files import StoreFile

Attached = Callable[..., str]


class Strict(MemoryFileSystem):
    """A store that tells when a name is taken for a pattern."""

    cachable = False

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("a name was expanded")

    mv = move = rename = copy = rm = glob = expand_path = find = walk = _refuse


def test_name_is_not_expanded_as_a_pattern(attached: Attached) -> None:
    url = f"{attached(Strict())}{uuid.uuid4().hex}/"
    check_writable(f"{url}a*.mp4")
    replace_file(destination(f"{url}a*.mp4", "id"), b"video")
    assert exists(f"{url}a*.mp4")


class Renaming(AbstractFileSystem):
    """A store that can rename but not copy, and refuses to rename over a file."""

    cachable = False
    protocol = "renaming"

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root

    def _open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        return (self.root / path.strip("/")).open(mode)

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return what is known of a path."""
        return LocalFileSystem().info(str(self.root / path.strip("/")))

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make a directory."""
        (self.root / path.strip("/")).mkdir(parents=True, exist_ok=exist_ok)

    def mv(self, path1: str, path2: str, **_: Any) -> None:
        """Rename one file."""
        if (self.root / path2.strip("/")).exists():
            raise FileExistsError(path2)
        (self.root / path1.strip("/")).rename(self.root / path2.strip("/"))

    def _rm(self, path: str) -> None:
        (self.root / path.strip("/")).unlink()


def test_store_that_can_only_rename_works(attached: Attached, tmp_path: Path) -> None:
    url = f"{attached(Renaming(tmp_path))}a/"
    check_writable(f"{url}a*.mp4")
    replace_file(destination(f"{url}a*.mp4", "id"), b"first")
    replace_file(destination(f"{url}a*.mp4", "id"), b"second")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["a*.mp4"]
    assert (tmp_path / "a" / "a*.mp4").read_bytes() == b"second"


class Forgetful(MemoryFileSystem):
    """A store that says that it copies, and does not."""

    cachable = False

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        """Copy half."""
        self.pipe_file(path2, self.cat_file(path1)[:-1])


def test_store_that_loses_bytes_is_refused(attached: Attached) -> None:
    with pytest.raises(StorageError, match="does not hold the 4096 bytes"):
        check_writable(f"{attached(Forgetful())}{uuid.uuid4().hex}/x.mp4")


def test_only_files_of_dead_writers_are_removed(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from airflow_provider_grokvideo.storage import open_path
from airflow_provider_grokvideo.store_files import StoreFile
target = open_path(sys.argv[1])
with StoreFile(target.fs, target.path).writer() as file:
    file.write(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    root = str(Path(airflow_provider_grokvideo.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *sys.path[1:]])}
    subprocess.run([sys.executable, "-c", code, f"{tmp_path}/v.mp4"], env=environment)
    (dead,) = tmp_path.iterdir()
    (tmp_path / ".grokvideo-someone-elses.part").touch()
    target = open_path(f"{tmp_path}/v.mp4")
    with StoreFile(target.fs, target.path).writer() as living:
        living.write(b"living")
        assert not dead.exists()
        replace_file(target, b"another")
        assert len(list(tmp_path.iterdir())) == 3
    assert {path.name for path in tmp_path.iterdir()} == {"v.mp4", ".grokvideo-someone-elses.part"}
    assert target.read_bytes() == b"living"
