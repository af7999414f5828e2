"""Published files that other programs read."""

import json
from pathlib import Path
from typing import Any

import pytest

from embconvert.folder.consumer_files import adapt_modules
from embconvert.source.settings.pooling import POOLING_KEYS

_SIX = "sentence_transformers.base.modules"


def test_modules_have_names_that_older_versions_know(tmp_path: Path) -> None:
    """sentence-transformers 5.7 has Normalize in another place than 6, which saved the model."""
    path = tmp_path / "modules.json"
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": f"{_SIX}.transformer.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Normalize", "type": f"{_SIX}.normalize.Normalize"},
    ]
    path.write_text(json.dumps(modules), encoding="utf-8")
    adapt_modules(tmp_path)
    modules[1]["type"] = "sentence_transformers.models.Normalize"
    assert json.loads(path.read_text(encoding="utf-8")) == modules


@pytest.mark.parametrize(
    ("named", "mode"),
    [
        ({"embedding_dimension": 8, "pooling_mode": "cls", "include_prompt": True}, "cls_token"),
        ({"pooling_mode": "lasttoken", "pooling_mode_mean_tokens": True}, "lasttoken"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": False}, "mean_tokens"),
        ({"word_embedding_dimension": 8}, "mean_tokens"),
    ],
)
def test_programs_that_know_only_flags_learn_how_to_pool(
    tmp_path: Path, named: dict[str, Any], mode: str
) -> None:
    """text-embeddings-inference requires them; sentence-transformers 6 saves only a name."""
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": f"{_SIX}.transformer.Transformer"},
        {
            "idx": 1,
            "name": "1",
            "path": "1_Pooling",
            "type": "sentence_transformers.models.Pooling",
        },
    ]
    (tmp_path / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    settings = tmp_path / "1_Pooling/config.json"
    settings.parent.mkdir()
    settings.write_text(json.dumps(named), encoding="utf-8")
    adapt_modules(tmp_path)
    found = json.loads(settings.read_text(encoding="utf-8"))
    flags = {name: value for name, value in found.items() if name in POOLING_KEYS}
    assert [name for name, value in flags.items() if value] == [f"pooling_mode_{mode}"]
    assert flags.keys() == POOLING_KEYS.keys()
    assert found.items() >= {name: named[name] for name in named if name not in flags}.items()
    written = settings.read_bytes()
    adapt_modules(tmp_path)
    assert settings.read_bytes() == written
