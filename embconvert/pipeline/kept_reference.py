"""The reference of a run, kept for later ones, which then need not load the source in torch.

It lies in the user's cache, not in the published folder: that may come from anybody, and a changed
reference would let a wrong graph pass. It counts only if this user wrote it and nobody else could.
"""

import hashlib
import io
import os
import stat
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embconvert.console import Console
from embconvert.evaluation.cache import cache_folder, remove_oldest
from embconvert.fidelity.figures import Embeddings, FloatArray
from embconvert.fidelity.lookups import distinct_tokens
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.fidelity.words import Words
from embconvert.manifest import ArtifactRecord
from embconvert.manifest.building import LoadedSource
from embconvert.models.values import ResolvedModel
from embconvert.pipeline.prepare import Prepared
from embconvert.pipeline.reference import (
    ComparedTexts,
    Reference,
    compared_texts,
    flop_per_token,
)
from embconvert.pipeline.source_process import tokenize_apart
from embconvert.plan.jobs import Job, build_jobs
from embconvert.plan.requested_steps import export_step
from embconvert.plan.reuse import versions
from embconvert.processes.bounds import lowered
from embconvert.processes.worker import Work
from embconvert.processes.workers import Workers
from embconvert.regular_files import IrregularFile, open_regular, replace_file
from embconvert.request.records import Request

_SUFFIX = ".npz"
#: A larger reference is not kept; those of embedding models have a tenth of that.
_LARGEST_BYTES = 1 << 27
#: Of all references; the least recently written are removed.
_MOST_BYTES = 1 << 30
#: Names of the arrays: which reference it is, and its parts.
_IDENTITY, _SENTENCE, _TOKEN_MEAN, _ROWS = "identity", "sentence", "token_mean", "rows"
_TOKENS, _WORDS = "tokens", "words"
# What a file that is missing, damaged or another's raises.
_UNUSABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, IrregularFile)


@dataclass(frozen=True, kw_only=True)
class KeptReference:
    """Where the reference of a run is kept.

    Attributes:
        path: Its name depends on the source's files, all that changes the reference, and versions.
        request: What the user asks for.
        resolved: The source.
    """

    path: Path
    request: Request
    resolved: ResolvedModel

    @classmethod
    def of(cls, prepared: Prepared, *, in_pieces: bool) -> "KeptReference | None":
        """Returns that of a run; None if none is kept.

        It is not kept if the user has no home, and if more than the source's files may determine
        it: the graph of `--model_path` is another's, and a model's own code may read anything.

        Args:
            in_pieces: Whether the source runs layer by layer.
        """
        request, resolved = prepared.request, prepared.resolved
        folder = cache_folder("references")
        if request.model_path is not None or request.trust_remote_code or folder is None:
            return None
        # Ranges of embeddings are compared with the other properties of the loaded source.
        exported = export_step(request, resolved.kind, calibration_digest="")
        key = (
            exported.key(resolved.digest, versions()), request.device, request.full_validation,
            in_pieces, resolved.flop_per_token, resolved.wide_values,
        )  # fmt: skip
        name = hashlib.sha256(repr(key).encode()).hexdigest()[:32] + _SUFFIX
        return cls(path=folder / name, request=request, resolved=resolved)

    @property
    def is_there(self) -> bool:
        """Whether a run has kept it; read() says whether it is usable."""
        return os.path.isfile(self.path)  # noqa: PTH113 - Path.is_file() fails without permission

    def write(self, reference: Reference, loaded: LoadedSource, console: Console) -> None:
        """Keeps a reference; what prevents that is said.

        Args:
            loaded: Properties of the source that computed it.
        """
        embeddings = reference.embeddings
        identity = self._identity(loaded, reference.ids, reference.tokens)
        arrays: dict[str, Any] = {_IDENTITY: identity}
        for name, array in (
            (_SENTENCE, embeddings.sentence),
            (_TOKEN_MEAN, embeddings.token_mean),
            (_ROWS, reference.rows),
        ):
            if array is not None:
                arrays[name] = array
        for number, vectors in enumerate(embeddings.tokens or ()):
            arrays[f"{_TOKENS}{number}"] = vectors
        for number, (ids, weights) in enumerate(embeddings.words or ()):
            arrays |= {f"{_WORDS}{number}": ids, f"{_WORDS}{number}w": weights}
        if sum(array.nbytes for array in arrays.values()) > _LARGEST_BYTES:
            return
        content = io.BytesIO()
        np.savez(content, **arrays)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self.path, content.getvalue(), mode=0o600)
            most = lowered("REFERENCE_CACHE_BYTES", _MOST_BYTES)
            remove_oldest(self.path.parent, most, kept=self.path)
        except (OSError, IrregularFile) as error:
            console.say(f"the source's embeddings are not kept for later runs: {error}")

    def read(
        self, loaded: LoadedSource, folder: Path, workers: Workers, console: Console
    ) -> Work[Reference | None]:
        """Returns the kept reference; None, which is said, if it is not that of this run.

        Args:
            loaded: Properties of the source that the folder's manifest names.
            folder: Folder with the published tokenizer.json.
        """
        tokenize = partial(
            tokenize_apart, workers, folder, rules=loaded.input_rules, rows=loaded.rows
        )
        compared = yield from compared_texts(
            self.resolved.kind,
            loaded.prompts,
            tokenize,
            console,
            flop_per_token=flop_per_token(self.request, self.resolved),
            wide_values=self.resolved.wide_values,
        )
        return self.of_texts(compared, loaded, console)

    def of_texts(
        self, compared: ComparedTexts, loaded: LoadedSource, console: Console
    ) -> Reference | None:
        """Returns the kept reference of some texts; see read()."""
        rules = loaded.model.output_rules(self.request.output)
        identity = self._identity(loaded, compared.ids, compared.tokens)
        try:
            embeddings, rows = _embeddings_of(self._content(), compared, identity)
        except _UNUSABLE as problem:
            console.say(f"the source's embeddings of an earlier run are not used: {problem}")
            return None
        console.say("compared with the source's embeddings of an earlier run")
        return compared.reference(embeddings, rules, rows)

    def _content(self) -> bytes:
        """Returns the file.

        Raises:
            ValueError: Another user may have written it.
            OSError: It cannot be read, like IrregularFile.
        """
        with open_regular(self.path.parent, self.path.name) as stream:
            status = os.fstat(stream.fileno())
            if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise ValueError(f"another user may have written {self.path}")
            if status.st_size > 2 * _LARGEST_BYTES:
                raise ValueError(f"{self.path} is too large")
            return stream.read()

    def _identity(
        self, loaded: LoadedSource, ids: Sequence[str], tokens: TokenizedTexts
    ) -> npt.NDArray[np.uint8]:
        """Returns a digest of what is embedded, and of how the source was loaded.

        The file's name is part of it: whoever may rename files could give it another one.
        """
        known = (self.path.name, replace(loaded, rows=None), list(ids), tokens.padding)
        digest = hashlib.sha256(repr(known).encode())
        for arrays in (tokens.ids, tokens.type_ids, tokens.attended, tokens.counted):
            digest.update(repr([array.shape for array in arrays]).encode())
            for array in arrays:
                digest.update(np.ascontiguousarray(array).tobytes())
        return np.frombuffer(digest.digest(), np.uint8)


def remaining_jobs(
    prepared: Prepared, found: Mapping[str, ArtifactRecord], *, in_pieces: bool
) -> tuple[tuple[Job, ...], KeptReference | None]:
    """Returns the jobs of a run, and where its reference is kept; None if nowhere.

    Args:
        found: Records of files from earlier runs, by file.
        in_pieces: Whether the source and the graphs run layer by layer.
    """
    kept = KeptReference.of(prepared, in_pieces=in_pieces)
    jobs = build_jobs(
        prepared.plan,
        found,
        prepared.request,
        in_pieces=in_pieces,
        keeps_reference=kept is not None and kept.is_there,
    )
    return jobs, kept


def _embeddings_of(
    content: bytes, compared: ComparedTexts, identity: npt.NDArray[np.uint8]
) -> tuple[Embeddings, FloatArray | None]:
    """Returns the embeddings in a file, and rows of the token table.

    Raises:
        ValueError: It is damaged, or of something else.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        known = {name: arrays[name] for name in arrays.files}
    if not np.array_equal(known[_IDENTITY], identity):
        raise ValueError("they are of other texts or tokens, or of a model loaded differently")
    places = range(len(compared.ids))
    tokens, words = None, None
    if f"{_TOKENS}0" in known:
        tokens = tuple(known[f"{_TOKENS}{place}"] for place in places)
    if f"{_WORDS}0" in known:
        words = tuple(_words_of(known, f"{_WORDS}{place}") for place in places)
    embeddings = Embeddings(
        sentence=known.get(_SENTENCE), token_mean=known.get(_TOKEN_MEAN), tokens=tokens, words=words
    )
    rows = known.get(_ROWS)
    first = [len(a) for a in (embeddings.sentence, embeddings.token_mean) if a is not None]
    if any(length != len(places) for length in first) or not embeddings.is_finite:
        raise ValueError("they are damaged")
    if rows is not None and len(rows) != len(distinct_tokens(compared.tokens)):
        raise ValueError("they are damaged")
    return embeddings, rows


def _words_of(known: dict[str, Any], name: str) -> Words:
    return known[name], known[f"{name}w"]
