"""Every architecture goes the same way, and gives what torch gives on shapes it never saw."""

from pathlib import Path

import numpy as np
import pytest
import zoo
from conftest import embconvert

from embconvert.models.choices import Overrides
from embconvert.source.folder import resolve_folder
from embconvert.source.private_copy import make_private_copy
from embconvert.source.torch_model import SourceModel

pytestmark = pytest.mark.integration

# (batch, tokens, most padding): none is the shape of the trace; one row alone, no padding, nearly
# all padding, multiples of longformer's window and others.
SHAPES = [(1, 5, 0), (3, 23, 4), (2, 41, 9), (5, 64, 30), (1, 64, 0), (4, 16, 15)]


@pytest.mark.parametrize("architecture", zoo.ARCHITECTURES)
def test_every_stage_gives_the_embeddings_of_torch(architecture: str, tmp_path: Path) -> None:
    model = zoo.build_model(architecture, tmp_path / architecture)
    outcome = embconvert(
        "all", "--model_id", model, "--output_parent_dir", tmp_path / "out",
        "--quantize", "Q8,QInt8,QUInt8,QInt8Static,QFLOAT8E4M3FN,Float16", "--min_cosine", 0.99,
    )  # fmt: skip

    assert outcome.code == 0, outcome.stderr
    folder = tmp_path / "out" / architecture
    for graph in ("model.onnx", "model_opt1.onnx"):
        assert_same_as_torch(model, folder / "onnx" / graph)


@pytest.mark.parametrize("pooling", ["mean", "cls", "lasttoken", "max", "weightedmean",
                                     "mean_sqrt_len_tokens"])  # fmt: skip
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_every_pooling_gives_the_embeddings_of_torch(
    pooling: str, dense: bool, normalize: bool, tmp_path: Path
) -> None:
    model = zoo.build_model(
        "roberta", tmp_path / "model", pooling=pooling, dense=dense, normalize=normalize
    )
    source = load(model)
    graph = export(source, tmp_path / "model.onnx")
    assert_same_as_torch(model, graph)
    assert source.dimension == (zoo.DENSE_SIZE if dense else zoo.HIDDEN_SIZE)


@pytest.mark.parametrize("opset", [17, 18, 19, 20])
def test_every_opset_gives_the_embeddings_of_torch(opset: int, tmp_path: Path) -> None:
    model = zoo.build_model("modernbert", tmp_path / "model")
    assert_same_as_torch(model, export(load(model), tmp_path / "model.onnx", opset=opset))


@pytest.mark.parametrize("architecture", ["bert", "gemma3_text"])
def test_the_second_exporter_gives_the_embeddings_of_torch(
    architecture: str, tmp_path: Path
) -> None:
    model = zoo.build_model(architecture, tmp_path / "model")
    graph = export(load(model), tmp_path / "model.onnx", exporter="torch.export", opset=18)
    assert_same_as_torch(model, graph)


def test_a_left_padding_tokenizer_pools_the_last_token(tmp_path: Path) -> None:
    model = zoo.build_model("qwen3", tmp_path / "m", pooling="lasttoken", padding_side="left")
    outcome = embconvert("export", "--model_id", model, "--output_parent_dir", tmp_path / "out")
    assert outcome.code == 0, outcome.stderr
    assert outcome.graph("model.onnx")["fidelity"]["similarity"]["min"] > 0.99999


def load(model: Path) -> SourceModel:
    resolved = resolve_folder(model, model_id="test")
    return SourceModel.load(
        resolved,
        make_private_copy(resolved, model.with_name(f"{model.name}-copy")),
        device="cpu",
        overrides=Overrides(),
        trust_remote_code=False,
        warn=lambda _: None,
    )


def export(source: SourceModel, path: Path, *, opset: int = 17, exporter: str = "trace") -> Path:
    from embconvert.export.exporter import Exporter
    from embconvert.export.exporter import export as export_model

    artifact = export_model(source, path, opset=opset, exporter=Exporter(exporter)).artifact
    assert artifact.opset == opset
    return artifact.path


def assert_same_as_torch(model: Path, graph: Path) -> None:
    """Runs both on random tokens of every shape, padded on either side."""
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(str(graph))
    outputs = [(o.name, len(o.shape), o.type) for o in session.get_outputs()]
    assert outputs == [
        ("last_hidden_state", 3, "tensor(float)"),
        ("sentence_embedding", 2, "tensor(float)"),
    ]
    source = load(model)
    traced = source.traced_module()
    random = np.random.default_rng(0)
    for batch, tokens, padding in SHAPES:
        for left in (False, True):
            feed = random_feed(random, batch, tokens, padding, left=left)
            with torch.no_grad():
                theirs = traced(*(torch.tensor(feed[name]) for name in source.sample_features()))
            ours = session.run(None, {i.name: feed[i.name] for i in session.get_inputs()})
            real = feed["attention_mask"][:, :, None]
            where = f"{graph.name}, {batch}x{tokens}, {'left' if left else 'right'} padding"
            np.testing.assert_allclose(
                ours[0] * real, theirs[0].numpy() * real, atol=2e-4, err_msg=where
            )
            np.testing.assert_allclose(ours[1], theirs[1].numpy(), atol=2e-4, err_msg=where)


def random_feed(
    random: np.random.Generator, batch: int, tokens: int, padding: int, *, left: bool
) -> dict[str, np.ndarray]:
    ids = random.integers(5, zoo.VOCAB_SIZE, (batch, tokens))
    mask = np.ones_like(ids)
    for row in range(1, batch):  # the first row has no padding, as the longest of a batch
        pads = int(random.integers(0, padding + 1))
        where = slice(0, pads) if left else slice(tokens - pads, tokens)
        mask[row, where] = 0
        ids[row, where] = zoo.PAD_ID
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
