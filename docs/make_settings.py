"""Writes docs/settings.md from the tables of embconvert/source/settings; `make docs` runs it."""

import re
from pathlib import Path

from embconvert.source.settings.files import TABLES
from embconvert.source.settings.modules import MODULE_ENTRY, MODULES, WHOLE_MODEL
from embconvert.source.settings.rules import Setting, SettingsTable, Use

PAGE = Path(__file__).with_name("settings.md")

_HEAD = """\
# What embconvert lets a model's settings do

transformers and sentence-transformers act on hundreds of keys in the files of a model. Some of these \
keys name files, repositories, classes or functions. Without `--trust_remote_code`, the libraries get \
a private copy of the model's folder, with the files and keys below and no others, in a process that \
can open no socket.

* **read**: the libraries get the key, if its value has the type that `embconvert/source/settings` names.
* **ignored**: the libraries do not get the key; no embedding depends on it.
* **refused**: a model with this key is not converted (exit code 3, or 4 where the model is sound but \
cannot be converted). An empty value is no value.

With `--trust_remote_code` the libraries read the model's own folder; a local folder opens no \
connection even then, and with `--offline` nothing does.

This page is written by `make docs`; tests/hostile/test_settings_tables.py compares the tables with \
the keys that the installed libraries read.

## Files

| file | what becomes of it |
|---|---|
| model.safetensors, and its shards | read; `weight_map` of the index may name files beside it only |
| tokenizer.json, vocab.txt, vocab.json, merges.txt, tokenizer.model, spiece.model, sentencepiece.bpe.model, spm.model, bpe.codes, chat_template.jinja | read |
| settings files | filtered by key, as below |
| pytorch_model.bin and other pickles | not read; a model that has nothing else is refused |
| adapter_config.json | refused: its base model is elsewhere |
| generation_config.json, processor_config.json, preprocessor_config.json, video_preprocessor_config.json | ignored |
| README.md | licence and languages are read from its front matter, as text |
| Python files, and every other file | ignored |
"""


def page() -> str:
    """Returns the page, Markdown."""
    parts = [_HEAD]
    for name, table in TABLES.items():
        parts.append(_section(f"{name}: {_lower(table.title)}", table))
    parts.append(_section("config_sentence_transformers.json: the whole model", WHOLE_MODEL))
    parts.append(_section("modules.json: each module", MODULE_ENTRY))
    parts.append("`type` can be one of these classes, under any import path that it ever had:\n")
    parts.append("| class | settings file | what becomes of it |\n|---|---|---|")
    for name, rules in MODULES.items():
        fate = f"refused: {rules.unsupported}" if rules.unsupported else "read"
        parts.append(f"| {name} | {rules.file} | {fate} |")
    parts.append("")
    for name, rules in MODULES.items():
        if rules.unsupported is None and name != "MLMTransformer":
            parts.append(_section(f"{rules.file} of {name}", rules.table))
    return "\n".join(parts)


def _lower(title: str) -> str:
    return title[:1].lower() + title[1:]


def _section(title: str, table: SettingsTable) -> str:
    lines = [f"## {title}", "", "| key | what becomes of it |", "|---|---|"]
    lines += _rows(table, "")
    return "\n".join([*lines, ""])


def _rows(table: SettingsTable, above: str) -> list[str]:
    by_fate: dict[str, list[str]] = {}
    inner: list[str] = []
    named = {**table.keys, **{_as_words(p): s for p, s in table.patterns.items()}}
    for key, setting in named.items():
        if setting.nested is table:
            by_fate.setdefault("read: the same keys as here", []).append(f"`{above}{key}`")
        elif setting.nested is not None:
            inner += _rows(setting.nested, f"{above}{key}.")
        else:
            by_fate.setdefault(_fate(setting), []).append(f"`{above}{key}`")
    rows = [f"| {', '.join(keys)} | {fate} |" for fate, keys in by_fate.items()]
    return [*rows, *inner, f"| {above or ''}*any other* | {_others(table.others)} |"]


def _as_words(pattern: str) -> str:
    return re.sub(r"\[[^]]*\]\+", "…", pattern).replace("(_dict)?", "[_dict]")


def _fate(setting: Setting) -> str:
    why = setting.why.replace("|", "\\|")
    return f"{setting.use}: {why}" if why else str(setting.use)


def _others(setting: Setting) -> str:
    if setting.use is Use.READ:
        return "read if it is a number, a flag, or made of these; else ignored, and said"
    if setting.use is Use.IGNORED:
        return "ignored, and said"
    return _fate(setting)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
