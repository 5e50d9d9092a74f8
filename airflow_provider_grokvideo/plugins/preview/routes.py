"""Routes of the preview.

Each route, except the static files, asks Airflow's auth manager whether the user may read the XComs of the DAG.
"""

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
from airflow_provider_grokvideo.plugins.preview.access import (
    AccessDenied,
    AuthorizedFile,
    Location,
    authorize_playback,
    parse_roots,
)
from airflow_provider_grokvideo.plugins.preview.cards import build_card, build_cards, polled_state
from airflow_provider_grokvideo.plugins.preview.media import (
    ByteRange,
    MediaUnavailable,
    RangeNotSatisfiable,
    open_authorized,
    parse_range,
    read_range,
)
from airflow_provider_grokvideo.plugins.preview.progress import UNKNOWN, ProgressCache
from airflow_provider_grokvideo.plugins.preview.records import TaskRecord

log = logging.getLogger(__name__)

_STATIC = Path(__file__).parent / "static"
_STATIC_TYPES = {
    "video.css": "text/css",
    "theme.js": "text/javascript",
    "video.js": "text/javascript",
    "video.svg": "image/svg+xml",
    "video-dark.svg": "image/svg+xml",
}
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    # A video that was not saved plays from the API's host, which can be any.
    "media-src 'self' https: http:; frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)
_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-cache", "Referrer-Policy": "no-referrer"}
_PAGE_HEADERS = {**_HEADERS, "Content-Security-Policy": _PAGE_POLICY}
_MEDIA_HEADERS = {**_HEADERS, "Content-Security-Policy": "default-src 'none'; media-src 'self'; sandbox"}
_MAP_INDEX = re.compile(r"-1|[0-9]{1,9}", re.ASCII)

T = TypeVar("T")
Limit = Annotated[int, Query(ge=1, le=database.MAX_PAGE_SIZE)]


def _check_ids(request: Request) -> None:
    """Answer 404 to ids that no DAG, run or task can have: some databases raise an error for them."""
    if not all(value.isprintable() for value in request.path_params.values()):
        raise HTTPException(404, "Not found")


static_router = APIRouter()
video_router = APIRouter(
    prefix="/dags/{dag_id}/runs/{run_id}",
    dependencies=[
        Depends(_check_ids),
        Depends(requires_access_dag(method="GET", access_entity=DagAccessEntity.XCOM)),
    ],
)
_progress_cache = ProgressCache()


def create_app() -> FastAPI:
    """Return the app that Airflow mounts."""
    app = FastAPI(title="Grok Video preview", openapi_url=None)
    app.include_router(static_router)
    app.include_router(video_router)
    app.add_exception_handler(StarletteHTTPException, _handle_error)
    return app


@static_router.get("/static/{name}")
def static_file(name: str) -> Response:
    """Return the style, the script or an icon. They are public."""
    if name not in _STATIC_TYPES:
        raise HTTPException(404, "Not found")
    return Response(
        _read_static(name), media_type=_STATIC_TYPES[name], headers={**_HEADERS, "Cache-Control": "no-cache"}
    )


@video_router.get("")
def run_page(dag_id: str, run_id: str) -> HTMLResponse:
    """Return the gallery page of a run."""
    _or_404(lambda: database.check_run(dag_id, run_id))
    return _page("gallery", depth=4)


@video_router.get("/videos")
def run_videos(dag_id: str, run_id: str, limit: Limit = database.PAGE_SIZE) -> JSONResponse:
    """Return the first cards of a run. A page that shows more of them asks for all of them again."""
    records, more = _or_404(lambda: database.list_records(dag_id, run_id, limit))
    return _json({"videos": build_cards(records, _roots(dag_id)), "more": more})


@video_router.get("/tasks/{task_id}/{map_index}")
def task_page(dag_id: str, run_id: str, task_id: str, map_index: str) -> HTMLResponse:
    """Return the page of a task instance."""
    _get_record(dag_id, run_id, task_id, map_index)
    return _page("task", depth=7)


@video_router.get("/tasks/{task_id}/{map_index}/videos")
def task_video(dag_id: str, run_id: str, task_id: str, map_index: str) -> JSONResponse:
    """Return the card of a task instance, or none for an operator of another package."""
    record = _get_record(dag_id, run_id, task_id, map_index)
    submitter = None
    if record.is_sensor and record.request_id:
        submitter = database.find_submitter(dag_id, run_id, record.request_id)
    return _json({"videos": [build_card(record, _roots(dag_id), submitter)] if record.is_own else [], "more": False})


@video_router.get("/tasks/{task_id}/{map_index}/progress")
def task_progress(dag_id: str, run_id: str, task_id: str, map_index: str) -> JSONResponse:
    """Return the current state of a generation at the API, and what the card shows for it."""
    record = _get_record(dag_id, run_id, task_id, map_index)
    progress = UNKNOWN
    if record.is_own and record.request_id is not None and _may_poll():
        conn_id = record.fields.get("grokvideo_conn_id") or GrokVideoHook.default_conn_name
        progress = _progress_cache.get(str(conn_id), record.request_id)
    shown, advice = polled_state(record, progress["state"])
    return _json({**progress, "shown": shown, "advice": advice})


@video_router.api_route("/tasks/{task_id}/{map_index}/media", methods=["GET", "HEAD"])
def task_media(request: Request, dag_id: str, run_id: str, task_id: str, map_index: str) -> Response:
    """Return the saved file, or a range of it."""
    record = _get_record(dag_id, run_id, task_id, map_index)
    try:
        file = authorize_playback(record, _roots(dag_id))
    except AccessDenied as denied:
        raise HTTPException(403 if record.is_own and record.result else 404, str(denied)) from denied
    return _media_response(request, file)


def _media_response(request: Request, file: AuthorizedFile) -> Response:
    headers = {
        **_MEDIA_HEADERS,
        "Content-Type": "video/mp4",
        # Otherwise Airflow compresses the body, and a range of compressed bytes is not the requested range.
        "Content-Encoding": "identity",
        "Accept-Ranges": "bytes",
        "ETag": file.etag,
    }
    if request.headers.get("if-none-match") == file.etag:
        return Response(status_code=304, headers=headers)
    is_range_valid = request.headers.get("if-range", file.etag) == file.etag
    try:
        requested = parse_range(request.headers.get("range") if is_range_valid else None, file.size_bytes)
    except RangeNotSatisfiable:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{file.size_bytes}"})
    try:
        stream = open_authorized(file)
    except MediaUnavailable as error:
        raise HTTPException(404, str(error)) from error
    if requested:
        headers["Content-Range"] = f"bytes {requested.first}-{requested.last}/{file.size_bytes}"
    byte_range = requested or ByteRange(0, file.size_bytes - 1)
    headers["Content-Length"] = str(byte_range.length)
    status = 206 if requested else 200
    if request.method == "HEAD":
        stream.close()
        return Response(status_code=status, headers=headers)
    return StreamingResponse(read_range(stream, byte_range), status_code=status, headers=headers)


def _get_record(dag_id: str, run_id: str, task_id: str, map_index: str) -> TaskRecord:
    # Airflow does not replace the placeholder for a task that is not mapped.
    index = "-1" if map_index == "{MAP_INDEX}" else map_index
    if not _MAP_INDEX.fullmatch(index):
        raise HTTPException(404, "there is no such task instance")
    return _or_404(lambda: database.get_record(dag_id, run_id, task_id, int(index)))


def _or_404(query: Callable[[], T]) -> T:
    try:
        return query()
    except database.NotFound as error:
        raise HTTPException(404, str(error)) from error


@lru_cache(maxsize=1024)
def _roots(dag_id: str) -> list[Location]:
    roots, invalid = parse_roots(conf.get("grokvideo", "preview_roots", fallback=None), dag_id)
    if invalid:
        log.error("[grokvideo] preview_roots: ignored entries that are not usable URIs: %s", ", ".join(invalid))
    return roots


def _may_poll() -> bool:
    return conf.getboolean("grokvideo", "preview_progress", fallback=True)


@cache
def _read_static(name: str) -> bytes:
    return (_STATIC / name).read_bytes()


def _page(view: str, *, depth: int, message: str = "", status: int = 200) -> HTMLResponse:
    """Return the page. It contains no data, and finds its style and script without knowing Airflow's base path."""
    html = _read_static("video.html").decode().replace("{root}", "../" * (depth - 1)).replace("{view}", view)
    html = html.replace("{page_size}", str(database.PAGE_SIZE)).replace("{message}", message)
    return HTMLResponse(html, status, _PAGE_HEADERS)


def _json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(content, status, {**_HEADERS, **(headers or {})})


def _handle_error(request: Request, error: Exception) -> Response:
    """Return a page to a browser, and JSON to a script."""
    assert isinstance(error, StarletteHTTPException)  # noqa: S101
    if "text/html" not in request.headers.get("accept", ""):
        return _json({"detail": error.detail}, error.status_code, error.headers)
    messages = {401: "Sign in to Airflow to see this.", 403: "You may not see the videos of this DAG."}
    message = messages.get(error.status_code, HTTPStatus(error.status_code).phrase + ".")
    depth = len(request.url.path.removeprefix(request.scope.get("root_path", "")).strip("/").split("/"))
    return _page("message", depth=depth, message=message, status=error.status_code)
