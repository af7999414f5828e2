"""Limits for the size and duration of a hub's responses."""

import time
from dataclasses import dataclass
from typing import Self

from embconvert.errors import NetworkError
from embconvert.processes.bounds import lowered

#: Minimum transfer rate of a response's body, per second.
SLOWEST_BYTES_S = 10_000
#: Everything before a response's body: headers and interim responses (1xx).
HEAD_BYTES = 1 << 18
#: The body of an error or a redirect.
EXPLANATION_BYTES = 1 << 20
#: The hub recommends fewer than 100,000 files in a repository.
LISTING_ENTRIES = 200_000


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of time and memory for a hub's responses.

    Attributes:
        patience_s: Time of a response, in addition to that of its bytes at SLOWEST_BYTES_S. A
            server could send single bytes within the read timeout forever, so the rate is limited.
        upload_timeout_s: A hub may process a commit for a while before it responds.
        api_bytes: A response of the hub's API. Listings, the longest ones, have pages of 1,000
            files.
        file_bytes: A file of unknown size. Only weights are larger, and their size is always known.
        hint_s: For a listing that only improves the hint of another error.
    """

    patience_s: float = 60
    upload_timeout_s: float = 120
    api_bytes: int = 1 << 24
    file_bytes: int = 1 << 29
    listing_pages: int = 1_000
    listing_s: float = 600
    hint_s: float = 10

    @classmethod
    def of_environment(cls) -> Self:
        """Returns the limits, which EMBCONVERT_HUB_PATIENCE_S and so on can lower.

        Raises UsageError if a variable is not a whole number.
        """
        usual = vars(cls())
        return cls(**{name: lowered(f"HUB_{name.upper()}", usual[name]) for name in usual})


SLOW_HINT = "check the network, the proxy and HF_ENDPOINT; try again, or use another mirror"


class Clock:
    """Limits the time of a response, relative to the bytes received, and some patience."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._start = time.monotonic()
        self.received = 0

    def add(self, count: int) -> None:
        """Counts received bytes; raises NetworkError if the transfer is too slow."""
        self.received += count
        elapsed = time.monotonic() - self._start
        if elapsed > self._patience_s + self.received / SLOWEST_BYTES_S:
            raise NetworkError(
                f"the hub responds too slowly: {self.received} bytes in {elapsed:.0f} s; the "
                f"limit is {self._patience_s:.0f} s plus 1 s per {SLOWEST_BYTES_S} bytes",
                SLOW_HINT,
            )
