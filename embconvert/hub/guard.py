"""Validates every response of a hub before huggingface_hub gets it; see answers.py."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from embconvert.errors import NetworkError
from embconvert.hub import answer_values, answers
from embconvert.hub.headers import check_links, check_xet, normalized, redirect_target
from embconvert.hub.limits import EXPLANATION_BYTES, LISTING_ENTRIES, SLOW_HINT, Clock, Limits
from embconvert.hub.wire import head_ended, limited

if TYPE_CHECKING:
    import httpx2

#: The headers that the library or this program uses.
_HEADERS = frozenset(
    ("content-length", "content-type", "content-range", "location", "link", "etag",
     "x-linked-etag", "x-linked-size", "x-repo-commit", "x-error-code", "x-error-message",
     "retry-after", "ratelimit", "ratelimit-policy", "x-request-id", "x-xet-hash",
     "x-xet-refresh-route", "x-xet-cas-url", "x-xet-access-token", "x-xet-token-expiration")
)  # fmt: skip
_RESOLVE = re.compile(r"/resolve/([^/]+)/(.+)")
_HINT = (
    "check that HF_ENDPOINT is the URL of a Hugging Face hub, and that no proxy responds instead"
)
# Key in the extensions of a request and of its redirects.
_EXCHANGE = "embconvert"


@dataclass(frozen=True)
class _RoundTrip:
    """A request and its response, over all redirects.

    Attributes:
        is_file: Whether the body is a file instead of an API response.
        clock: For the body, including interrupted attempts.
        listing: Of a multi-page listing: previous pages, previous entries, start time.
        listing_s: Time limit of the listing.
    """

    is_file: bool
    clock: Clock
    listing: tuple[int, int, float]
    listing_s: float


@dataclass(frozen=True)
class Announced:
    """A file in a listing: its size in bytes, and the hash of its content."""

    size: int
    content_id: str


@dataclass
class Guard:
    """Validates a program's communication with a hub, over all requests."""

    endpoint: str
    limits: Limits = field(default_factory=Limits)
    _announced: dict[tuple[str, str], Announced] = field(default_factory=dict)
    # By URL.
    _sizes: dict[str, int] = field(default_factory=dict)
    _clocks: dict[str, Clock] = field(default_factory=dict)
    _listings: dict[str, tuple[int, int, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        hubs = (self.endpoint, "https://huggingface.co", "https://hf.co")
        self._hubs = {answer_values.origin(urlsplit(hub)) for hub in hubs}

    def announce(self, commit: str, files: Mapping[str, Announced]) -> None:
        """Stores a listing; later responses about these files must agree with it."""
        self._announced |= {(commit, name): file for name, file in files.items()}

    def begin(
        self, request: "httpx2.Request", *, is_file: bool, is_for_a_hint: bool = False
    ) -> None:
        """Registers a request before any redirect.

        Args:
            is_file: Whether the body is a file instead of an API response.
            is_for_a_hint: Whether it only improves the hint of another error.
        """
        address = str(request.url)
        clock = Clock(self.limits.patience_s)
        if is_file and "Range" in request.headers:
            # A resumed body keeps its clock.
            clock = self._clocks.get(address, clock)
        if is_file:
            self._clocks[address] = clock
        listing = self._listings.get(address, (0, 0, time.monotonic()))
        listing_s = self.limits.hint_s if is_for_a_hint else self.limits.listing_s
        request.extensions[_EXCHANGE] = _RoundTrip(is_file, clock, listing, listing_s)

    def check_request(self, request: "httpx2.Request") -> None:
        """Prepares a request or a redirected one."""
        # Without compression there are no zip bombs, and sizes are those of the files.
        request.headers["Accept-Encoding"] = "identity"
        if not self._is_hub(str(request.url)):
            # Hubs name other hosts for content, for the next page, and to verify uploads.
            request.headers.pop("Authorization", None)

    def check_response(self, response: "httpx2.Response") -> None:
        """Validates a response before its body is read, and limits that; raises NetworkError."""
        import httpx2

        request, status = response.request, response.status_code
        head_ended(response)
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        kept = [
            (name, answer_values.cleaned(text))
            for name, text in response.headers.multi_items()
            if name.lower() in _HEADERS
        ]
        try:
            # The reason phrase is untrusted text; use the standard's.
            response.extensions["reason_phrase"] = HTTPStatus(status).phrase.encode()
            response.headers = httpx2.Headers(kept)
            if status < 200:
                raise ValueError(f"status {status}")
            if encoding != "identity":
                raise ValueError("Content-Encoding: compressed without being requested")
            most = self._check_headers(response)
        except ValueError as error:
            raise _refusal(request, str(error)) from error
        clock = request.extensions[_EXCHANGE].clock
        # The library resumes as long as data arrives, and starts over if the hub does.
        if clock.received > 4 * self._sizes.get(str(request.url), most) + (1 << 26):
            raise NetworkError(
                f"{_where(request)} is interrupted again and again: {clock.received / 1e6:.0f} MB "
                "were received, four times its size",
                SLOW_HINT,
            )
        response.stream = limited(response.stream, most, _where(request), clock)

    def finish(self, response: "httpx2.Response") -> "httpx2.Response":
        """Returns a response with only those parts that the library may read; raises NetworkError.

        A file is not read here.
        """
        import httpx2

        request, status = response.request, response.status_code
        if request.extensions[_EXCHANGE].is_file and status < 400:
            if status not in (200, 206):
                raise _refusal(request, f"status {status} instead of a file")
            return response
        content = response.read()
        response.close()
        if request.method == "HEAD":  # Content-Length is that of the file
            return response
        try:
            known = self._read(response, content)
        except (ValueError, RecursionError) as error:
            raise _refusal(request, _problem(response, error)) from error
        headers = [item for item in response.headers.multi_items() if item[0] != "content-length"]
        return httpx2.Response(
            status,
            headers=headers,
            content=b"" if known is None else json.dumps(known).encode(),
            request=request,
            extensions=response.extensions,
            history=response.history,
        )

    def _read(self, response: "httpx2.Response", content: bytes) -> Any:
        """Returns the known fields of a JSON response; None if it has no JSON."""
        request = response.request
        if response.status_code >= 400:
            try:
                return answers.explanation(json.loads(content))
            except (ValueError, RecursionError):
                return {}
        read = answers.reader(request.url.raw_path.decode("ascii").partition("?")[0])
        if read is None or not self._is_hub(str(request.url)):
            return None
        if response.status_code >= 300:
            raise ValueError(f"status {response.status_code}")
        known = read(json.loads(content))
        self._note_page(response, len(known) if isinstance(known, list) else 0)
        return known

    def _note_page(self, response: "httpx2.Response", entries: int) -> None:
        """Limits listings with several pages."""
        exchange = response.request.extensions[_EXCHANGE]
        pages, so_far, start = exchange.listing
        pages, so_far, elapsed = pages + 1, so_far + entries, time.monotonic() - start
        if (
            pages > self.limits.listing_pages
            or so_far > LISTING_ENTRIES
            or elapsed > exchange.listing_s
        ):
            raise NetworkError(
                f"{_where(response.request)}: the listing is too long: {so_far} entries on {pages} "
                f"pages in {elapsed:.0f} s; the limits are {LISTING_ENTRIES} entries, "
                f"{self.limits.listing_pages} pages and {exchange.listing_s:.0f} s",
                _HINT,
            )
        following = response.links.get("next", {}).get("url")
        if following is not None:
            self._listings[normalized(following)] = (pages, so_far, start)

    def _check_headers(self, response: "httpx2.Response") -> int:
        """Returns the maximum size of the body in bytes; raises ValueError."""
        request, headers, status = response.request, response.headers, response.status_code
        here = str(request.url)
        target = redirect_target(response) if 300 <= status < 400 else None
        check_links(headers, self._hubs)
        check_xet(headers, self._hubs, needs_https=self.endpoint.startswith("https:"))
        start = self._check_range(response)
        for name in ("Content-Length", "X-Linked-Size"):
            if name in headers:
                answer_values.byte_count(headers[name], name)
        if status < 400 and not (target and self._is_hub(target)):
            size = self._check_file(response, target)
            size = self._sizes.get(here) if size is None else size
            if size is not None:
                self._sizes[here] = size
                if target:
                    self._sizes[target] = size
        if status >= 300:
            return EXPLANATION_BYTES
        if not request.extensions[_EXCHANGE].is_file:
            return self.limits.api_bytes
        return max(0, self._sizes.get(here, self.limits.file_bytes) - start)

    def _check_range(self, response: "httpx2.Response") -> int:
        """Returns the offset of the first byte of the body."""
        asked = re.fullmatch(r"bytes=(\d+)-", response.request.headers.get("Range", ""))
        if response.status_code == 206:
            start, _, whole = answer_values.content_range(response.headers.get("Content-Range", ""))
            announced = self._sizes.get(str(response.request.url), whole)
            if not asked or int(asked[1]) != start or whole != announced:
                raise ValueError("Content-Range: not the requested one")
            return start
        # Otherwise the library would read a size from it.
        response.headers.pop("Content-Range", None)
        return 0

    def _check_file(self, response: "httpx2.Response", target: str | None) -> int | None:
        """Validates the headers about a file of a repository; returns its size if known."""
        headers = response.headers
        match = _RESOLVE.search(response.request.url.raw_path.decode("ascii").partition("?")[0])
        if match is None or not self._is_hub(str(response.request.url)):
            return None
        revision, name = unquote(match[1]), unquote(match[2])
        commit = headers.get("X-Repo-Commit")
        if commit is not None and not answer_values.COMMIT.fullmatch(commit):
            raise ValueError("X-Repo-Commit: not a commit")
        if commit is not None and answer_values.COMMIT.fullmatch(revision) and commit != revision:
            raise ValueError("X-Repo-Commit: not the requested commit")
        announced = self._announced.get((revision, name))
        etag = headers.get("X-Linked-Etag") or headers.get("ETag")
        if response.request.method == "HEAD" and etag is not None:
            digest = answer_values.content_id(etag)
            if announced and digest != announced.content_id:
                raise ValueError(f"ETag: the hash of {name} differs from the listing")
        said = headers.get("X-Linked-Size")
        if said is None and target is None and response.status_code == 200:
            said = headers.get("Content-Length")
        if announced and said is not None and int(said) != announced.size:
            raise ValueError(f"the size of {name} differs from the listing")
        return announced.size if announced else int(said) if said is not None else None

    def _is_hub(self, address: str) -> bool:
        try:
            return answer_values.origin(urlsplit(address)) in self._hubs
        except ValueError:
            return False


def _where(request: "httpx2.Request") -> str:
    """Returns a request's URL without passwords and signatures."""
    url = request.url
    port = f":{url.port}" if url.port else ""
    return f"{url.scheme}://{url.host}{port}{url.path}"


def _problem(response: "httpx2.Response", error: Exception) -> str:
    """Describes what is wrong with the body of a response."""
    if isinstance(error, RecursionError):
        return "its JSON is nested too deeply"
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError) or "integer string" in str(
        error
    ):
        kind = response.headers.get("Content-Type", "").partition(";")[0] or "something else"
        return f"{kind} instead of JSON" if "json" not in kind else "its JSON is broken"
    return str(error)


def _refusal(request: "httpx2.Request", problem: str) -> NetworkError:
    return NetworkError(f"{_where(request)} gives an invalid response: {problem}", _HINT)
