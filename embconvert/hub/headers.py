"""Validates the URLs and tokens in the headers of a hub's response."""

import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from embconvert.hub import answer_values

if TYPE_CHECKING:
    import httpx2

#: Scheme, host and port.
Origin = tuple[str, str, int]


def redirect_target(response: "httpx2.Response") -> str | None:
    """Returns the target of a redirect, or None; raises ValueError for no URL, or https to http."""
    headers = response.headers
    if "Location" not in headers:
        return None
    here = str(response.request.url)
    try:
        parts = answer_values.address(headers["Location"], base=here)
    except ValueError as error:
        raise ValueError(f"Location: {error}") from None
    if here.startswith("https:") and parts.scheme != "https":
        raise ValueError(f"Location: redirects from https to http, at {parts.hostname}")
    return normalized(parts.geturl())


def check_links(headers: "httpx2.Headers", hubs: Collection[Origin]) -> None:
    """Raises ValueError for a Link header whose URLs, which the library follows, are of no hub."""
    import httpx2

    if "Link" not in headers:
        return
    links = httpx2.Response(200, headers={"Link": headers["Link"]}).links
    for relation in ("next", "xet-auth"):
        if relation in links:
            _check_hub_address(links[relation].get("url"), f"Link, {relation}", hubs)


def check_xet(headers: "httpx2.Headers", hubs: Collection[Origin], *, needs_https: bool) -> None:
    """Raises ValueError for the headers of xet transfers, if invalid, or not https if needed."""
    if "X-Xet-Hash" in headers:
        answer_values.xet_hash(headers["X-Xet-Hash"], "X-Xet-Hash")
    if "X-Xet-Refresh-Route" in headers:
        _check_hub_address(headers["X-Xet-Refresh-Route"], "X-Xet-Refresh-Route", hubs)
    if "X-Xet-Cas-Url" in headers:
        try:
            parts = answer_values.address(headers["X-Xet-Cas-Url"])
        except ValueError as error:
            raise ValueError(f"X-Xet-Cas-Url: {error}") from None
        if needs_https and parts.scheme != "https":
            raise ValueError("X-Xet-Cas-Url: not an https URL")
    if "X-Xet-Token-Expiration" in headers:
        answer_values.byte_count(headers["X-Xet-Token-Expiration"], "X-Xet-Token-Expiration")
    if not re.fullmatch("[!-~]*", headers.get("X-Xet-Access-Token", "")):
        raise ValueError("X-Xet-Access-Token: not a token")


def _check_hub_address(text: object, name: str, hubs: Collection[Origin]) -> None:
    try:
        parts = answer_values.address(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if answer_values.origin(parts) not in hubs:
        raise ValueError(f"{name}: at {parts.hostname}, which is not the hub")


def normalized(address: str) -> str:
    """Returns a URL as the HTTP library writes it in a request."""
    import httpx2

    try:
        return str(httpx2.URL(address))
    except httpx2.InvalidURL as error:
        raise ValueError("not a URL") from error
