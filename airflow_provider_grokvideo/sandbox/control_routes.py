"""Control endpoints under /sandbox/: faults, logs and the end of jobs. Same machine only, without a key."""

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
    """Handlers of the control endpoints."""

    def __init__(self, state: State) -> None:
        self._state = state

    def routes(self) -> list[web.RouteDef]:
        """Return all control routes."""
        return [
            web.get("/sandbox/faults", self.list_faults),
            web.post("/sandbox/faults", self.add_faults),
            web.delete("/sandbox/faults", self.clear_faults),
            web.get("/sandbox/{log:requests|polls|downloads|uploads|refusals}", self.log),
            web.post("/sandbox/finish", self.finish),
            web.post("/sandbox/progress", self.progress),
        ]

    async def list_faults(self, request: web.Request) -> web.Response:
        """Return the faults that are still set."""
        self._require_local(request)
        return web.json_response([fault.to_json() for fault in self._state.faults.pending()])

    async def add_faults(self, request: web.Request) -> web.Response:
        """Add one fault, or a list of faults that apply in that order."""
        value = await self._json(request)
        try:
            faults = [Fault.from_json(item) for item in (value if isinstance(value, list) else [value])]
        except (ValueError, TypeError) as error:
            raise _bad_request(str(error)) from error
        for fault in faults:
            self._state.faults.add(fault)
        return await self.list_faults(request)

    async def clear_faults(self, request: web.Request) -> web.Response:
        """Remove all faults."""
        self._require_local(request)
        self._state.faults.clear()
        return web.json_response([])

    async def log(self, request: web.Request) -> web.Response:
        """Return one of the logs, oldest entry first."""
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
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise _bad_request(str(error)) from error
        return web.json_response(job.record())

    async def progress(self, request: web.Request) -> web.Response:
        """Report this progress while a job is pending: ``{"request_id", "progress"}``."""
        value = await self._json(request)
        try:
            progress = float(value["progress"])
            if not math.isfinite(progress):
                raise _bad_request(f"progress is {progress}; it must be finite.")
            job = self._state.jobs.set_progress(str(value["request_id"]), progress)
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            raise _bad_request(str(error)) from error
        return web.json_response(job.record())

    async def _json(self, request: web.Request) -> Any:
        self._require_local(request)
        if request.content_type != _JSON:
            # A browser lets pages of other sites send some other types without a preflight request.
            raise web.HTTPUnsupportedMediaType(text=f"Send the body as {_JSON}.\n")
        try:
            return await request.json()
        except (ValueError, RecursionError) as error:
            raise _bad_request(f"The body is not JSON: {error}.") from error

    def _require_local(self, request: web.Request) -> None:
        """Reject other machines, pages of other sites, and other host names (DNS rebinding)."""
        if not _is_loopback(request.remote):
            raise _forbidden(f"{request.remote} is another machine")
        host = _host_of(f"//{request.host}")
        if not _is_loopback(host) and host != self._state.options.host.lower():
            raise _forbidden(f"the host {request.host!r} is another name")
        origin = request.headers.get("Origin")
        if origin is not None and origin.lower() != f"{request.scheme}://{request.host}".lower():
            raise _forbidden(f"the origin {origin!r} is another site")


def _host_of(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _bad_request(message: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(text=json.dumps({"error": message}), content_type="application/json")


def _is_loopback(host: str | None) -> bool:
    """Return whether a host is ``localhost`` or a loopback address."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _forbidden(reason: str) -> web.HTTPForbidden:
    return web.HTTPForbidden(text=f"The control endpoints accept requests from the same machine only: {reason}.\n")
