"""The files whose quality is compared: ours, and those that other tools make of the same model."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines import OUR_BIN, PEER_BIN, ROOT

from embconvert.graph.openvino_ir import IR_SUFFIX
from embconvert.models.choices import Precision
from embconvert.models.forms import IR_WEIGHTS_SUFFIX
from embconvert.models.recipes import DEFAULT_RECIPES, Recipe

OPENVINO_BIN = ROOT / ".venv-openvino/bin"
_TEXTS = ROOT / "embconvert/data/calibration_texts.txt"
#: QUInt8 computes the same as QInt8, and Q4F16 as Q4 but for half precision.
_LEFT_OUT = (Precision.FLOAT32, Precision.QUINT8, Precision.Q4F16)
PRECISIONS = [p for p in Precision if p not in _LEFT_OUT]
_DYNAMIC = DEFAULT_RECIPES[Precision.QINT8]
_STATIC = DEFAULT_RECIPES[Precision.QINT8_STATIC]


def _without(recipes: Sequence[Recipe], left_out: Recipe) -> tuple[Recipe, ...]:
    return tuple(recipe for recipe in recipes if recipe is not left_out)


#: The sets of recipes that the part of recipes compares: the default ones, with one less or more.
_COMPARED: Mapping[Precision, Sequence[tuple[Recipe, ...]]] = {
    Precision.Q8: ((), (Recipe.SMOOTH,), (Recipe.SPLIT,), (Recipe.SMOOTH, Recipe.SPLIT)),
    Precision.Q4: (
        (), (Recipe.GPTQ,), (Recipe.GPTQ, Recipe.MIXED), (Recipe.SPLIT, Recipe.GPTQ),
        (Recipe.SPLIT, Recipe.GPTQ, Recipe.MIXED),
    ),
    Precision.QINT8: (
        (), (Recipe.TOKEN_SCALES,), _without(_DYNAMIC, Recipe.SHIFT),
        _without(_DYNAMIC, Recipe.SMOOTH), _without(_DYNAMIC, Recipe.BIAS_CORRECTION), _DYNAMIC,
        (*_DYNAMIC, Recipe.SPLIT), (*_DYNAMIC, Recipe.CLIP), (*_DYNAMIC, Recipe.GPTQ),
        (*_DYNAMIC, Recipe.MIXED),
    ),
    Precision.QINT8_STATIC: (
        (), _without(_STATIC, Recipe.SMOOTH), _without(_STATIC, Recipe.SPLIT), _STATIC,
        (*_STATIC, Recipe.MIXED),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class File:
    """A file and what the table calls it."""

    label: str
    path: Path

    @property
    def size(self) -> int:
        """Bytes, with those of the weights that are beside it."""
        weights = self.path.with_suffix(IR_WEIGHTS_SUFFIX)
        beside = weights.stat().st_size if self.path.suffix == IR_SUFFIX else 0
        return self.path.stat().st_size + beside

    def digest(self) -> str:
        paths = [self.path]
        if self.path.suffix == IR_SUFFIX:
            paths.append(self.path.with_suffix(IR_WEIGHTS_SUFFIX))
        return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def convert(
    source: Path, work: Path, precisions: Sequence[Precision], *, plain: bool
) -> tuple[Path, list[File]]:
    """Converts a model with the default recipes, and also without; what is up to date is kept.

    Args:
        precisions: Some of PRECISIONS.
        plain: Whether also without recipes.

    Returns:
        A folder with the tokenizer, and the files, float32 first.
    """
    folder = _converted(source, work / "default", precisions)
    ours = [File("float32", folder / "onnx/model.onnx")]
    ours += [File(f"`{p}`", folder / f"onnx/model_opt1_{p}.onnx") for p in precisions]
    if plain:
        some = [p for p in precisions if DEFAULT_RECIPES.get(p)]
        other = _converted(source, work / "none", some, "--recipes", "none")
        ours += [File(f"`{p}`, none", other / f"onnx/model_opt1_{p}.onnx") for p in some]
    return folder, ours


def _converted(source: Path, parent: Path, precisions: Sequence[Precision], *more: str) -> Path:
    command = [
        str(OUR_BIN / "embconvert"), "all", "--model_id", str(source), "--output_parent_dir",
        str(parent), "--quantize", ",".join(precisions), "--skip_validation", "--quiet", *more,
    ]  # fmt: skip
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return parent / source.name


def convert_recipes(source: Path, work: Path) -> tuple[Path, list[File]]:
    """Converts a model with each of the compared sets of recipes; returns as convert() does."""
    files = []
    for precision, sets in _COMPARED.items():
        for recipes in sets:
            path = with_recipes(source, work, precision, recipes)
            is_default = recipes == DEFAULT_RECIPES[precision]
            label = f"`{precision}`: `{','.join(recipes) or 'none'}`"
            files.append(File(f"{label}{', the default' * is_default}", path))
    folder = work / source.name
    return folder, [File("float32", folder / "onnx/model.onnx"), *files]


def with_recipes(source: Path, work: Path, precision: Precision, recipes: Sequence[Recipe]) -> Path:
    """Converts a model with some recipes; a file that is there is kept.

    All are quantized in one folder, so that the model is exported once, and copied from there.
    """
    words = ",".join(recipes) or "none"
    made = work / "made" / f"{precision}_{words}.onnx"
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        folder = _converted(source, work, [precision], "--recipes", words)
        part = made.with_suffix(".part")
        shutil.copyfile(folder / f"onnx/model_opt1_{precision}.onnx", part)
        part.rename(made)
    return made


def peers(source: Path, folder: Path, work: Path) -> tuple[list[File], list[str]]:
    """Makes the peers' files, those of one content once; returns also what failed, as lines.

    Files that an earlier run made are kept, and so is what failed.
    """
    target = work / "peers"
    known = target / "failed.json"
    if not known.exists():
        target.mkdir(parents=True, exist_ok=True)
        failed = dict(_make_peers(source, folder, target))
        known.write_text(json.dumps(failed), encoding="utf-8")
    lines = [f"{name} failed: {reason}" for name, reason in json.loads(known.read_text()).items()]
    first: dict[str, File] = {}
    for path in sorted(p for p in target.iterdir() if p.suffix in (".onnx", IR_SUFFIX)):
        file = File(path.stem, path)
        other = first.setdefault(file.digest(), file)
        if other is not file:
            lines.append(f"{file.label} has the bytes of {other.label}")
    return list(first.values()), lines


def _make_peers(source: Path, folder: Path, target: Path) -> Iterator[tuple[str, str]]:
    here = Path(__file__).parent
    exported, fused = (str(folder / "onnx" / name) for name in ("model.onnx", "model_opt1.onnx"))
    # transformers.js quantizes the exported graph: its users have no level 1.
    for kind, graph, name in (
        ("int8", fused, "quantize_dynamic"), ("js", exported, "transformersjs_int8"),
    ):  # fmt: skip
        made = target / f"{name}.onnx"
        command = [str(PEER_BIN / "python"), f"{here}/peer_quantize.py", graph, str(made), kind]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            yield name, done.stderr.strip().splitlines()[-1][:160]
    model, to = str(source), str(target)
    for binaries, script, *words in (
        (PEER_BIN, "peer_int8.py", model, exported, to),
        (OPENVINO_BIN, "peer_openvino.py", model, exported, str(_TEXTS), to),
    ):
        command = [str(binaries / "python"), f"{here}/{script}", *words]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        yield from json.loads(done.stdout.splitlines()[-1]).items()
