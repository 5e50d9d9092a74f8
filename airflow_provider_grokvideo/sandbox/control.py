"""/sandbox/…: how a test scripts faults and sees what was asked. Loopback only, no key."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from airflow_provider_grokvideo.sandbox.faults import Fault
from airflow_provider_grokvideo.sandbox.studio import Studio

_LOOPBACK = ("127.", "::1", "::ffff:127.")


class ControlRoutes:
    """The test's side of the sandbox."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def routes(self) -> list[web.RouteDef]:
        """Every control route."""
        return [
            web.get("/sandbox/faults", self.faults),
            web.post("/sandbox/faults", self.arm),
            web.delete("/sandbox/faults", self.disarm),
            web.get("/sandbox/{log:requests|polls|downloads|uploads|refusals}", self.log),
            web.post("/sandbox/finish", self.finish),
            web.post("/sandbox/progress", self.progress),
        ]

    async def faults(self, request: web.Request) -> web.Response:
        """What is still armed."""
        _refuse_strangers(request)
        return web.json_response([fault.as_json() for fault in self._studio.faults.armed()])

    async def arm(self, request: web.Request) -> web.Response:
        """Arm one fault, or a list of them that play in order."""
        value = await _json(request)
        try:
            faults = [Fault.from_json(item) for item in (value if isinstance(value, list) else [value])]
        except (ValueError, TypeError) as problem:
            raise _bad_request(str(problem)) from problem
        for fault in faults:
            self._studio.faults.arm(fault)
        return await self.faults(request)

    async def disarm(self, request: web.Request) -> web.Response:
        """Clear every fault."""
        _refuse_strangers(request)
        self._studio.faults.clear()
        return web.json_response([])

    async def log(self, request: web.Request) -> web.Response:
        """One of the sandbox's logs, oldest entry first."""
        _refuse_strangers(request)
        name = request.match_info["log"]
        if name == "requests":
            return web.json_response([job.record() for job in self._studio.jobs.all()])
        entries: list[dict[str, Any]] = getattr(self._studio, name)
        return web.json_response(entries)

    async def finish(self, request: web.Request) -> web.Response:
        """End a job now: ``{"request_id", "state"}``."""
        value = await _json(request)
        try:
            job = self._studio.jobs.finish(str(value["request_id"]), str(value.get("state", "done")))
        except (KeyError, ValueError, TypeError, AttributeError) as problem:
            raise _bad_request(str(problem)) from problem
        return web.json_response(job.record())

    async def progress(self, request: web.Request) -> web.Response:
        """Show a progress until the job ends: ``{"request_id", "progress"}``."""
        value = await _json(request)
        try:
            job = self._studio.jobs.set_progress(str(value["request_id"]), float(value["progress"]))
        except (KeyError, ValueError, TypeError) as problem:
            raise _bad_request(str(problem)) from problem
        return web.json_response(job.record())


async def _json(request: web.Request) -> Any:
    _refuse_strangers(request)
    try:
        return await request.json()
    except ValueError as problem:
        raise _bad_request(f"the body is not JSON: {problem}") from problem


def _bad_request(message: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(text=json.dumps({"error": message}), content_type="application/json")


def _refuse_strangers(request: web.Request) -> None:
    if request.remote is None or not request.remote.startswith(_LOOPBACK):
        raise web.HTTPForbidden(text="the sandbox is scripted from its own machine only\n")
