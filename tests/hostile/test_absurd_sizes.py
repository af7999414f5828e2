"""Settings that are sizes and counts, of any name: errors, in seconds and within memory."""

import json
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.corpus import config
from support.faulty_runs import Runner
from support.settings_corpus import BERT_SETTINGS, set_json

pytestmark = pytest.mark.integration

# As much address space as the largest of them would take.
MEMORY_BYTES = 16 << 30
SECONDS = 45


@pytest.fixture(scope="module")
def bounded_runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """Runs whose processes end when they take more memory or time than they may."""
    limits = {resource.RLIMIT_DATA: MEMORY_BYTES, resource.RLIMIT_CPU: 2 * SECONDS}
    runner = Runner(tmp_path_factory.mktemp("runner"))
    # Of the server, whose forks inherit them; this process may have used more already.
    for kind, limit in limits.items():
        resource.prlimit(runner.pid, kind, (limit, resource.getrlimit(kind)[1]))
    yield runner
    runner.close()


def module(
    kind: str, file: str, settings: dict[str, Any], *, at: int | None = None
) -> Callable[[Path], None]:
    """A module more, of these sizes."""

    def spoil(model: Path) -> None:
        modules = json.loads((model / "modules.json").read_text())
        path = f"{len(modules)}_More"
        entry = {
            "idx": 0,
            "name": path,
            "path": path,
            "type": f"sentence_transformers.models.{kind}",
        }
        modules.insert(len(modules) if at is None else at, entry)
        (model / "modules.json").write_text(json.dumps(modules))
        (model / path).mkdir()
        (model / path / file).write_text(json.dumps(settings))
        shutil.copy(model / "model.safetensors", model / path / "model.safetensors")

    return spoil


def modules_path(path: str) -> Callable[[Path], None]:
    """A pooling in this folder."""

    def spoil(model: Path) -> None:
        modules = json.loads((model / "modules.json").read_text())
        modules[1]["path"] = path
        (model / "modules.json").write_text(json.dumps(modules))

    return spoil


def text_in_config(text: str) -> Callable[[Path], None]:
    """A configuration with a value that Python would not write."""

    def spoil(model: Path) -> None:
        path = model / "config.json"
        path.write_text('{"more": ' + text + ", " + path.read_text().lstrip()[1:])

    return spoil


def index_of(name: str) -> Callable[[Path], None]:
    """Weights in files that an index names."""

    def spoil(model: Path) -> None:
        (model / "model.safetensors").unlink()
        index = {"metadata": {}, "weight_map": {"x": name}}
        (model / "model.safetensors.index.json").write_text(json.dumps(index))

    return spoil


def many_modules(model: Path) -> None:
    first, *_ = json.loads((model / "modules.json").read_text())
    more = {"idx": 1, "name": "1", "path": "", "type": "sentence_transformers.models.Normalize"}
    (model / "modules.json").write_text(json.dumps([first, *[more] * 100_000]))


_LINEAR = {"activation_function": "torch.nn.Identity"}
CASES: dict[str, Callable[[Path], None]] = {
    "layers": config(num_hidden_layers=9_999),
    "positions": config(max_position_embeddings=1 << 24),
    "heads": config(num_attention_heads=10**9),
    "layers of a part": config(
        model_type="clip", text_config={"num_hidden_layers": 10**9, "hidden_size": 32}
    ),
    "layers of BART": config(model_type="bart", encoder_layers=10**9, decoder_layers=10**9),
    "layers by config_args": set_json(BERT_SETTINGS, config_args={"num_labels": 1 << 50}),
    "dense": module("Dense", "config.json", {"in_features": 32, "out_features": 10**8, **_LINEAR}),
    "LSTM's layers": module(
        "LSTM",
        "lstm_config.json",
        {"word_embedding_dimension": 32, "hidden_dim": 8, "num_layers": 10**6},
        at=1,
    ),
    "LSTM's size": module(
        "LSTM", "lstm_config.json", {"word_embedding_dimension": 32, "hidden_dim": 20_000}, at=1
    ),
    "CNN's size": module(
        "CNN",
        "cnn_config.json",
        {"in_word_embedding_dimension": 32, "out_channels": 10**5, "kernel_sizes": [1000]},
        at=1,
    ),
    "CNN's kernels": module(
        "CNN",
        "cnn_config.json",
        {"in_word_embedding_dimension": 32, "out_channels": 4, "kernel_sizes": [1] * 10**6},
        at=1,
    ),
    "layers that are weighed": module(
        "WeightedLayerPooling",
        "config.json",
        {"word_embedding_dimension": 32, "num_hidden_layers": 10**9, "layer_start": 0},
        at=1,
    ),
    "poolings": set_json("1_Pooling/config.json", pooling_mode=["mean"] * 100_000),
    "padding of each call": set_json(
        BERT_SETTINGS, processing_kwargs={"text": {"pad_to_multiple_of": 10**12}}
    ),
    "length of each call": set_json(
        BERT_SETTINGS, processing_kwargs={"text": {"padding": "max_length", "max_length": 10**12}}
    ),
    "length that is no length": set_json("tokenizer_config.json", model_max_length=1e-300),
    "padding to no multiple": set_json(
        BERT_SETTINGS, processing_kwargs={"text": {"pad_to_multiple_of": 131072}}
    ),
    "no way for texts": set_json(BERT_SETTINGS, modality_config={}, module_output_name="x"),
    "output that is Python's own": set_json(
        BERT_SETTINGS,
        modality_config={
            "text": {"method": "forward", "method_output_name": ["__class__", "__init__"]}
        },
        module_output_name="token_embeddings",
    ),
    "modules": many_modules,
    "folder of 5000 letters": modules_path("a" * 5000),
    "folder with a zero byte": modules_path("a\0b"),
    "shard of 5000 letters": index_of("a" * 5000 + ".safetensors"),
    "shard with a zero byte": index_of("a\0.safetensors"),
    "a number of 400 digits": text_in_config("1" + "0" * 400),
    "a number of 5000 digits": text_in_config("1" + "0" * 5000),
    "lists 700 deep": text_in_config("[" * 700 + "]" * 700),
    "objects 300 deep": text_in_config('{"text_config": ' * 300 + "1" + "}" * 300),
}


@pytest.mark.parametrize("name", CASES)
def test_an_absurd_size_is_an_error_in_seconds(
    name: str, bounded_runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_bert, model)
    CASES[name](model)
    start = time.monotonic()
    run = bounded_runner.run(
        tmp_path / "out", "export", "--model_id", model, "--output_parent_dir", tmp_path / "out",
        "--skip_validation",
    )  # fmt: skip
    assert time.monotonic() - start < SECONDS
    assert run.code in (3, 4), run.stderr[-2000:]
    assert "memory" not in run.errors[0], "the size itself was allocated"
    assert list((tmp_path / "out").glob("*")) == []


def test_a_modules_folder_may_be_written_with_a_dot(
    bounded_runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_bert, model)
    modules = json.loads((model / "modules.json").read_text())
    modules[0]["path"], modules[1]["path"] = "./", "./1_Pooling/"
    (model / "modules.json").write_text(json.dumps(modules))
    run = bounded_runner.run(
        tmp_path / "out", "export", "--model_id", model, "--output_parent_dir", tmp_path / "out",
    )  # fmt: skip
    assert run.code == 0, run.stderr[-2000:]
