"""PostgreSQL and Redis, from Debian's packages, for the length of a ``with`` block."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from dev.processes import Child, free_port, wait_until

USER = "postgres"


def _postgres_bin() -> Path | None:
    """Where Debian keeps initdb and postgres: not on PATH, since versions live side by side."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return found[-1].parent if found else None


def missing() -> str | None:
    """What is not installed here, in words."""
    lacking = [] if _postgres_bin() else ["postgresql"]
    lacking += [] if shutil.which("redis-server") else ["redis-server"]
    return f"not installed: {' and '.join(lacking)}" if lacking else None


class Service:
    """A server with a folder and a port of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        # Not below pytest's own folder, which only this user may enter.
        self.home = Path(tempfile.mkdtemp(prefix=f"grokvideo-{name}-"))
        self.port = free_port()
        self._child: Child | None = None

    def start(self, command: list[str]) -> None:
        log = Path(tempfile.gettempdir()) / f"{self.home.name}.log"
        self._child = Child(self.name, command, os.environ, log, self.home)
        wait_until(self._listens, timeout=60, what=f"{self.name} to listen", interval=0.05)

    def _listens(self) -> bool:
        assert self._child
        self._child.check()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def __exit__(self, *exc: object) -> None:
        if self._child:
            self._child.stop(timeout=10)
        shutil.rmtree(self.home, ignore_errors=True)


class Redis(Service):
    def __init__(self) -> None:
        super().__init__("redis")
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Redis:
        # fmt: off
        self.start(["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.home),
                    "--save", "", "--appendonly", "no"])
        # fmt: on
        return self


class Postgres(Service):
    """A fresh cluster. PostgreSQL refuses to run as root, so that root lends it to Debian's user for it."""

    def __init__(self) -> None:
        super().__init__("postgres")
        self.url = f"postgresql+psycopg2://airflow@127.0.0.1:{self.port}/postgres"
        self.dsn = f"host=127.0.0.1 port={self.port} user=airflow dbname=postgres"
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            user = pwd.getpwnam(USER)
            os.chown(self.home, user.pw_uid, user.pw_gid)
            self._as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]

    def __enter__(self) -> Postgres:
        binaries = _postgres_bin()
        assert binaries
        data = self.home / "data"
        initdb = [str(binaries / "initdb"), "-D", str(data), "-U", "airflow", "-A", "trust", "-E", "UTF8", "-N"]
        done = subprocess.run([*self._as_user, *initdb], capture_output=True, text=True, cwd=self.home, check=False)
        assert done.returncode == 0, done.stderr
        # What a crash would lose is of no interest here, and the disk is slow.
        settings = ["fsync=off", "max_connections=300", "listen_addresses=127.0.0.1", f"unix_socket_directories={data}"]
        options = [word for setting in settings for word in ("-c", setting)]
        self.start([*self._as_user, str(binaries / "postgres"), "-D", str(data), "-p", str(self.port), *options])
        return self
