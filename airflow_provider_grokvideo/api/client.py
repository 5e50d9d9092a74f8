"""The blocking client, for workers, on requests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import requests
from requests.auth import AuthBase

from airflow_provider_grokvideo.api import protocol
from airflow_provider_grokvideo.api.generation import Generation
from airflow_provider_grokvideo.api.models import DEFAULT_MODEL, explain_rejected_model
from airflow_provider_grokvideo.api.protocol import Answer, Call, Settings
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.exceptions import RequestRejectedError, TransportError

DOWNLOAD_CHUNK = 256 * 1024


class GrokVideoClient:
    """Talks to the API at one address with one key. Polls share one kept-alive session.

    :param settings: address, key and how to reach it.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._session = self._new_session()

    def submit(self, request: VideoRequest) -> str:
        """Send the paid POST, once.

        :return: the ``request_id``.
        :raises TransportError: it did not reach the API; it may be sent again.
        :raises SubmissionUnknownError: it cannot be known whether the API accepted.
        :raises ApiError: the API refused.
        """
        call = protocol.submit_call(self.settings, request)
        body = _WatchedBody(call.body or b"")
        # A kept-alive connection may just be closing; on a new one a lost answer is not mistaken for that.
        with self._new_session() as session:
            try:
                answer = self._send(session, call, body)
            except OSError as error:
                raise protocol.judge_lost_submission(_words(error), body_sent=body.started) from error
        try:
            return protocol.read_submission(self.settings, answer)
        except RequestRejectedError as error:
            raise explain_rejected_model(error, request.model or DEFAULT_MODEL) from None

    def get_generation(self, request_id: str) -> Generation:
        """Ask once how a generation is doing.

        :raises TransportError: no answer.
        :raises ApiError: what the API said instead.
        """
        answer = self._get(protocol.poll_call(self.settings, request_id))
        return protocol.read_poll(self.settings, request_id, answer)

    def list_models(self) -> list[str]:
        """The models the key may use; free of charge.

        :raises TransportError: no answer.
        :raises ApiError: key refused, or no such API there.
        """
        return protocol.read_models(self.settings, self._get(protocol.models_call(self.settings)))

    @contextmanager
    def open_video(self, url: str) -> Iterator[requests.Response]:
        """A streamed GET of a finished video, without the key: its host is not the API's.

        :raises TransportError: no answer.
        """
        with self._new_session() as session:
            try:
                # Who needs a proxy or a CA file to reach the API needs it for what is paid for, too.
                response = session.get(url, stream=True, headers={"Accept-Encoding": "identity"}, **self._route())
            except OSError as error:
                raise TransportError(f"no answer from the video's host: {_words(error)}", delivered=True) from error
            with response:
                yield response

    def close(self) -> None:
        """Give the connections back."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _new_session(self) -> requests.Session:
        session = requests.Session()
        session.auth = _KeepHeaders()
        return session

    def _route(self) -> dict[str, Any]:
        """How to reach a host. Given with each request: the environment would override a session's."""
        proxy = self.settings.proxy
        return {
            "timeout": self.settings.request_timeout,
            "verify": self.settings.verify,
            "proxies": {"http": proxy, "https": proxy} if proxy else None,
        }

    def _get(self, call: Call) -> Answer:
        try:
            return self._send(self._session, call, None)
        except OSError as error:
            raise TransportError(f"no answer from {call.url}: {_words(error)}", delivered=True) from error

    def _send(self, session: requests.Session, call: Call, body: _WatchedBody | None) -> Answer:
        response = session.request(
            call.method,
            call.url,
            headers=dict(call.headers),
            data=body,
            allow_redirects=False,
            **self._route(),
        )
        return Answer(
            response.status_code,
            {name.lower(): value for name, value in response.headers.items()},
            response.content,
        )


class _WatchedBody:
    """A request body that knows whether the connection has begun to send it.

    The exception alone does not tell: a TLS error, say, comes before the request or amid the answer.
    """

    def __init__(self, content: bytes) -> None:
        self.started = False
        self._content = content
        self._position = 0

    def __len__(self) -> int:
        return len(self._content)

    def __iter__(self) -> Iterator[bytes]:
        yield self.read()

    def read(self, size: int = -1) -> bytes:
        self.started = True
        end = len(self._content) if size < 0 else self._position + size
        piece = self._content[self._position : end]
        self._position += len(piece)
        return piece


class _KeepHeaders(AuthBase):
    """Keeps requests from replacing our Authorization header by one it finds in a .netrc file."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


_FAILURES: tuple[tuple[type[OSError], str], ...] = (
    (requests.ConnectTimeout, "timed out while connecting"),
    (requests.ReadTimeout, "timed out while waiting for the answer"),
    (requests.exceptions.SSLError, "TLS failed"),
    (requests.exceptions.ProxyError, "the proxy failed"),
    (requests.RequestException, "the connection failed"),
    # No error of requests: the CA file that verify names is missing.
    (OSError, "the connection could not be prepared"),
)


def _words(error: OSError) -> str:
    """What went wrong, without the URL's query (it may be signed) and without object addresses."""
    words = next(words for kind, words in _FAILURES if isinstance(error, kind))
    cause: BaseException = error
    while (inner := _cause(cause)) is not None:
        cause = inner
    return f"{words} ({getattr(cause, 'strerror', None) or type(cause).__name__})"


def _cause(error: BaseException) -> BaseException | None:
    for candidate in (getattr(error, "reason", None), *error.args, error.__cause__):
        if isinstance(candidate, BaseException):
            return candidate
    return None
