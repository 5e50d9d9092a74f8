"""Hook of the Grok video API."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_provider_grokvideo.connection_form import FIELD_BEHAVIOUR, FIELDS
from airflow_provider_grokvideo.exceptions import (
    ApiError,
    AuthenticationError,
    GrokVideoError,
    ServerError,
    TransportError,
)
from airflow_provider_grokvideo.hooks.connection import (
    default_model,
    ledger_path_of,
    prices_of,
    settings_of,
    undefined_connection,
)

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
    """Hook that generates videos with Grok through CometAPI or xAI.

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
        """Return the fields of the connection form before Airflow 3.2, which reads the provider's metadata."""
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
        """Return which standard fields the form shows, and their labels."""
        return {name.replace("-", "_"): value for name, value in FIELD_BEHAVIOUR.items()}

    @cached_property
    def connection(self) -> Connection:
        """The Airflow connection, looked up once.

        :raises AirflowNotFoundException: it is not defined. A retry can help: secrets backends fail for a while.
        """
        try:
            return self.get_connection(self.grokvideo_conn_id)
        except AirflowNotFoundException as error:
            raise AirflowNotFoundException(undefined_connection(self.grokvideo_conn_id)) from error

    @cached_property
    def settings(self) -> Settings:
        """The settings of the API's clients, from the connection.

        :raises InvalidRequestError: names the connection's field that is wrong.
        """
        return settings_of(self.connection)

    @cached_property
    def client(self) -> GrokVideoClient:
        """The blocking client, whose session all calls of this hook share."""
        from airflow_provider_grokvideo.api.client import GrokVideoClient

        return GrokVideoClient(self.settings)

    def get_conn(self) -> GrokVideoClient:
        """Return the blocking client."""
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
        """Set the model, read image paths, and refuse what this API does not offer. Sends nothing.

        :raises InvalidRequestError: names the field, the value and what to use instead.
        """
        from airflow_provider_grokvideo.api.models import unknown_name_hint
        from airflow_provider_grokvideo.api.validation import validate_for_model
        from airflow_provider_grokvideo.storage import read_image

        request = request.with_model(self.default_model)
        # Before the images are read: that may take long.
        validate_for_model(request, xai=self.settings.is_xai)
        if hint := unknown_name_hint(str(request.model)):
            self.log.warning(hint)
        return request.with_inlined_images(read_image)

    def submit(self, request: VideoRequest) -> str:
        """Submit a generation. This costs money; it is sent once.

        :return: the ``request_id``.
        :raises InvalidRequestError: nothing was sent.
        :raises TransportError: it did not reach the API.
        :raises SubmissionUnknownError: the outcome is unknown.
        :raises ApiError: the API rejected it.
        """
        return self.client.submit(self.prepare(request))

    def get_generation(self, request_id: str) -> Generation:
        """Poll a generation once.

        :raises TransportError: no response.
        :raises ApiError: the API returned an error.
        """
        return self.client.get_generation(request_id)

    async def aget_generation(self, request_id: str) -> Generation:
        """Poll a generation once, without blocking the event loop."""
        from airflow_provider_grokvideo.api.aio import shared_client
        from airflow_provider_grokvideo.hooks.async_connection import aget_settings

        async with shared_client(await aget_settings(self.grokvideo_conn_id)) as client:
            return await client.get_generation(request_id)

    def wait(self, request_id: str, *, poll_interval: float = 5.0, timeout: float = 900.0) -> Generation:
        """Poll until the generation is final, and return it, whatever its final state.

        :param poll_interval: minimum seconds between two polls.
        :param timeout: seconds to wait.
        :raises GenerationTimeoutError: the generation is not final yet; it continues.
        :raises GrokVideoError: polls kept failing.
        """
        from airflow_provider_grokvideo.api.polling import Poller
        from airflow_provider_grokvideo.events import stop_error
        from airflow_provider_grokvideo.utils import metrics

        poller = Poller(poll_interval=poll_interval, deadline=time.time() + timeout, now=time.time())
        stop = self.follow(request_id, poller)
        metrics.polled(poller.polls)
        if stop.outcome == "final" and poller.generation is not None:
            return poller.generation
        raise stop_error(stop, request_id, poller.generation, timeout=timeout, conn_id=self.grokvideo_conn_id)

    def get_finished(self, request_id: str) -> Generation:
        """Poll a generation that is known to be final, for its current URL; poll again after a failed poll.

        :raises GrokVideoError: the API does not confirm now that it is final.
        """
        from airflow_provider_grokvideo.utils.retries import attempts

        for attempt in attempts(TransportError, ApiError):
            with attempt:
                generation = self.get_generation(request_id)
                if not generation.is_final:
                    raise ServerError(
                        "The API reported this generation as final, and now does not", request_id=request_id
                    )
        return generation

    def follow(self, request_id: str, poller: Poller) -> Stop:
        """Poll until the poller ends the wait, and log each change."""
        from airflow_provider_grokvideo.api.polling import PollAgain

        decision: PollAgain | Stop = PollAgain(poller.first_delay(), report=False)
        while isinstance(decision, PollAgain):
            time.sleep(decision.delay)
            update: Generation | GrokVideoError
            try:
                update = self.get_generation(request_id)
            except GrokVideoError as error:
                update = error
                decision = poller.on_error(error, time.time())
                if isinstance(error, AuthenticationError):
                    self.refresh_connection()
            else:
                decision = poller.on_generation(update, time.time())
            if isinstance(decision, PollAgain) and decision.report:
                self.log.info("Generation %s: %s", request_id, describe(update))
        return decision

    def refresh_connection(self) -> None:
        """Look the connection up again: its key may have been rotated. If that fails, keep the old one."""
        try:
            connection = self.get_connection(self.grokvideo_conn_id)
            settings = settings_of(connection)
        except Exception as error:  # the database's, the API server's, or any secrets backend's own
            # Without the error's text: it may quote the connection.
            self.log.warning(
                "Connection %r cannot be looked up now (%s). Its earlier key is used.",
                self.grokvideo_conn_id,
                type(error).__name__,
            )
            return
        client = self.__dict__.pop("client", None)
        if client is not None:
            client.close()
        self.__dict__.update(connection=connection, settings=settings)

    def download(self, generation: Generation, path: str | ObjectStoragePath, conn_id: str | None = None) -> Landed:
        """Save a finished video, completely or not at all.

        :param generation: in state ``done``.
        :param path: a file, or a directory with a slash at its end, for ``<request_id>.mp4``.
        :param conn_id: the Airflow connection of the store, if ``path`` names none.
        :raises DownloadError: the video could not be saved; a retry can help.
        """
        from airflow_provider_grokvideo.storage import save

        return save(self.client, generation, path, conn_id)

    def test_connection(self) -> tuple[bool, str]:
        """List the models, free of charge; return whether key and model work, and a message."""
        from airflow_provider_grokvideo.api.models import not_offered_hint

        try:
            settings = self.settings
            models = self.client.list_models()
        except GrokVideoError as error:
            return False, self._connection_fault(error)
        video_models = [name for name in models if "video" in name]
        offer = f"{len(models)} models" + (f", of them {', '.join(video_models[:5])}" if video_models else "")
        missing = not_offered_hint(self.default_model, video_models)
        message = f"{settings.base_url} accepts the key and offers {offer}."
        if missing is None:
            return True, message
        which = f"The model of {settings.connection}" if settings.model else "The default model"
        return settings.model is None, f"{message} {which}, {missing}"

    def _connection_fault(self, error: GrokVideoError) -> str:
        if not isinstance(error, ApiError) or isinstance(error, AuthenticationError):
            return str(error)
        where = f"{self.settings.base_url} ({self.settings.connection})"
        return f"{where} does not answer as the API does. {error} Check the host."


def describe(update: Generation | GrokVideoError) -> str:
    """Return the line for the log about a poll."""
    if isinstance(update, GrokVideoError):
        return f"the last poll failed and is repeated. {update}"
    status = update.raw_status or update.state
    progress = f", {update.progress} %" if update.progress is not None else ""
    unknown = " (a status this package does not know; it is polled again)" if update.is_status_unknown else ""
    return f"{status}{progress}{unknown}"
