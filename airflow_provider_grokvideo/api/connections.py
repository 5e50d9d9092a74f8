"""Connections of the blocking client and of downloads: limited in time as a whole, and strict about responses.

urllib3 limits each operation, not the whole: a server that sends one byte now and then holds it for ever. http.client
takes an interim response (102, 103) for the final one, and a response that is cut in its headers for a complete one.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import ExitStack, suppress
from contextvars import ContextVar, Token
from http.client import HTTPMessage, HTTPResponse, RemoteDisconnected
from types import TracebackType
from typing import IO, Any, Self

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from airflow_provider_grokvideo.api.exchange import MAX_LINE
from airflow_provider_grokvideo.api.network import Proxy

TICK = 0.25
"""Maximum seconds until a watchdog notices that its limit has changed."""


class Watchdog:
    """Time limit of what is done within it: when the time is over, the sockets of its connections are shut down.

    The timeout of a socket limits one operation. This limits all together: connect, TLS, a proxy's handshake, send,
    receive. Shutting a socket down wakes the thread that waits for it.

    :param seconds: the first limit.
    """

    def __init__(self, seconds: float) -> None:
        self.is_expired = False
        self.is_connected = False
        self._ends_at = time.monotonic() + seconds
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._copies = ExitStack()
        self._sockets: list[socket.socket] = []
        self._token: Token[Watchdog | None] | None = None

    def __enter__(self) -> Self:
        threading.Thread(target=self._run, name="grokvideo-watchdog", daemon=True).start()
        self._token = _watchdog.set(self)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped.set()
        if self._token is not None:
            _watchdog.reset(self._token)
        with self._lock:
            self._sockets.clear()
            self._copies.close()

    @property
    def seconds_left(self) -> float:
        """Seconds left, more than 0: sockets take 0 for "do not wait"."""
        return max(0.001, self._ends_at - time.monotonic())

    def limit(self, seconds: float) -> None:
        """Replace the limit.

        :param seconds: from now, ``math.inf`` for none.
        """
        self._ends_at = time.monotonic() + seconds

    def watch(self, sock: Any) -> None:
        """Shut this socket down, too, when the time is over.

        :raises TimeoutError: it is over.
        """
        with self._lock:
            self.check()
            # A copy: TLS takes the original over, and its number may be another socket's by the time it is used.
            copy = socket.socket(fileno=os.dup(sock.fileno()))
            self._sockets.append(self._copies.enter_context(copy))

    def check(self) -> None:
        """Raise TimeoutError if the time is over: what was read then can look complete and be cut."""
        if self.is_expired:
            raise TimeoutError

    def _run(self) -> None:
        while not self._stopped.wait(min(TICK, self.seconds_left)):
            if time.monotonic() >= self._ends_at:
                self._expire()
                return

    def _expire(self) -> None:
        with self._lock:
            self.is_expired = True
            for sock in self._sockets:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)


_watchdog: ContextVar[Watchdog | None] = ContextVar("grokvideo_watchdog", default=None)


class _Headers:
    """File of a response while its headers are read. A response that ends there is not complete."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    def readline(self, limit: int = -1) -> bytes:
        line = self.file.readline(limit)
        if not line.endswith(b"\n") and len(line) != limit:
            raise RemoteDisconnected("closed within the headers")
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


class _Response(HTTPResponse):
    """Response that is complete and final. Interim ones before it are skipped."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fp: Any = _Headers(self.fp)

    def _read_status(self) -> tuple[str, int, str]:
        # http.client skips only 100, and has no option to skip more.
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 <= status < 200 or status == 101:
                return version, status, reason
            while self.fp.readline(MAX_LINE).strip():
                pass

    def begin(self) -> None:
        """Read status and headers."""
        super().begin()
        if isinstance(self.fp, _Headers):
            self.fp = self.fp.file
        # A copy without the parser's defects: urllib3 would log them together with what the server sent.
        copy = HTTPMessage()
        for name, value in self.headers.items():
            copy[name] = value
        self.headers = self.msg = copy


class _WatchedConnection(HTTPConnection):
    """Connection whose sockets the current watchdog knows."""

    response_class = _Response

    def request(self, *args: Any, **options: Any) -> None:
        """Send a request."""
        watchdog = _watchdog.get()
        if watchdog is not None:
            if self.sock is None:
                self.connect()
            else:
                watchdog.watch(self.sock)
            watchdog.is_connected = True
        super().request(*args, **options)

    def _new_conn(self) -> socket.socket:
        """Connect to one of the host's addresses; each gets its share of the time."""
        found = self._look_up()
        failure: OSError = OSError("no address")
        for number, (family, kind, protocol, _, address) in enumerate(found):
            sock = self._socket(family, kind, protocol)
            try:
                watchdog = _watchdog.get()
                if watchdog is not None:
                    watchdog.watch(sock)
                    sock.settimeout(watchdog.seconds_left / (len(found) - number))
                elif isinstance(self.timeout, int | float):
                    sock.settimeout(self.timeout)
                sock.connect(self._target(address))
                sock.settimeout(self.timeout)
            except OSError as error:
                sock.close()
                failure = error
            else:
                return sock
        if isinstance(failure, TimeoutError):
            raise ConnectTimeoutError(self, "timed out") from failure
        raise NewConnectionError(self, "failed") from failure

    def _look_up(self) -> list[Any]:
        """Return the host's addresses, as ``getaddrinfo`` does."""
        try:
            return list(socket.getaddrinfo(*self._address(), type=socket.SOCK_STREAM))
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error

    def _address(self) -> tuple[str, int]:
        return self._dns_host.strip("[]"), self.port

    def _socket(self, *kind: int) -> socket.socket:
        sock = socket.socket(*kind)
        for option in self.socket_options or ():
            sock.setsockopt(*option)
        return sock

    def _target(self, address: Any) -> Any:
        return address


class _SocksConnection(_WatchedConnection):
    """Connection through a SOCKS proxy. The watchdog limits its handshake, too.

    :param _socks_options: the proxy; urllib3's pools pass an argument of this name.
    """

    def __init__(self, _socks_options: dict[str, Any], *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._proxy: Proxy = _socks_options["proxy"]

    def _address(self) -> tuple[str, int]:
        return self._proxy.host, self._proxy.port

    def _socket(self, *kind: int) -> socket.socket:
        import socks

        proxy = self._proxy
        version = socks.SOCKS5 if proxy.scheme.startswith("socks5") else socks.SOCKS4
        sock: socket.socket = socks.socksocket(*kind)
        for option in self.socket_options or ():
            sock.setsockopt(*option)
        sock.set_proxy(  # type: ignore[attr-defined]
            version, proxy.host, proxy.port, proxy.is_resolver, proxy.username or None, proxy.password or None
        )
        return sock

    def _target(self, address: Any) -> Any:
        return self.host.strip("[]"), self.port


class _TLSConnection(_WatchedConnection, HTTPSConnection):
    pass


class _SocksTLSConnection(_SocksConnection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _WatchedConnection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class _SocksPool(HTTPConnectionPool):
    ConnectionCls = _SocksConnection


class _SocksTLSPool(HTTPSConnectionPool):
    ConnectionCls = _SocksTLSConnection


POOLS = {"http": _Pool, "https": _TLSPool}
_SOCKS_POOLS = {"http": _SocksPool, "https": _SocksTLSPool}


def proxy_manager(proxy: Proxy, **options: Any) -> PoolManager:
    """Return the pools of connections through a proxy."""
    if proxy.is_socks:
        manager = PoolManager(_socks_options={"proxy": proxy}, **options)
        manager.pool_classes_by_scheme = _SOCKS_POOLS
    else:
        manager = ProxyManager(proxy.url, proxy_headers=proxy.headers, **options)
        manager.pool_classes_by_scheme = POOLS
    return manager
