"""The forms of files that are derived from published graphs: one line for each kind.

A kind has a module of its name in `derive/` (how a file is made) and in `fidelity/runners/` (how it
is run).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from embconvert.models.constraints import Count, Name, Record
from embconvert.models.shapes import Shape
from embconvert.overriding import override


class FormKind(StrEnum):
    #: ONNX with a fixed number of texts and of tokens.
    SHAPE = "shape"
    #: ONNX Runtime's own format, for its builds without ONNX.
    ORT = "ort"
    #: ONNX that reads texts: with the tokenizer, by operators of onnxruntime-extensions.
    TEXT = "text"
    #: OpenVINO's Intermediate Representation, of `--layout openvino`.
    OPENVINO = "openvino"


@dataclass(frozen=True, kw_only=True)
class FormRules:
    """What the files of a kind have in common.

    Attributes:
        endings: Of the file's name, then of the names of the files beside it.
        weights: Ending of the file that has its weights; None if it has them itself, or is ONNX.
        is_timed: Whether its speed is measured in turns with graphs of any batch.
        is_converted: Whether another program makes it, with all weights in memory.
    """

    endings: tuple[str, ...] = (".onnx",)
    weights: str | None = None
    is_timed: bool = False
    is_converted: bool = False
    runtime: str = "ONNX Runtime"

    @property
    def is_onnx(self) -> bool:
        return self.endings[0] == ".onnx"


#: Of the file with the weights of OpenVINO's `.xml`.
IR_WEIGHTS_SUFFIX = ".bin"

FORMS: Mapping[FormKind, FormRules] = {
    FormKind.SHAPE: FormRules(),
    FormKind.ORT: FormRules(
        endings=(".ort", ".required_operators_and_types.config"), is_timed=True
    ),
    FormKind.TEXT: FormRules(),
    FormKind.OPENVINO: FormRules(
        endings=(".xml", IR_WEIGHTS_SUFFIX),
        weights=IR_WEIGHTS_SUFFIX,
        is_timed=True,
        is_converted=True,
        runtime="OpenVINO",
    ),
}


class TokenizerPlace(StrEnum):
    """Where texts are tokenized."""

    #: By the program that loads the folder.
    SEPARATE = "separate"
    #: Also in further graphs.
    IN_GRAPH = "in_graph"


#: The values of `--format`.
FORMATS = (FormKind.ORT,)
#: Maximum tokens of a fixed batch, including padding; a manifest must not ask for more memory.
MOST_IN_A_BATCH = 1 << 22
#: The input and the output of graphs that read texts; Oracle expects these names.
TEXT_INPUT, TEXT_OUTPUT = "input", "embedding"
#: Of the names of all derived files.
ENDINGS = tuple(dict.fromkeys(ending for rules in FORMS.values() for ending in rules.endings))


@dataclass(frozen=True, kw_only=True)
class FileForm(Record):
    """What a file is derived to.

    Attributes:
        shape: Of a fixed shape; None for other kinds.
    """

    kind: FormKind
    shape: Shape | None = None

    @override
    def __str__(self) -> str:
        return str(self.shape or self.kind)

    @property
    def problem(self) -> str | None:
        """What is wrong with its shape; None if nothing is."""
        if (self.kind is FormKind.SHAPE) is (self.shape is None):
            return "must have a shape if it is one, and none otherwise"
        if self.shape is not None and self.shape.texts * self.shape.tokens > MOST_IN_A_BATCH:
            return f"must have at most {MOST_IN_A_BATCH:,} tokens in a batch"
        return None

    @property
    def rules(self) -> FormRules:
        return FORMS[self.kind]

    def file(self, source: str) -> str:
        """Returns the path of the file that is derived from a graph."""
        stem = source.removesuffix(".onnx")
        return (f"{stem}_{self}" if self.rules.is_onnx else stem) + self.rules.endings[0]


@dataclass(frozen=True, kw_only=True)
class PaddingRecord(Record):
    """How texts are padded to the tokens of a fixed shape.

    Attributes:
        side: Where the padding is.
        token_id: Of the padding token, whose attention mask is 0.
        token: As text.
        type_id: Its token type.
    """

    side: Literal["left", "right"]
    token_id: Count
    token: Name
    type_id: Count


def most_tokens(forms: Iterable[FileForm]) -> int | None:
    """Returns how many tokens a text may have in a file of these forms; None for any number."""
    return min((form.shape.tokens for form in forms if form.shape is not None), default=None)


def is_onnx(forms: Iterable[FileForm]) -> bool:
    """Whether a file of these forms is an ONNX graph."""
    return all(form.rules.is_onnx for form in forms)


def is_timed(forms: Iterable[FileForm]) -> bool:
    """Whether the speed of a file of these forms is measured in turns with others."""
    return all(form.rules.is_timed for form in forms)
