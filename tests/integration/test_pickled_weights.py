"""A model whose weights are in pickles gives the very files that it gives in safetensors."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from embconvert.errors import SourceError
from embconvert.graph.source_tensors import marked, read_places
from embconvert.models.choices import Overrides
from embconvert.source.folder import resolve_folder
from embconvert.source.kinds.embedding import EmbeddingModel
from embconvert.source.pickles.tensors import read_pickle
from embconvert.source.private_copy import make_private_copy
from embconvert.source.torch_model import SourceModel
from support import zoo
from support.command_line import convert, files_in
from support.exports import export, load

pytestmark = pytest.mark.integration

State = Mapping[str, torch.Tensor]


def single(state: State, folder: Path) -> None:
    torch.save(dict(state), folder / "pytorch_model.bin")


def as_a_module_gives_it(state: State, folder: Path) -> None:
    """With the versions of the modules as an attribute, and trained parameters in it."""
    module = torch.nn.Module()
    for name, weight in state.items():
        module.register_parameter(name.replace(".", "/"), torch.nn.Parameter(weight, False))
    full = module.state_dict(keep_vars=True)
    for name in list(full):
        full[name.replace("/", ".")] = full.pop(name)
    assert hasattr(full, "_metadata")
    torch.save(full, folder / "pytorch_model.bin")


def from_a_gpu(state: State, folder: Path) -> None:
    """Each storage says where it was."""
    single(state, folder)
    content = (folder / "pytorch_model.bin").read_bytes()
    there = content.replace(b"X\3\0\0\0cpu", b"X\3\0\0\0xpu")
    assert there != content
    (folder / "pytorch_model.bin").write_bytes(there)


def zipped_again(state: State, folder: Path) -> None:
    """By a program that does not align what torch has aligned."""
    single(state, folder)
    with (
        zipfile.ZipFile(folder / "pytorch_model.bin") as before,
        zipfile.ZipFile(folder / "again", "w") as after,
    ):
        for name in before.namelist():
            after.writestr(name, before.read(name))
    (folder / "again").rename(folder / "pytorch_model.bin")
    offsets = [t.offset for t in read_pickle(folder / "pytorch_model.bin").values()]
    assert any(offset % 4 for offset in offsets)


def sharded(state: State, folder: Path) -> None:
    names = sorted(state)
    weight_map: dict[str, str] = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"pytorch_model-{number:05}-of-00002.bin"
        torch.save({name: state[name] for name in part}, folder / file)
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


def in_one_storage(state: State, folder: Path) -> None:
    """Weights are parts of one tensor, and the matrices are transposed in it."""
    flat = torch.cat([w.T.reshape(-1) if w.ndim == 2 else w.reshape(-1) for w in state.values()])
    parts, at = {}, 0
    for name, weight in state.items():
        part = flat[at : at + weight.numel()]
        shape = weight.T.shape if weight.ndim == 2 else weight.shape
        parts[name] = part.view(shape).T if weight.ndim == 2 else part.view(shape)
        at += weight.numel()
    torch.save(parts, folder / "pytorch_model.bin")


def tied(state: State, folder: Path) -> None:
    """A language model's head, which no embedding needs, is the table of embeddings."""
    table = next(w for name, w in state.items() if name.endswith("word_embeddings.weight"))
    torch.save({**state, "cls.predictions.decoder.weight": table}, folder / "pytorch_model.bin")


def pickled(model: Path, folder: Path, save: Callable[[State, Path], None] = single) -> Path:
    """A copy of a model, with its transformer's weights in pickles."""
    shutil.copytree(model, folder)
    save(load_file(folder / "model.safetensors"), folder)
    (folder / "model.safetensors").unlink()
    return folder


def copied_pages(files: set[Path]) -> dict[Path, int]:
    """How many kB of the mappings of files were written to; see proc_pid_smaps(5)."""
    found: dict[Path, int] = {}
    mapped = None
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, *_, last = line.split()
        if not first.endswith(":"):
            mapped = Path(last)
        elif first == "Anonymous:" and mapped in files:
            found[mapped] = found.get(mapped, 0) + int(line.split()[1])
    return found


def graph(source: SourceModel, path: Path) -> bytes:
    return export(source, path).read_bytes()


@pytest.mark.parametrize(
    "save", [single, as_a_module_gives_it, from_a_gpu, zipped_again, sharded, in_one_storage, tied]
)
def test_a_pickled_bert_is_the_bert(
    save: Callable[[State, Path], None], tiny_bert: Path, tmp_path: Path
) -> None:
    model = pickled(tiny_bert, tmp_path / "model", save)
    assert graph(load(model), tmp_path / "pickled.onnx") == graph(
        load(tiny_bert), tmp_path / "safe.onnx"
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_stays_as_it_is_stored(dtype: str, tmp_path: Path) -> None:
    safe = zoo.build_model("qwen3", tmp_path / "safe", dtype=dtype)
    model = pickled(safe, tmp_path / "model")
    source = load(model)
    weights = {name: weight.dtype for name, weight in source.weights().items()}
    assert getattr(torch, dtype) in weights.values()
    assert graph(source, tmp_path / "a.onnx") == graph(load(safe), tmp_path / "b.onnx")


def test_weights_are_mapped_and_nothing_is_copied(tiny_bert: Path, tmp_path: Path) -> None:
    model = pickled(tiny_bert, tmp_path / "model", sharded)
    source = load(model)
    assert sum(files_in(tmp_path / "model-copy").values()) < 100_000
    assert not [name for name in files_in(tmp_path / "model-copy") if name.endswith(".bin")]
    apart = tmp_path / "apart.onnx"
    export(source, apart, keep_weights_apart=True)
    files = {Path(place.file) for w in read_places(apart).values() if (place := marked(w))}
    assert files == set(model.glob("pytorch_model-*.bin"))
    assert copied_pages(files) == dict.fromkeys(files, 0)
    largest = max(weight.numel() for weight in source.weights().values())
    assert apart.stat().st_size < 4 * largest


def test_a_module_may_have_a_pickle_beside_safetensors(tmp_path: Path) -> None:
    safe = zoo.build_model("bert", tmp_path / "safe", dense=True)
    model = tmp_path / "model"
    shutil.copytree(safe, model)
    dense = next(model.glob("*_Dense"))
    torch.save(load_file(dense / "model.safetensors"), dense / "pytorch_model.bin")
    (dense / "model.safetensors").unlink()
    assert graph(load(model), tmp_path / "a.onnx") == graph(load(safe), tmp_path / "b.onnx")


def test_code_that_is_trusted_gets_no_pickle_either(tiny_bert: Path, tmp_path: Path) -> None:
    model = pickled(tiny_bert, tmp_path / "model")
    (model / "theirs.py").write_text("")
    resolved = resolve_folder(model, model_id="test", trust_remote_code=True)
    copy = make_private_copy(resolved, tmp_path / "copy")
    assert {p.name for p in copy.iterdir()} - {p.name for p in tiny_bert.iterdir()} == {"theirs.py"}
    source = EmbeddingModel.load(
        resolved, copy, device="cpu", overrides=Overrides(), trust_remote_code=True,
        warn=lambda _: None,
    )  # fmt: skip
    assert graph(source, tmp_path / "a.onnx") == graph(load(tiny_bert), tmp_path / "b.onnx")


def test_a_pickle_that_lacks_a_weight_is_refused(tiny_bert: Path, tmp_path: Path) -> None:
    def without_one(state: State, folder: Path) -> None:
        name = next(n for n in state if n.endswith("layer.1.output.dense.weight"))
        single({n: w for n, w in state.items() if n != name}, folder)

    model = pickled(tiny_bert, tmp_path / "model", without_one)
    with pytest.raises(SourceError, match=r"layer\.1\.output\.dense\.weight is not in the model"):
        graph(load(model), tmp_path / "a.onnx")


def test_a_whole_conversion_publishes_the_same(tmp_path: Path) -> None:
    safe = zoo.build_model("bert", tmp_path / "safe" / "model", dense=True)
    model = pickled(safe, tmp_path / "pickled" / "model", sharded)
    dense = next(model.glob("*_Dense"))
    torch.save(load_file(dense / "model.safetensors"), dense / "pytorch_model.bin")
    (dense / "model.safetensors").unlink()
    options = ("--quantize", "QInt8", "--min_cosine", "0.5")
    ours, theirs = (
        convert(source, tmp_path / f"out-{source.parent.name}", *options)
        for source in (model, safe)
    )
    assert "the weights are read from pickles, without running them" in ours.stderr
    assert "pickles" not in theirs.stderr
    hashes = [
        {a["path"]: (a["sha256"], a["external_data"]) for a in outcome.manifest["artifacts"]}
        for outcome in (ours, theirs)
    ]
    assert len(hashes[0]) == 3
    assert hashes[0] == hashes[1]
    published = [set(files_in(Path(outcome.stdout.strip()))) for outcome in (ours, theirs)]
    assert published[0] == published[1]
    assert not [name for name in published[0] if "pytorch_model" in name]


def test_weights_in_a_folder_of_the_transformers_own_are_not_published(
    tiny_bert: Path, tmp_path: Path
) -> None:
    """Where sentence-transformers put it in its first years."""
    model = pickled(tiny_bert, tmp_path / "model", sharded)
    own = model / "0_Transformer"
    own.mkdir()
    for path in [p for p in model.iterdir() if p.is_file() and p.name != "modules.json"]:
        path.rename(own / path.name)
    modules = json.loads((model / "modules.json").read_text())
    modules[0]["path"] = own.name
    (model / "modules.json").write_text(json.dumps(modules))
    outcome = convert(model, tmp_path / "out", "--optimize", "0", "--skip_validation")
    published = files_in(Path(outcome.stdout.strip()))
    assert f"{own.name}/config.json" in published
    assert not [name for name in published if "pytorch_model" in name]


@pytest.mark.parametrize("place", ["transformer", "module"])
def test_the_former_format_is_converted_by_the_line_that_the_hint_gives(
    place: str, tmp_path: Path
) -> None:
    safe = zoo.build_model("bert", tmp_path / "safe", dense=True)
    model = tmp_path / "a model's folder"
    shutil.copytree(safe, model)
    folder = model if place == "transformer" else next(model.glob("*_Dense"))
    weights = load_file(folder / "model.safetensors")
    torch.save(
        {**weights, "tied": next(iter(weights.values()))},
        folder / "pytorch_model.bin",
        _use_new_zipfile_serialization=False,
    )
    (folder / "model.safetensors").unlink()
    with pytest.raises(SourceError, match="torch before") as refused:
        resolve_folder(model, model_id="m")
    instruction, _, line = refused.value.hint.partition(": ")
    assert instruction == f"run this in {folder}, then give the model's folder as --model_id"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(line, shell=True, cwd=folder, check=True, env={**os.environ, "PATH": path})
    found = load_file(folder / "model.safetensors")
    del found["tied"]
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)
    resolve_folder(model, model_id="m")
