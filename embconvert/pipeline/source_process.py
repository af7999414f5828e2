"""The source model while it is needed: loaded once, and let go when it may."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from embconvert.console import Console
from embconvert.errors import ExportError, FidelityError, SourceError
from embconvert.fidelity.embedding import join
from embconvert.fidelity.figures import Embeddings
from embconvert.fidelity.texts import Item
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.fidelity.workload import Workload
from embconvert.manifest import LateInteractionRecord
from embconvert.models.kinds import Kind
from embconvert.models.late_interaction import LateInteraction
from embconvert.models.values import OnnxArtifact, ResolvedModel
from embconvert.pipeline.tasks import (
    SourceFacts,
    embed_with_source,
    export_source,
    load_source,
    save_source_tokenizer,
    source_tokens,
    tokenize_texts,
)
from embconvert.processes.metering import Meter
from embconvert.processes.time_limits import TimeLimit
from embconvert.processes.workers import Worker, WorkerCrashed, Workers
from embconvert.request.records import Request

# Loading reads all weights of some models; from a slow disk a gigabyte takes a minute.
_LOADING_SECONDS, _SECONDS_PER_GB = 600, 300
# A few hundred texts take less than one, and whatever a tokenizer is made of is in one file.
_TOKENIZING_SECONDS = 120
_ENDLESS_HINT = (
    "tokenizer.json may have a regular expression that takes forever; convert on a faster machine, "
    "or do not use this model"
)


def tokenize_apart(
    workers: Workers,
    folder: Path,
    texts: Sequence[Item],
    *,
    max_length: int | None,
    late: LateInteraction | None,
    rows: int | None = None,
) -> TokenizedTexts:
    """Tokenizes texts with the tokenizer files of a folder, in a process of its own.

    A foreign tokenizer.json can abort the process that uses it, take all its memory or its time.

    Args:
        workers: Where the process comes from.
        folder: Has the files.
        texts: The texts.
        max_length: Tokens after which a text is cut; None for no limit.
        late: How queries and documents are read, for late-interaction models.
        rows: Of the model's table of embeddings; None when they are not known.

    Raises:
        SourceError: There is no tokenizer.json, or it cannot be used on the texts.
    """
    with workers.take() as worker, _tokenizing():
        tokens: TokenizedTexts = worker.call(
            tokenize_texts,
            folder,
            texts,
            max_length=max_length,
            late=late,
            rows=rows,
            within=_tokenizing_limit(),
        )
    return tokens


def _tokenizing_limit() -> TimeLimit:
    return TimeLimit(
        seconds=_TOKENIZING_SECONDS,
        error=SourceError(
            f"tokenizer.json cannot read embconvert's texts within {_TOKENIZING_SECONDS} seconds",
            _ENDLESS_HINT,
        ),
    )


@contextmanager
def _tokenizing() -> Iterator[None]:
    """Turns the end of a process that tokenizes into a SourceError."""
    try:
        yield
    except WorkerCrashed as crash:
        raise SourceError(
            f"tokenizer.json cannot read embconvert's texts: {crash}",
            "download the model again; if that does not help, do not use this model",
        ) from crash


class Source:
    """The source model in a process of its own, from its first use until close()."""

    def __init__(
        self,
        request: Request,
        resolved: ResolvedModel,
        folder: Path,
        workers: Workers,
        console: Console,
    ) -> None:
        self._request = request
        self._resolved = resolved
        self._folder = folder
        self._workers = workers
        self._console = console
        self._worker: Worker | None = None
        #: How many texts it embeds; 0 when it does not.
        self._embedding = 0
        self._embedded: Embeddings | None = None
        self.facts: SourceFacts | None = None

    def load(self) -> SourceFacts:
        """Loads the model, once.

        Raises:
            EmbconvertError: It cannot be loaded.
        """
        if self._worker is None or self.facts is None:
            self._console.say(f"loading {self._resolved.model_id}")
            self._worker = self._workers.take_for_source()
            self._workers.prepare()
            self.facts = self._call(
                load_source,
                self._resolved,
                self._folder,
                device=self._request.device,
                overrides=self._request.overrides,
                trust_remote_code=self._request.trust_remote_code,
                may_connect=self._may_connect,
                within=self._loading_limit,
            )
        return self.facts

    @property
    def _loading_limit(self) -> TimeLimit | None:
        if self._may_connect:
            return None
        size_gb = sum(file.size_bytes for file in self._resolved.files) / 1e9
        seconds = _LOADING_SECONDS + round(_SECONDS_PER_GB * size_gb)
        return TimeLimit(
            seconds=seconds,
            error=SourceError(
                f"loading the model did not end within {seconds} seconds",
                "copy it to a faster disk; if that does not help, its tokenizer may take forever",
            ),
        )

    @property
    def _may_connect(self) -> bool:
        """Whether code of the model may fetch more: of a hub model that the user trusts."""
        is_local = self._resolved.revision is None
        return self._request.trust_remote_code and not (is_local or self._request.offline)

    @property
    def late_interaction(self) -> LateInteraction | None:
        """How queries and documents are read; None for models of other kinds."""
        model = self.load().model
        return model.late_interaction if isinstance(model, LateInteractionRecord) else None

    @property
    def kind(self) -> Kind:
        """What kind of model it is."""
        return self._resolved.kind

    @property
    def max_seq_length(self) -> int | None:
        """Tokens after which the model truncates."""
        return self.facts.max_seq_length if self.facts else self._resolved.max_seq_length

    def export(self, path: Path, **named: Any) -> tuple[OnnxArtifact, Meter]:
        """Writes the model's graph; see tasks.export_source."""
        self.load()
        result: tuple[OnnxArtifact, Meter] = self._call(export_source, path, **named)
        return result

    @property
    def may_be_copied(self) -> bool:
        """Whether nothing in its process is lost in a copy, as a GPU or threads are."""
        return self._request.device == "cpu" and not self._request.trust_remote_code

    def copy(self) -> Worker:
        """Returns a second process with the model, for use beside the first one."""
        self.load()
        with self._idle() as worker:
            return worker.copy()

    def begin_embedding(
        self, texts: Sequence[Item], workload: Workload, *, layer_by_layer: bool
    ) -> None:
        """Begins to embed a workload; embeddings() waits for it."""
        self.load()
        with self._idle() as worker:
            worker.begin(embed_with_source, texts, workload.groups, layer_by_layer=layer_by_layer)
        self._embedding, self._embedded = workload.size, None

    def embeddings(self) -> Embeddings:
        """Returns what was begun: the reference, a row for each text of each group."""
        if self._embedded is None:
            with (
                self._console.progress("embedding with the source", self._embedding) as advance,
                self._until_it_ends() as worker,
            ):
                parts: list[Embeddings] = worker.result(advance)
            self._embedded = join(parts)
        self._embedding = 0
        return self._embedded

    def tokenize(self, texts: Sequence[Item]) -> TokenizedTexts:
        """Tokenizes by the folder's files, which must give what transformers gives.

        transformers 5 replaces the tokenizer.json of some architectures by a pipeline of its own
        (MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS); then that one is published.

        Raises:
            FidelityError: No tokenizer.json gives the source's tokens.
        """
        facts = self.load()
        with self._idle() as worker, _tokenizing():
            theirs: list[dict[str, list[int]]] = worker.call(
                source_tokens, texts, within=_tokenizing_limit()
            )
        for attempt in range(2):
            tokens = tokenize_apart(
                self._workers,
                self._folder,
                texts,
                max_length=self.max_seq_length,
                late=self.late_interaction,
                rows=facts.rows,
            )
            if tokens.are(theirs):
                return tokens
            if attempt == 0:
                self._console.warn(
                    "the source's tokenizer.json gives other tokens than transformers does; "
                    "publishing the one that transformers uses"
                )
                self._call(save_source_tokenizer, self._folder)
        raise FidelityError(
            "the published tokenizer.json would give other tokens than the source",
            "please report the model",
        )

    def _call(self, task: Any, *arguments: Any, **named: Any) -> Any:
        with self._idle() as worker:
            return worker.call(task, *arguments, **named)

    def _idle(self) -> AbstractContextManager[Worker]:
        """Waits until the process has nothing to do; see _until_it_ends."""
        if self._embedding:
            self.embeddings()
        return self._until_it_ends()

    @contextmanager
    def _until_it_ends(self) -> Iterator[Worker]:
        """Yields the process; turns its end into an ExportError."""
        assert self._worker is not None
        try:
            yield self._worker
        except WorkerCrashed as crash:
            self._worker = None
            raise ExportError(
                f"the process with the source model ended: {crash}",
                "convert it on a machine with more memory, or raise the container's limit"
                if crash.out_of_memory
                else crash.hint,
            ) from crash

    def close(self) -> None:
        """Gives the model's memory back; what facts tells stays known."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None
        self._embedding = 0
