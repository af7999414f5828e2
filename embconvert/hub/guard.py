"""Looks at every answer of a hub before huggingface_hub does; answers.py says what is allowed."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from embconvert.errors import NetworkError
from embconvert.hub import answers, limits
from embconvert.hub.limits import Clock
from embconvert.hub.wire import head_ended, limited

if TYPE_CHECKING:
    import httpx2

#: What the library or this program acts on.
_HEADERS = frozenset(
    ("content-length", "content-type", "content-range", "location", "link", "etag",
     "x-linked-etag", "x-linked-size", "x-repo-commit", "x-error-code", "x-error-message",
     "retry-after", "ratelimit", "ratelimit-policy", "x-request-id", "x-xet-hash",
     "x-xet-refresh-route", "x-xet-cas-url", "x-xet-access-token", "x-xet-token-expiration")
)  # fmt: skip
_RESOLVE = re.compile(r"/resolve/([^/]+)/(.+)")
_HINT = "check that HF_ENDPOINT is a Hugging Face hub's address, and that no proxy answers for it"
# In the extensions of a request and of those that redirects make of it.
_EXCHANGE = "embconvert"


@dataclass(frozen=True)
class _Exchange:
    """A request and its answer, over all redirects.

    Attributes:
        is_file: The body is a file, and not an answer of the API.
        clock: Of the body, and of tries to get it that broke off.
        listing: That the answer continues: pages and entries before it, and when it began.
        listing_s: What that may take.
    """

    is_file: bool
    clock: Clock
    listing: tuple[int, int, float]
    listing_s: float


@dataclass(frozen=True)
class Announced:
    """What a listing says of a file: its size in bytes, and the hash of its content."""

    size: int
    content_id: str


@dataclass
class Guard:
    """One program's dealings with a hub, over all its requests.

    Attributes:
        endpoint: The hub's address.
        patience_s: What an answer may take besides its size.
    """

    endpoint: str
    patience_s: float = limits.PATIENCE_S
    _announced: dict[tuple[str, str], Announced] = field(default_factory=dict)
    # All by address.
    _sizes: dict[str, int] = field(default_factory=dict)
    _clocks: dict[str, Clock] = field(default_factory=dict)
    _listings: dict[str, tuple[int, int, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        hubs = (self.endpoint, "https://huggingface.co", "https://hf.co")
        self._hubs = {answers.origin(urlsplit(hub)) for hub in hubs}

    def announce(self, commit: str, files: Mapping[str, Announced]) -> None:
        """Takes note of a listing; what the hub says of these files later must be the same."""
        self._announced |= {(commit, name): file for name, file in files.items()}

    def begin(
        self, request: "httpx2.Request", *, is_file: bool, listing_s: float = limits.LISTING_S
    ) -> None:
        """Takes note of a request, before any redirect.

        Args:
            request: Not sent yet.
            is_file: Whether its body is a file, and not an answer of the API.
            listing_s: What a listing may take, all its pages together.
        """
        address = str(request.url)
        clock = Clock(self.patience_s)
        if is_file and "Range" in request.headers:
            # What resumes a body that broke off goes on with its time.
            clock = self._clocks.get(address, clock)
        if is_file:
            self._clocks[address] = clock
        request.extensions[_EXCHANGE] = _Exchange(
            is_file, clock, self._listings.get(address, (0, 0, time.monotonic())), listing_s
        )

    def check_request(self, request: "httpx2.Request") -> None:
        """Prepares a request, each of several when redirects are followed."""
        # Without compression there are no bombs, and sizes are those of files.
        request.headers["Accept-Encoding"] = "identity"
        if not self._is_hub(str(request.url)):
            # Hubs name other hosts: for content, for the next page, to verify an upload.
            request.headers.pop("Authorization", None)

    def check_response(self, response: "httpx2.Response") -> None:
        """Looks at a response before its body comes, and limits the body.

        Raises:
            NetworkError: No hub answers like that.
        """
        import httpx2

        request, status = response.request, response.status_code
        head_ended(response)
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        kept = [
            (name, answers.cleaned(text))
            for name, text in response.headers.multi_items()
            if name.lower() in _HEADERS
        ]
        try:
            # The words beside a status are the server's; those of the standard say the same.
            response.extensions["reason_phrase"] = HTTPStatus(status).phrase.encode()
            response.headers = httpx2.Headers(kept)
            if status < 200:
                raise ValueError(f"status {status}")
            if encoding != "identity":
                raise ValueError("Content-Encoding: it is compressed, which was not asked for")
            most = self._check_headers(response)
        except ValueError as error:
            raise _refusal(request, str(error)) from error
        clock = request.extensions[_EXCHANGE].clock
        # The library resumes as long as something comes, and begins anew where the hub does.
        if clock.received > 4 * self._sizes.get(str(request.url), most) + (1 << 26):
            raise NetworkError(
                f"{_where(request)} breaks off again and again: {clock.received / 1e6:.0f} MB "
                "came, four times its size",
                limits.SLOW_HINT,
            )
        response.stream = limited(response.stream, most, _where(request), clock)

    def finish(self, response: "httpx2.Response") -> "httpx2.Response":
        """Returns a response with what the library may read of it, and no more.

        Args:
            response: Not read yet. A file is not looked at here.

        Raises:
            NetworkError: No hub answers like that.
        """
        import httpx2

        request, status = response.request, response.status_code
        if request.extensions[_EXCHANGE].is_file and status < 400:
            if status not in (200, 206):
                raise _refusal(request, f"status {status} instead of a file")
            return response
        content = response.read()
        response.close()
        if request.method == "HEAD":  # its Content-Length is that of the file
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
        """Returns the known fields of a JSON answer; None for an answer that is none."""
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
        """Bounds a listing that comes in pages."""
        exchange = response.request.extensions[_EXCHANGE]
        pages, so_far, start = exchange.listing
        pages, so_far, elapsed = pages + 1, so_far + entries, time.monotonic() - start
        if (
            pages > limits.LISTING_PAGES
            or so_far > limits.LISTING_ENTRIES
            or elapsed > exchange.listing_s
        ):
            raise NetworkError(
                f"{_where(response.request)}: the listing has no end: {so_far} entries on {pages} "
                f"pages in {elapsed:.0f} s; the limits are {limits.LISTING_ENTRIES} entries, "
                f"{limits.LISTING_PAGES} pages and {exchange.listing_s:.0f} s",
                _HINT,
            )
        following = response.links.get("next", {}).get("url")
        if following is not None:
            self._listings[_normalized(following)] = (pages, so_far, start)

    def _check_headers(self, response: "httpx2.Response") -> int:
        """Returns how many bytes the body may have; raises ValueError."""
        request, headers, status = response.request, response.headers, response.status_code
        here = str(request.url)
        target = self._check_location(response) if 300 <= status < 400 else None
        self._check_links(headers)
        self._check_xet(headers)
        start = self._check_range(response)
        for name in ("Content-Length", "X-Linked-Size"):
            if name in headers:
                answers.number(headers[name], name)
        if status < 400 and not (target and self._is_hub(target)):
            size = self._check_file(response, target)
            size = self._sizes.get(here) if size is None else size
            if size is not None:
                self._sizes[here] = size
                if target:
                    self._sizes[target] = size
        if status >= 300:
            return limits.EXPLANATION_BYTES
        if not request.extensions[_EXCHANGE].is_file:
            return limits.API_BYTES
        return max(0, self._sizes.get(here, limits.FILE_BYTES) - start)

    def _check_location(self, response: "httpx2.Response") -> str | None:
        """Returns where a redirect leads, or None where there is none."""
        headers = response.headers
        if "Location" not in headers:
            return None
        here = str(response.request.url)
        try:
            parts = answers.address(headers["Location"], base=here)
        except ValueError as error:
            raise ValueError(f"Location: {error}") from None
        if here.startswith("https:") and parts.scheme != "https":
            raise ValueError(f"Location: from https to http, at {parts.hostname}")
        return _normalized(parts.geturl())

    def _check_links(self, headers: "httpx2.Headers") -> None:
        """Allows the addresses of the Link header that the library follows."""
        import httpx2

        if "Link" not in headers:
            return
        links = httpx2.Response(200, headers={"Link": headers["Link"]}).links
        for relation in ("next", "xet-auth"):
            if relation in links:
                self._hub_address(links[relation].get("url"), f"Link, {relation}")

    def _check_xet(self, headers: "httpx2.Headers") -> None:
        if "X-Xet-Hash" in headers:
            answers.xet_hash(headers["X-Xet-Hash"], "X-Xet-Hash")
        if "X-Xet-Refresh-Route" in headers:
            self._hub_address(headers["X-Xet-Refresh-Route"], "X-Xet-Refresh-Route")
        if "X-Xet-Cas-Url" in headers:
            try:
                parts = answers.address(headers["X-Xet-Cas-Url"])
            except ValueError as error:
                raise ValueError(f"X-Xet-Cas-Url: {error}") from None
            if self.endpoint.startswith("https:") and parts.scheme != "https":
                raise ValueError("X-Xet-Cas-Url: no https address")
        if "X-Xet-Token-Expiration" in headers:
            answers.number(headers["X-Xet-Token-Expiration"], "X-Xet-Token-Expiration")
        if not re.fullmatch("[!-~]*", headers.get("X-Xet-Access-Token", "")):
            raise ValueError("X-Xet-Access-Token: no token")

    def _hub_address(self, text: object, name: str) -> None:
        try:
            parts = answers.address(text)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        if answers.origin(parts) not in self._hubs:
            raise ValueError(f"{name}: at {parts.hostname}, which is another host than the hub")

    def _check_range(self, response: "httpx2.Response") -> int:
        """Returns the first byte that is sent."""
        asked = re.fullmatch(r"bytes=(\d+)-", response.request.headers.get("Range", ""))
        if response.status_code == 206:
            start, _, whole = answers.content_range(response.headers.get("Content-Range", ""))
            announced = self._sizes.get(str(response.request.url), whole)
            if not asked or int(asked[1]) != start or whole != announced:
                raise ValueError("Content-Range: another one than was asked for")
            return start
        # The library would read a size from it.
        response.headers.pop("Content-Range", None)
        return 0

    def _check_file(self, response: "httpx2.Response", target: str | None) -> int | None:
        """Looks at what is said of a file of a repository; returns its size where that is said."""
        headers = response.headers
        match = _RESOLVE.search(response.request.url.raw_path.decode("ascii").partition("?")[0])
        if match is None or not self._is_hub(str(response.request.url)):
            return None
        revision, name = unquote(match[1]), unquote(match[2])
        commit = headers.get("X-Repo-Commit")
        if commit is not None and not answers.COMMIT.fullmatch(commit):
            raise ValueError("X-Repo-Commit: no commit")
        if commit is not None and answers.COMMIT.fullmatch(revision) and commit != revision:
            raise ValueError("X-Repo-Commit: another commit than was asked for")
        announced = self._announced.get((revision, name))
        etag = headers.get("X-Linked-Etag") or headers.get("ETag")
        if response.request.method == "HEAD" and etag is not None:
            digest = answers.content_id(etag)
            if announced and digest != announced.content_id:
                raise ValueError(f"ETag: {name} has another hash in the listing")
        said = headers.get("X-Linked-Size")
        if said is None and target is None and response.status_code == 200:
            said = headers.get("Content-Length")
        if announced and said is not None and int(said) != announced.size:
            raise ValueError(f"{name} has another size than in the listing")
        return announced.size if announced else int(said) if said is not None else None

    def _is_hub(self, address: str) -> bool:
        try:
            return answers.origin(urlsplit(address)) in self._hubs
        except ValueError:
            return False


def _normalized(address: str) -> str:
    """Returns an address as the HTTP library writes it in a request."""
    import httpx2

    try:
        return str(httpx2.URL(address))
    except httpx2.InvalidURL as error:
        raise ValueError("no address") from error


def _where(request: "httpx2.Request") -> str:
    """Returns an address without what may be a password or a signature."""
    url = request.url
    port = f":{url.port}" if url.port else ""
    return f"{url.scheme}://{url.host}{port}{url.path}"


def _problem(response: "httpx2.Response", error: Exception) -> str:
    """Says what is wrong with the body of an answer."""
    if isinstance(error, RecursionError):
        return "its JSON is nested too deeply"
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError) or "integer string" in str(
        error
    ):
        kind = response.headers.get("Content-Type", "").partition(";")[0] or "something else"
        return f"{kind} instead of JSON" if "json" not in kind else "its JSON is broken"
    return str(error)


def _refusal(request: "httpx2.Request", problem: str) -> NetworkError:
    return NetworkError(f"{_where(request)} answers as no hub does: {problem}", _HINT)
