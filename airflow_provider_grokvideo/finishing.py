"""What a worker does with a final generation: land it, announce it, or fail. Operators and sensor share it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_grokvideo.api.models import DEFAULT_MODEL
from airflow_provider_grokvideo.exceptions import GrokVideoError
from airflow_provider_grokvideo.links.grokvideo import GrokVideoLink, preview_url
from airflow_provider_grokvideo.outcome import ending_error, failure_summary, from_event, to_result
from airflow_provider_grokvideo.utils import metrics

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_grokvideo.api.generation import Generation
    from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
    from airflow_provider_grokvideo.storage import Landed

log = logging.getLogger(__name__)


def finish(
    hook: GrokVideoHook,
    context: Context,
    generation: Generation,
    *,
    began_at: float,
    output_path: str | None,
    output_conn_id: str | None,
    outlets: Iterable[Any],
    model: str | None = None,
    is_uploaded: bool = False,
) -> dict[str, Any]:
    """Land what is done, tell Airflow of it, and return the result object.

    :param began_at: when the generation was asked for, or its wait began, in seconds since the epoch.
    :param outlets: the task's.
    :param model: the model that was asked for.
    :param is_uploaded: whether the API was to upload the video itself, so that it need not name a URL.
    :raises GenerationError: it ended without a video. Its verdict is in the XCom ``outcome``.
    :raises DownloadError: it could not be landed.
    """
    from airflow_provider_grokvideo.api.generation import NO_VIDEO_URL

    took = time.time() - began_at
    is_uploaded = is_uploaded and generation.error_code == NO_VIDEO_URL
    if is_uploaded:
        generation = replace(generation, state="done", error_code="", error_message="")
    if generation.state != "done":
        metrics.finished(generation, took)
        context["ti"].xcom_push(key="outcome", value=failure_summary(generation))
        raise ending_error(generation)
    landed: Landed | None = None
    if is_uploaded:
        log.info("The API has uploaded the video to upload_url itself, and names no other place")
    elif output_path:
        landed = hook.download(generation, output_path, output_conn_id)
        log.info("Landed %s: %d bytes, sha256 %s", landed.path, landed.size_bytes, landed.sha256)
    # Only now: a retry that resumes with the download comes by here again.
    metrics.finished(generation, took)
    result = to_result(
        generation,
        landed,
        model=model or hook.settings.model or DEFAULT_MODEL,
        elapsed_seconds=time.time() - began_at,
    )
    if result["cost_usd"] is not None:
        log.info("Generation %s cost %s USD", generation.request_id, result["cost_usd"])
    GrokVideoLink().store(context, preview_url(context) or generation.video_url)
    emit_asset_events(context, outlets, result)
    return result


def generation_from_event(hook: GrokVideoHook, event: Mapping[str, Any], timeout: float) -> Generation:
    """Return the final generation that a trigger's event reports, with its current URL.

    A wait that ended without one, by timeout or error, is not the generation's end: the API is asked once more, so that
    a video that is done is never reported as a failure.

    :param event: the trigger's.
    :param timeout: seconds that the wait was allowed, for the message.
    :raises GrokVideoError: what the event reports, where the API does not know better.
    """
    metrics.polled(event.get("polls") or 0)
    try:
        generation = from_event(event, timeout)
    except GrokVideoError:
        latest = _ask_once(hook, event.get("request_id"))
        if latest is None:
            raise
        log.info("The wait ended with %r, but the API answers: %s", event.get("status"), latest.state)
        return latest
    return hook.get_finished(generation.request_id) if generation.state == "done" else generation


def _ask_once(hook: GrokVideoHook, request_id: object) -> Generation | None:
    """Return the generation if it is final now."""
    if not isinstance(request_id, str):
        return None
    try:
        generation = hook.get_generation(request_id)
    except GrokVideoError as error:
        log.info("Generation %s could not be polled once more: %s", request_id, error)
        return None
    return generation if generation.is_final else None


def emit_asset_events(context: Context, outlets: Iterable[Any], result: Mapping[str, Any]) -> None:
    """Put the result into the events of the task's assets; an alias gets the saved file as its asset."""
    from airflow.providers.common.compat.sdk import Asset, AssetAlias

    from airflow_provider_grokvideo.storage import asset_uri

    for outlet in outlets:
        if isinstance(outlet, AssetAlias):
            if result["path"]:
                try:
                    asset = Asset(asset_uri(result["path"]))
                except ValueError as error:
                    # The video is paid for and saved: that an asset may not be named so must not fail the task.
                    log.warning("No asset event for %s: %s", result["path"], error)
                else:
                    context["outlet_events"][outlet].add(asset, extra=dict(result))
        elif isinstance(outlet, Asset):
            context["outlet_events"][outlet].extra.update(result)
