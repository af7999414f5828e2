"""How much and how slowly a hub may answer."""

import time

from embconvert.errors import NetworkError

#: An answer may take this long, and longer by what has arrived of it at SLOWEST_BYTES_S. Each byte
#: by itself may come within the read timeout and the whole never, so the rate is what counts.
PATIENCE_S = 60.0
SLOWEST_BYTES_S = 10_000
#: Everything before an answer's body: the headers, and the interim answers (1xx) before them.
HEAD_BYTES = 1 << 18
#: An answer of the hub's API. Listings, the longest ones, have pages of 1,000 files.
API_BYTES = 1 << 24
#: What explains an error or a redirect.
EXPLANATION_BYTES = 1 << 20
#: A file whose size was not announced. Only weights are larger, and theirs always is.
FILE_BYTES = 1 << 29
#: A listing: the hub asks people to have fewer than 100,000 files in a repository.
LISTING_PAGES = 1_000
LISTING_ENTRIES = 200_000
LISTING_S = 600.0
#: A listing that would only improve another error's hint.
HINT_S = 10.0
#: A hub may work on a commit for a while before it says anything.
UPLOAD_TIMEOUT_S = 120.0

SLOW_HINT = "check the network, the proxy and HF_ENDPOINT; try again, or use another mirror"


class Clock:
    """The time that an answer takes, in relation to what has arrived of it.

    Args:
        patience_s: What it may take besides its size.

    Attributes:
        received: Bytes of it.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._start = time.monotonic()
        self.received = 0

    def add(self, count: int) -> None:
        """Notes that so many bytes arrived.

        Raises:
            NetworkError: They came too slowly.
        """
        self.received += count
        elapsed = time.monotonic() - self._start
        if elapsed > self._patience_s + self.received / SLOWEST_BYTES_S:
            raise NetworkError(
                f"the hub answers too slowly: {self.received} bytes in {elapsed:.0f} s, and the "
                f"limit is {self._patience_s:.0f} s and {SLOWEST_BYTES_S} bytes a second",
                SLOW_HINT,
            )
