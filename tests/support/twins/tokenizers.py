"""Tiny tokenizers of the classes that real repositories have, trained on the zoo's sentences."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from support import multimodal, zoo
from support.twins.records import Tokenizer

#: transformers' number for "unlimited".
UNLIMITED = 1000000000000000019884624838656
#: Special tokens that real ones of a class have besides those of the class.
_MORE_TOKENS = {
    "Qwen2Tokenizer": {"eos_token": "<|im_end|>"},
}
_TEMPLATES = {
    "messages": "{% for message in messages %}{{ message.content }}{% endfor %}",
    "pair": zoo.PAIR_TEMPLATE,
    "represent": multimodal.TEMPLATE,
}


@cache
def _trained(class_name: str) -> Any:
    import transformers

    empty = getattr(transformers, class_name)(**_MORE_TOKENS.get(class_name, {}))
    return empty.train_new_from_iterator(zoo.SENTENCES, zoo.VOCAB_SIZE, show_progress=False)


def save(record: Tokenizer, folder: Path, length: int | None) -> dict[str, int]:
    """Saves a tokenizer as a repository has it.

    Args:
        record: Of the tokenizer.
        folder: Where to; must exist.
        length: Its limit in tokens; None for none.

    Returns:
        The ids of the special tokens, by the names that config.json has for them.
    """
    pipeline = record.pipeline or record.class_name
    if pipeline == "PreTrainedTokenizerFast":
        zoo.save_tokenizer(folder)
    else:
        _trained(pipeline).save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config |= {"tokenizer_class": record.class_name, "model_max_length": length or UNLIMITED}
    # What only transformers 5 writes.
    for key in ("backend", "is_local", "local_files_only"):
        config.pop(key, None)
    path.write_text(json.dumps({**config, **record.settings}))
    _leave_out([key for key, value in record.settings.items() if value is None], folder)
    if record.chat_template is not None:
        (folder / "chat_template.jinja").write_text(_TEMPLATES[record.chat_template])
    _edit(record, folder / "tokenizer.json")
    _write_vocabulary(folder)
    return _special_ids(folder)


def _edit(record: Tokenizer, path: Path) -> None:
    from tokenizers import Tokenizer as Fast
    from tokenizers.processors import TemplateProcessing

    fast = Fast.from_file(str(path))
    fast.add_tokens(list(record.added))
    if record.fixed is not None:
        pad = json.loads((path.parent / "tokenizer_config.json").read_text())["pad_token"]
        fast.enable_padding(length=record.fixed, pad_id=fast.token_to_id(pad), pad_token=pad)
        fast.enable_truncation(record.fixed)
    if record.template is not None:
        named = set(record.template.split()) - {"$A"}
        fast.post_processor = TemplateProcessing(
            single=record.template,
            pair=record.template.replace("$A", "$A $B"),
            special_tokens=[(token, fast.token_to_id(token)) for token in named],
        )
    fast.save(str(path))


def _leave_out(roles: list[str], folder: Path) -> None:
    """Takes away the roles of special tokens that a repository does not have."""
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (path := folder / name).is_file():
            kept = {k: v for k, v in json.loads(path.read_text()).items() if k not in roles}
            path.write_text(json.dumps(kept))


def _write_vocabulary(folder: Path) -> None:
    """Writes the file that WordPiece tokenizers have beside tokenizer.json."""
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    if model["type"] == "WordPiece":
        words = sorted(model["vocab"], key=model["vocab"].__getitem__)
        (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")


def _special_ids(folder: Path) -> dict[str, int]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    named = {f"{role}_token_id" for role in ("pad", "bos", "eos", "cls", "sep", "mask", "unk")}
    found = {name: getattr(tokenizer, name) for name in named}
    return {name: number for name, number in found.items() if number is not None}
