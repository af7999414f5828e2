"""The page of a folder's evaluations."""

from collections.abc import Sequence

from embconvert.evaluation.data import counts_text
from embconvert.evaluation.records import Evaluation, Evaluations
from embconvert.reporting.evaluation_table import interval_text, value_text
from embconvert.reporting.plots import losses_with_intervals
from embconvert.reporting.templates import markup, render


def evaluation_page(evaluations: Evaluations, *, has_report: bool = False) -> str:
    """Returns the page as HTML, the newest evaluation first.

    `has_report` says whether the folder's report is beside it.
    """
    shown = list(reversed(evaluations.evaluations))
    return render(
        "evaluation.html",
        {
            "title": shown[0].model_id if shown else "",
            "parts": list(zip(_headings(shown), shown, map(_plot, shown), strict=True)),
            "has_report": has_report,
            "counts_text": counts_text,
            "value_text": value_text,
            "interval_text": interval_text,
        },
    )


def _headings(evaluations: Sequence[Evaluation]) -> list[str]:
    """Returns the name of each one's data, numbered from the newest if several have it."""
    names = [evaluation.data.name for evaluation in evaluations]
    return [
        f"{name} ({names[: place + 1].count(name)})" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    ]


def _plot(evaluation: Evaluation) -> object:
    """Returns the losses of the main figure; None for a baseline alone."""
    others = evaluation.graphs[1:]
    losses = {
        graph.path.removesuffix(".onnx").rpartition("/")[2]: (
            graph.main.low,
            graph.main.loss,
            graph.main.high,
        )
        for graph in others
    }
    return markup(losses_with_intervals(losses, others[0].main.name)) if others else None
