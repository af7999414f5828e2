"""Published files that other programs read."""

import json
from pathlib import Path

from embconvert.folder.consumer_files import adapt_modules

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


def test_programs_that_know_only_flags_learn_how_to_pool(tmp_path: Path) -> None:
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
    named = {"embedding_dimension": 8, "pooling_mode": "cls", "include_prompt": True}
    settings.write_text(json.dumps(named), encoding="utf-8")
    adapt_modules(tmp_path)
    found = json.loads(settings.read_text(encoding="utf-8"))
    assert found.items() >= named.items()
    flags = {name: value for name, value in found.items() if name not in named}
    assert [name for name, value in flags.items() if value] == ["pooling_mode_cls_token"]
    assert flags["pooling_mode_mean_tokens"] is False
    written = settings.read_bytes()
    adapt_modules(tmp_path)
    assert settings.read_bytes() == written
