"""What a program that computes embeddings demands of a published folder."""

from dataclasses import dataclass

from embconvert.models.choices import TOKEN_TYPES, Layout, Output, PoolingMode
from embconvert.models.compat import Version

#: What most programs send.
TWO_INPUTS = ("input_ids", "attention_mask")
#: The modules of a model whose token vectors another program may pool.
POOLED = frozenset({"Transformer", "Pooling", "Normalize"})


@dataclass(frozen=True)
class Evidence:
    """Where it was read what a program demands.

    Attributes:
        where: A repository on GitHub, or a site with documentation.
        date: Of the commit, or of the reading.
        version: The commit or tag; "" for a site.
    """

    where: str
    file: str
    date: str
    version: str = ""

    @property
    def link(self) -> str:
        """In Markdown."""
        if not self.version:
            return f"{self.where} (`{self.file}`, {self.date})"
        address = f"https://github.com/{self.where}/tree/{self.version}"
        return f"[{self.where}]({address}) (`{self.file}`, {self.date})"


@dataclass(frozen=True)
class Run:
    """A test that loads a folder unchanged and compares its vectors with the source's.

    Attributes:
        test: A function in tests/consumers.
        is_engine: Whether it is the engine in the program, used by the program's rules.
    """

    program: str
    test: str
    is_engine: bool = False


@dataclass(frozen=True, kw_only=True)
class Consumer:
    """A program, or one of its classes.

    Attributes:
        layout: With which its folder is made; None if it loads no ONNX.
        takes: The value of each token that it needs, which only some kinds of models give; None if
            it can use all kinds of its layout.
        sends: Inputs that it always sends; None for those that the graph has.
        may_send: Inputs that it sends if the graph has them.
        reads: The output that it reads, in words.
        rank: Of this output; None for any.
        pools: Pooling modes that it applies itself to the vectors of tokens; empty if it takes
            pooled embeddings, or uses the folder's modules.
        normalizes: Whether it L2-normalizes; None if the user decides, or it takes embeddings.
        fills_queries: Whether it fills short queries of late-interaction models with tokens that it
            scores, without attention to them.
        outputs: Values of --output that it can use, the best first.
        files: Files of the folder that it reads besides the graph.
        oldest_onnxruntime: The oldest ONNX Runtime that it contains or allows; None if unknown.
        newest_onnxruntime: The newest; None if the user chooses it, or if unknown.
        source: Where this was read; None for what no program demands.
        runs: Tests of it; without any, it was only read.
    """

    name: str
    layout: Layout | None
    takes: str | None = None
    sends: tuple[str, ...] | None = None
    may_send: tuple[str, ...] = (TOKEN_TYPES,)
    reads: str = "`sentence_embedding`"
    rank: int | None = None
    pools: tuple[PoolingMode, ...] = ()
    normalizes: bool | None = None
    fills_queries: bool = False
    outputs: tuple[Output, ...] = tuple(Output)
    files: tuple[str, ...] = ("tokenizer.json",)
    external_data: bool = True
    oldest_onnxruntime: Version | None = None
    newest_onnxruntime: Version | None = None
    source: Evidence | None = None
    runs: tuple[Run, ...] = ()
    remark: str = ""
