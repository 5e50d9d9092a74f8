"""The aiohttp application of a sandbox: routes, API key check and rate limit."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from airflow_provider_grokvideo.sandbox import responses
from airflow_provider_grokvideo.sandbox.api_routes import ModelRoutes, PollRoutes, SubmitRoutes
from airflow_provider_grokvideo.sandbox.control_routes import ControlRoutes
from airflow_provider_grokvideo.sandbox.jobs import Job
from airflow_provider_grokvideo.sandbox.responses import request_style, to_web_response
from airflow_provider_grokvideo.sandbox.state import State
from airflow_provider_grokvideo.sandbox.video_cache import VideoCache
from airflow_provider_grokvideo.sandbox.video_routes import Uploads, VideoRoutes

# Base64 makes an image of 32 MiB a third larger.
_MAX_BODY_BYTES = 64 * 1024 * 1024
_API_PREFIXES = ("/grok/v1/", "/v1/")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """HTTP server of one sandbox.

    :param state: the state that all routes share.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._cache = VideoCache(state.jobs, state.options.seed)
        self._uploads: Uploads | None = None
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Start to listen and return the port."""
        options = self._state.options
        # Some handlers sleep on purpose. A test must not wait for them at its end.
        runner = web.AppRunner(self._create_application(), access_log=None, shutdown_timeout=0.1)
        self._runner = runner
        await runner.setup()
        site = web.TCPSite(runner, options.host, options.port, ssl_context=options.ssl_context, backlog=1024)
        await site.start()
        return int(runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening and cancel open requests."""
        if self._runner is not None:
            await self._runner.cleanup()

    def _create_application(self) -> web.Application:
        submits = SubmitRoutes(self._state, self._start_upload)
        polls = PollRoutes(self._state)
        models = ModelRoutes(self._state)
        videos = VideoRoutes(self._state, self._cache)
        app = web.Application(client_max_size=_MAX_BODY_BYTES, middlewares=[self._check_request])
        app.cleanup_ctx.append(self._run_background_tasks)
        for prefix in ("/grok/v1", "/v1"):
            app.router.add_post(prefix + "/videos/{what:generations|edits|extensions}", submits.submit)
            app.router.add_get(prefix + "/videos/{request_id}", polls.poll)
            app.router.add_get(prefix + "/models", models.models)
        app.router.add_get("/v1/api-key", models.api_key)
        app.router.add_get("/v1/video-generation-models", models.models)
        app.router.add_get("/videos/{request_id}.mp4", videos.video)
        app.router.add_get("/files/{request_id}.mp4", videos.file)
        app.router.add_get("/sandbox/page", self._page)
        app.add_routes(ControlRoutes(self._state).routes())
        app.router.add_route("*", "/videos/{rest:.*}", self._redirect)
        app.router.add_route("*", "/{rest:.*}", self._not_found)
        return app

    async def _run_background_tasks(self, _: web.Application) -> AsyncIterator[None]:
        self._uploads = Uploads(self._state, self._cache)
        yield
        await self._uploads.close()
        await self._cache.close()

    def _start_upload(self, job: Job) -> None:
        if self._uploads is not None:
            self._uploads.start(job)

    @web.middleware
    async def _check_request(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith(_API_PREFIXES) or request.match_info.handler == self._not_found:
            return await handler(request)
        rejection = self._check_access(request)
        if rejection is None and (request.content_length or 0) > _MAX_BODY_BYTES:
            # Rejected before the body is read.
            rejection = responses.error(request_style(request), "too_large", "the request body is too large")
        if rejection is None:
            try:
                return await handler(request)
            except web.HTTPRequestEntityTooLarge:
                rejection = responses.error(request_style(request), "too_large", "the request body is too large")
        if request.method == "POST":
            self._state.refusals.append(
                {
                    "path": request.path,
                    "status": rejection.status,
                    "code": None,
                    "fault": None,
                    "at": time.time(),
                }
            )
        elif "request_id" in request.match_info:
            self._state.polls.append(
                {
                    "request_id": request.match_info["request_id"],
                    "at": time.time(),
                    "status": rejection.status,
                    "state": None,
                    "fault": None,
                }
            )
        return to_web_response(rejection)

    def _check_access(self, request: web.Request) -> responses.HTTPResponse | None:
        style = request_style(request)
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            text = "No credentials provided" if style == "xai" else "No token provided"
            return responses.error(style, "no_key", text)
        if key.strip() != self._state.options.api_key:
            return responses.invalid_key(style, key.strip())
        bucket = self._state.bucket
        if bucket is not None and "/videos/" in request.path:
            wait = bucket.take()
            if wait:
                return responses.rate_limited(style, bucket.rate, bucket.retry_after(wait))
        return None

    async def _page(self, _: web.Request) -> web.Response:
        return to_web_response(responses.html(200, "Sandbox"))

    async def _redirect(self, _: web.Request) -> web.Response:
        # The real gateway redirects a path without its prefix to a web page instead of rejecting it.
        raise web.HTTPMovedPermanently("/sandbox/page")

    async def _not_found(self, _: web.Request) -> web.Response:
        return to_web_response(responses.html(404, "404 Not Found"))
