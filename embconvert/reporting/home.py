"""Where programs find a published folder: beside them on a disk, or on a hub."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Home:
    """Where the files are for whoever reads a page.

    Attributes:
        name: The folder's name; on a hub the repository, as org/name.
        on_hub: Whether it is a repository.
        address: The hub's, as https://huggingface.co; None where it is not for all to see.
        has_evaluation: Whether `embconvert evaluate` has written its page there.
    """

    name: str
    on_hub: bool = False
    revision: str | None = None
    address: str | None = None
    has_evaluation: bool = False

    @property
    def short_name(self) -> str:
        """A repository's name without its organization's."""
        return self.name.rpartition("/")[2] if self.on_hub else self.name

    @property
    def reference(self) -> str:
        """What Python libraries load it by; a folder's bare name could be a hub's model."""
        return self.name if self.on_hub else f"./{self.name}"

    @property
    def files_address(self) -> str | None:
        """Where a hub has the files; None where they are not on a hub that all may see."""
        if not self.on_hub or self.address is None:
            return None
        return f"{self.address}/{self.name}/resolve/{self.revision or 'main'}"
