"""Puts what benchmarks measure in its place in the documentation."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path


def replace_part(page: Path, command: str, text: str) -> None:
    """Replaces what a command wrote before, between two comments that name it.

    Raises:
        ValueError: The page does not have both comments.
    """
    start, end = f"<!-- {command} -->", f"<!-- end of {command} -->"
    before, _, rest = page.read_text().partition(start)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"{page} does not have {start} and {end}")
    page.write_text(f"{before}{start}\n\n{text}\n\n{end}{after}")


def replace_rows(page: Path, rows: Sequence[str], named_by: int) -> None:
    """Replaces rows of a table that were measured again; the others stay.

    Args:
        rows: As Markdown.
        named_by: How many cells say what a row is about.

    Raises:
        ValueError: The page does not have one of them.
    """
    lines = page.read_text().split("\n")
    places = {_name(line, named_by): number for number, line in enumerate(lines)}
    for row in rows:
        name = _name(row, named_by)
        if name not in places:
            raise ValueError(f"{page} has no row {' | '.join(name)}")
        lines[places[name]] = row
    page.write_text("\n".join(lines))


def _name(row: str, cells: int) -> tuple[str, ...]:
    return tuple(row.split(" | ")[:cells]) if row.startswith("| ") else ()


def where_and_when(machine: dict[str, str | float], versions: dict[str, dict[str, str]]) -> str:
    """Returns the date, the machine and the versions of the packages on each side, in words."""
    sides = "; ".join(
        f"{side}: " + ", ".join(f"{name} {version}" for name, version in found.items())
        for side, found in versions.items()
    )
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {machine['cores']} cores of {machine['cpu']}, "
        f"{machine['memory_gib']} GiB, {machine['kernel']}, load {machine['load']} before; {sides}"
    )
