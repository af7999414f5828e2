"""The folder from which the libraries load a model: a copy with only what they may read.

transformers and sentence-transformers look for dozens of files in a model's folder, with hundreds
of settings. The copy has only the settings that the tables of `settings` allow, and links to the
weights and the tokenizer's files; no pickles (see stand_ins), Python code, adapters (see adapters)
or second tokenizers.
"""

import json
import shutil
from collections.abc import Collection, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from embconvert.models.values import ResolvedModel
from embconvert.source.stand_ins import stand_ins, write_stand_in
from embconvert.source.untold_rerankers import TEMPLATE_FILE, replaces_template, written_files

#: Any one of these is enough for a tokenizer.
TOKENIZER_FILES = (
    "tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model",
    "sentencepiece.bpe.model", "spm.model", "bpe.codes",
)  # fmt: skip
#: The tokenizer's files apart from settings.
TOKENIZER_DATA = (*TOKENIZER_FILES, "merges.txt", "chat_template.jinja")


def make_private_copy(resolved: ResolvedModel, folder: Path) -> Path:
    """Creates the folder from which a model is loaded, in place of what is there.

    Its parent must exist, because one that was removed during a run must not be created again.

    Returns:
        `folder`; or the model's own, if the user trusts its code and it has neither pickles nor
        routes, and needs no further settings.
    """
    instead = stand_ins(resolved)
    written = written_files(resolved)
    if resolved.settings is None and not (instead or written or resolved.routed):
        return resolved.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if resolved.settings is None:
        without = {Path(path) for path in chain(*instead.values(), written)}
        if resolved.routed is not None:
            without.add(Path("modules.json"))
            _write(folder / "modules.json", resolved.routed.chain)
        _link_all(resolved.folder, folder, without)
    else:
        _fill(folder, resolved, resolved.settings, instead)
    if replaces_template(resolved):
        (folder / TEMPLATE_FILE).unlink(missing_ok=True)
    for path, value in written.items():
        _write(folder / path, value)
    for path in instead:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        write_stand_in(folder / path)
    return folder


def _fill(
    folder: Path, resolved: ResolvedModel, settings: Mapping[str, Any], instead: Collection[str]
) -> None:
    """Writes the settings and links the weights and the tokenizer's files."""
    for path, value in settings.items():
        _write(folder / path, value)
    for file in resolved.files:
        name = Path(file.path)
        if file.path in instead:
            continue
        if name.name in TOKENIZER_DATA or name.suffix == ".safetensors":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(resolved.path(file.path).resolve())


def _write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def _link_all(source: Path, folder: Path, without: Collection[Path]) -> None:
    """Links all of a folder except the paths `without`: trusted code may look for anything."""
    for entry in source.iterdir():
        below = {Path(*path.parts[1:]) for path in without if path.parts[0] == entry.name}
        if not below:
            (folder / entry.name).symlink_to(entry.resolve())
        elif entry.is_dir():
            (folder / entry.name).mkdir()
            _link_all(entry, folder / entry.name, below)
