"""The files that consumers of a published folder read and some sources lack.

Some programs read only `tokenizer.json`, `special_tokens_map.json` and the module files, which
older or plainer sources don't have.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from embconvert.errors import UnsupportedModelError

if TYPE_CHECKING:
    from embconvert.source_model import SourceModel


def save_tokenizer(source: "SourceModel", folder: Path) -> None:
    """Writes tokenizer.json as transformers uses it, over what is there.

    Args:
        source: The model.
        folder: Where to.

    Raises:
        UnsupportedModelError: It is no fast tokenizer.
    """
    tokenizer = source.tokenizer
    if not getattr(tokenizer, "is_fast", False):
        raise UnsupportedModelError(
            "the tokenizer cannot be saved as tokenizer.json, which every consumer reads",
            "save a fast version of the tokenizer with the model",
        )
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))


def save_missing_files(source: "SourceModel", folder: Path) -> None:
    """Writes what consumers need and the source lacks.

    Args:
        source: The model.
        folder: Holds the copied files of the source; none of them is overwritten.
    """
    tokenizer = source.tokenizer
    if not (folder / "tokenizer.json").exists():
        save_tokenizer(source, folder)
    special = {
        name: token if isinstance(token, str) else [str(t) for t in token]
        for name, token in tokenizer.special_tokens_map.items()
    }
    _write_if_missing(folder / "special_tokens_map.json", special)
    _write_if_missing(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", **special}
        | {"model_max_length": source.max_seq_length, "padding_side": tokenizer.padding_side},
    )
    _save_modules(source, folder)


def _save_modules(source: "SourceModel", folder: Path) -> None:
    modes = source.pooling
    if not modes:
        return
    pooling_config = {
        "word_embedding_dimension": source.dimension,
        # The keys that sentence-transformers wrote before 6, and that servers read.
        "pooling_mode_cls_token": "cls" in modes,
        "pooling_mode_mean_tokens": "mean" in modes,
        "pooling_mode_max_tokens": "max" in modes,
        "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens" in modes,
        "pooling_mode_weightedmean_tokens": "weightedmean" in modes,
        "pooling_mode_lasttoken": "lasttoken" in modes,
        "include_prompt": True,
    }
    if not (folder / "modules.json").exists():
        prefix = "sentence_transformers.models"
        modules = [
            {"idx": 0, "name": "0", "path": "", "type": f"{prefix}.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{prefix}.Pooling"},
        ]
        (folder / "1_Pooling").mkdir()
        _write_if_missing(folder / "1_Pooling" / "config.json", pooling_config)
        _write_if_missing(
            folder / "sentence_bert_config.json",
            {"max_seq_length": source.max_seq_length, "do_lower_case": False},
        )
        _write_if_missing(folder / "modules.json", modules)


def _write_if_missing(path: Path, value: object) -> None:
    if not path.exists():
        path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
