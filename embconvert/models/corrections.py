"""How published files differ from the source's."""

from dataclasses import dataclass

from embconvert.models.constraints import Identifier, Name, Record, Text


@dataclass(frozen=True, kw_only=True)
class Correction(Record):
    """A setting of a tokenizer's file that contradicts what the source's library does.

    Attributes:
        file: Its name.
        setting: In the file, such as "padding".
        source: What the source's file says.
        library: What sentence-transformers does instead.
        is_corrected: Whether the published file says that; False if such a file cannot.
    """

    file: Name
    setting: Identifier
    source: Text
    library: Text
    is_corrected: bool = True

    @property
    def words(self) -> str:
        """The correction for people."""
        library = f"sentence-transformers {self.library}"
        if not self.is_corrected:
            return f"{self.file} cannot say that {library}: {self.source}"
        return f"{self.file} is corrected: the source's file {self.source}; {library}"
