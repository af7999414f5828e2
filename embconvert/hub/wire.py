"""Limits of time and size for connections and response bodies.

The HTTP library has a limit only for each read. Here slow connections are closed, in whatever part
of a response they are slow, and bodies must not exceed their size.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from embconvert.errors import NetworkError
from embconvert.hub import limits
from embconvert.hub.limits import Clock
from embconvert.overriding import override

if TYPE_CHECKING:
    import httpx2

_ENDLESS_HINT = "check HF_ENDPOINT and the proxy: a Hugging Face hub does not respond like that"


def limit_connections(transport: Any, patience_s: float) -> Any:
    """Makes a transport of the HTTP library close slow connections; returns it."""
    import httpcore2

    class Backend(httpcore2.NetworkBackend):
        def __init__(self, inner: httpcore2.NetworkBackend) -> None:
            self._inner = inner

        @override
        def connect_tcp(self, *arguments: Any, **named: Any) -> httpcore2.NetworkStream:
            return Stream(self._inner.connect_tcp(*arguments, **named))

        @override
        def sleep(self, seconds: float) -> None:
            self._inner.sleep(seconds)

    class Stream(httpcore2.NetworkStream):
        """A connection; each write starts a request, and the clock of its response."""

        def __init__(self, inner: httpcore2.NetworkStream) -> None:
            self._inner = inner
            self._begin()

        def _begin(self) -> None:
            self._clock = Clock(patience_s)
            self._head_bytes_left: float = limits.HEAD_BYTES

        def head_ended(self) -> None:
            self._head_bytes_left = float("inf")

        @override
        def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            data = self._inner.read(max_bytes, timeout)
            self._clock.add(len(data))
            self._head_bytes_left -= len(data)
            if self._head_bytes_left < 0:
                raise NetworkError(
                    f"the hub sends more than {limits.HEAD_BYTES >> 10} KiB before the body of a "
                    "response",
                    _ENDLESS_HINT,
                )
            return data

        @override
        def write(self, buffer: bytes, timeout: float | None = None) -> None:
            self._begin()
            self._inner.write(buffer, timeout)

        @override
        def close(self) -> None:
            self._inner.close()

        @override
        def start_tls(self, *arguments: Any, **named: Any) -> httpcore2.NetworkStream:
            return Stream(self._inner.start_tls(*arguments, **named))

        @override
        def get_extra_info(self, info: str) -> Any:
            return self._inner.get_extra_info(info)

    # The transport has no parameter for it.
    transport._pool._network_backend = Backend(transport._pool._network_backend)
    return transport


def head_ended(response: "httpx2.Response") -> None:
    """Tells the connection that the body of a response follows."""
    ended = getattr(response.extensions.get("network_stream"), "head_ended", None)
    if ended is not None:
        ended()


def limited(stream: Any, most_bytes: int, what: str, clock: Clock) -> "httpx2.SyncByteStream":
    """Returns a body that raises NetworkError if it is too large or, in all attempts, too slow."""
    import httpx2

    class Limited(httpx2.SyncByteStream):
        @override
        def __iter__(self) -> Iterator[bytes]:
            received = 0
            for part in stream:
                received += len(part)
                if received > most_bytes:
                    raise NetworkError(
                        f"{what} has more than the allowed {most_bytes} bytes", _ENDLESS_HINT
                    )
                clock.add(len(part))
                yield part

        @override
        def close(self) -> None:
            stream.close()

    return Limited()
