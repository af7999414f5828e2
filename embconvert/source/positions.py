"""How many tokens a model has positions for, measured: configurations do not tell it.

A table of 514 positions holds 512 tokens in xlm-roberta, which numbers them from 2, another
architecture numbers them from 0 or from anywhere. So one short text goes through the model, and
what is looked up in its tables tells where the numbering starts.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from embconvert.errors import UnsupportedModelError
from embconvert.models.architectures import text_settings

if TYPE_CHECKING:
    import torch

#: Values of `position_embedding_type` that transformers 4 knew for bert and its kin.
_RELATIVE = ("relative_key", "relative_key_query")
# Enough to tell positions from anything else, and few enough for any model.
_FEW_TOKENS = 4
#: Architectures that make biases of attention for a number of places: the setting that says it,
#: and what transformers takes where it is missing (MptConfig, 5.24).
_BIASES = {"mpt": ("max_seq_len", 2048)}


def refuse_relative_positions(config: Mapping[str, Any]) -> None:
    """Refuses a config.json that asks for positions which transformers no longer computes.

    transformers 5 adds absolute positions whatever it says: the vectors are others than those that
    the model was trained for. A model's own code may know them.

    Raises:
        UnsupportedModelError: It does.
    """
    asked = text_settings(config).get("position_embedding_type")
    if asked not in _RELATIVE or config.get("auto_map"):
        return
    raise UnsupportedModelError(
        f"config.json asks for relative positions (position_embedding_type {asked}), which "
        "transformers computes up to version 4: version 5 gives other vectors",
        "use a model with absolute positions, or another architecture with relative ones, such as "
        "deberta-v2 or mpnet",
    )


def positions_of(
    module: "torch.nn.Module", features: "Mapping[str, torch.Tensor]", words: "torch.Tensor | None"
) -> int | None:
    """Returns how many tokens a text may have; None when no table limits it.

    Args:
        module: From inputs, in the order of the features, to anything.
        features: Of a batch of texts, (texts, tokens) each, with `input_ids`, `attention_mask`.
        words: The table of token embeddings, which is one of no positions.
    """
    tables = _tables(module, words)
    if not tables:  # as in most decoders, whose positions are angles: no need to read all weights
        return None
    tokens = min(int(features["attention_mask"][-1].sum()), _FEW_TOKENS)
    inputs = one_token_again(features, tokens)
    return usable_positions(lambda: module(*inputs), tables, tokens=tokens)


def positions_of_biases(config: Mapping[str, Any]) -> int | None:
    """Returns how many tokens a text may have by a config.json; None when nothing limits it."""
    setting = _BIASES.get(str(config.get("model_type")))
    if setting is None:
        return None
    places = config.get(*setting)
    return places if type(places) is int and places > 0 else None


def one_token_again(features: "Mapping[str, torch.Tensor]", tokens: int) -> "list[torch.Tensor]":
    """Returns the inputs, (1, tokens) each, of a text that repeats a token of the last one."""
    import torch

    real = features["attention_mask"][-1].bool()
    each = (values[-1][real] for values in features.values())
    middles = [values[len(values) // 2] for values in each]
    return [torch.full((1, tokens), int(value), device=value.device) for value in middles]


def _tables(module: "torch.nn.Module", words: "torch.Tensor | None") -> "list[torch.Tensor]":
    """Returns the tables that may be of positions: no matrices of products, no words."""
    import torch

    return [
        table
        for part in module.modules()
        if not isinstance(part, torch.nn.Linear)
        for table in (*part.parameters(recurse=False), *part.buffers(recurse=False))
        if table.dim() == 2 and table.shape[0] > 1 and table is not words
    ]


def usable_positions(
    run: Callable[[], object], tables: "Iterable[torch.Tensor]", *, tokens: int
) -> int | None:
    """Returns how many tokens a text may have; None when no table limits it.

    Args:
        run: Runs the model on one text that repeats a single token, without padding: then nothing
            but its position tells a token from the one before.
        tables: The weights and buffers that may be tables of positions. Caches that grow with the
            text, such as rotations, are not among them.
        tokens: How many the text has.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    known = {id(table): table for table in tables}  # kept, so that no id is given again
    limits: list[int] = []

    class TableReads(TorchDispatchMode):  # type: ignore[misc]
        """Records which rows of which tables are read."""

        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            """Keeps torch from importing its compiler, half a second, to leave this method out."""
            return False

        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            del types
            table, rows = _look_up(func, args)
            if table is not None and rows is not None and id(table) in known:
                limit = _limit(rows, table.shape[0], tokens)
                limits.extend(() if limit is None else (limit,))
            return func(*args, **(kwargs or {}))

    with torch.no_grad(), TableReads():
        run()
    return min(limits, default=None)


def _look_up(func: Any, args: Any) -> "tuple[torch.Tensor | None, torch.Tensor | None]":
    """Returns a table and which of its rows an operator takes."""
    import torch

    aten = torch.ops.aten
    if func is aten.embedding.default:
        return args[0], args[1]
    if func is aten.index_select.default and args[1] == 0:
        return args[0], args[2]
    if func is aten.index.Tensor and len(args[1]) == 1:
        return args[0], args[1][0]
    return None, None


def _limit(rows: "torch.Tensor", size: int, tokens: int) -> int | None:
    """Returns how many tokens a table of a size holds, from the rows that a few tokens took.

    Rows are (..., tokens or more): those of each token, and of what a model fills a text up with
    itself, as longformer does; or (..., tokens, tokens): those of each distance. None where they
    are no positions: they don't go up by one from token to token.
    """
    if rows.dim() == 0 or rows.dtype.is_floating_point or tokens < 2 or rows.shape[-1] < tokens:
        return None
    if rows.shape[-2:] == (tokens, tokens):
        # As bert's `relative_key` has it: the same distances up and down from the middle.
        middle = int(rows.flatten()[0])
        places = rows.new_tensor(range(tokens))
        distances = places[:, None] - places
        if bool((rows == middle + distances).all()) or bool((rows == middle - distances).all()):
            return min(size - middle, middle + 1)
    first = rows[..., :tokens]
    if not bool((first[..., 1:] - first[..., :-1] == 1).all()):
        return None
    return size - int(first.min())
