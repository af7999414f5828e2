"""Refuses model files that leave their folder, run code, or ask for absurd sizes.

The libraries trust a model more than the user can: they follow links and import paths, and allocate
what the configuration says before they read weights.
"""

import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from embconvert.errors import SourceError
from embconvert.models.constraints import is_relative_path
from embconvert.source.weights import is_weights

_REACHES_OUT = "do not use this model; it accesses files outside its folder"
# Only weights are larger.
_MAX_OTHER_FILE_BYTES = 1 << 29
_MAX_LAYERS = 10_000
_MAX_POSITIONS = 1 << 24
_MAX_FIGURE = 1 << 53
# Every model with one of _ROWS has a matrix of that many rows and at least the smallest of
# _COLUMNS.
_ROWS = ("vocab_size", "intermediate_size", "d_ff", "hidden_dim")
_COLUMNS = (
    "hidden_size", "embedding_size", "d_model", "dim", "d_embed", "n_embd", "emb_dim",
)  # fmt: skip
# The libraries create lists of so many entries before they create modules.
_COUNTS = re.compile(r"(.*_)?(layers?|blocks?|groups?|experts?|heads?|stages?|depths?)")


def refuse_escapes(folder: Path, files: Iterable[Path], homes: Sequence[Path] = ()) -> None:
    """Raises SourceError for links that leave the model's folder, and absurdly large files.

    In the hub's cache all files are links, to the `blobs` folder. `homes` are other folders in
    which files may be.
    """
    own = [home.resolve() for home in (folder, *homes)]
    own += [
        home.parent.parent.resolve() / "blobs"
        for home in (folder, *homes)
        if home.parent.name == "snapshots"
    ]
    for file in files:
        real = file.resolve()
        if not any(real.is_relative_to(root) for root in own):
            raise SourceError(
                f"{file.name} is a link to {real}, outside the model's folder",
                "if you created the link, replace it by the file; otherwise do not use this model",
            )
        size = real.stat().st_size
        if size > _MAX_OTHER_FILE_BYTES and not is_weights(file.name):
            raise SourceError(
                f"{file.name} is {size / 1e6:.0f} MB, far more than any model needs",
                "do not use this model",
            )


def refuse_odd_names(folder: Path, files: Iterable[Path]) -> None:
    """Raises SourceError for names that no manifest can have, such as those that are not UTF-8."""
    for file in files:
        name = file.relative_to(folder).as_posix()
        if not is_relative_path(name):
            raise SourceError(
                f"the model has a file whose name other systems do not allow: {name}",
                "rename or remove the file",
            )


def refuse_special_files(folder: Path) -> None:
    """Raises SourceError for pipes, sockets and devices, which may block forever.

    Even files that we do not read may be opened by the libraries.
    """
    for path in folder.iterdir():
        try:
            mode = path.stat().st_mode
        except OSError:  # a dangling link, which cannot be opened
            continue
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise SourceError(f"{path.name} is not a regular file", _REACHES_OUT)


def refuse_absurd_sizes(config: Mapping[str, Any], parameters: int) -> None:
    """Raises SourceError if config.json needs more than `parameters` weights."""
    hint = "config.json is damaged, or belongs to another model; download it again"
    _refuse_absurd_counts(config, "", hint)
    columns = [n for key in _COLUMNS if isinstance(n := config.get(key), int) and n > 0]
    for key in _ROWS:
        rows = config.get(key)
        if isinstance(rows, int) and columns and rows * min(columns) > parameters:
            raise SourceError(
                f"config.json asks for a matrix of {key} {rows} x {min(columns)} numbers, but the "
                f"model's files have only {parameters} weights",
                hint,
            )


def _refuse_absurd_counts(value: Any, where: str, hint: str) -> None:
    """Raises SourceError for figures beyond those of any model, at any depth."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            _refuse_absurd_counts(item, f"{where}.{key}" if where else key, hint)
    elif isinstance(value, list):
        for item in value:
            _refuse_absurd_counts(item, where, hint)
    elif isinstance(value, int) and not isinstance(value, bool):
        name = where.rpartition(".")[2]
        limit = _MAX_FIGURE
        if _COUNTS.fullmatch(name):
            limit = _MAX_LAYERS
        elif name == "max_position_embeddings":
            limit = _MAX_POSITIONS
        if abs(value) > limit:
            # A float cannot have more than 308 digits.
            said = f"{value:.3g}" if value.bit_length() < 1000 else "of hundreds of digits"
            raise SourceError(f"config.json asks for {where} {said}; the limit is {limit}", hint)


def code_of_tokenizer(config: Mapping[str, Any]) -> str | None:
    """Returns the class of the model's own code that tokenizer_config.json names; None if none."""
    names = config.get("auto_map")
    named = names.get("AutoTokenizer") if isinstance(names, Mapping) else names
    classes = named if isinstance(named, list) else [named]
    # The second is the fast one.
    return next((name for name in reversed(classes) if isinstance(name, str) and name), None)


def refuse_foreign_code(config: Mapping[str, Any], *, is_local: bool) -> None:
    """Raises SourceError for a local model whose code is in another repository."""
    names = config.get("auto_map")
    if not is_local or not isinstance(names, Mapping):
        return
    for key, value in names.items():
        for name in value if isinstance(value, list) else [value]:
            if isinstance(name, str) and "--" in name:
                raise SourceError(
                    f"config.json: the setting auto_map.{key} refers to code in another "
                    f"repository, {name}, which is not fetched for a local folder",
                    "copy those Python files to the model's folder, and remove the repository "
                    "from the setting",
                )
