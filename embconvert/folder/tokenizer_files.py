"""The published files of the tokenizer: they do to a text what the source's library does to it."""

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from embconvert.errors import UnsupportedModelError
from embconvert.folder.tokenizer_json import TOKENIZER_FILE, corrected
from embconvert.json_files import read_any_json, read_json, write_json
from embconvert.models.corrections import Correction
from embconvert.models.values import ResolvedModel
from embconvert.source.reading import CUTS_NOTHING, UNLIMITED
from embconvert.source.settings.files import TRANSFORMER_FILES
from embconvert.source.settings.module_list import parse_modules

if TYPE_CHECKING:
    from embconvert.source.torch_model import SourceModel

_TOKENIZER, _CONFIG = TOKENIZER_FILE, "tokenizer_config.json"
# What sentence-transformers hands on to AutoProcessor, in the settings of its Transformer module.
_ARGUMENTS = ("tokenizer_args", "processor_kwargs", "processor_args")
# What transformers itself writes for "unlimited".
_WRITTEN_UNLIMITED = int(1e30)


def publish_tokenizer(
    source: "SourceModel", resolved: ResolvedModel, folder: Path
) -> tuple[Correction, ...]:
    """Writes the tokenizer's files so that a program which has nothing else reads texts right.

    Args:
        folder: Holds copies of them.

    Returns:
        What in the source's files was corrected, and what these files cannot say.

    Raises:
        UnsupportedModelError: There is no tokenizer.json, and none can be made.
    """
    place = _place_of_transformer(folder)
    its_place = resolved.routed.place if resolved.routed else place
    theirs = resolved.path((PurePosixPath(its_place) / _TOKENIZER).as_posix())
    text = theirs.read_text(encoding="utf-8") if theirs.is_file() else None
    used = _used(source, text)
    content, contradictions = corrected(
        text, used, adds_special_tokens=source.reading.adds_special_tokens
    )
    said = list(contradictions)
    for where in dict.fromkeys((folder, folder / place)):
        if where == folder or (where / _TOKENIZER).exists():
            (where / _TOKENIZER).write_text(content, encoding="utf-8")
        if (where / _CONFIG).exists():
            _change_config(where / _CONFIG, source, used)
    said += _differing_lengths(theirs.parent, source.max_seq_length)
    for path in (folder / place / name for name in TRANSFORMER_FILES):
        if path.exists() and source.max_seq_length is not None:
            _change_length(path, source.max_seq_length)
    if source.tokenizer.split_special_tokens:
        said.append(
            Correction(
                file=_TOKENIZER,
                setting="split_special_tokens",
                source="programs that go by it alone read them as special tokens",
                library="reads the words of special tokens as text",
                is_corrected=False,
            )
        )
    return tuple(said)


def _place_of_transformer(folder: Path) -> str:
    """Returns the path of the transformer's files in a model's folder."""
    if not (folder / "modules.json").exists():
        return ""
    return parse_modules(read_any_json(folder / "modules.json"))[0].path


def _used(source: "SourceModel", text: str | None) -> Any:
    """Returns the source's tokenizers.Tokenizer; raises UnsupportedModelError without one."""
    from tokenizers import Tokenizer

    backend = source.reading.backend()
    if backend is not None:
        return backend
    if text is None:
        raise UnsupportedModelError(
            f"the tokenizer ({type(source.tokenizer).__name__}) cannot be saved as tokenizer.json, "
            "which every consumer reads",
            "save a fast version of the tokenizer with the model",
        )
    # Whether it gives the same tokens is found out when it is verified.
    made = Tokenizer.from_str(text)
    made.no_truncation()
    if source.max_seq_length is not None:
        side = source.tokenizer.truncation_side
        made.enable_truncation(source.max_seq_length, direction=side)
    made.enable_padding(
        direction=source.tokenizer.padding_side,
        pad_id=source.tokenizer.pad_token_id,
        pad_token=source.tokenizer.pad_token,
        pad_type_id=source.tokenizer.pad_token_type_id,
    )
    return made


def _change_config(path: Path, source: "SourceModel", used: Any) -> None:
    """Changes tokenizer_config.json where it says otherwise."""
    value = read_json(path)
    wanted: dict[str, Any] = {}
    if source.max_seq_length is not None:
        wanted["model_max_length"] = source.max_seq_length
    elif isinstance(named := value.get("model_max_length"), int | float) and named < UNLIMITED:
        wanted["model_max_length"] = _WRITTEN_UNLIMITED
    for key, part in (("padding_side", used.padding), ("truncation_side", used.truncation)):
        if part is not None and part["direction"] != value.get(key, "right"):
            wanted[key] = part["direction"]
    if value.get("pad_token") is None and source.tokenizer.pad_token is not None:
        wanted["pad_token"] = source.tokenizer.pad_token
    changed = readable_by_transformers_4({**value, **wanted})
    if changed != value:
        write_json(path, changed)


def readable_by_transformers_4(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns tokenizer_config.json in the words that transformers 4 and 5 both read.

    sentence-transformers' ONNX backend and Optimum need transformers 4, which fails on a class and
    a list that 5 writes; 5 reads the names of 4 alike.
    """
    changed = dict(config)
    if changed.get("tokenizer_class") == "TokenizersBackend":
        changed["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(changed.get("extra_special_tokens"), list):
        tokens = changed.pop("extra_special_tokens")
        changed.setdefault("additional_special_tokens", tokens)
    return changed


def _change_length(path: Path, length: int) -> None:
    """Makes the settings of sentence-transformers' Transformer module cut texts after a length."""
    value = read_json(path)
    before = str(value)
    if value.get("max_seq_length") is not None:
        value["max_seq_length"] = length
    for name in _ARGUMENTS:
        if value.get(name, {}).get("model_max_length") is not None:
            value[name]["model_max_length"] = length
    for name in ("text", "common"):
        call = (value.get("processing_kwargs") or {}).get(name) or {}
        if call.get("max_length") is not None:
            call["max_length"] = length
        if call.get("truncation") in CUTS_NOTHING:  # but its positions end there
            call["truncation"] = True
    if str(value) != before:
        write_json(path, value)


def _differing_lengths(folder: Path, length: int | None) -> Iterator[Correction]:
    """Yields what the source's files say of the length that is not so."""
    named = [(_CONFIG, "model_max_length"), *((n, "max_seq_length") for n in TRANSFORMER_FILES)]
    for file, key in named:
        said = read_json(folder / file).get(key) if (folder / file).is_file() else None
        if isinstance(said, int | float) and said != length and said < UNLIMITED:
            yield Correction(
                file=file,
                setting=key,
                source=f"allows {int(said)} tokens ({key})",
                library=(
                    "truncates no text" if length is None else f"truncates texts to {length} tokens"
                ),
            )
