"""Sparse models (SPLADE and the like) in torch: they weigh the words of a vocabulary."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from embconvert.fidelity.figures import Embeddings
from embconvert.fidelity.texts import Item
from embconvert.json_files import write_json
from embconvert.manifest import SparseRecord
from embconvert.models.choices import PoolingMode
from embconvert.models.kinds import KINDS, TOKEN_LOGITS, Kind
from embconvert.source.torch_model import SourceModel, as_numpy

if TYPE_CHECKING:
    import torch


class SparseModel(SourceModel):
    """A SparseEncoder: token logits over a vocabulary pooled, or an embedding spread out."""

    kind: ClassVar[Kind] = Kind.SPARSE

    def _settle(self, warn: Callable[[str], None]) -> None:
        """Says what is assumed of a model that does not say how it pools."""
        if not self._resolved.has_modules:
            warn(
                "the model has no sentence-transformers modules; SPLADE's pooling is assumed: "
                f"{self._model[-1].pooling_strategy} over tokens of log(1 + relu(logits))"
            )

    @property
    def record(self) -> SparseRecord:
        """How two vectors are compared, and how many of their dimensions may be other than zero."""
        return SparseRecord(
            pooling=tuple(map(PoolingMode, self.pooling)),
            dimension=self.dimension,
            similarity=str(self._model.similarity_fn_name),
            max_active_dims=self._model.max_active_dims,
        )

    @property
    def dimension(self) -> int | None:
        """Length of a vector: of the vocabulary, mostly."""
        # Of the last module: the chain would go on to the transformer's, when it does not know.
        dimension = self._model[-1].get_embedding_dimension()
        if dimension is None:  # SpladePooling learns it from what it pools
            dimension = self._model.transformers_model.config.vocab_size
        return int(dimension)

    @property
    def value_sizes(self) -> dict[str, int | None]:
        """The last size of each traced value."""
        return {TOKEN_LOGITS: None, "sentence_embedding": self.dimension}

    def save_modules(self, folder: Path) -> None:
        """Writes the module files that say that it is a sparse model, and how it pools."""
        entries = []
        for number, module in enumerate(self._model):
            kind = type(module)
            path = f"{number}_{kind.__name__}" if number else ""
            (folder / path).mkdir(exist_ok=True)
            module.save_config(str(folder / path))
            entries.append(
                {"idx": number, "name": str(number), "path": path}
                | {"type": f"{kind.__module__}.{kind.__qualname__}"}
            )
        write_json(folder / "modules.json", entries)
        said = {"model_type": KINDS[self.kind].library_class, "prompts": {}}
        write_json(folder / "config_sentence_transformers.json", said)

    def _values(self, features: "dict[str, torch.Tensor]") -> "tuple[torch.Tensor, ...]":
        from sentence_transformers.util import select_max_active_dims

        # encode() does so outside of the modules.
        most = self._model.max_active_dims
        vectors = select_max_active_dims(features["sentence_embedding"], max_active_dims=most)
        return features["token_embeddings"], vectors

    @contextlib.contextmanager
    def _while_traced(self) -> Iterator[None]:
        """Lets SparseAutoEncoder leave out what it computes for training.

        It asks whether torch is in inference mode, in which nothing can be traced.
        """
        import torch

        original = torch.is_inference_mode_enabled
        torch.is_inference_mode_enabled = lambda: True
        try:
            yield
        finally:
            torch.is_inference_mode_enabled = original

    def _encode(self, texts: Sequence[Item]) -> Embeddings:
        vectors = self._model.encode(
            list(texts),
            prompt="",
            batch_size=len(texts),
            show_progress_bar=False,
            convert_to_sparse_tensor=False,
        )
        return Embeddings(sentence=as_numpy(vectors), token_mean=None)
