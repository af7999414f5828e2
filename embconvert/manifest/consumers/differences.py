"""How a program's vectors differ from the source's, as far as only the loaded source tells."""

from collections.abc import Iterator

from embconvert.manifest.consumers.records import POOLED, Consumer
from embconvert.manifest.sources import SourceRecord


def differences(consumer: Consumer, source: SourceRecord) -> Iterator[str]:
    """Yields a sentence for each difference, for the user."""
    others = set(source.modules) - POOLED
    others |= set(source.pooling) - set(consumer.pools)
    others |= set() if source.prompts.pooled else {"without prompts"}
    if consumer.pools and others:
        yield (
            f"{consumer.name} pools output 0 itself, by {' or '.join(consumer.pools)}; this "
            f"model does not ({', '.join(sorted(others))}), so its embeddings there differ"
        )
    if consumer.normalizes is False and "Normalize" in source.modules:
        yield (
            f"{consumer.name} does not normalize: compare its embeddings by cosine, not by dot "
            "product"
        )
    late = source.model.late_interaction
    if late is None or not consumer.fills_queries:
        return
    if late.expansion is None:
        yield (
            f"{consumer.name} fills short queries, which this model does not: set "
            "<attend-to-expansion-tokens>false</attend-to-expansion-tokens>, so that the tokens "
            "that fill them are not scored"
        )
    elif late.expansion.attend:
        yield (
            f"{consumer.name} never attends to the tokens that fill a query, as this model does, "
            "so the vectors of queries there differ"
        )
