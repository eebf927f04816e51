"""A small HTTP/1.1 client for load: the same request over and over on open connections.

Bounded in connections and in time; loopback only.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import time
import uuid


def multipart_post(path: str, host: str, token: str, name: str, data: bytes) -> bytes:
    """The bytes of a POST with one file in the field ``image``."""
    boundary = uuid.uuid4().hex
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
        "Content-Type: image/png\r\n\r\n"
    ).encode()
    body += data + f"\r\n--{boundary}--\r\n".encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: multipart/form-data; boundary={boundary}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def ask_once(port: int, request: bytes) -> None:
    """Send it and read to the end of the answer's head; RuntimeError for any status but 200."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as line:
        line.sendall(request)
        with line.makefile("rb") as answer:
            status = answer.readline()
    if not status.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(status.decode())


async def _connection(port: int, requests: list[bytes], until: float, start: int) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    times = []
    turn = start
    try:
        while (begun := time.perf_counter()) < until:
            writer.write(requests[turn % len(requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.split(b"\r\n")[0].decode())
            length = next(
                int(line.split(b":")[1])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length")
            )
            await reader.readexactly(length)
            times.append(time.perf_counter() - begun)
            turn += 1
    finally:
        writer.close()
    return times


async def _all(port: int, requests: list[bytes], connections: int, seconds: float) -> list[float]:
    until = time.perf_counter() + seconds
    parts = await asyncio.gather(
        *(_connection(port, requests, until, 7 * n) for n in range(connections))
    )
    return [one for part in parts for one in part]


def rate(port: int, requests: list[bytes], connections: int, seconds: float) -> tuple[float, float]:
    """(answers per second, median time of one in ms)."""
    times = asyncio.run(_all(port, requests, connections, seconds))
    return len(times) / seconds, 1000 * statistics.median(times)
