"""The programs that compute embeddings, and what each demands, as one table.

A program is one entry, in `libraries.py` or `engines.py`. `docs/reference/consumers.md` is made of
them.
"""

from embconvert.manifest.consumers.engines import ENGINES
from embconvert.manifest.consumers.libraries import LIBRARIES
from embconvert.manifest.consumers.records import POOLED, Consumer, Evidence, Run
from embconvert.models.choices import Layout
from embconvert.models.kinds import KINDS, Kind

__all__ = ["CONSUMERS", "POOLED", "Consumer", "Evidence", "Run", "consumer_of"]

CONSUMERS: tuple[Consumer, ...] = (*LIBRARIES, *ENGINES)


def consumer_of(layout: Layout, kind: Kind = Kind.EMBEDDING) -> Consumer:
    """Returns the program for which a layout's graphs are checked: the first that uses the kind."""
    given = {value.name for value in KINDS[kind].values if value.per_token}
    return next(
        consumer
        for consumer in CONSUMERS
        if consumer.layout is layout and (consumer.takes is None or consumer.takes in given)
    )
