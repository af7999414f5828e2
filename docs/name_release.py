"""Writes a release's names into README.md, before the wheel is built: python name_release.py REPOSITORY TAG COMMIT.

Package indexes show the README without the files that it links to.
"""

import re
import sys
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:)([^)\s]+)\)")


def named(text: str, repository: str, tag: str, commit: str) -> str:
    """Returns a README with absolute links, and with the names of a release for its placeholders.

    Args:
        repository: On GitHub, as owner/name.
        tag: Of the release, as v1.2.3.
    """

    def absolute(link: re.Match[str]) -> str:
        view = "raw" if link[1] else "blob"
        return f"{link[1]}[{link[2]}](https://github.com/{repository}/{view}/{tag}/{link[3]})"

    text = _LINK.sub(absolute, text)
    # Registries of images know lower case only.
    text = text.replace("ghcr.io/OWNER/embconvert", f"ghcr.io/{repository.lower()}")
    text = text.replace("OWNER/embconvert", repository)
    return text.replace("X.Y.Z", tag.removeprefix("v")).replace("@COMMIT", f"@{commit}")


if __name__ == "__main__":
    README.write_text(named(README.read_text(encoding="utf-8"), *sys.argv[1:]), encoding="utf-8")
