"""Single files on every fsspec store: written completely or not at all, under exactly their names.

fsspec's ``mv``, ``copy`` and ``rm`` expand ``*``, ``?`` and ``[`` in names, so this module uses none of them. How a
file gets its name depends on the store:

- S3, Google Cloud Storage, Azure: it is uploaded under its name. The object appears when the upload is completed, which
  happens only after the content was checked; a cancelled upload leaves no object.
- local disk: it is written under a temporary name and renamed, which replaces an earlier file atomically.
- other stores: it is written under a temporary name and renamed, or copied and removed if the store cannot rename.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsspec.asyn import sync
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_UPLOADING = frozenset({"s3fs.core", "gcsfs.core", "adlfs.spec"})
"""Modules of the filesystems whose files appear when they are closed."""
_RENAMING = frozenset(
    f"fsspec.implementations.{name}" for name in ("arrow", "dbfs", "ftp", "jupyter", "sftp", "smb", "webhdfs")
)
"""Modules of the filesystems whose ``mv`` is one exact rename."""
_SSHFS = "sshfs.spec"
_UPLOAD_BLOCK = 8 * 1024**2
"""S3 accepts 10,000 parts, so up to 78 GiB. s3fs would hold its default, 50 MiB, in memory."""


class StoreFile:
    """One file, by its exact name. Creating the object does not contact the store.

    :param fs: the filesystem.
    :param path: as the filesystem takes it.
    """

    def __init__(self, fs: AbstractFileSystem, path: str) -> None:
        while isinstance(fs, DirFileSystem):
            fs, path = fs.fs, fs._join(path)
        self._fs = fs
        self._path: str = fs._strip_protocol(path) if isinstance(fs, LocalFileSystem) else path

    @property
    def is_local(self) -> bool:
        """Whether it is on a local disk."""
        return isinstance(self._fs, LocalFileSystem)

    def info(self) -> Mapping[str, Any] | None:
        """Return the store's information on it, ``None`` if it does not exist.

        :raises Exception: each filesystem raises errors of its own.
        """
        return self._info(self._path)

    @contextlib.contextmanager
    def writer(self) -> Iterator[Writer]:
        """Yield a writer. The file exists, or replaces an earlier one, only after the block has ended without an error.

        :raises Exception: each filesystem raises errors of its own.
        """
        saving = self._upload if type(self._fs).__module__ in _UPLOADING else self._write_and_rename
        with saving() as file:
            writer = Writer(file)
            yield writer
        self._check_size(writer.size)

    def remove(self) -> None:
        """Remove it.

        :raises FileNotFoundError: it does not exist. Some stores do not report that.
        """
        self._fs.rm_file(self._path)

    def probe(self) -> StoreFile:
        """Return a file with a unique name in the same directory, of the same length and characters, to try to save."""
        folder, slash, name = self._path.rpartition("/")
        token = f".grokvideo-{uuid.uuid4().hex[:16]}.probe-"
        left = max(len(name.encode()), len(_temporary_name(name))) - len(token)
        while len(name.encode()) > left:
            name = name[1:]
        return StoreFile(self._fs, f"{folder}{slash}{token}{name}{'_' * (left - len(name.encode()))}")

    def _info(self, path: str) -> Mapping[str, Any] | None:
        # The listing cache of a filesystem can be older than the files of other processes.
        self._fs.invalidate_cache()
        try:
            found: Mapping[str, Any] = self._fs.info(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found

    @contextlib.contextmanager
    def _upload(self) -> Iterator[Any]:
        file = self._fs.open(self._path, "wb", block_size=_UPLOAD_BLOCK)
        try:
            yield file
            file.close()
        except BaseException:
            # Closing it later, e.g. by the garbage collector, would complete the upload.
            file.closed = True
            with contextlib.suppress(Exception):
                file.discard()
            raise

    @contextlib.contextmanager
    def _write_and_rename(self) -> Iterator[Any]:
        folder, slash, name = self._path.rpartition("/")
        temporary = f"{folder}{slash}{_temporary_name(name)}"
        if folder and self._info(folder) is None:
            self._fs.makedirs(folder, exist_ok=True)
        if self.is_local:
            _remove_abandoned(Path(folder or "/"), _temporary_name(name, "*"))
        file = self._fs.open(temporary, "wb")
        try:
            with self._lock(file):
                try:
                    yield file
                finally:
                    file.close()
                self._rename(temporary)
        except BaseException:
            with contextlib.suppress(Exception):
                self._fs.rm_file(temporary)
            raise

    @contextlib.contextmanager
    def _lock(self, file: Any) -> Iterator[None]:
        """Hold a lock that shows other processes of this machine that the writer of a local file is alive."""
        if not self.is_local:
            yield
            return
        # The lock lasts as long as this descriptor, and so longer than the file is open.
        descriptor = os.dup(file.f.fileno())
        try:
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(descriptor)

    def _rename(self, temporary: str) -> None:
        """Rename the temporary file to its final name. An earlier file is replaced."""
        fs, path = self._fs, self._path
        module = type(fs).__module__
        if self.is_local:
            Path(temporary).replace(path)
        elif module == _SSHFS:
            # Its ``mv`` is fsspec's, whose copy needs a shell on the server.
            sync(fs.loop, fs._mv, temporary, path)
        elif module in _RENAMING:
            self._rename_over(temporary)
        else:
            try:
                fs.cp_file(temporary, path)
            except NotImplementedError:
                self._rename_over(temporary)
            else:
                fs.rm_file(temporary)

    def _rename_over(self, temporary: str) -> None:
        """Rename the file. Servers that cannot replace a file raise an error, or do nothing without one (WebHDFS)."""
        try:
            self._fs.mv(temporary, self._path)
        except Exception:
            if self.info() is None:
                raise
        if self._info(temporary) is not None:
            self._fs.rm_file(self._path)
            self._fs.mv(temporary, self._path)

    def _check_size(self, size: int) -> None:
        try:
            found = self.info()
        except PermissionError:
            # The right to write does not include the right to look.
            return
        if found is None or found["type"] != "file" or found["size"] not in {size, None}:
            raise OSError(f"the store does not hold the {size} bytes that were written")


class Writer:
    """Writer to a file that counts the bytes.

    :param file: open for writing.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self.size = 0

    def write(self, content: bytes) -> None:
        """Write all of it."""
        self._file.write(content)
        self.size += len(content)


def _temporary_name(name: str, unique: str | None = None) -> str:
    """Return the name of a temporary file: short, and unique unless told otherwise."""
    return f".grokvideo-{hashlib.sha256(name.encode()).hexdigest()[:8]}-{unique or uuid.uuid4().hex[:12]}.part"


def _remove_abandoned(folder: Path, pattern: str) -> None:
    """Remove temporary files of killed writers: no process holds their locks."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.match(pattern):
                with contextlib.suppress(OSError), path.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
