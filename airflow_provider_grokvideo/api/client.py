"""Blocking client of workers, on requests."""

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
from airflow_provider_grokvideo.api.models import explain_rejected_model
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.api.transport import ExchangeError, RoutedAdapter, exchange
from airflow_provider_grokvideo.exceptions import RequestRejectedError


class GrokVideoClient:
    """Client of one API address with one key. Polls share one kept-alive session.

    :param settings: address, key, proxy and certificates.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._adapter = RoutedAdapter(settings)

    def submit(self, request: VideoRequest) -> str:
        """Send the paid POST, once.

        :return: the ``request_id``.
        :raises InvalidRequestError: proxy or certificates cannot be used; nothing was sent.
        :raises TransportError: it did not reach the API and may be sent again.
        :raises SubmissionUnknownError: the outcome is unknown.
        :raises ApiError: the API rejected it.
        """
        call = protocol.submit_request(self.settings, request)
        # On a new connection: a kept-alive one can be closing, which looks like a lost response.
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
            raise explain_rejected_model(error, request.model_name) from None

    def get_generation(self, request_id: str) -> Generation:
        """Poll a generation once.

        :raises TransportError: no response arrived.
        :raises ApiError: the API responded with an error.
        """
        answer = self._get(protocol.poll_request(self.settings, request_id))
        return protocol.read_poll(self.settings, request_id, answer)

    def list_models(self) -> list[str]:
        """Return the models that the key may use; this is free.

        :raises TransportError: there was no response.
        :raises ApiError: the API rejected the key, or is not a video API.
        """
        return protocol.read_models(self.settings, self._get(protocol.models_request(self.settings)))

    def open_video(self, url: str, *, max_bytes: float = math.inf) -> AbstractContextManager[Iterator[bytes]]:
        """Request a finished video without the key, because its host is not the API's, and yield its bytes.

        :raises DownloadError: it cannot be downloaded, or is larger than ``max_bytes``.
        """
        # Downloads need the same proxy and CA file as the API.
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
