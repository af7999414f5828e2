"""What goes wrong at a hub or on the way to it; for HubServer.faults."""

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler

from support.hub_server import Fault, refuse, send


def _first(times: int, of: str, act: Callable[[BaseHTTPRequestHandler], bool]) -> Fault:
    """Returns a fault of the first requests by GET whose address has a part."""
    left = [times]

    def fault(request: BaseHTTPRequestHandler) -> bool:
        if not left[0] or of not in request.path or request.command != "GET":
            return False
        left[0] -= 1
        return act(request)

    return fault


def failing(status: int, *, times: int, of: str = "", **headers: str) -> Fault:
    """Requests are refused."""

    def act(request: BaseHTTPRequestHandler) -> bool:
        refuse(request, status, "", **headers)
        return True

    return _first(times, of, act)


def stalling(seconds: float, *, times: int, of: str = "") -> Fault:
    """Requests get no answer for a while, and then none at all."""

    def act(request: BaseHTTPRequestHandler) -> bool:
        time.sleep(seconds)
        request.close_connection = True
        return True

    return _first(times, of, act)


def cutting(after_bytes: int, *, times: int, of: str, reset: bool = False) -> Fault:
    """The connection ends, or is reset, after so many bytes of a body."""

    def act(request: BaseHTTPRequestHandler) -> bool:
        request.spoil = lambda content: content[:after_bytes]  # type: ignore[attr-defined]
        if reset:
            linger = struct.pack("ii", 1, 0)
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        return False

    return _first(times, of, act)


def changing(*, times: int, of: str) -> Fault:
    """A bit of a body is another one than it should be."""

    def act(request: BaseHTTPRequestHandler) -> bool:
        request.spoil = lambda content: content[:-1] + bytes([content[-1] ^ 1])  # type: ignore[attr-defined]
        return False

    return _first(times, of, act)


def answering(
    content: bytes = b"",
    *,
    of: str,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    methods: Sequence[str] = ("GET",),
) -> Fault:
    """Requests get another answer than they should."""

    def fault(request: BaseHTTPRequestHandler) -> bool:
        if of not in request.path or request.command not in methods:
            return False
        send(request, content, dict(headers or {}), status=status)
        return True

    return fault


def claiming(headers: Mapping[str, str], *, of: str) -> Fault:
    """The server's answers have other headers than they should; an empty one is left out."""

    def fault(request: BaseHTTPRequestHandler) -> bool:
        send_header = type(request).send_header
        changed = {name.lower() for name in headers}

        def send_other(name: str, value: str) -> None:
            if name.lower() not in changed:
                send_header(request, name, value)

        def end_headers() -> None:
            for name, value in headers.items():
                if value:
                    send_header(request, name, value)
            type(request).end_headers(request)
            request.__dict__.pop("send_header", None)
            request.__dict__.pop("end_headers", None)

        if of in request.path:
            request.send_header = send_other  # type: ignore[method-assign, assignment]
            request.end_headers = end_headers  # type: ignore[method-assign]
        return False

    return fault


def raw(
    parts: Callable[[], Iterable[bytes]], *, of: str, pause_s: float = 0.0, methods: str = "GET"
) -> Fault:
    """Requests get these bytes, with a pause after each part, until nobody listens."""

    def fault(request: BaseHTTPRequestHandler) -> bool:
        if of not in request.path or request.command not in methods:
            return False
        request.close_connection = True
        with contextlib.suppress(OSError):
            for part in parts():
                request.wfile.write(part)
                time.sleep(pause_s)
        return True

    return fault
