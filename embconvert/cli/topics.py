"""The topics of `embconvert help`, made of the tables that the program itself reads.

`docs/make_reference.py` makes the reference pages of the same topics.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from embconvert.cli.program_topics import layouts, programs
from embconvert.cli.topic import Topic, code, release
from embconvert.errors import EXIT_CODES
from embconvert.models.choices import OptimizationLevel, Output, Precision
from embconvert.models.compat import OLDEST, oldest_for_precision
from embconvert.models.descriptions import LEVELS
from embconvert.models.descriptions import PRECISIONS as PRECISION_WORDS
from embconvert.models.descriptions import RECIPES as RECIPE_WORDS
from embconvert.models.kinds import KINDS, KindRules, Measure
from embconvert.models.recipes import DEFAULT_RECIPES, RECIPES, Recipe


def _precisions() -> Topic:
    from embconvert.fidelity.floors import FLOORS

    floors = FLOORS[Measure.COSINE]

    def runtime(precision: Precision) -> str:
        oldest = oldest_for_precision(precision, None)
        return "" if oldest == OLDEST else f"{release(oldest)} or newer"

    return Topic(
        title="Precisions",
        introduction=(
            "Values of `--quantize`, except Float32, in any case; `int8`, `uint8`, `fp16`, `int4`, "
            "`fp8` and similar names of other programs are understood. Files below a minimum are "
            "not published. For quantized precisions, `--min_cosine` replaces the minimum mean "
            "cosine (of rerankers, the minimum mean agreement), and `--min_neighbours` the minimum "
            "share of nearest neighbours that stay; it also removes the minimum rank correlation. "
            "`--quantize auto` chooses the smallest precision that meets a budget."
        ),
        columns=(
            "precision",
            "what it is",
            "minimum mean cosine",
            "minimum rank correlation",
            "minimum kept neighbours",
            "needs ONNX Runtime",
        ),
        rows=tuple(
            (
                f"`{precision}`",
                PRECISION_WORDS[precision],
                f"{floors[precision].mean_cosine:g}",
                f"{floors[precision].rank_correlation:g}",
                f"{floors[precision].neighbours:.0%}",
                runtime(precision),
            )
            for precision in Precision
        ),
    )


def _figures() -> Topic:
    from embconvert.reporting.table import COLUMN_WORDS

    return Topic(
        title="Figures of the result table",
        introduction=(
            "Every file is compared with the source model on built-in texts: on a sample, and on "
            "all if the sample does not decide. `embconvert evaluate` compares on your data. A "
            "narrow terminal shows fewer columns; `report.html` and `--json` have all."
        ),
        columns=("column", "meaning"),
        rows=tuple((f"`{title}`", words) for title, words in COLUMN_WORDS.items()),
    )


def _recipes() -> Topic:
    def name(precision: Precision, recipe: Recipe) -> str:
        return f"{precision} (default)" if recipe in DEFAULT_RECIPES[precision] else str(precision)

    def words(recipe: Recipe) -> str:
        entry = RECIPE_WORDS[recipe]
        source = f" ([{entry.paper[0]}]({entry.paper[1]}))" if entry.paper else ""
        return f"{entry.words.removesuffix('.')}{source}."

    return Topic(
        title="Recipes",
        introduction=(
            "A recipe is a technique that reduces quantization error. `--recipes` selects them, "
            "and the manifest records them. For the most accurate QInt8, at some cost of speed: "
            "`--recipes token_scales,split,bias_correction,row_table`."
        ),
        columns=("recipe", "what it does", "for"),
        rows=tuple(
            (
                f"`{recipe}`",
                words(recipe),
                ", ".join(
                    name(p, recipe) for p, supported in RECIPES.items() if recipe in supported
                ),
            )
            for recipe in RECIPE_WORDS
        ),
    )


def _levels() -> Topic:
    return Topic(
        title="Optimization levels",
        introduction=(
            "Values of `--optimize`. No level changes the numbers by more than rounding. If the "
            "fused graph does not give the source's embeddings, only no-op nodes are removed, and "
            "you are told."
        ),
        columns=("level", "what it may do"),
        rows=tuple((f"`{int(level)}`", LEVELS[level]) for level in OptimizationLevel),
    )


def _kinds() -> Topic:
    return Topic(
        title="Kinds of models",
        introduction=(
            "The kind of the source decides the outputs of its graphs, and what they are compared "
            "with. `--task` overrides it. Variants are models of a kind that are read or made in a "
            "way of their own, with what they are recognized by. Of a model that also reads images "
            "or sound, such as CLIP, SigLIP, EmbeddingGemma 2 or Qwen3-VL-Embedding, only what "
            "reads texts is converted, for `--layout` `hub`, `singlefile` and `openvino`."
        ),
        columns=("kind", "`--task`", "output", "compared with", "`--layout`", "variants"),
        rows=tuple(
            (
                str(kind),
                code(dict.fromkeys(rules.tasks)),
                _or_with_output(rules, rules.named_outputs),
                rules.reference,
                _or_with_output(rules, rules.layouts_for),
                "; ".join(rules.variants),
            )
            for kind, rules in KINDS.items()
        ),
    )


def _or_with_output(rules: KindRules, values: Callable[[Output], tuple[str, ...]]) -> str:
    """Returns a kind's values, and those of each other value of --output if they differ."""
    usual = values(Output.BOTH)
    others = [(o, values(o)) for o in rules.outputs if values(o) != usual]
    return "; ".join(
        [code(usual), *(f"with `--output {o}`: {code(changed)}" for o, changed in others)]
    )


def _exit_codes() -> Topic:
    return Topic(
        title="Exit codes",
        introduction=(
            "On 6, 7, 8 and 11, the files that passed are still published, unless that would "
            "remove or replace published files. Every error is two lines: `error:` what is wrong, "
            "`hint:` what to do next. `--debug` adds the traceback."
        ),
        columns=("code", "meaning"),
        rows=tuple(EXIT_CODES.items()),
    )


def _data() -> Topic:
    from embconvert.evaluation.figures import FIGURES, MAIN_FIGURES
    from embconvert.evaluation.reading import FORM_WORDS

    return Topic(
        title="Data to evaluate on",
        introduction=(
            "What `embconvert evaluate --data PATH` reads. Files are in UTF-8; what they are, is "
            "found out by their names and columns and said. Columns may have other usual names, "
            "such as `query,positive,negative` or `text1,text2,label`, and any others beside them; "
            "a table without a header may have a score or a third text in its last column. The "
            "first figure is the main one; each has the interval of its loss. Rerankers rank the "
            "documents that `candidates.tsv` names for each query (query-id, corpus-id), or else "
            "20 with words in common and the relevant ones. A document with a query's own id is no "
            "result of it, as in BEIR's evaluation, unless it is relevant."
        ),
        columns=("data", "what it looks like", "figures"),
        rows=tuple(
            (str(form), FORM_WORDS[form], ", ".join((MAIN_FIGURES[form], *FIGURES[form])))
            for form in FORM_WORDS
        ),
    )


#: Every topic by its name; a function makes it, because some tables take long to import.
TOPICS: Mapping[str, Callable[[], Topic]] = MappingProxyType(
    {
        "precisions": _precisions,
        "figures": _figures,
        "layouts": layouts,
        "consumers": programs,
        "kinds": _kinds,
        "recipes": _recipes,
        "levels": _levels,
        "data": _data,
        "exit-codes": _exit_codes,
    }
)
