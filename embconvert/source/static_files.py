"""The files of static embeddings: a table of vectors or weights by token, and no transformer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embconvert.errors import SourceError
from embconvert.json_files import read_json
from embconvert.models.architectures import Architecture
from embconvert.models.values import TOKEN_WEIGHTS, StaticFormat
from embconvert.source.settings.module_list import STATIC, ModuleEntry
from embconvert.source.weights import WEIGHT_NAMES, tensor_shapes, weight_files

#: Names in the weights file; `weights` and `mapping` are model2vec's, and may be missing.
TABLES = ("embedding.weight", "embeddings")
WEIGHTS, MAPPING = "weights", "mapping"
#: The name of one weight per token.
TOKEN_WEIGHT = "weight"

# sentence-transformers makes one row per token of a table with fewer rows.
_MAX_NUMBERS = 1 << 32
#: Tokens after which model2vec cuts texts if config.json does not say.
_DEFAULT_LENGTH = 512


def static_format(folder: Path, root: Path, modules: Sequence[ModuleEntry]) -> StaticFormat | None:
    """Returns the format of static embeddings; None for a model with a transformer.

    A folder of model2vec also has modules.json, with which sentence-transformers reads texts a
    little differently: the model's own library is the one that counts.
    """
    if modules and modules[0].name == TOKEN_WEIGHTS:
        return StaticFormat.TOKEN_WEIGHTS
    if modules and modules[0].name != STATIC:
        return None
    config = folder / "config.json"
    said = read_json(config).get("model_type") if root == folder and config.is_file() else None
    if said == StaticFormat.MODEL2VEC:
        return StaticFormat.MODEL2VEC
    return StaticFormat.SENTENCE_TRANSFORMERS if modules else None


def static_architecture(static: StaticFormat, root: Path) -> Architecture:
    """Returns the figures of a table; raises SourceError if it is not one of static embeddings."""
    shapes = _shapes(root)
    if static is StaticFormat.TOKEN_WEIGHTS:
        if shapes and len(shapes.get(TOKEN_WEIGHT, ())) != 1:
            raise _refused("has no list of one weight per token")
        return Architecture(model_type=TOKEN_WEIGHTS)
    if static is StaticFormat.MODEL2VEC and TABLES[1] not in shapes:
        raise _refused(f"has no tensor {TABLES[1]!r}, which model2vec has")
    table = next((shapes[name] for name in TABLES if name in shapes), ())
    if shapes:  # otherwise a pickle, which sentence-transformers checks
        _check(shapes, table, static)
    name = str(static) if static is StaticFormat.MODEL2VEC else STATIC
    return Architecture(model_type=name, hidden_size=table[1] if table else None)


def _check(
    shapes: Mapping[str, tuple[int, ...]], table: tuple[int, ...], static: StaticFormat
) -> None:
    if len(table) != 2 or not all(table):
        raise _refused("has no table of vectors")
    rows = shapes.get(MAPPING, table[:1])
    if len(rows) != 1 or (WEIGHTS in shapes and shapes[WEIGHTS] != rows):
        raise _refused(f"has {MAPPING!r} or {WEIGHTS!r} that do not fit its table")
    if static is StaticFormat.SENTENCE_TRANSFORMERS and rows[0] * table[1] > _MAX_NUMBERS:
        raise _refused(f"has a {MAPPING!r} that makes a table of {rows[0]} x {table[1]} numbers")


def static_max_length(static: StaticFormat, config: Mapping[str, Any]) -> int | None:
    """Returns after how many tokens texts are cut; None if they are not, or tokenizer.json says.

    Source: model2vec.model._loading_helper (0.10).
    """
    if static is not StaticFormat.MODEL2VEC:
        return None
    length: int | None = config.get("max_length", _DEFAULT_LENGTH)
    return length


def table_rows(root: Path) -> int | None:
    """Returns how many tokens have a vector or a weight; None if they are not in safetensors."""
    shapes = _shapes(root)
    sizes = [shapes[name][0] for name in (MAPPING, *TABLES, TOKEN_WEIGHT) if name in shapes]
    return sizes[0] if sizes else None


def _shapes(root: Path) -> Mapping[str, tuple[int, ...]]:
    weights = weight_files(root)[0]
    return tensor_shapes(weights) if weights.name == WEIGHT_NAMES[0][0] else {}


def _refused(what: str) -> SourceError:
    return SourceError(
        f"{WEIGHT_NAMES[0][0]} {what}", "the file is damaged; download the model again"
    )
