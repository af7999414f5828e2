"""Validates the environment variables of huggingface_hub."""

import os
import re
import stat
from pathlib import Path
from urllib.request import getproxies

from embconvert.errors import UsageError
from embconvert.hub.answer_values import address

_PROXIES = {"http": "HTTP_PROXY", "https": "HTTPS_PROXY", "all": "ALL_PROXY"}
_MAX_TOKEN_FILE_BYTES = 1 << 16


def check_environment() -> None:
    """Raises UsageError for invalid variables for the hub and proxies, without their values."""
    _check_endpoint()
    try:
        from huggingface_hub import constants
    except ValueError as error:
        # Importing it parses HF_HUB_ETAG_TIMEOUT and others as numbers.
        raise UsageError(
            "a variable of huggingface_hub is not a number: HF_HUB_ETAG_TIMEOUT, "
            "HF_HUB_DOWNLOAD_TIMEOUT or another HF_HUB_... variable",
            "set it to a number of seconds, or unset it",
        ) from error
    for name in ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"):
        seconds = getattr(constants, name)
        if seconds <= 0:
            raise UsageError(
                f"{name} is {seconds}, not above zero", "set it to a number of seconds, or unset it"
            )
    _check_proxies()


def _check_endpoint() -> None:
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        parts = address(re.sub("://[^/@]*@", "://", endpoint))  # a mirror may require a password
        if parts.query or parts.fragment:
            raise ValueError
    except ValueError:
        raise UsageError(
            "HF_ENDPOINT is not a valid URL",
            "set it to a URL such as https://huggingface.co, or unset it",
        ) from None


def _check_proxies() -> None:
    proxies = getproxies()
    for kind, name in _PROXIES.items():
        value = proxies.get(kind)
        if not value:
            continue
        # A proxy may require a password, with any characters; without a scheme, it is an HTTP
        # proxy.
        proxy = re.sub("://[^/]*@", "://", value if "://" in value else f"http://{value}")
        try:
            address(proxy)
        except ValueError:
            raise UsageError(
                f"{name} is not the URL of an HTTP proxy",
                "set it to a URL such as http://proxy.example.com:3128, or unset it",
            ) from None
    # This validates NO_PROXY, passwords of proxies, and certificates.
    import httpx2

    try:
        httpx2.Client().close()
    except (httpx2.InvalidURL, ValueError, TypeError) as error:
        raise UsageError(
            "one of the proxy variables NO_PROXY, HTTP_PROXY, HTTPS_PROXY and ALL_PROXY is "
            "malformed",
            "NO_PROXY is a comma-separated list of hosts; percent-encode the proxy's password",
        ) from error
    except OSError as error:  # includes ssl.SSLError
        raise UsageError(
            f"the certificates in SSL_CERT_FILE or SSL_CERT_DIR cannot be used: {error.strerror}",
            "set it to a readable certificate file, or unset it",
        ) from error


def check_token() -> bool:
    """Returns whether there is a token; raises UsageError for a malformed one."""
    import huggingface_hub
    from huggingface_hub import constants

    path = Path(constants.HF_TOKEN_PATH)
    try:
        # The variable overrides the file.
        if not os.environ.get("HF_TOKEN") and path.exists():
            status = path.stat()
            if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_TOKEN_FILE_BYTES:
                raise ValueError  # for example a pipe, for which the library would wait
        token = huggingface_hub.get_token()
    except (OSError, ValueError):
        raise UsageError(
            f"the token file {path} cannot be read",
            "log in again with `hf auth login`, or set HF_TOKEN",
        ) from None
    # An invalid header would cause an error that contains the token.
    if token is not None and not re.fullmatch(r"[!-~]{1,4096}", token):
        raise UsageError(
            "HF_TOKEN is not a token: it has invalid characters",
            "copy it again from the hub's settings",
        )
    return token is not None
