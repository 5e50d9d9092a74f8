"""The sandbox inside a test or a script: a server in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from airflow_provider_grokvideo.sandbox.faults import Fault
from airflow_provider_grokvideo.sandbox.options import Envelope, Options
from airflow_provider_grokvideo.sandbox.state import State

if TYPE_CHECKING:
    import ssl

_START_TIMEOUT = 30.0
_STOP_TIMEOUT = 30.0


class Sandbox:
    """A running sandbox for as long as its ``with`` block lasts::

        with Sandbox(render_seconds=0) as sandbox:
            requests.post(sandbox.base_url + "/videos/generations", ...)
            assert len(sandbox.submissions) == 1

    :param host: where to listen.
    :param port: 0 takes any free one.
    :param render_seconds: how long a job stays pending.
    :param api_key: the key that is accepted; every other is refused.
    :param envelope: how polls under ``/grok/v1`` are answered: ``raw``, ``wrapped`` or ``xai``.
    :param rate_limit: submissions and polls per second; None for no limit.
    :param seed: makes ids and videos the same in every run.
    :param video_origin: ``scheme://host:port`` to put in video addresses, if not the API's own.
    :param url_lifetime: seconds until a video address expires.
    :param ssl_context: serve over TLS.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        render_seconds: float = 0.2,
        api_key: str = "sandbox-key",
        envelope: Envelope = "raw",
        rate_limit: float | None = None,
        seed: int | None = None,
        video_origin: str | None = None,
        url_lifetime: float = 3600.0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._state = State(
            Options(
                host=host,
                port=port,
                render_seconds=render_seconds,
                api_key=api_key,
                envelope=envelope,
                rate_limit=rate_limit,
                seed=seed,
                video_origin=video_origin,
                url_lifetime=url_lifetime,
                ssl_context=ssl_context,
            )
        )
        self._port: int | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._started = threading.Event()
        self._problem: Exception | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; returns once requests are answered."""
        if self._thread is not None:
            raise RuntimeError("this sandbox is already running")
        self._started.clear()
        self._problem = None
        self._thread = threading.Thread(target=self._run, name="grokvideo-sandbox", daemon=True)
        self._thread.start()
        if not self._started.wait(_START_TIMEOUT):
            raise RuntimeError("the sandbox did not start")
        if self._problem is not None:
            self._thread.join()
            self._thread = None
            raise self._problem

    def stop(self) -> None:
        """Free the port and the thread. Does nothing when it is not running."""
        thread, self._thread = self._thread, None
        if thread is None or self._loop is None or self._stop is None:
            return
        self._loop.call_soon_threadsafe(self._stop.set)
        thread.join(_STOP_TIMEOUT)
        self._port = None

    @property
    def origin(self) -> str:
        """``scheme://host:port``."""
        if self._port is None:
            raise RuntimeError("the sandbox is not running; use it in a with block")
        options = self._state.options
        scheme = "https" if options.ssl_context else "http"
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(options.host, options.host)  # noqa: S104
        return f"{scheme}://{host}:{self._port}"

    @property
    def base_url(self) -> str:
        """Where the API answers as CometAPI does."""
        return f"{self.origin}/grok/v1"

    @property
    def xai_base_url(self) -> str:
        """Where the API answers as xAI does."""
        return f"{self.origin}/v1"

    @property
    def api_key(self) -> str:
        """The key that is accepted."""
        return self._state.options.api_key

    @property
    def submissions(self) -> list[dict[str, Any]]:
        """Every submission that was accepted, and so would be paid for; oldest first."""
        return [job.record() for job in self._state.jobs.all()]

    @property
    def polls(self) -> list[dict[str, Any]]:
        """Every poll: request_id, at, status answered (None where the connection was closed)."""
        return list(self._state.polls)

    @property
    def downloads(self) -> list[dict[str, Any]]:
        """Every request for a video: request_id, at, whether a key came with it, range."""
        return list(self._state.downloads)

    @property
    def uploads(self) -> list[dict[str, Any]]:
        """Every PUT to an upload_url: request_id, at, url, status answered, size, error."""
        return list(self._state.uploads)

    @property
    def refusals(self) -> list[dict[str, Any]]:
        """Every submission that was refused: path, status, code, fault, at."""
        return list(self._state.refusals)

    @property
    def armed(self) -> list[dict[str, Any]]:
        """The faults that are still to play."""
        return [fault.to_json() for fault in self._state.faults.armed()]

    def fault(
        self,
        on: str,
        name: str,
        times: int | None = 1,
        *,
        request_id: str | None = None,
        prompt_contains: str | None = None,
        **options: Any,
    ) -> None:
        """Arm a fault; ``times=None`` lets it play until it is cleared."""
        self._state.faults.arm(Fault(on, name, times, request_id, prompt_contains, options))

    def clear_faults(self) -> None:
        """Disarm every fault."""
        self._state.faults.clear()

    def finish(self, request_id: str, state: str = "done") -> None:
        """End a job now."""
        self._state.jobs.finish(request_id, state)

    def set_progress(self, request_id: str, progress: float) -> None:
        """Show this progress for as long as the job is pending."""
        self._state.jobs.set_progress(request_id, progress)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except (OSError, ImportError, ValueError) as problem:
            # Raised where start() waits, which is where the mistake was made.
            self._problem = problem
        finally:
            self._started.set()

    async def _serve(self) -> None:
        from airflow_provider_grokvideo.sandbox.server import Server

        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = Server(self._state)
        try:
            self._port = await server.start()
            self._started.set()
            await self._stop.wait()
        finally:
            await server.stop()
