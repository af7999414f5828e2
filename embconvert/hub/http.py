"""The HTTP client that huggingface_hub is given: it looks at answers, waits, says so, gives up.

The library itself retries some requests and not others (`model_info` never, a listing without
any time limit), each place with waits of its own that only its log tells. Here one policy holds
for every request: what may pass by itself is tried again a few times, every wait is a line on
stderr, a server that asks for a wait gets it when it is short, and nothing waits without an end.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from embconvert.errors import NetworkError
from embconvert.hub import limits
from embconvert.hub.guard import Guard
from embconvert.hub.wire import limit_connections

if TYPE_CHECKING:
    import httpx2

_log = logging.getLogger(__name__)

#: Answers that may pass by themselves: RFC 9110, 15.5.9 and 15.6, and RFC 6585, 4.
_PASSING = (408, 429, 500, 502, 503, 504)
_WAITS_S: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
# Where nobody listens, nobody is busy either.
_WAITS_WITHOUT_CONNECTION = 2
LONGEST_WAIT_S = 60.0
_HINT = "check the network and HF_ENDPOINT and try again; with a warm cache, use --offline"

#: Empty while impatient().
_patient = [True]


@contextlib.contextmanager
def impatient() -> Iterator[None]:
    """Lets requests fail at once."""
    _patient.clear()
    try:
        yield
    finally:
        _patient.append(True)


def use_patient_client(
    say: Callable[[str], None], *, longest_wait_s: float = LONGEST_WAIT_S
) -> Guard:
    """Makes huggingface_hub fetch through a client that tries again.

    Args:
        say: Told of every wait.
        longest_wait_s: What asks for more is given up.

    Returns:
        What looks at the answers.
    """
    from huggingface_hub import constants

    guarded, guard = guarded_client(float(constants.HF_HUB_DOWNLOAD_TIMEOUT), constants.ENDPOINT)
    import httpx2

    class PatientClient(guarded):  # type: ignore[misc, valid-type]
        """Its send() is where every request passes, streamed or not, redirected or not."""

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
                    problem = f"the hub answers {response.status_code} {response.reason_phrase}"
                    asked = asked_wait_s(response.headers)
                except httpx2.TimeoutException:
                    problem = "the hub does not answer"
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
    """Makes huggingface_hub send through a client that looks at answers.

    A body that was sent in part cannot be sent again from here; the library does that itself.
    """
    from huggingface_hub import constants

    guarded, _ = guarded_client(limits.UPLOAD_TIMEOUT_S, constants.ENDPOINT)
    _use(guarded)


def guarded_client(timeout_s: float, endpoint: str) -> "tuple[type[httpx2.Client], Guard]":
    """Returns a class of clients whose every answer is looked at, and what looks at them.

    Args:
        timeout_s: How long the other side may be silent.
        endpoint: The hub's address.
    """
    import httpx2

    guard = Guard(endpoint, patience_s=max(limits.PATIENCE_S, 2 * timeout_s))

    class GuardedClient(httpx2.Client):
        def send(
            self, request: "httpx2.Request", *, stream: bool = False, **named: Any
        ) -> "httpx2.Response":
            _limit_time(request, timeout_s)
            _log.info("%s %s", request.method, _without_query(request))
            listing_s = limits.LISTING_S if _patient else limits.HINT_S
            guard.begin(request, is_file=stream, listing_s=listing_s)
            response = super().send(request, stream=True, **named)
            try:
                return guard.finish(response)
            except BaseException:
                response.close()
                raise

        def _init_transport(self, *arguments: Any, **named: Any) -> Any:
            transport = super()._init_transport(*arguments, **named)
            return limit_connections(transport, guard.patience_s)

        def _init_proxy_transport(self, *arguments: Any, **named: Any) -> Any:
            transport = super()._init_proxy_transport(*arguments, **named)
            return limit_connections(transport, guard.patience_s)

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
    # Its own log has addresses whole, and a query may be a signature.
    logging.getLogger("httpx2").setLevel(logging.WARNING)


def asked_wait_s(headers: Mapping[str, str]) -> float | None:
    """Returns the wait that an answer asks for, in seconds, or None when it asks for none.

    The hub says it as `RateLimit: "api";r=0;t=55` (draft-ietf-httpapi-ratelimit-headers-09) or
    as Retry-After (RFC 9110, 10.2.3), which is seconds or a date.
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
    except (ValueError, OverflowError):  # numbers without end, years beyond the calendar
        return None


def _limit_time(request: "httpx2.Request", seconds: float) -> None:
    """Gives a request that may wait forever a limit on every wait for the other side."""
    limits = request.extensions.get("timeout") or {}
    request.extensions["timeout"] = {
        kind: limits.get(kind) or seconds for kind in ("connect", "read", "write", "pool")
    }


def _without_query(request: "httpx2.Request") -> str:
    """Returns an address without what may be a password or a signature."""
    url = urlsplit(str(request.url))
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"


def _watched(stream: Any, name: str, say: Callable[[str], None]) -> Any:
    """Returns a response's body that tells when it breaks off.

    huggingface_hub resumes a body that ends early, but not one whose connection is reset.
    """
    import httpx2

    class Watched(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            received = 0
            try:
                for part in stream:
                    received += len(part)
                    yield part
            except (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError) as e:
                say(f"{name}: the connection broke off after {received / 1e6:.1f} MB; resuming")
                if isinstance(e, httpx2.ReadError):
                    raise httpx2.RemoteProtocolError(str(e)) from e
                raise

        def close(self) -> None:
            stream.close()

    return Watched()
