"""Architectures whose graph would be right for one length of text only."""

from collections.abc import Mapping

from embconvert.errors import UnsupportedModelError

#: Why, by transformers' name; without those that export/recurrences.py and counted_tokens.py help,
#: or source/short_texts.py.
_REASONS: Mapping[str, str] = {
    "reformer": "its attention sorts tokens into buckets by random numbers, which differ from call "
    "to call, so that an exported ONNX graph has nothing to be equal to",
}


def refuse_untraceable(model_type: str) -> None:
    """Raises UnsupportedModelError for an architecture that would fail after minutes."""
    reason = _REASONS.get(model_type)
    if reason is not None:
        raise UnsupportedModelError(
            f"{model_type} cannot be converted: {reason}",
            "choose a model of another architecture; embconvert's docs/architectures.md lists them",
        )
