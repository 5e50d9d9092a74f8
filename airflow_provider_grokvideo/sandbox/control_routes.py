"""/sandbox/…: how a test scripts faults and sees what was asked. Loopback only, no key."""

from __future__ import annotations

import ipaddress
import json
import math
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from airflow_provider_grokvideo.sandbox.faults import Fault
from airflow_provider_grokvideo.sandbox.state import State

_JSON = "application/json"


class ControlRoutes:
    """The test's side of the sandbox."""

    def __init__(self, state: State) -> None:
        self._state = state

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
        self._require_local(request)
        return web.json_response([fault.to_json() for fault in self._state.faults.armed()])

    async def arm(self, request: web.Request) -> web.Response:
        """Arm one fault, or a list of them that play in order."""
        value = await self._json(request)
        try:
            faults = [Fault.from_json(item) for item in (value if isinstance(value, list) else [value])]
        except (ValueError, TypeError) as problem:
            raise _bad_request(str(problem)) from problem
        for fault in faults:
            self._state.faults.arm(fault)
        return await self.faults(request)

    async def disarm(self, request: web.Request) -> web.Response:
        """Clear every fault."""
        self._require_local(request)
        self._state.faults.clear()
        return web.json_response([])

    async def log(self, request: web.Request) -> web.Response:
        """One of the sandbox's logs, oldest entry first."""
        self._require_local(request)
        name = request.match_info["log"]
        if name == "requests":
            return web.json_response([job.record() for job in self._state.jobs.all()])
        entries: list[dict[str, Any]] = getattr(self._state, name)
        return web.json_response(entries)

    async def finish(self, request: web.Request) -> web.Response:
        """End a job now: ``{"request_id", "state"}``."""
        value = await self._json(request)
        try:
            job = self._state.jobs.finish(str(value["request_id"]), str(value.get("state", "done")))
        except (KeyError, ValueError, TypeError, AttributeError) as problem:
            raise _bad_request(str(problem)) from problem
        return web.json_response(job.record())

    async def progress(self, request: web.Request) -> web.Response:
        """Show a progress until the job ends: ``{"request_id", "progress"}``."""
        value = await self._json(request)
        try:
            progress = float(value["progress"])
            if not math.isfinite(progress):
                raise _bad_request(f"progress is {progress}; it must be a number")
            job = self._state.jobs.set_progress(str(value["request_id"]), progress)
        except (KeyError, ValueError, TypeError, OverflowError) as problem:
            raise _bad_request(str(problem)) from problem
        return web.json_response(job.record())

    async def _json(self, request: web.Request) -> Any:
        self._require_local(request)
        if request.content_type != _JSON:
            # What a page of another site may send without asking is of other types.
            raise web.HTTPUnsupportedMediaType(text=f"the body must be sent as {_JSON}\n")
        try:
            return await request.json()
        except (ValueError, RecursionError) as problem:
            raise _bad_request(f"the body is not JSON: {problem}") from problem

    def _require_local(self, request: web.Request) -> None:
        """Refuse other machines, pages of other sites, and names that a site has bound to this address."""
        if not _is_loopback(request.remote):
            raise _forbidden(f"{request.remote} is another")
        host = _host_of(f"//{request.host}")
        if not _is_loopback(host) and host != self._state.options.host.lower():
            raise _forbidden(f"Host {request.host!r} is not it")
        origin = request.headers.get("Origin")
        if origin is not None and origin.lower() != f"{request.scheme}://{request.host}".lower():
            raise _forbidden(f"a page of {origin!r} must not")


def _host_of(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _bad_request(message: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(text=json.dumps({"error": message}), content_type="application/json")


def _is_loopback(host: str | None) -> bool:
    """Return whether a host is this machine: an address of its own or ``localhost``."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _forbidden(why: str) -> web.HTTPForbidden:
    return web.HTTPForbidden(text=f"the sandbox is scripted from its own machine only: {why}\n")
