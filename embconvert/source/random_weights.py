"""Refuses models in which a library finds none of their weights."""

from collections.abc import Iterable, Set
from typing import Any

from embconvert.errors import UnsupportedModelError


def refuse_random(model: Any, made_up: Set[str], stored: Iterable[str] = ()) -> None:
    """Refuses a model of which the files have no weight by the name that transformers looks for.

    sentence-transformers 6.2 takes only the encoder of some encoder-decoders, such as MarianMT and
    M2M100, whose weights have other names in the files of the whole model: its vectors are random.
    Of ProphetNet it finds the embeddings of tokens, but no layer.

    `stored` are the names in the files, which may begin with what the trainer's wrapper was called.
    """
    names = {name for name, _ in model.named_parameters()} if model is not None else set()
    # An encoder and its decoder may share these, under a name that both find.
    layers = names - _token_embeddings(model)
    if not names or not (layers or names) <= made_up:
        return
    found = "none of its weights"
    if not names <= made_up:
        found += " except the embeddings of tokens"
    is_half = getattr(model.config, "is_encoder_decoder", False)
    prefix = next(filter(None, (_prefix(name, names) for name in stored)), None)
    if prefix is not None and not is_half:
        raise UnsupportedModelError(
            f"sentence-transformers finds {found} in the model's files, where their names begin "
            f"with {prefix[:100]!r}: its own vectors are random",
            f"remove {prefix[:100]!r} from the names of the weights in a copy of the model",
        )
    raise UnsupportedModelError(
        f"sentence-transformers loads this model as {type(model).__name__}, and finds {found} in "
        "the model's files: its own vectors are random",
        "save the encoder alone with AutoModel.from_pretrained(MODEL).get_encoder()"
        ".save_pretrained(FOLDER), add the tokenizer's files, and convert FOLDER"
        if is_half
        else "download the model again, or fix the architecture in config.json",
    )


def _prefix(stored: str, names: Set[str]) -> str | None:
    """Returns what is before one of the names in a stored one; None if it has none of them."""
    parts = stored.split(".")
    ends = (".".join(parts[place:]) for place in range(1, len(parts)))
    end = next((end for end in ends if end in names), None)
    return None if end is None else stored.removesuffix(end)


def _token_embeddings(model: Any) -> set[str]:
    """Returns the names of a model's input embeddings."""
    try:
        table = model.get_input_embeddings().weight
    except (AttributeError, NotImplementedError):
        return set()
    return {name for name, weight in model.named_parameters() if weight is table}
