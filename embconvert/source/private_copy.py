"""The folder that the libraries load a model from: ours, with what they may have and nothing else.

transformers and sentence-transformers look for dozens of files in a model's folder, and act on
hundreds of settings in them. They find here the settings that the tables of `settings` allow, and
links to the weights and the tokenizer's own files. What has no name in those tables does not exist
for them: a pickle, Python code, an adapter, a second tokenizer.
"""

import json
import shutil
from pathlib import Path

from embconvert.models.values import ResolvedModel

#: Any one of these lets transformers make a tokenizer.
TOKENIZER_FILES = (
    "tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model",
    "sentencepiece.bpe.model", "spm.model", "bpe.codes",
)  # fmt: skip
#: The tokenizer's files that are no settings.
TOKENIZER_DATA = (*TOKENIZER_FILES, "merges.txt", "chat_template.jinja")


def make_private_copy(resolved: ResolvedModel, folder: Path) -> Path:
    """Makes the folder that a model is loaded from.

    Args:
        resolved: The model.
        folder: Where to; what is there is replaced. The folder above it must be there: one that
            was removed under a run must not come back.

    Returns:
        `folder`; or the model's own, when the user trusts it to run code.

    Raises:
        OSError: The folder cannot be written.
    """
    if resolved.settings is None:
        return resolved.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path, value in resolved.settings.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(json.dumps(value), encoding="utf-8")
    for file in resolved.files:
        name = Path(file.path)
        if name.name in TOKENIZER_DATA or name.suffix == ".safetensors":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to((resolved.folder / name).resolve())
    return folder
