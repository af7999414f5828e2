"""Says which file does not tell what a module needs."""

import re
from collections.abc import Mapping
from typing import Any

from embconvert.errors import SourceError
from embconvert.source.settings.modules import MODULES

#: Python's words for arguments that were not given: 'a' and 'b'.
_MISSING = re.compile(r"(\w+)\.__init__\(\) missing \d+ required [\w-]+ arguments?: (.+)")


def lacking_settings(settings: Mapping[str, Any] | None, error: Exception) -> SourceError | None:
    """Returns an error that names the settings file of a module that could not be made.

    sentence-transformers takes an empty file where there is none.

    Args:
        settings: The content of the model's settings files, by path.
        error: What was raised when the modules were made.

    Returns:
        None if anything else is wrong.
    """
    found = _MISSING.search(str(error)) if isinstance(error, TypeError) else None
    rules = MODULES.get(found[1]) if found is not None else None
    if settings is None or found is None or rules is None:
        return None
    names = re.findall(r"'(\w+)'", found[2])
    for module in settings.get("modules.json", ()):
        file = f"{module['path']}/{rules.file}".lstrip("/")
        said = settings.get(file)
        if module["type"] == rules.path and not set(names) & set(said or ()):
            fault = "is missing" if said is None else "is incomplete"
            return SourceError(
                f"{file} {fault}: the module {found[1]} needs {' and '.join(names)}",
                "download the model again, with all folders that modules.json names",
            )
    return None
