"""The blocking client, for workers, on requests."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from airflow_provider_grokvideo.api import protocol
from airflow_provider_grokvideo.api.download import open_video
from airflow_provider_grokvideo.api.exchange import HTTPRequest, HTTPResponse, exchange_seconds
from airflow_provider_grokvideo.api.generation import Generation
from airflow_provider_grokvideo.api.models import DEFAULT_MODEL, explain_rejected_model
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.api.transport import ExchangeError, RoutedAdapter, exchange
from airflow_provider_grokvideo.exceptions import RequestRejectedError


class GrokVideoClient:
    """Talks to the API at one address with one key. Polls share one kept-alive session.

    :param settings: address, key and how to reach it.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._adapter = RoutedAdapter(settings)

    def submit(self, request: VideoRequest) -> str:
        """Send the paid POST, once.

        :return: the ``request_id``.
        :raises InvalidRequestError: the network's settings cannot be used; nothing was sent.
        :raises TransportError: it did not reach the API; it may be sent again.
        :raises SubmissionUnknownError: it cannot be known whether the API accepted.
        :raises ApiError: the API refused.
        """
        call = protocol.submit_request(self.settings, request)
        # A kept-alive connection may just be closing; on a new one a lost answer is not mistaken for that.
        adapter = RoutedAdapter(self.settings)
        try:
            answer = exchange(adapter, call, exchange_seconds(self.settings.request_timeout, call.body))
        except ExchangeError as error:
            raise protocol.submission_transport_error(self.settings, str(error), body_sent=error.body_sent) from error
        finally:
            adapter.close()
        try:
            return protocol.read_submission(self.settings, answer)
        except RequestRejectedError as error:
            raise explain_rejected_model(error, request.model or DEFAULT_MODEL) from None

    def get_generation(self, request_id: str) -> Generation:
        """Poll a generation once.

        :raises TransportError: no response arrived.
        :raises ApiError: the API responded with an error.
        """
        answer = self._get(protocol.poll_request(self.settings, request_id))
        return protocol.read_poll(self.settings, request_id, answer)

    def list_models(self) -> list[str]:
        """Return the models that the key may use; this is free.

        :raises TransportError: no answer.
        :raises ApiError: key refused, or no such API there.
        """
        return protocol.read_models(self.settings, self._get(protocol.models_request(self.settings)))

    def open_video(self, url: str, *, max_bytes: float = math.inf) -> AbstractContextManager[Iterator[bytes]]:
        """Open a finished video, without the key: its host is not the API's. Yields its bytes as they come.

        :raises DownloadError: it does not come, or is larger than ``max_bytes``.
        """
        # Who needs a proxy or a CA file to reach the API needs it for what is paid for, too.
        return open_video(url, self.settings, max_bytes=max_bytes)

    def close(self) -> None:
        """Close all connections."""
        self._adapter.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _get(self, call: HTTPRequest) -> HTTPResponse:
        try:
            return exchange(self._adapter, call, exchange_seconds(self.settings.request_timeout, call.body))
        except ExchangeError as error:
            raise protocol.no_response_error(self.settings, call.url, str(error)) from error
