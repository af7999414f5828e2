"""`typing.override`, which Python 3.11 lacks.

mypy asks for it in the package (`explicit-override` in pyproject.toml): a method of a base class
that is renamed or removed is an error where a subclass still overrides it.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import override
else:

    def override(method):
        """Returns the method; only mypy reads the decorator."""
        return method


__all__ = ["override"]
