"""The sandbox's routes, its key check and its rate limit, as one aiohttp application."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from airflow_provider_grokvideo.sandbox import responses
from airflow_provider_grokvideo.sandbox.api_routes import ModelRoutes, PollRoutes, SubmitRoutes
from airflow_provider_grokvideo.sandbox.control_routes import ControlRoutes
from airflow_provider_grokvideo.sandbox.jobs import Job
from airflow_provider_grokvideo.sandbox.responses import bad_key, send, style_of
from airflow_provider_grokvideo.sandbox.state import Studio
from airflow_provider_grokvideo.sandbox.video_cache import Films
from airflow_provider_grokvideo.sandbox.video_routes import Deliveries, VideoRoutes

# An image of 32 MiB is a third larger as base64.
_LARGEST_BODY = 64 * 1024 * 1024
_API_PREFIXES = ("/grok/v1/", "/v1/")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """One sandbox's application and the address it listens on."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self._films = Films(studio.jobs, studio.options.seed)
        self._deliveries: Deliveries | None = None
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Listen, and say on which port."""
        options = self.studio.options
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
        submits = SubmitRoutes(self.studio, self._accepted)
        polls = PollRoutes(self.studio)
        models = ModelRoutes(self.studio)
        videos = VideoRoutes(self.studio, self._films)
        app = web.Application(client_max_size=_LARGEST_BODY, middlewares=[self._gate])
        app.cleanup_ctx.append(self._background_work)
        for prefix in ("/grok/v1", "/v1"):
            app.router.add_post(prefix + "/videos/{what:generations|edits|extensions}", submits.submit)
            app.router.add_get(prefix + "/videos/{request_id}", polls.poll)
            app.router.add_get(prefix + "/models", models.models)
        app.router.add_get("/v1/api-key", models.api_key)
        app.router.add_get("/v1/video-generation-models", models.models)
        app.router.add_get("/videos/{request_id}.mp4", videos.video)
        app.router.add_get("/files/{request_id}.mp4", videos.file)
        app.router.add_get("/sandbox/page", self._page)
        app.add_routes(ControlRoutes(self.studio).routes())
        app.router.add_route("*", "/videos/{rest:.*}", self._moved)
        app.router.add_route("*", "/{rest:.*}", self._nowhere)
        return app

    async def _background_work(self, _: web.Application) -> AsyncIterator[None]:
        self._deliveries = Deliveries(self.studio, self._films)
        yield
        await self._deliveries.close()
        await self._films.close()

    def _accepted(self, job: Job) -> None:
        if self._deliveries is not None:
            self._deliveries.expect(job)

    @web.middleware
    async def _gate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith(_API_PREFIXES) or request.match_info.handler == self._nowhere:
            return await handler(request)
        refusal = self._refusal(request)
        if refusal is None and (request.content_length or 0) > _LARGEST_BODY:
            # Before a byte of it is read.
            refusal = responses.error(style_of(request), "too_large", "the request body is too large")
        if refusal is None:
            try:
                return await handler(request)
            except web.HTTPRequestEntityTooLarge:
                refusal = responses.error(style_of(request), "too_large", "the request body is too large")
        if request.method == "POST":
            self.studio.refusals.append(
                {
                    "path": request.path,
                    "status": refusal.status,
                    "code": None,
                    "fault": None,
                    "at": time.time(),
                }
            )
        elif "request_id" in request.match_info:
            self.studio.polls.append(
                {
                    "request_id": request.match_info["request_id"],
                    "at": time.time(),
                    "status": refusal.status,
                    "state": None,
                    "fault": None,
                }
            )
        return send(refusal)

    def _refusal(self, request: web.Request) -> responses.Answer | None:
        style = style_of(request)
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            text = "No credentials provided" if style == "xai" else "No token provided"
            return responses.error(style, "no_key", text)
        if key.strip() != self.studio.options.api_key:
            return bad_key(style, key.strip())
        bucket = self.studio.bucket
        if bucket is not None and "/videos/" in request.path:
            wait = bucket.seconds_to_wait()
            if wait:
                return responses.rate_limited(style, bucket.rate, bucket.retry_after(wait))
        return None

    async def _page(self, _: web.Request) -> web.Response:
        return send(responses.html(200, "Sandbox"))

    async def _moved(self, _: web.Request) -> web.Response:
        # The real gateway sends a path without its prefix to a web page rather than refusing it.
        raise web.HTTPMovedPermanently("/sandbox/page")

    async def _nowhere(self, _: web.Request) -> web.Response:
        return send(responses.html(404, "404 Not Found"))
