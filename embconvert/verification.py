"""Comparing graphs with the source: loads the source once, and lets it go when it may."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from embconvert.config import Request
from embconvert.console import Console
from embconvert.errors import FidelityError
from embconvert.fidelity import Fidelity, compare
from embconvert.model import OnnxArtifact, ResolvedModel
from embconvert.quantize.settings import Feed
from embconvert.source_model import SourceModel
from embconvert.texts import batches, calibration_texts, verification_texts
from embconvert.tokenization import TokenizedTexts, tokenize
from embconvert.verify import Workload, WorkloadRun, make_workload, run_graph, run_workload

# Calibration learns ranges; longer texts show no others and take much longer.
_CALIBRATION_TOKENS = 128


class Verifier:
    """Holds the source model while it is needed, and the reference that it gave."""

    def __init__(
        self, request: Request, resolved: ResolvedModel, folder: Path, console: Console
    ) -> None:
        self._request = request
        self._resolved = resolved
        self._folder = folder
        self._console = console
        self._source: SourceModel | None = None
        self._max_seq_length = resolved.max_seq_length
        self._prepared: tuple[list[str], TokenizedTexts, Workload, WorkloadRun] | None = None

    def load_source(self) -> SourceModel:
        """Returns the source model; it is loaded at the first call."""
        if self._source is None:
            self._console.say(f"loading {self._resolved.model_id}")
            self._source = SourceModel.load(
                self._resolved,
                device=self._request.device,
                pooling=self._request.pooling,
                trust_remote_code=self._request.trust_remote_code,
                warn=self._console.warn,
            )
            self._max_seq_length = self._source.max_seq_length
            self._source.save_missing_files(self._folder)
        return self._source

    def finish_export(self) -> dict[str, Any]:
        """Lets the source go once its export stands; returns what the manifest says of it."""
        source = self.load_source()
        facts = {"pooling": list(source.pooling), "dimension": source.dimension}
        source.release()
        self._source = None
        return facts

    def facts(self) -> dict[str, Any]:
        """Returns what the manifest says of the comparison."""
        texts = verification_texts()
        return {
            "texts_digest": texts.digest,
            "texts": len(texts.texts),
            "skipped": self._request.skip_validation,
            "reference": "sentence-transformers encode(), float32, no prompt",
        }

    def verify(self, artifact: OnnxArtifact, name: str) -> Fidelity:
        """Compares a graph with the source.

        Args:
            artifact: The graph.
            name: For messages.

        Raises:
            FidelityError: It doesn't load, doesn't run, or gives values that are not numbers.
        """
        ids, tokens, workload, reference = self._prepare()
        try:
            with self._console.progress(f"verifying {name}", workload.size) as advance:
                run = run_graph(artifact, tokens, workload, advance)
            return compare(
                reference.embeddings,
                run.embeddings,
                text_ids=ids,
                batch_cosine=run.batch_cosine,
                texts_per_second=run.texts_per_second,
            )
        except ValueError as error:
            raise FidelityError(
                f"{name} is not published: {error}",
                "the conversion went wrong; --debug shows more, and please report the model",
            ) from error

    def _prepare(self) -> tuple[list[str], TokenizedTexts, Workload, WorkloadRun]:
        """Returns ids, tokens, batches and the reference; made at the first call."""
        if self._prepared is None:
            lone = self._source is None
            source = self.load_source()
            texts = verification_texts()
            tokens = self._tokenize(source, texts.texts)
            present = [i for i, length in enumerate(tokens.lengths) if length]
            if len(present) < len(texts.ids):
                self._console.say(
                    f"{len(texts.ids) - len(present)} texts have no token and are left out"
                )
            words = [texts.texts[i] for i in present]
            tokens = tokens.subset(present)
            workload = make_workload(tokens.lengths)
            with self._console.progress("embedding with the source", workload.size) as advance:
                reference = run_workload(
                    workload, lambda group: source.encode([words[i] for i in group]), advance
                )
            ids = [texts.ids[present[i]] for group in workload.groups for i in group]
            self._prepared = (ids, tokens, workload, reference)
            if lone:
                source.release()
                self._source = None
        return self._prepared

    def _tokenize(self, source: SourceModel, texts: Sequence[str]) -> TokenizedTexts:
        """Tokenizes by the folder's files, which must give what transformers gives.

        transformers 5 replaces the tokenizer.json of some architectures by a pipeline of its own
        (MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS); then that one is published.
        """
        theirs = source.token_ids(texts)
        for attempt in range(2):
            tokens = tokenize(self._folder, texts, max_length=self._max_seq_length)
            if all(list(a) == b for a, b in zip(tokens.ids, theirs, strict=True)):
                return tokens
            if attempt == 0:
                self._console.warn(
                    "the source's tokenizer.json gives other tokens than transformers does; "
                    "publishing the one that transformers uses"
                )
                source.save_tokenizer(self._folder)
        raise FidelityError(
            "the published tokenizer.json would give other tokens than the source",
            "please report the model",
        )

    def calibration_feeds(self, inputs: list[str]) -> Iterator[Feed]:
        """Yields the calibration texts as a graph's inputs."""
        texts = calibration_texts(self._request.calibration_dataset)
        limit = min(self._max_seq_length or _CALIBRATION_TOKENS, _CALIBRATION_TOKENS)
        tokens = tokenize(self._folder, texts.texts, max_length=limit)
        groups = batches(tokens.lengths, texts=16)
        with self._console.progress("calibrating", len(texts.texts)) as advance:
            for group in groups:
                yield tokens.batch(group, inputs)
                advance(len(group))
