"""What goes wrong at a hub or on the way to it; for HubServer.faults."""

import socket
import struct
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler

from hub_server import Fault, refuse


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
