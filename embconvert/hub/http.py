"""The HTTP client for huggingface_hub: validates responses, retries, reports waits, gives up.

The library retries some requests and not others (`model_info` never, a listing without a time
limit), with different waits that only its log shows. Here one policy applies to every request:
temporary errors are retried a few times, every wait is reported on stderr, a short wait that the
server asks for is granted, and no wait is endless.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from embconvert.errors import NetworkError
from embconvert.hub.guard import Guard
from embconvert.hub.limits import Limits
from embconvert.hub.wire import limit_connections
from embconvert.overriding import override

if TYPE_CHECKING:
    import httpx2

_log = logging.getLogger(__name__)

#: Temporary errors: RFC 9110, 15.5.9 and 15.6, and RFC 6585, 4.
_PASSING = (408, 429, 500, 502, 503, 504)
_WAITS_S: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
# A refused connection is not caused by load, so waiting rarely helps.
_WAITS_WITHOUT_CONNECTION = 2
LONGEST_WAIT_S = 60.0
_HINT = "check the network and HF_ENDPOINT and try again; with a warm cache, use --offline"

#: Empty inside impatient().
_patient = [True]


@contextlib.contextmanager
def impatient() -> Iterator[None]:
    """Disables retries inside the block."""
    _patient.clear()
    try:
        yield
    finally:
        _patient.append(True)


def use_patient_client(
    say: Callable[[str], None], *, longest_wait_s: float = LONGEST_WAIT_S
) -> Guard:
    """Makes huggingface_hub use a client that validates responses, retries, and says waits."""
    from huggingface_hub import constants

    timeout_s = float(constants.HF_HUB_DOWNLOAD_TIMEOUT)
    guarded, guard = guarded_client(timeout_s, constants.ENDPOINT, Limits.of_environment())
    import httpx2

    class PatientClient(guarded):  # type: ignore[misc, valid-type]
        """All requests pass send(), streamed or not, redirected or not."""

        def send(
            self, request: "httpx2.Request", *, stream: bool = False, **named: Any
        ) -> "httpx2.Response":
            attempt = 0
            while True:
                waits = _WAITS_S if _patient else ()
                asked: float | None = None
                try:
                    response: httpx2.Response = super().send(request, stream=stream, **named)
                    if response.status_code not in _PASSING:
                        if stream:
                            response.stream = _watched(
                                response.stream, _without_query(request).rpartition("/")[2], say
                            )
                        return response
                    response.close()
                    problem = f"the hub responds {response.status_code} {response.reason_phrase}"
                    asked = asked_wait_s(response.headers)
                except httpx2.TimeoutException:
                    problem = "the hub does not respond"
                except (httpx2.NetworkError, httpx2.RemoteProtocolError) as error:
                    problem = f"the hub cannot be reached ({error})"
                    if isinstance(error, httpx2.ConnectError):
                        waits = waits[:_WAITS_WITHOUT_CONNECTION]
                if attempt >= len(waits):
                    raise NetworkError(f"{problem}, after {attempt + 1} tries", _HINT)
                wait = waits[attempt] if asked is None else asked
                attempt += 1
                if wait > longest_wait_s:
                    raise NetworkError(
                        f"{problem} and asks to wait {wait:.0f} s",
                        "try again after that time; a token in HF_TOKEN has higher limits",
                    )
                say(f"{problem}; trying again in {wait:.0f} s ({attempt} of {len(waits)})")
                time.sleep(wait)

    _use(PatientClient)
    return guard


def use_upload_client() -> None:
    """Makes huggingface_hub upload through a client that validates responses.

    It does not retry: the library itself resends partly sent bodies.
    """
    from huggingface_hub import constants

    limits = Limits.of_environment()
    guarded, _ = guarded_client(limits.upload_timeout_s, constants.ENDPOINT, limits)
    _use(guarded)


def guarded_client(
    timeout_s: float, endpoint: str, limits: Limits
) -> "tuple[type[httpx2.Client], Guard]":
    """Returns a client class that validates all responses, and its guard.

    `timeout_s` is the maximum time without data; the patience is at least twice that.
    """
    import httpx2

    patience_s = max(limits.patience_s, 2 * timeout_s)
    guard = Guard(endpoint, replace(limits, patience_s=patience_s))

    class GuardedClient(httpx2.Client):
        @override
        def send(
            self, request: "httpx2.Request", *, stream: bool = False, **named: Any
        ) -> "httpx2.Response":
            _limit_time(request, timeout_s)
            _log.info("%s %s", request.method, _without_query(request))
            guard.begin(request, is_file=stream, is_for_a_hint=not _patient)
            response = super().send(request, stream=True, **named)
            try:
                return guard.finish(response)
            except BaseException:
                response.close()
                raise

        @override
        def _init_transport(self, *arguments: Any, **named: Any) -> Any:
            transport = super()._init_transport(*arguments, **named)
            return limit_connections(transport, guard.limits.patience_s)

        @override
        def _init_proxy_transport(self, *arguments: Any, **named: Any) -> Any:
            transport = super()._init_proxy_transport(*arguments, **named)
            return limit_connections(transport, guard.limits.patience_s)

        def __init__(self) -> None:
            from huggingface_hub.utils._http import hf_request_event_hook

            super().__init__(
                event_hooks={
                    "request": [hf_request_event_hook, guard.check_request],
                    "response": [guard.check_response],
                },
                follow_redirects=True,
                timeout=None,
            )

    return GuardedClient, guard


def _use(client: "Callable[[], httpx2.Client]") -> None:
    import huggingface_hub

    huggingface_hub.set_client_factory(client)
    # Its log contains complete URLs, and a query may be a signature.
    logging.getLogger("httpx2").setLevel(logging.WARNING)


def asked_wait_s(headers: Mapping[str, str]) -> float | None:
    """Returns the wait in seconds that a response asks for, or None.

    The hub sends `RateLimit: "api";r=0;t=55` (draft-ietf-httpapi-ratelimit-headers-09) or as
    Retry-After (RFC 9110, 10.2.3), in seconds or as a date.
    """
    from email.utils import parsedate_to_datetime

    from huggingface_hub.utils import parse_ratelimit_headers

    try:
        limit = parse_ratelimit_headers(headers)
        if limit is not None and limit.remaining == 0:
            return float(limit.reset_in_seconds)
        text = headers.get("Retry-After", "").strip()
        if text.isascii() and text.isdigit():
            return float(text)
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):  # huge numbers or years
        return None


def _limit_time(request: "httpx2.Request", seconds: float) -> None:
    """Sets a timeout for a request that has none."""
    limits = request.extensions.get("timeout") or {}
    request.extensions["timeout"] = {
        kind: limits.get(kind) or seconds for kind in ("connect", "read", "write", "pool")
    }


def _without_query(request: "httpx2.Request") -> str:
    """Returns a request's URL without passwords and signatures."""
    url = urlsplit(str(request.url))
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"


def _watched(stream: Any, name: str, say: Callable[[str], None]) -> Any:
    """Returns a response's body that reports when the connection is lost.

    huggingface_hub resumes a truncated body, but not after a connection reset.
    """
    import httpx2

    class Watched(httpx2.SyncByteStream):
        @override
        def __iter__(self) -> Iterator[bytes]:
            received = 0
            try:
                for part in stream:
                    received += len(part)
                    yield part
            except (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError) as e:
                say(f"{name}: the connection was lost after {received / 1e6:.1f} MB; resuming")
                if isinstance(e, httpx2.ReadError):
                    raise httpx2.RemoteProtocolError(str(e)) from e
                raise

        @override
        def close(self) -> None:
            stream.close()

    return Watched()
