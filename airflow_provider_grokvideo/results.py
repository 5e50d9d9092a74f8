"""Results of tasks: save the video, and return the result object, the summary of a failure, and asset events."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.providers.common.compat.sdk import Asset, AssetAlias

from airflow_provider_grokvideo.api.generation import NO_VIDEO_URL
from airflow_provider_grokvideo.exceptions import GenerationError
from airflow_provider_grokvideo.links.grokvideo import GrokVideoLink, preview_url
from airflow_provider_grokvideo.utils import metrics

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_grokvideo.api.generation import Generation
    from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
    from airflow_provider_grokvideo.storage import Landed

log = logging.getLogger(__name__)

_URI_SAFE = "/!$&'()*+,;=:@~"


def to_result(generation: Generation, saved: Landed | None, *, model: str, elapsed_seconds: float) -> dict[str, Any]:
    """Return the small JSON object that a task returns.

    :param saved: ``None`` if no video was saved.
    :param model: the requested model, used if the API names none.
    """
    return {
        "request_id": generation.request_id,
        "status": generation.state,
        "model": generation.model or model,
        "video_url": generation.video_url,
        "duration": generation.duration,
        "cost_usd": _cost(generation),
        "path": saved.path if saved else None,
        "size_bytes": saved.size_bytes if saved else None,
        "sha256": saved.sha256 if saved else None,
        "content_type": saved.content_type if saved else None,
        "elapsed_seconds": round(elapsed_seconds, 3),
    }


def failure_summary(generation: Generation) -> dict[str, Any]:
    """Return the XCom ``outcome`` of a generation without a video."""
    return {
        "request_id": generation.request_id,
        "status": generation.state,
        "model": generation.model,
        "cost_usd": _cost(generation),
        "error_code": generation.error_code,
        "error_message": generation.error_message,
    }


def finish(
    hook: GrokVideoHook,
    context: Context,
    generation: Generation,
    *,
    started_at: float,
    output_path: str | None,
    output_conn_id: str | None,
    outlets: Iterable[Any],
    model: str | None = None,
    is_uploaded: bool = False,
) -> dict[str, Any]:
    """Save the video of a final generation, emit its events, and return the result object.

    :param started_at: when the generation was submitted, or its wait started, in seconds since the epoch.
    :param outlets: the task's.
    :param model: the requested model.
    :param is_uploaded: whether the API uploads the video itself, so that it need not name a URL.
    :raises GenerationError: the generation has no video. Its summary is in the XCom ``outcome``.
    :raises DownloadError: the video could not be saved.
    """
    seconds = time.time() - started_at
    is_uploaded = is_uploaded and generation.error_code == NO_VIDEO_URL
    if is_uploaded:
        generation = replace(generation, state="done", error_code="", error_message="")
    if generation.state != "done":
        metrics.finished(generation, seconds)
        context["ti"].xcom_push(key="outcome", value=failure_summary(generation))
        raise GenerationError.from_generation(generation)
    cost = _cost(generation)
    log.info(
        "Generation %s is done after %.0f s%s", generation.request_id, seconds, f", and cost {cost} USD" if cost else ""
    )
    saved: Landed | None = None
    if is_uploaded:
        log.info("The API has uploaded the video to upload_url itself, and names no other place")
    elif output_path:
        saved = hook.download(generation, output_path, output_conn_id)
        log.info("Saved %s: %d bytes, sha256 %s", saved.path, saved.size_bytes, saved.sha256)
    # Only after saving: a retry that resumes with the download comes here again.
    metrics.finished(generation, seconds)
    result = to_result(generation, saved, model=model or hook.default_model, elapsed_seconds=time.time() - started_at)
    GrokVideoLink().store(context, preview_url(context) or generation.video_url)
    emit_asset_events(context, outlets, result)
    return result


def emit_asset_events(context: Context, outlets: Iterable[Any], result: Mapping[str, Any]) -> None:
    """Add the result to the events of the task's assets; an alias gets the saved file as its asset."""
    for outlet in outlets:
        if isinstance(outlet, AssetAlias):
            if result["path"]:
                try:
                    asset = Asset(asset_uri(result["path"]))
                except ValueError as error:
                    # The video is paid for and saved: a name that no asset may have must not fail the task.
                    log.warning("No asset event for %s: %s", result["path"], error)
                else:
                    context["outlet_events"][outlet].add(asset, extra=dict(result))
        elif isinstance(outlet, Asset):
            context["outlet_events"][outlet].extra.update(result)


def asset_uri(path: str) -> str:
    """Return the URI of a saved file as an asset: absolute, percent-encoded, without its store's connection id."""
    scheme, separator, rest = path.partition("://")
    authority, slash, key = rest.partition("/")
    authority = authority.rpartition("@")[2]
    if not separator or scheme.lower() in {"file", "local"}:
        local = f"{authority}{slash}{key}" if separator else path
        return f"file://{quote(str(Path(local).absolute()), safe=_URI_SAFE)}"
    host = f"//{quote(authority, safe=':[]')}" if authority else ""
    return f"{scheme.lower()}:{host}{slash}{quote(key, safe=_URI_SAFE)}"


def _cost(generation: Generation) -> str | None:
    return None if generation.cost_usd is None else format(generation.cost_usd, "f")
