"""What this is, to the commit: `embconvert version`."""

import json
import os
import platform
from importlib import metadata
from typing import Any

from embconvert import __version__
from embconvert.request.records import Finished, VersionRequest


def version(request: VersionRequest) -> Finished:
    """Tells the tool's version; as JSON also its commit and every installed package."""
    if not request.json:
        return Finished(text=f"embconvert {__version__}")
    facts: dict[str, Any] = {
        "embconvert": __version__,
        # Set when the image is built.
        "revision": os.environ.get("EMBCONVERT_REVISION"),
        "python": platform.python_version(),
        "packages": {
            str(distribution.metadata["Name"]): distribution.version
            for distribution in sorted(
                metadata.distributions(), key=lambda d: str(d.metadata["Name"]).lower()
            )
        },
    }
    return Finished(text=json.dumps(facts, indent=2))
