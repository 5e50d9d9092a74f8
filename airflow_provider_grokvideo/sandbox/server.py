"""The sandbox's routes, its key check and its rate limit, as one aiohttp application."""

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

# An image of 32 MiB is a third larger as base64.
_MAX_BODY_BYTES = 64 * 1024 * 1024
_API_PREFIXES = ("/grok/v1/", "/v1/")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """One sandbox's application and the address it listens on."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._cache = VideoCache(state.jobs, state.options.seed)
        self._uploads: Uploads | None = None
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Listen, and say on which port."""
        options = self.state.options
        # Handlers that sleep on purpose must not hold up the end of a test.
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=0.1)
        self._runner = runner
        await runner.setup()
        site = web.TCPSite(runner, options.host, options.port, ssl_context=options.ssl_context, backlog=1024)
        await site.start()
        return int(runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening and give up what is under way."""
        if self._runner is not None:
            await self._runner.cleanup()

    def _application(self) -> web.Application:
        submits = SubmitRoutes(self.state, self._accepted)
        polls = PollRoutes(self.state)
        models = ModelRoutes(self.state)
        videos = VideoRoutes(self.state, self._cache)
        app = web.Application(client_max_size=_MAX_BODY_BYTES, middlewares=[self._authorize])
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
        app.add_routes(ControlRoutes(self.state).routes())
        app.router.add_route("*", "/videos/{rest:.*}", self._redirect)
        app.router.add_route("*", "/{rest:.*}", self._not_found)
        return app

    async def _run_background_tasks(self, _: web.Application) -> AsyncIterator[None]:
        self._uploads = Uploads(self.state, self._cache)
        yield
        await self._uploads.close()
        await self._cache.close()

    def _accepted(self, job: Job) -> None:
        if self._uploads is not None:
            self._uploads.expect(job)

    @web.middleware
    async def _authorize(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith(_API_PREFIXES) or request.match_info.handler == self._not_found:
            return await handler(request)
        refusal = self._rejection(request)
        if refusal is None and (request.content_length or 0) > _MAX_BODY_BYTES:
            # Before a byte of it is read.
            refusal = responses.error(request_style(request), "too_large", "the request body is too large")
        if refusal is None:
            try:
                return await handler(request)
            except web.HTTPRequestEntityTooLarge:
                refusal = responses.error(request_style(request), "too_large", "the request body is too large")
        if request.method == "POST":
            self.state.refusals.append(
                {
                    "path": request.path,
                    "status": refusal.status,
                    "code": None,
                    "fault": None,
                    "at": time.time(),
                }
            )
        elif "request_id" in request.match_info:
            self.state.polls.append(
                {
                    "request_id": request.match_info["request_id"],
                    "at": time.time(),
                    "status": refusal.status,
                    "state": None,
                    "fault": None,
                }
            )
        return to_web_response(refusal)

    def _rejection(self, request: web.Request) -> responses.HTTPResponse | None:
        style = request_style(request)
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            text = "No credentials provided" if style == "xai" else "No token provided"
            return responses.error(style, "no_key", text)
        if key.strip() != self.state.options.api_key:
            return responses.invalid_key(style, key.strip())
        bucket = self.state.bucket
        if bucket is not None and "/videos/" in request.path:
            wait = bucket.take()
            if wait:
                return responses.rate_limited(style, bucket.rate, bucket.retry_after(wait))
        return None

    async def _page(self, _: web.Request) -> web.Response:
        return to_web_response(responses.html(200, "Sandbox"))

    async def _redirect(self, _: web.Request) -> web.Response:
        # The real gateway sends a path without its prefix to a web page rather than refusing it.
        raise web.HTTPMovedPermanently("/sandbox/page")

    async def _not_found(self, _: web.Request) -> web.Response:
        return to_web_response(responses.html(404, "404 Not Found"))
