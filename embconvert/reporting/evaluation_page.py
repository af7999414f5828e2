"""The page of a folder's evaluations."""

from embconvert.evaluation.data import counts_text
from embconvert.evaluation.intervals import points_text
from embconvert.evaluation.records import Evaluation, Evaluations
from embconvert.reporting.evaluation_table import interval_text, value_text
from embconvert.reporting.plots import losses_with_intervals
from embconvert.reporting.templates import markup, render
from embconvert.reporting.words import numbered


def evaluation_page(evaluations: Evaluations, *, has_report: bool = False) -> str:
    """Returns the page as HTML, the newest evaluation first.

    Of older ones, files that have changed since then are marked. `has_report` says whether the
    folder's report is beside it.
    """
    shown = list(reversed(evaluations.evaluations))
    headings = numbered([evaluation.data.name for evaluation in shown])
    newest = {graph.path: graph.digests for one in shown[:1] for graph in one.graphs}
    return render(
        "evaluation.html",
        {
            "title": shown[0].model_id if shown else "",
            "parts": list(zip(headings, shown, map(_plot, shown), strict=True)),
            "has_report": has_report,
            "counts_text": counts_text,
            "value_text": value_text,
            "is_earlier": lambda graph: newest.get(graph.path, graph.digests) != graph.digests,
            "points_text": points_text,
            "interval_text": interval_text,
        },
    )


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
