"""Writes the code samples of docs/guides as model cards have them; `make docs` runs it.

A sample follows the line `<!-- code: KEY -->`, where KEY is a program's.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from embconvert.manifest import ArtifactRecord, Manifest
from embconvert.manifest.layouts import LAYOUTS, SERVED_FILE
from embconvert.models.choices import Layout, Precision
from embconvert.models.forms import FileForm
from embconvert.reporting.home import Home
from embconvert.reporting.snippets import snippets
from support.examples import published

FOLDER = Path(__file__).with_name("guides")
_MODEL_ID = "intfloat/e5-small-v2"
_TOKENS = 512
_MARK = re.compile(r"^<!-- code: (\S+) -->\n\n(?:```\w+\n.*?^```\n\n?)?", re.MULTILINE | re.DOTALL)


#: The layout of each program's sample, as its guide makes the folder.
PROGRAMS: Mapping[str, Layout] = {
    "sentence-transformers": Layout.HUB,
    "fastembed": Layout.FASTEMBED,
    "transformers.js": Layout.TRANSFORMERSJS,
    "text-embeddings-inference": Layout.TEI,
    "langchain4j": Layout.LANGCHAIN4J,
    "spring-ai": Layout.SPRINGAI,
    "vespa": Layout.VESPA,
    "nixiesearch": Layout.NIXIESEARCH,
    "sentence-transformers-openvino": Layout.OPENVINO,
    "openvino": Layout.OPENVINO,
}


def page(text: str) -> str:
    """Returns a guide with the samples of today."""
    return _MARK.sub(lambda mark: f"<!-- code: {mark[1]} -->\n\n{_sample(mark[1])}\n", text)


def _sample(key: str) -> str:
    with TemporaryDirectory() as name:
        folder = Path(name)
        manifest, graph = _conversion(folder, PROGRAMS[key])
        home = Home(name=_MODEL_ID.rpartition("/")[2])
        found = {s.key: s for s in snippets(manifest, graph, folder, home=home)}
    return f"```{found[key].language}\n{found[key].code}\n```\n"


def _conversion(folder: Path, layout: Layout) -> tuple[Manifest, ArtifactRecord]:
    """Returns the manifest of e5-small-v2, and its graph in QInt8, or for OpenVINO in Q8."""
    manifest = published(
        folder,
        model_id=_MODEL_ID,
        max_seq_length=_TOKENS,
        modules=("Transformer", "Pooling", "Normalize"),
    )
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": _TOKENS}))
    graph = next(a for a in manifest.artifacts if a.precision is Precision.QINT8)
    rules = LAYOUTS[layout]
    if rules.form is not None:
        graph = replace(graph, precision=Precision.Q8, forms=(FileForm(kind=rules.form),))
    place = SERVED_FILE if rules.serves_one else rules.names.get(graph.precision, graph.path)
    graph = replace(graph, path=place)
    others = (a for a in manifest.artifacts if a.precision is Precision.FLOAT32)
    return replace(manifest, layout=layout, artifacts=(*others, graph)), graph


if __name__ == "__main__":
    for guide in FOLDER.glob("*.md"):
        guide.write_text(page(guide.read_text(encoding="utf-8")), encoding="utf-8")
