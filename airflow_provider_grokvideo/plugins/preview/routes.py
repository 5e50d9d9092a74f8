"""The preview's routes. Each asks Airflow's auth manager whether this user may read this DAG's XComs."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, TypeVar

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from airflow.configuration import conf
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.plugins.preview import database
from airflow_provider_grokvideo.plugins.preview.access import Location, Record, Refused, card, may_play, parse_roots
from airflow_provider_grokvideo.plugins.preview.media import (
    Span,
    Unavailable,
    Unsatisfiable,
    chunks,
    open_granted,
    parse_range,
)
from airflow_provider_grokvideo.plugins.preview.progress import UNKNOWN, ProgressCache

log = logging.getLogger(__name__)

_STATIC = Path(__file__).parent / "static"
_ASSETS = {
    "video.css": "text/css",
    "video.js": "text/javascript",
    "video.svg": "image/svg+xml",
    "video-dark.svg": "image/svg+xml",
}
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    # What was not landed plays from the API's own host, whichever that is.
    "media-src 'self' https: http:; frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)
_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-cache", "Referrer-Policy": "no-referrer"}
_PAGE_HEADERS = {**_HEADERS, "Content-Security-Policy": _PAGE_POLICY}
_MEDIA_HEADERS = {**_HEADERS, "Content-Security-Policy": "default-src 'none'; media-src 'self'; sandbox"}

T = TypeVar("T")

_MAP_INDEX = re.compile(r"-1|[0-9]{1,9}", re.ASCII)
_MOST_VIDEOS = 10**9


def _refuse_unprintable_ids(request: Request) -> None:
    """Answer 404 to ids that no DAG, run or task has, before a database refuses them with an error."""
    if not all(value.isprintable() for value in request.path_params.values()):
        raise HTTPException(404, "Not found")


assets = APIRouter()
videos = APIRouter(
    prefix="/dags/{dag_id}/runs/{run_id}",
    dependencies=[
        Depends(_refuse_unprintable_ids),
        Depends(requires_access_dag(method="GET", access_entity=DagAccessEntity.XCOM)),
    ],
)
_progress = ProgressCache()


def create_app() -> FastAPI:
    """The app that Airflow mounts."""
    app = FastAPI(title="Grok Video preview", openapi_url=None)
    app.include_router(assets)
    app.include_router(videos)
    app.add_exception_handler(StarletteHTTPException, _explain)
    return app


@assets.get("/static/{name}")
def asset(name: str) -> Response:
    """Style, script and icons: the same for everybody, so without a check."""
    if name not in _ASSETS:
        raise HTTPException(404, "Not found")
    return Response(_read(name), media_type=_ASSETS[name], headers={**_HEADERS, "Cache-Control": "no-cache"})


@videos.get("")
def run_page(dag_id: str, run_id: str) -> HTMLResponse:
    """The gallery of a run."""
    _found(lambda: database.check_run(dag_id, run_id))
    return _page("gallery", depth=4)


@videos.get("/videos")
def run_videos(dag_id: str, run_id: str, offset: Annotated[int, Query(le=_MOST_VIDEOS)] = 0) -> JSONResponse:
    """Every video of a run, some at a time."""
    records, more = _found(lambda: database.page(dag_id, run_id, max(0, offset)))
    return _json({"videos": [card(record, _roots(dag_id)) for record in records], "more": more})


@videos.get("/tasks/{task_id}/{map_index}")
def task_page(dag_id: str, run_id: str, task_id: str, map_index: str) -> HTMLResponse:
    """The tab of a task instance."""
    _record(dag_id, run_id, task_id, map_index)
    return _page("task", depth=7)


@videos.get("/tasks/{task_id}/{map_index}/videos")
def task_video(dag_id: str, run_id: str, task_id: str, map_index: str) -> JSONResponse:
    """The video of a task instance; none where another provider's operator ran."""
    record = _record(dag_id, run_id, task_id, map_index)
    return _json({"videos": [card(record, _roots(dag_id))] if record.is_own else [], "more": False})


@videos.get("/tasks/{task_id}/{map_index}/progress")
def task_progress(dag_id: str, run_id: str, task_id: str, map_index: str) -> JSONResponse:
    """What the API says of a generation now."""
    record = _record(dag_id, run_id, task_id, map_index)
    if not record.is_own or record.request_id is None or not _asks_api():
        return _json(UNKNOWN)
    conn_id = record.fields.get("grokvideo_conn_id") or GrokVideoHook.default_conn_name
    return _json(_progress.get(str(conn_id), record.request_id))


@videos.api_route("/tasks/{task_id}/{map_index}/media", methods=["GET", "HEAD"])
def task_media(request: Request, dag_id: str, run_id: str, task_id: str, map_index: str) -> Response:
    """The landed file, or a range of it."""
    record = _record(dag_id, run_id, task_id, map_index)
    try:
        grant = may_play(record, _roots(dag_id))
    except Refused as refusal:
        raise HTTPException(403 if record.is_own and record.result else 404, str(refusal)) from refusal
    headers = {
        **_MEDIA_HEADERS,
        "Content-Type": "video/mp4",
        # Airflow would compress it, and a range of compressed bytes is not what was asked for.
        "Content-Encoding": "identity",
        "Accept-Ranges": "bytes",
        "ETag": grant.etag,
    }
    if request.headers.get("if-none-match") == grant.etag:
        return Response(status_code=304, headers=headers)
    try:
        asked = request.headers.get("range") if request.headers.get("if-range", grant.etag) == grant.etag else None
        span = parse_range(asked, grant.size_bytes)
    except Unsatisfiable:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{grant.size_bytes}"})
    try:
        file = open_granted(grant)
    except Unavailable as reason:
        raise HTTPException(404, str(reason)) from reason
    if span:
        headers["Content-Range"] = f"bytes {span.first}-{span.last}/{grant.size_bytes}"
    whole = Span(0, grant.size_bytes - 1)
    headers["Content-Length"] = str((span or whole).length)
    status = 206 if span else 200
    if request.method == "HEAD":
        file.close()
        return Response(status_code=status, headers=headers)
    return StreamingResponse(chunks(file, span or whole), status_code=status, headers=headers)


def _record(dag_id: str, run_id: str, task_id: str, map_index: str) -> Record:
    # Airflow leaves the placeholder as it is where a task is not mapped.
    index = "-1" if map_index == "{MAP_INDEX}" else map_index
    if not _MAP_INDEX.fullmatch(index):
        raise HTTPException(404, "there is no such task instance")
    return _found(lambda: database.find(dag_id, run_id, task_id, int(index)))


def _found(look_up: Callable[[], T]) -> T:
    try:
        return look_up()
    except database.NotFound as error:
        raise HTTPException(404, str(error)) from error


@lru_cache(maxsize=1024)
def _roots(dag_id: str) -> list[Location]:
    places, mistakes = parse_roots(conf.get("grokvideo", "preview_roots", fallback=None), dag_id)
    if mistakes:
        log.error("[grokvideo] preview_roots: these name no place and are ignored: %s", ", ".join(mistakes))
    return places


def _asks_api() -> bool:
    return conf.getboolean("grokvideo", "preview_progress", fallback=True)


@cache
def _read(name: str) -> bytes:
    return (_STATIC / name).read_bytes()


def _page(view: str, *, depth: int, message: str = "", status: int = 200) -> HTMLResponse:
    """The page. It holds no data, and finds its style and script without knowing Airflow's base path."""
    html = _read("video.html").decode().replace("{root}", "../" * (depth - 1)).replace("{view}", view)
    return HTMLResponse(html.replace("{message}", message), status, _PAGE_HEADERS)


def _json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(content, status, {**_HEADERS, **(headers or {})})


def _explain(request: Request, error: Exception) -> Response:
    """A page where somebody looks at it, and JSON where a script does."""
    assert isinstance(error, StarletteHTTPException)  # noqa: S101
    if "text/html" not in request.headers.get("accept", ""):
        return _json({"detail": error.detail}, error.status_code, error.headers)
    words = {401: "Sign in to Airflow to see this.", 403: "You may not see the videos of this DAG."}
    message = words.get(error.status_code, HTTPStatus(error.status_code).phrase + ".")
    depth = len(request.url.path.removeprefix(request.scope.get("root_path", "")).strip("/").split("/"))
    return _page("message", depth=depth, message=message, status=error.status_code)
