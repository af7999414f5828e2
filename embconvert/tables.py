"""Tables on a terminal of any width, without cutting a figure, and in a notebook."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embconvert.foreign_text import one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

#: Minimum width of a column with sentences, which wrap.
_NARROWEST_SENTENCE = 16
_UNLIMITED = 10_000


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table.

    Attributes:
        title: Heading.
        rank: 0 for columns that are always shown; of the others the highest rank is dropped first
            on a narrow terminal.
        is_word: Whether cells are names, which stand on the left, as those of the first column do.
        is_sentence: Whether cells are text that may wrap.
    """

    title: str
    rank: int = 0
    is_word: bool = False
    is_sentence: bool = False


def print_table(
    console: "Console", columns: Sequence[Column], rows: Sequence[Sequence[str]]
) -> None:
    """Prints as many columns as fit, and names the dropped ones.

    If the columns of rank 0 do not fit, each row is printed as a list of all its figures.

    Args:
        columns: The first one names a row.
        rows: One cell per column.
    """
    # Breaking headings into lines is better than dropping a column.
    for most, separator in [(None, " "), *((rank, "\n") for rank in _ranks(columns))]:
        shown = [n for n, column in enumerate(columns) if most is None or column.rank <= most]
        titles = [columns[n].title.replace(" ", separator) for n in shown]
        table = _table([columns[n] for n in shown], titles, [[r[n] for n in shown] for r in rows])
        if _least_width(table, console) <= console.width:
            console.print(table)
            left_out = [columns[n].title for n in range(len(columns)) if n not in shown]
            if left_out:
                words = f"a wider terminal also shows: {', '.join(left_out)}"
                console.print(words, soft_wrap=True)
            return
    for line in _stacked(columns, rows):
        console.print(line, soft_wrap=True)


def html_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    """Returns the whole table as HTML without style, which a notebook gives it."""

    def line(cells: Sequence[str], tag: str) -> str:
        return (
            "<tr>" + "".join(f"<{tag}>{html.escape(one_line(c))}</{tag}>" for c in cells) + "</tr>"
        )

    head = line([column.title for column in columns], "th")
    body = "".join(line(row, "td") for row in rows)
    return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"


def _ranks(columns: Sequence[Column]) -> list[int]:
    return sorted({column.rank for column in columns}, reverse=True)


def _table(
    columns: Sequence[Column], titles: Sequence[str], rows: Sequence[Sequence[str]]
) -> "Table":
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for n, (column, title) in enumerate(zip(columns, titles, strict=True)):
        widest = max(map(cell_len, (*title.split("\n"), *(row[n] for row in rows))))
        table.add_column(
            title,
            justify="left" if n == 0 or column.is_word or column.is_sentence else "right",
            no_wrap=not column.is_sentence,
            min_width=min(widest, _NARROWEST_SENTENCE) if column.is_sentence else widest,
        )
    for row in rows:
        table.add_row(*row)
    return table


def _least_width(table: "Table", console: "Console") -> int:
    # The options' width would limit the measured width.
    return console.measure(table, options=console.options.update(width=_UNLIMITED)).minimum


def _stacked(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    width = max((len(column.title) for column in columns[1:]), default=0)
    lines = []
    for name, *cells in rows:
        lines.append(name)
        lines += [
            f"  {column.title:<{width}}  {cell}"
            for column, cell in zip(columns[1:], cells, strict=True)
        ]
    return lines
