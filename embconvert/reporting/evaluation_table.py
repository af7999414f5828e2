"""The table of `embconvert evaluate`."""

from collections.abc import Sequence

from embconvert.evaluation.intervals import points_text
from embconvert.evaluation.records import Evaluation, FigureRecord
from embconvert.tables import Column


def evaluation_header(main: str, others: Sequence[str]) -> tuple[Column, ...]:
    """Returns the columns of a table, for the main figure and others by name."""
    return (
        Column(title="file"),
        Column(title="size", rank=3),
        Column(title=main),
        Column(title="loss in points", rank=1),
        Column(title="95% interval", rank=2),
        Column(title="verdict", is_sentence=True),
        *(Column(title=name, rank=4 + n) for n, name in enumerate(others)),
    )


def header_of(evaluation: Evaluation) -> tuple[Column, ...]:
    main, *others = (figure.name for figure in evaluation.graphs[0].figures)
    return evaluation_header(main, others)


def evaluation_rows(evaluation: Evaluation) -> list[list[str]]:
    """Returns one row per graph, the baseline first."""
    rows = []
    for number, graph in enumerate(evaluation.graphs):
        main, *others = graph.figures
        size = "-" if graph.size_bytes is None else f"{graph.size_bytes / 1e6:.1f} MB"
        loss = ["-", "-", "baseline"]
        if number:
            loss = [points_text(main.loss), interval_text(main), main.verdict]
        rows.append([graph.path, size, value_text(main), *loss, *map(value_text, others)])
    return rows


def value_text(figure: FigureRecord) -> str:
    """Returns a figure with enough digits to compare it; shares of neighbours in percent."""
    return f"{figure.value:.1%}" if figure.name.endswith("kept") else f"{figure.value:.4f}"


def interval_text(figure: FigureRecord) -> str:
    return f"{points_text(figure.low)} to {points_text(figure.high)}"
