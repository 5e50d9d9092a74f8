"""A client of the sandbox, a check of saved videos, and a store that cannot be written."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import ObjectStoragePath
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_grokvideo.api.client import GrokVideoClient
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.sandbox import Sandbox
from airflow_provider_grokvideo.storage import Landed


def client_of(sandbox: Sandbox, **settings: Any) -> GrokVideoClient:
    """Return a client of the sandbox."""
    return GrokVideoClient(Settings(base_url=sandbox.base_url, api_key=sandbox.api_key, **settings))


def names_in(folder: ObjectStoragePath) -> list[str]:
    """Return what is in a directory, hidden files too."""
    folder.fs.invalidate_cache()
    return sorted(Path(name).name for name in folder.fs.ls(folder.path, detail=False))


def check_saved(saved: Landed, content: bytes) -> None:
    """Assert that the record of a saved video describes the file."""
    assert ObjectStoragePath(saved.path).read_bytes() == content
    assert saved.size_bytes == len(content)
    assert saved.sha256 == hashlib.sha256(content).hexdigest()
    assert saved.content_type == "video/mp4"


class FullStore(MemoryFileSystem):
    """A store that runs full while a file is written to it, that many times."""

    cachable = False

    def __init__(self, error: Exception, times: float = math.inf) -> None:
        super().__init__()
        self.error = error
        self.times = times

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        opened = super()._open(path, mode, **kwargs)
        if "w" in mode and self.times > 0:
            self.times -= 1
            opened.write = self._fail
        return opened

    def _fail(self, _: bytes) -> int:
        raise self.error
