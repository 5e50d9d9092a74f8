"""From an Airflow connection to a client of the API."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_grokvideo.api.models import not_offered_hint, unknown_name_hint
from airflow_provider_grokvideo.api.validation import validate_for_model
from airflow_provider_grokvideo.connection_form import FIELD_BEHAVIOUR, FIELDS
from airflow_provider_grokvideo.exceptions import (
    ApiError,
    AuthenticationError,
    GrokVideoError,
    InvalidRequestError,
    ServerError,
    TransportError,
)
from airflow_provider_grokvideo.hooks.connection import default_model, ledger_path_of, prices_of, settings_of
from airflow_provider_grokvideo.utils import metrics

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection, ObjectStoragePath

    from airflow_provider_grokvideo.api.client import GrokVideoClient
    from airflow_provider_grokvideo.api.generation import Generation
    from airflow_provider_grokvideo.api.models import Prices
    from airflow_provider_grokvideo.api.polling import Poller, Stop
    from airflow_provider_grokvideo.api.request import VideoRequest
    from airflow_provider_grokvideo.api.settings import Settings
    from airflow_provider_grokvideo.storage import Landed


class GrokVideoHook(BaseHook):
    """Generates videos with Grok through CometAPI or xAI.

    :param grokvideo_conn_id: the Airflow connection, of type ``grokvideo``.
    """

    conn_name_attr = "grokvideo_conn_id"
    default_conn_name = "grokvideo_default"
    conn_type = "grokvideo"
    hook_name = "Grok Video"

    def __init__(self, grokvideo_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.grokvideo_conn_id = grokvideo_conn_id

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """The form of Airflow before 3.2; later ones read the provider's metadata."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from flask_babel import lazy_gettext
        from wtforms import StringField

        return {
            name: StringField(
                lazy_gettext(field["label"]), description=field["description"], widget=BS3TextFieldWidget()
            )
            for name, field in FIELDS.items()
        }

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Which standard fields the form shows, and under which names."""
        return {name.replace("-", "_"): value for name, value in FIELD_BEHAVIOUR.items()}

    @cached_property
    def connection(self) -> Connection:
        """The Airflow connection, looked up once."""
        return self.get_connection(self.grokvideo_conn_id)

    @cached_property
    def settings(self) -> Settings:
        """The connection as the API's clients understand it.

        :raises InvalidRequestError: names the connection's field that is wrong.
        """
        return settings_of(self.connection)

    @cached_property
    def client(self) -> GrokVideoClient:
        """The blocking client; its session is shared by all calls of this hook."""
        from airflow_provider_grokvideo.api.client import GrokVideoClient

        return GrokVideoClient(self.settings)

    def get_conn(self) -> GrokVideoClient:
        """The blocking client."""
        return self.client

    @property
    def default_model(self) -> str:
        """The model of requests that name none: the connection's, else the package's."""
        return default_model(self.settings)

    @property
    def ledger_path(self) -> str | None:
        """The directory of ledger files that the connection names."""
        return ledger_path_of(self.connection)

    @property
    def prices(self) -> Prices:
        """List prices, overridden by those of the connection's extra or of the configuration.

        :raises InvalidRequestError: names the place, the model and the unit that is wrong.
        """
        return prices_of(self.connection)

    def prepare(self, request: VideoRequest) -> VideoRequest:
        """Settle the model, read image paths, and refuse what this API does not offer. Sends nothing.

        :raises InvalidRequestError: names the field, the value and what is allowed.
        """
        from airflow_provider_grokvideo.storage import read_image

        request = request.with_model(self.default_model)
        # Before the images are read: that may take long.
        validate_for_model(request, xai=self.settings.is_xai)
        if hint := unknown_name_hint(str(request.model)):
            self.log.warning(hint)
        return request.with_inlined_images(read_image)

    def submit(self, request: VideoRequest) -> str:
        """Request a video. This costs money; it is sent once.

        :return: the ``request_id``.
        :raises InvalidRequestError: nothing was sent.
        :raises TransportError: it did not reach the API.
        :raises SubmissionUnknownError: it cannot be known whether the API accepted.
        :raises ApiError: the API refused.
        """
        return self.client.submit(self.prepare(request))

    def get_generation(self, request_id: str) -> Generation:
        """Ask once how a generation is doing.

        :raises TransportError: no answer.
        :raises ApiError: what the API said instead.
        """
        return self.client.get_generation(request_id)

    async def aget_generation(self, request_id: str) -> Generation:
        """Like :meth:`get_generation`, from an event loop."""
        from airflow_provider_grokvideo.api.aio import shared_client
        from airflow_provider_grokvideo.hooks.async_connection import aget_settings

        async with shared_client(await aget_settings(self.grokvideo_conn_id)) as client:
            return await client.get_generation(request_id)

    def wait(self, request_id: str, *, poll_interval: float = 5.0, timeout: float = 900.0) -> Generation:
        """Ask until the generation is final.

        :param poll_interval: seconds between two polls, at least.
        :param timeout: seconds after which to give up.
        :return: the generation, in whatever final state.
        :raises GenerationTimeoutError: the generation goes on.
        :raises GrokVideoError: polls kept failing.
        """
        from airflow_provider_grokvideo.api.polling import Poller
        from airflow_provider_grokvideo.outcome import from_event, to_event

        poller = Poller(poll_interval=poll_interval, deadline=time.time() + timeout, now=time.time())
        stop = self.follow(request_id, poller)
        metrics.polled(poller.polls)
        generation = from_event(to_event(stop, request_id, poller.generation, poller.polls), timeout)
        return poller.generation or generation

    def get_finished(self, request_id: str) -> Generation:
        """Ask about a generation that was seen final, for its current URL; again where an answer is lost.

        :raises GrokVideoError: the API does not confirm it now.
        """
        from airflow_provider_grokvideo.repetition import attempts

        for attempt in attempts(TransportError, ApiError):
            with attempt:
                generation = self.get_generation(request_id)
                if not generation.is_final:
                    raise ServerError("the API takes back that it is final", request_id=request_id)
        return generation

    def follow(self, request_id: str, poller: Poller) -> Stop:
        """Poll until the poller says that the wait is over; log what changes."""
        from airflow_provider_grokvideo.api.polling import PollAgain

        decision: PollAgain | Stop = PollAgain(poller.first_delay(), report=False)
        while isinstance(decision, PollAgain):
            time.sleep(decision.delay)
            news: Generation | GrokVideoError
            try:
                news = self.get_generation(request_id)
            except GrokVideoError as error:
                news = error
                decision = poller.on_error(error, time.time())
                if isinstance(error, AuthenticationError):
                    self.refresh_connection()
            else:
                decision = poller.on_generation(news, time.time())
            if isinstance(decision, PollAgain) and decision.report:
                self.log.info("Generation %s: %s", request_id, describe(news))
        return decision

    def refresh_connection(self) -> None:
        """Look the connection up afresh: its key may have been rotated. Where that fails, the old one stays in use."""
        try:
            connection = self.get_connection(self.grokvideo_conn_id)
            settings = settings_of(connection)
        except Exception as error:  # the database's, the API server's, or any secrets backend's own
            # Not with the error's text: it may quote the connection.
            self.log.warning(
                "The connection %r cannot be looked up now: %s", self.grokvideo_conn_id, type(error).__name__
            )
            return
        client = self.__dict__.pop("client", None)
        if client is not None:
            client.close()
        self.__dict__.update(connection=connection, settings=settings)

    def download(self, generation: Generation, path: str | ObjectStoragePath, conn_id: str | None = None) -> Landed:
        """Land a finished video whole, or not at all.

        :param generation: in state ``done``.
        :param path: a file, or a directory with a slash at its end, for ``<request_id>.mp4``.
        :param conn_id: the store's Airflow connection, where ``path`` names none.
        :raises DownloadError: it can be tried again.
        """
        from airflow_provider_grokvideo.storage import land

        return land(self.client, generation, path, conn_id)

    def test_connection(self) -> tuple[bool, str]:
        """Ask for the list of models, free; return whether key and model work, and what is offered or wrong."""
        try:
            settings = self.settings
            models = self.client.list_models()
        except GrokVideoError as error:
            return False, self._connection_fault(error)
        video_models = [name for name in models if "video" in name]
        offer = f"{len(models)} models" + (f", of them {', '.join(video_models[:5])}" if video_models else "")
        missing = not_offered_hint(self.default_model, video_models)
        message = f"{settings.base_url} accepts the key and offers {offer}"
        if missing is None:
            return True, message
        which = f"The model of {settings.connection}" if settings.model else "The default model"
        return settings.model is None, f"{message}. {which}, {missing}"

    def _connection_fault(self, error: GrokVideoError) -> str:
        if isinstance(error, InvalidRequestError) or (isinstance(error, AuthenticationError) and error.status is None):
            return str(error)
        where = f"{self.settings.base_url} ({self.settings.connection})"
        if isinstance(error, AuthenticationError):
            verdict, _, reason = error.message.rstrip(".").partition(": ")
            return f"{verdict} (HTTP {error.status}): {reason}. Check the key for {self.settings.base_url}."
        if isinstance(error, ApiError):
            return f"{where} does not answer as the API does; check the host: {error}"
        return f"Could not reach {where}: {error}"


def describe(news: Generation | GrokVideoError) -> str:
    """One line for the log about how a generation is doing."""
    if isinstance(news, GrokVideoError):
        return f"the last poll failed, asking again: {news}"
    status = news.raw_status or news.state
    progress = f", {news.progress} %" if news.progress is not None else ""
    unknown = " (a status this package does not know; waiting on)" if news.is_status_unknown else ""
    return f"{status}{progress}{unknown}"
