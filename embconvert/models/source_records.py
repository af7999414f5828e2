"""What manifests record of files, and of a source's card and adapters."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated

from annotated_types import MaxLen, MinLen

from embconvert.models.adapters import ADAPTER_FILE, AdapterChoice
from embconvert.models.constraints import (
    ByteCount,
    Commit,
    Name,
    Record,
    RelativePath,
    Sha256,
    Text,
)


@dataclass(frozen=True, kw_only=True)
class FileRecord(Record):
    """A file of the source or of the output.

    Attributes:
        path: Relative to its folder, with forward slashes.
        sha256: Of the content, in hex.
        size_bytes: Of the content.
    """

    path: RelativePath
    sha256: Sha256
    size_bytes: ByteCount


@dataclass(frozen=True, kw_only=True)
class SourceCard(Record):
    """The parts of the source's model card that are passed on.

    Attributes:
        license: A license identifier of the hub, such as "apache-2.0"; None if the card has none.
        license_name: If the license is "other".
        license_link: If the license is "other".
        languages: As in the card.
    """

    license: Name | None = None
    license_name: Name | None = None
    license_link: Name | None = None
    languages: Annotated[tuple[Name, ...], MaxLen(1000)] = ()


@dataclass(frozen=True, kw_only=True)
class AdapterRecord(Record):
    """An adapter that is merged, in the manifest.

    Attributes:
        adapter: A hub id; of a local folder, `./` and its name; or the name of a folder of the
            model's own files.
        revision: The hub's commit; None for a local folder, and for one of the model's own.
        weight: Factor of what it adds.
        is_model: Whether it was given as `--model_id`, and named the base model.
        card: From its model card.
        files: Its settings and tensors; of one inside of the model's weights, the model's.
    """

    adapter: Text
    revision: Commit | None
    weight: float = 1.0
    is_model: bool = False
    card: SourceCard = SourceCard()
    files: Annotated[tuple[FileRecord, ...], MaxLen(10), MinLen(1)]

    @property
    def choice(self) -> AdapterChoice:
        """Returns it as a value of `--adapter`; one of the model's own by its folder's name."""
        is_own = self.revision is None and not self.adapter.startswith("./")
        name = self.adapter.rpartition("/")[2] if is_own else self.adapter
        return AdapterChoice(name=name, revision=self.revision, weight=self.weight)

    @property
    def is_inside(self) -> bool:
        """Whether it is one of several inside of the model's own weights."""
        return all(PurePosixPath(file.path).name != ADAPTER_FILE for file in self.files)

    @property
    def content(self) -> tuple[str, ...]:
        """What decides how it changes a model, apart from its factor."""
        return (*((self.adapter,) if self.is_inside else ()), *(f.sha256 for f in self.files))
