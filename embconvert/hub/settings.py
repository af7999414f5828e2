"""The user's own settings for the way to the hub: variables that huggingface_hub reads."""

import os
import re
import stat
from pathlib import Path
from urllib.request import getproxies

from embconvert.errors import UsageError
from embconvert.hub.answers import address

_PROXIES = {"http": "HTTP_PROXY", "https": "HTTPS_PROXY", "all": "ALL_PROXY"}
_MAX_TOKEN_FILE_BYTES = 1 << 16


def check_settings() -> None:
    """Checks the variables that name the hub and the way there; their values are secrets.

    Raises:
        UsageError: One cannot be used.
    """
    _check_endpoint()
    try:
        from huggingface_hub import constants
    except ValueError as error:
        # It reads HF_HUB_ETAG_TIMEOUT and others as numbers when it is imported.
        raise UsageError(
            "a variable that sets a number for huggingface_hub is none: HF_HUB_ETAG_TIMEOUT, "
            "HF_HUB_DOWNLOAD_TIMEOUT or another one named HF_HUB_...",
            "set it to a number of seconds, or unset it",
        ) from error
    if min(constants.HF_HUB_ETAG_TIMEOUT, constants.HF_HUB_DOWNLOAD_TIMEOUT) <= 0:
        raise UsageError(
            "HF_HUB_ETAG_TIMEOUT or HF_HUB_DOWNLOAD_TIMEOUT is below zero",
            "set it to a number of seconds, or unset it",
        )
    _check_proxies()


def _check_endpoint() -> None:
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        parts = address(re.sub("://[^/@]*@", "://", endpoint))  # a mirror may want a password
        if parts.query or parts.fragment:
            raise ValueError
    except ValueError:
        raise UsageError(
            "HF_ENDPOINT is not an address that requests can be sent to",
            "set it to one such as https://huggingface.co, or unset it",
        ) from None


def _check_proxies() -> None:
    proxies = getproxies()
    for kind, name in _PROXIES.items():
        value = proxies.get(kind)
        if not value:
            continue
        # A proxy may want a password, with any characters; one without a scheme is an HTTP proxy.
        proxy = re.sub("://[^/]*@", "://", value if "://" in value else f"http://{value}")
        try:
            address(proxy)
        except ValueError:
            raise UsageError(
                f"{name} is not the address of an HTTP proxy",
                "set it to one such as http://proxy.example.com:3128, or unset it",
            ) from None
    # What is left are NO_PROXY, passwords of proxies, and certificates.
    import httpx2

    try:
        httpx2.Client().close()
    except (httpx2.InvalidURL, ValueError, TypeError) as error:
        raise UsageError(
            "the proxy variables cannot be used: NO_PROXY, HTTP_PROXY, HTTPS_PROXY or ALL_PROXY "
            "is malformed",
            "NO_PROXY is a list of hosts, separated by commas; encode a proxy's password for URLs",
        ) from error
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(
            f"the certificates in SSL_CERT_FILE or SSL_CERT_DIR cannot be used: {error.strerror}",
            "set it to a readable file of certificates, or unset it",
        ) from error


def check_token() -> bool:
    """Returns whether there is a token.

    Raises:
        UsageError: It could not be sent.
    """
    import huggingface_hub
    from huggingface_hub import constants

    path = Path(constants.HF_TOKEN_PATH)
    try:
        # The variable comes before the file.
        if not os.environ.get("HF_TOKEN") and path.exists():
            status = path.stat()
            if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_TOKEN_FILE_BYTES:
                raise ValueError  # a pipe, perhaps, where the library would wait
        token = huggingface_hub.get_token()
    except (OSError, ValueError):
        raise UsageError(
            f"the file with the token, {path}, cannot be read",
            "log in again with `hf auth login`, or set HF_TOKEN",
        ) from None
    # What a header can't hold would be quoted in an error, and the token with it.
    if token is not None and not re.fullmatch(r"[!-~]{1,4096}", token):
        raise UsageError(
            "HF_TOKEN is no token: it has characters that no token has",
            "copy it again from the hub's settings",
        )
    return token is not None
