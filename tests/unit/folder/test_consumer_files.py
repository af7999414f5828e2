"""Published files that other programs read."""

import json
from pathlib import Path

from embconvert.folder.consumer_files import keep_known_names

_SIX = "sentence_transformers.base.modules"


def test_modules_have_names_that_older_versions_know(tmp_path: Path) -> None:
    """sentence-transformers 5.7 has Normalize in another place than 6, which saved the model."""
    path = tmp_path / "modules.json"
    keep_known_names(path)
    assert not path.exists()
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": f"{_SIX}.transformer.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Normalize", "type": f"{_SIX}.normalize.Normalize"},
    ]
    path.write_text(json.dumps(modules), encoding="utf-8")
    keep_known_names(path)
    modules[1]["type"] = "sentence_transformers.models.Normalize"
    assert json.loads(path.read_text(encoding="utf-8")) == modules
