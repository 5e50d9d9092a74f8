"""Serves one synthetic video, as fast as the machine can, from a process of its own."""

from __future__ import annotations

import socket
import ssl
import sys
from pathlib import Path

from tests.support.mp4_files import head

CHUNK = 4 * 1024**2


def mp4(size: int) -> bytes:
    """Return the beginning of an MP4 file of this size: all but the content of its ``mdat``."""
    return head(size - len(head(0)))


def serve(scheme: str, home: Path, size: int) -> None:
    """Print the port, and answer every request with the video, one after another."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(home / "localhost.pem", home / "localhost.key")
    boxes = mp4(size)
    filler = bytes(CHUNK)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n".encode()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            plain, _ = listener.accept()
            try:
                with plain, context.wrap_socket(plain, server_side=True) if scheme == "https" else plain as connection:
                    asked = b""
                    while b"\r\n\r\n" not in asked:
                        asked += connection.recv(65536)
                    connection.sendall(head + boxes)
                    left = size - len(boxes)
                    while left:
                        connection.sendall(memoryview(filler)[: min(left, CHUNK)])
                        left -= min(left, CHUNK)
            except OSError as error:
                print(f"a client went away: {error}", file=sys.stderr)


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
