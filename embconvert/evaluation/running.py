"""Runs a graph over many texts, in a worker process."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from embconvert.errors import FidelityError, reason_of
from embconvert.evaluation.scoring import Row, scoring_for
from embconvert.fidelity.comparison import comparison_for
from embconvert.fidelity.runners import check_untrusted, open_file, weight_files_of
from embconvert.fidelity.texts import Item, batches
from embconvert.fidelity.tokenization import TextTokenizer
from embconvert.fidelity.vector_codes import as_searched
from embconvert.fidelity.workload import WIDEST_BYTES
from embconvert.models.kinds import KINDS, Kind
from embconvert.models.output_rules import OutputRules
from embconvert.models.pair_template import InputRules
from embconvert.models.values import OnnxArtifact
from embconvert.models.vector_code import VectorCode

_BATCH_TOKENS = 2048


class GraphRunner:
    """A graph of a folder with its tokenizer, all of which may be untrusted.

    Args:
        rules: How inputs are read, if not as tokenizer.json alone says.
        output_rules: How outputs are read, if not as float vectors or scores.

    Raises:
        EmbconvertError: The graph or the tokenizer cannot be loaded.
    """

    def __init__(
        self,
        artifact: OnnxArtifact,
        folder: Path,
        *,
        kind: Kind,
        rules: InputRules | None,
        output_rules: OutputRules | None,
    ) -> None:
        _check(artifact)
        self._tokenizer = TextTokenizer(folder)
        self._rules = rules
        self._read = comparison_for(kind, output_rules).read
        self._code = output_rules if isinstance(output_rules, VectorCode) else None
        self._scoring = scoring_for(kind)
        self._name = artifact.path.name
        self._batch_tokens = _BATCH_TOKENS
        if KINDS[kind].has_token_logits:
            width = max(v.shape[-1] for v in artifact.outputs if isinstance(v.shape[-1], int))
            self._batch_tokens = max(1, min(_BATCH_TOKENS, WIDEST_BYTES // (4 * max(1, width))))
        try:
            self._session = open_file(artifact)
        except ValueError as error:
            raise FidelityError(str(error), "convert the model again") from error

    def rows(self, items: Sequence[Item], advance: Callable[[int], None]) -> list[Row]:
        """Returns the packed output of each input; empty for one without tokens.

        `advance` gets the number of inputs since the last call. Raises EmbconvertError if the
        tokenizer or the graph fails.
        """
        tokens = self._tokenizer.tokenize(items, rules=self._rules)
        rows = [Row()] * len(items)
        present = [index for index, length in enumerate(tokens.lengths) if length]
        advance(len(items) - len(present))
        lengths = [tokens.lengths[index] for index in present]
        for group in batches(lengths, tokens=self._batch_tokens):
            indices = [present[place] for place in group]
            try:
                values = self._session.run(tokens.batch(indices, self._session.inputs))
                read = self._read(values, tokens, indices)
                if self._code is not None and read.sentence is not None:
                    read = replace(read, sentence=as_searched(read.sentence, self._code))
                packed = self._scoring.pack(read)
            except MemoryError:
                raise
            except Exception as error:
                raise self._failure(f"cannot be evaluated: {reason_of(error)}") from error
            for index, row in zip(indices, packed, strict=True):
                rows[index] = row
            advance(len(indices))
        return rows

    def _failure(self, problem: str) -> FidelityError:
        return FidelityError(f"{self._name} {problem}", "convert the model again")


def _check(artifact: OnnxArtifact) -> None:
    """Raises EmbconvertError for an untrusted file that must not be opened."""
    check_untrusted(artifact.path, artifact.forms)
    external = artifact.external_data
    listed = () if external is None else (external.path.rpartition("/")[2],)
    if weight_files_of(artifact.path, artifact.forms) != listed:
        raise FidelityError(
            f"{artifact.path} reads other files than the manifest lists", "convert the model again"
        )
