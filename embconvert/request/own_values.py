"""Parsers of values that only one option has; an invalid value is a UsageError with a hint."""

import math

from embconvert.errors import UsageError
from embconvert.models.adapters import AdapterChoice
from embconvert.models.choices import (
    OPSETS,
    PRECISION_SYNONYMS,
    QUANTIZED_PRECISIONS,
    Inputs,
    MaxSize,
    Precision,
)
from embconvert.models.compat import OLDEST
from embconvert.models.forms import FORMATS, FormKind
from embconvert.models.recipes import Recipe
from embconvert.models.routes import is_route_name
from embconvert.models.suggestions import unknown_value
from embconvert.request.records import AUTO_SHARD, Shard
from embconvert.request.values import (
    MAX_COUNT,
    SHOWN,
    by_word,
    choice,
    decimal,
    positive,
    whole_number,
)

_MAX_FACTOR = 1000


def route(word: str) -> str:
    if not is_route_name(word):
        raise UsageError(
            f"--route {word[:SHOWN]!r} is not the name of a route",
            "routes have names such as query and document",
        )
    return word


def adapters(words: str) -> tuple[AdapterChoice, ...]:
    """Parses one adapter, or several separated by commas."""
    return tuple(map(_adapter, words.split(",")))


def _adapter(word: str) -> AdapterChoice:
    """Parses `ID`, `ID@REV` or `ID=WEIGHT`; a local folder may have an @ in its name."""
    name, equals, number = word.strip().rpartition("=")
    weight = 1.0
    if equals:
        weight = decimal(number)
        if not (math.isfinite(weight) and 0 < abs(weight) <= _MAX_FACTOR):
            raise UsageError(
                f"--adapter {word[:SHOWN]!r}: the factor after = is not a number, or is 0",
                "write --adapter ID, or --adapter ID=0.5",
            )
    else:
        name = number
    revision: str | None = None
    if not name.startswith(("/", ".", "~")):
        name, at, wanted = name.partition("@")
        revision = wanted if at else None
    if not name.strip() or "\0" in name or revision == "":
        raise UsageError(
            f"--adapter {word[:SHOWN]!r} names no adapter",
            "write a hub id (org/name), a local folder, or the name of one of the model's adapters",
        )
    return AdapterChoice(name=name, revision=revision, weight=weight)


def formats(word: str) -> tuple[FormKind, ...]:
    """Parses one format of further files, or several separated by commas."""
    parse = choice("format", {kind.value: kind for kind in FORMATS})
    return tuple(dict.fromkeys(parse(part.strip()) for part in word.split(",")))


def precisions(word: str) -> tuple[Precision, ...] | None:
    """Parses one precision, several separated by commas, or `auto` (None)."""
    if word.lower() == "auto":
        return None
    known = {p.value: p for p in QUANTIZED_PRECISIONS} | {"auto": None}
    synonyms = {**PRECISION_SYNONYMS, Precision.FLOAT32.value: Precision.FLOAT32}
    parse = choice("quantize", known, synonyms)
    found = [parse(part.strip()) for part in word.split(",")]
    if Precision.FLOAT32 in found:
        raise UsageError(
            f"--quantize {word}: Float32 is not quantized",
            "omit it: `embconvert all` publishes it, too",
        )
    if None in found:
        raise UsageError(
            f"--quantize {word}: auto cannot be combined with precisions",
            "write --quantize auto, or only precisions",
        )
    return tuple(dict.fromkeys(found))


#: In the order in which a size's end is compared with them.
_UNITS = {
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "kB": 10**3, "MB": 10**6, "GB": 10**9, "%": 0.01,
}  # fmt: skip


def inputs(word: str) -> Inputs:
    """Reads the value of --inputs; the order of the names does not matter."""
    names = {name.strip().lower() for name in word.split(",")}
    for known in Inputs:
        if names == set(known.names):
            return known
    raise UsageError(
        f"--inputs {word!r} is unknown", f"write --inputs {' or --inputs '.join(Inputs)}"
    )


def size(word: str) -> MaxSize:
    """Parses a file size (25MB, 1.5GB, 900KiB) or a percentage of the float32 size (30%)."""
    text = word.strip()
    units = (unit for unit in _UNITS if text.lower().endswith(unit.lower()))
    unit = next(units, "")
    number = text.removesuffix(text[len(text) - len(unit) :]) if unit else text
    value = decimal(number) * _UNITS.get(unit, 1)
    if not unit and value > 0:
        raise UsageError(
            f"--max_size {word} has no unit",
            f"write --max_size {text}MB, or {text}% of the float32 size",
        )
    if unit == "%" and 0 < value <= 1:
        return MaxSize(text=f"{number.strip()}% of the float32 size", share=value)
    if unit != "%" and 1 <= value < 2**62:
        return MaxSize(text=text, size_bytes=int(value))
    raise UsageError(
        f"--max_size {word} is not a size", "write it as 25MB, 1.5GB, or 30% (of the float32 size)"
    )


def speedup(word: str) -> float:
    value = decimal(word)
    if not 0 < value < math.inf:
        raise UsageError(
            f"--min_speedup must be a number above 0, not {word}", "for example, --min_speedup 1.5"
        )
    return value


def points(word: str) -> float:
    """Reads the value of --max_loss."""
    value = decimal(word)
    if not 0 <= value <= 100:
        raise UsageError(
            f"--max_loss must be a number of points from 0 to 100, not {word}",
            "for example, --max_loss 0.5",
        )
    return value


def recipes(word: str) -> tuple[Recipe, ...]:
    """Parses `none`, one recipe, or several separated by commas."""
    if word.lower() == "none":
        return ()
    parse = choice("recipes", {"none": None, **by_word(Recipe)})
    found = [parse(part.strip()) for part in word.split(",")]
    if None in found:
        raise UsageError(
            f"--recipes {word[:SHOWN]}: none cannot be combined with recipes",
            "write --recipes none, or only recipes",
        )
    return tuple(dict.fromkeys(found))


def runtime(word: str) -> tuple[int, int]:
    """Parses a release of ONNX Runtime, such as 1.22 or 1.22.1, to major and minor."""
    numbers = [whole_number(part) for part in word.split(".")]
    if len(numbers) not in (2, 3) or None in numbers:
        raise UsageError(
            f"--min_onnxruntime must be a version, not {word}",
            "for example, --min_onnxruntime 1.22",
        )
    major, minor, *_ = (number or 0 for number in numbers)
    if (major, minor) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise UsageError(
            f"--min_onnxruntime {word} is older than {oldest}, the oldest supported release",
            f"write --min_onnxruntime {oldest} or newer",
        )
    return major, minor


def opset(word: str) -> int:
    number = whole_number(word)
    if number is None or number not in OPSETS:
        raise UsageError(
            f"--opset must be between {OPSETS[0]} and {OPSETS[-1]}, not {word}",
            "for example, --opset 17, the default",
        )
    return number


def device(word: str) -> str:
    kind, _, index = word.lower().partition(":")
    if kind not in ("cpu", "cuda", "mps", "xpu") or (index and whole_number(index) is None):
        known = ("cpu", "cuda", "cuda:0", "mps", "xpu")
        if kind == "gpu":  # otherwise xpu would be suggested, which looks more like it
            raise UsageError(
                f"--device {word!r} is unknown",
                f"did you mean cuda? --device can be {', '.join(known)}",
            )
        raise unknown_value("--device", word, known)
    return word.lower()


def shard(word: str) -> Shard | str:
    """Parses a part of a list, such as 1/4, or the word auto."""
    if word.lower() == AUTO_SHARD:
        return AUTO_SHARD
    index, _, number = word.partition("/")
    parse = positive("shard", MAX_COUNT)
    try:
        found = Shard(index=parse(index) - 1, count=parse(number))
    except UsageError:
        found = Shard(index=0, count=0)
    if found.index >= found.count:
        raise UsageError(
            f"--shard must be a part of a list, not {word}",
            "write --shard 1/4 to --shard 4/4, or auto",
        )
    return found
