"""The records of the source model, one file for each kind.

Fields that require the loaded model are None if the run did not load it.
"""

import operator
from collections.abc import Mapping
from functools import reduce
from typing import TYPE_CHECKING, Annotated

from embconvert.manifest.kinds.base import KindRecord
from embconvert.models.constraints import OneOf
from embconvert.models.kinds import Kind, class_of

__all__ = ["NOT_LOADED", "KindRecord", "ModelRecord"]

_RECORDS = {kind: class_of(kind, __name__, "RECORD", KindRecord) for kind in Kind}
#: The records of a model that was not loaded.
NOT_LOADED: Mapping[Kind, KindRecord] = {
    kind: record(kind=kind) for kind, record in _RECORDS.items()
}
if TYPE_CHECKING:
    ModelRecord = KindRecord
else:
    # pydantic must know all records, to read a manifest and to write the schema.
    ModelRecord = Annotated[reduce(operator.or_, _RECORDS.values()), OneOf("kind")]
