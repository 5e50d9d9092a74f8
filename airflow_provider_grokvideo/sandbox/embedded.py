"""The class ``Sandbox``: the server in a thread of the current process, for tests and scripts."""

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
    """A sandbox that runs within a ``with`` block.

    Example::

        with Sandbox(render_seconds=0) as sandbox:
            requests.post(sandbox.base_url + "/videos/generations", ...)
            assert len(sandbox.submissions) == 1

    :param host: address to listen on.
    :param port: port to listen on; 0 selects a free one.
    :param render_seconds: seconds for which a job stays pending.
    :param api_key: the API key to accept; every other key is rejected.
    :param envelope: format of poll responses under ``/grok/v1``: ``raw``, ``wrapped`` or ``xai``.
    :param rate_limit: maximum submissions and polls per second; None for no limit.
    :param seed: if set, ids and videos are the same in every run.
    :param video_origin: ``scheme://host:port`` of video URLs; default: the origin of the poll request.
    :param url_lifetime: seconds until a video URL expires.
    :param ssl_context: server context; if set, the sandbox uses TLS.
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
        self._startup_error: Exception | None = None

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
        """Start the server and return when it accepts requests."""
        if self._thread is not None:
            raise RuntimeError("This sandbox is already running.")
        self._started.clear()
        self._startup_error = None
        self._thread = threading.Thread(target=self._run, name="grokvideo-sandbox", daemon=True)
        self._thread.start()
        if not self._started.wait(_START_TIMEOUT):
            raise RuntimeError(f"The sandbox did not start within {_START_TIMEOUT:g} seconds.")
        if self._startup_error is not None:
            self._thread.join()
            self._thread = None
            raise self._startup_error

    def stop(self) -> None:
        """Stop the server; do nothing if it does not run."""
        thread, self._thread = self._thread, None
        if thread is None or self._loop is None or self._stop is None:
            return
        self._loop.call_soon_threadsafe(self._stop.set)
        thread.join(_STOP_TIMEOUT)
        self._port = None

    @property
    def origin(self) -> str:
        """The origin of the server, ``scheme://host:port``."""
        if self._port is None:
            raise RuntimeError("The sandbox is not running. Use it in a with block.")
        options = self._state.options
        scheme = "https" if options.ssl_context else "http"
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(options.host, options.host)  # noqa: S104
        return f"{scheme}://{host}:{self._port}"

    @property
    def base_url(self) -> str:
        """Base URL of the API in the style of CometAPI."""
        return f"{self.origin}/grok/v1"

    @property
    def xai_base_url(self) -> str:
        """Base URL of the API in the style of xAI."""
        return f"{self.origin}/v1"

    @property
    def api_key(self) -> str:
        """The API key that the sandbox accepts."""
        return self._state.options.api_key

    @property
    def submissions(self) -> list[dict[str, Any]]:
        """Accepted submissions, which the real API would bill; oldest first."""
        return [job.record() for job in self._state.jobs.all()]

    @property
    def polls(self) -> list[dict[str, Any]]:
        """All polls: request_id, at, status (None if the connection was closed), state, fault."""
        return list(self._state.polls)

    @property
    def downloads(self) -> list[dict[str, Any]]:
        """All requests for a video: request_id, at, method, authorization (whether a key was sent), range."""
        return list(self._state.downloads)

    @property
    def uploads(self) -> list[dict[str, Any]]:
        """All PUTs to an upload_url: request_id, at, url, status, size_bytes, error."""
        return list(self._state.uploads)

    @property
    def refusals(self) -> list[dict[str, Any]]:
        """All rejected submissions: path, status, code, fault, at."""
        return list(self._state.refusals)

    @property
    def armed(self) -> list[dict[str, Any]]:
        """The faults that are still set."""
        return [fault.to_json() for fault in self._state.faults.pending()]

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
        """Set a fault for one of the next requests.

        :param on: ``submit``, ``poll``, ``video``, ``models``, ``upload`` or ``outcome``.
        :param name: name of the fault.
        :param times: how often the fault applies; None: until it is cleared.
        :param request_id: only for this generation.
        :param prompt_contains: only for prompts with this text.
        :param options: options of the fault, such as ``delay`` or ``retry_after``.
        """
        self._state.faults.add(Fault(on, name, times, request_id, prompt_contains, options))

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._state.faults.clear()

    def finish(self, request_id: str, state: str = "done") -> None:
        """End a job now, with one of the outcomes or ``moderated``."""
        self._state.jobs.finish(request_id, state)

    def set_progress(self, request_id: str, progress: float) -> None:
        """Report this progress while the job is pending."""
        self._state.jobs.set_progress(request_id, progress)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except (OSError, ImportError, ValueError) as error:
            # start() raises it in the thread of the caller.
            self._startup_error = error
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
