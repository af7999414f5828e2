"""Writes docs/result.svg, the report's plot of a real conversion; `make picture` runs it.

Usage: python docs/make_picture.py FOLDER
"""

import re
import sys
from pathlib import Path

from embconvert.manifest import MANIFEST_FILE
from embconvert.manifest.codec import parse_manifest
from embconvert.reporting import plots
from embconvert.reporting.summary import ManifestSummary
from embconvert.reporting.templates import page_style

PICTURE = Path(__file__).with_name("result.svg")


def picture(folder: Path) -> str:
    """Returns the plot of a folder's sizes and cosines as an SVG that needs no page around it."""
    conversion = ManifestSummary(parse_manifest((folder / MANIFEST_FILE).read_bytes()))
    svg = plots.size_against_fidelity(
        conversion.verified, conversion.frontier, lambda graph: graph.label
    )
    ground = "svg { background: var(--card); }"
    head, body = re.split(r"(?<=>)", svg, maxsplit=1)
    return f"{head}<style>{_variables()}{ground}{_rules()}</style>{body}\n"


def _variables() -> str:
    """Returns the colours of the report's style sheet, light and dark."""
    style = page_style()
    light, dark = re.findall(r":root \{[^}]*\}", style)[:2]
    return f"{light} @media (prefers-color-scheme: dark) {{ {dark} }} "


def _rules() -> str:
    """Returns the rules of the report's style sheet for plots, without those for phones."""
    lines = page_style().splitlines()
    return " ".join(line for line in lines if re.match(r"svg\.plot|\.c\d", line))


if __name__ == "__main__":
    PICTURE.write_text(picture(Path(sys.argv[1])), encoding="utf-8")
