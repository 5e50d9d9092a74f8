"""A minimal TLS server that answers polls, fast. It runs in its own process, so that its CPU is not counted.

``/…/videos/<id>`` is one of ours; every other path answers in the form of the peer that asks. An id that begins with
``n<N>-`` is done at its N-th poll; all others are when ``/control/done`` has been called.
"""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import sys
import time
from collections import Counter
from urllib.parse import parse_qsl

PENDING, DONE = "pending", "done"
_BODIES = {
    "videos": {
        PENDING: {"status": "pending", "progress": 40, "model": "grok-imagine-video"},
        DONE: {
            "status": "done",
            "progress": 100,
            "model": "grok-imagine-video",
            "video": {"url": "https://vidgen.x.ai/v/1.mp4", "duration": 8, "respect_moderation": True},
            "usage": {"cost_in_usd_ticks": 4_000_000_000},
        },
    },
    "runs": {PENDING: {"data": {"id": 1, "status": 3}}, DONE: {"data": {"id": 1, "status": 10}}},
}


def _answer(status: str, body: bytes, *headers: str) -> bytes:
    lines = (f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers, "", "")
    return "\r\n".join(lines).encode() + body


_ANSWERS = {
    (kind, state): _answer("200 OK", json.dumps(body).encode())
    for kind, states in _BODIES.items()
    for state, body in states.items()
}


class World:
    """What all connections share."""

    def __init__(self) -> None:
        self.polls: Counter[str] = Counter()
        self.done = False
        self.latency = 0.0
        self.refuse_until = 0.0
        self.refusal = b""
        self.timeline: list[tuple[float, int]] = []
        self.connections = 0

    def poll(self, path: str) -> bytes:
        """The answer to one poll."""
        now = time.time()
        if now < self.refuse_until:
            self.timeline.append((now, 429))
            return self.refusal
        self.timeline.append((now, 200))
        _, kind, name = path.partition("?")[0].rstrip("/").rsplit("/", 2)
        state = DONE if self.done else PENDING
        if name.startswith("n") and "-" in name:
            self.polls[name] += 1
            state = DONE if self.polls[name] >= int(name[1:].partition("-")[0]) else PENDING
        return _ANSWERS["runs" if kind == "runs" else "videos", state]

    def control(self, path: str) -> bytes:
        """Obey, or tell what happened."""
        action, _, query = path.removeprefix("/control/").partition("?")
        given = {name: float(value) for name, value in parse_qsl(query)}
        said: object = {}
        if action == "done":
            self.done = True
        elif action == "reset":
            self.done, self.latency, self.refuse_until = False, given.get("latency", 0.0), 0.0
            self.polls.clear()
            self.timeline.clear()
        elif action == "refuse":
            self.refuse_until = time.time() + given["seconds"]
            self.refusal = _answer(
                "429 Too Many Requests", b'{"error": "rate limit"}', f"Retry-After: {given['retry_after']:g}"
            )
        elif action == "timeline":
            said = self.timeline
        elif action == "counts":
            said = {"polls": len(self.timeline), "connections": self.connections}
        return _answer("200 OK", json.dumps(said).encode())


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.buffer = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.world.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.world.connections -= 1

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode()
            if path.startswith("/control/"):
                self.send(self.world.control(path))
            elif self.world.latency:
                asyncio.get_running_loop().call_later(self.world.latency, self.send, self.world.poll(path))
            else:
                self.send(self.world.poll(path))

    def send(self, answer: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(answer)


async def serve(certificate: str, key: str) -> None:
    """Print the port, and serve until SIGTERM."""
    loop = asyncio.get_running_loop()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    world = World()
    server = await loop.create_server(lambda: Connection(world), "127.0.0.1", 0, ssl=context, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
