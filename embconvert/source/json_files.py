"""Reading the JSON files of a model, with bounds."""

import json
from pathlib import Path
from typing import Any

from embconvert.errors import SourceError

#: No model needs more.
MAX_JSON_BYTES = 1 << 24


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        SourceError: The file is missing, no JSON object, or absurdly large.
    """
    value = read_any_json(path)
    if not isinstance(value, dict):
        raise SourceError(f"{path.name} is no JSON object", "download the model again")
    return value


def read_any_json(path: Path) -> Any:
    """Reads any JSON value; raises as read_json."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise SourceError(
                f"{path.name} is over {MAX_JSON_BYTES >> 20} MiB", "no model needs that; check it"
            )
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, MemoryError) as error:
        raise SourceError(f"{path.name} is no JSON: {error}", "download the model again") from error
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> SourceError:
    """Returns the error for a file that cannot be opened."""
    return SourceError(
        f"{path} cannot be read: {error.strerror}", "check the path and its permissions"
    )
