"""The commands of the README and the guides, run as they stand, one after the other."""

import re
import shutil
from pathlib import Path

import pytest

from support import zoo
from support.asymmetric import build_inference_free
from support.command_line import Forks
from support.documents import DOCS, README, shell_commands, table_commands
from support.evaluation import beir
from support.hub_server import HubServer
from support.lora import build_adapter
from support.small_tokenizers import write_wordpiece

pytestmark = pytest.mark.integration

GUIDES = sorted((DOCS / "guides").glob("*.md"))
#: What other tests run: uploads, and the precisions one by one.
ELSEWHERE = ("push", "auto", "QInt8Static", "QInt8,Q8,Q4,Float16")


def commands() -> list[tuple[str, ...]]:
    """Every command once, in the order of the reader."""
    found = [tuple(words) for words in table_commands(README)]
    for guide in GUIDES:
        found += [tuple(words) for words in shell_commands(guide, "embconvert")]
    return [words for words in dict.fromkeys(found) if not set(words) & set(ELSEWHERE)]


def test_every_command_works_and_leaves_the_files_that_the_samples_load(tmp_path: Path) -> None:
    # It reads as many tokens as the guides' shapes have, by a tokenizer that a graph can have.
    model = zoo.build_model("bert", tmp_path / "model", max_seq_length=None)
    write_wordpiece(model)
    shutil.copytree(model, tmp_path / "my-model")
    beir(tmp_path / "my-search", {"d1": "a text"}, {"q1": "a query"}, [("q1", "d1", 1)])
    samples = {tuple(shell_commands(g, "embconvert")[0]): g for g in GUIDES if has_samples(g)}
    with HubServer() as hub:
        hub.add_model("intfloat/e5-small-v2", model)
        hub.add_model("my-org/base", model)
        adapter = build_adapter(tmp_path / "lora", model, base_id="my-org/base")
        hub.add_model("my-org/lora", adapter)
        sparse = "opensearch-project/opensearch-neural-sparse-encoding-doc-v3-distill"
        hub.add_model(sparse, build_inference_free(tmp_path / "sparse", tmp_path / "scratch"))
        env = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home")}
        forks = Forks(env)
        for words in commands():
            # Tiny random models lose more than real ones.
            least = ["--min_cosine", "0.5"] if "--quantize" in words else []
            outcome = forks.embconvert(*words[1:], *least, cwd=tmp_path)
            assert outcome.code == 0, f"{' '.join(words)}\n{outcome.stderr}"
            if words in samples:
                check_files_of_samples(samples.pop(words), tmp_path / "models/intfloat/e5-small-v2")
    assert not samples


def has_samples(guide: Path) -> bool:
    return "<!-- code: " in guide.read_text(encoding="utf-8")


def check_files_of_samples(guide: Path, folder: Path) -> None:
    samples = re.findall(
        r"<!-- code: \S+ -->\n\n```\w+\n(.*?)^```", guide.read_text("utf-8"), re.M | re.S
    )
    files = re.findall(r"[\w./-]+\.(?:onnx|json)\b(?!\.\w)", "".join(samples))
    for file in files:
        place = file.removeprefix("file:").removeprefix("e5-small-v2").removeprefix("/")
        assert (folder / place).is_file(), f"{guide.name}: {file}"
