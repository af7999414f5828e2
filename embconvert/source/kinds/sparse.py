"""Sparse models in torch (such as SPLADE): one weight per vocabulary entry."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from embconvert.errors import UsageError
from embconvert.fidelity.figures import Embeddings, FloatArray
from embconvert.fidelity.texts import Item
from embconvert.fidelity.token_logits import sampled
from embconvert.json_files import write_json
from embconvert.manifest.kinds.sparse import SparseRecord
from embconvert.models.choices import Output, Overrides, PoolingMode
from embconvert.models.kinds import KINDS, TOKEN_LOGITS, Kind
from embconvert.models.splade import Activation, Strategy
from embconvert.models.values import ResolvedModel
from embconvert.overriding import override
from embconvert.source.loading import LoadedModel, undeclared_kind
from embconvert.source.settings.module_list import ModuleEntry, listed
from embconvert.source.token_weights import WordReading, weigh_words, write_idf
from embconvert.source.torch_model import SourceModel, as_numpy

if TYPE_CHECKING:
    import torch


class SparseModel(SourceModel):
    """A SparseEncoder: pooled token logits, or an expanded embedding."""

    kind: ClassVar[Kind] = Kind.SPARSE

    @override
    def _settle(self, warn: Callable[[str], None]) -> None:
        """Warns about the pooling that is assumed, or that programs do not apply to logits.

        Raises:
            SourceError: sentence-transformers adds an untrained module to those of the model.
            UsageError: It has no token logits, or more modules follow their pooling.
        """
        if self._resolved.has_modules and len(self.modules) != len(self._resolved.modules):
            raise undeclared_kind(
                self.kind,
                f"and sentence-transformers adds an untrained {self.modules[-1]} to it",
            )
        if not self._resolved.has_modules:
            warn(
                "the model has no sentence-transformers modules; SPLADE pooling is assumed: "
                f"{self._model[-1].pooling_strategy} over tokens of log(1 + relu(logits))"
            )

        if self._gives_logits:
            self._check_pooling(warn)

    def _check_pooling(self, warn: Callable[[str], None]) -> None:
        rules = self.record.splade
        if rules is None or len(self.modules) != 2:
            raise UsageError(
                "--output logits is for models whose token logits are pooled, but this one has "
                f"the modules {', '.join(self.modules)}",
                "remove --output",
            )
        if not rules.is_usual:
            most = f", at most {rules.max_active_dims} of them" if rules.max_active_dims else ""
            warn(
                f"the model's own pooling of logits is {rules.strategy} over {rules.activation}"
                f"{most}: sentence-transformers does the same, but fastembed and Vespa always "
                f"pool by {Strategy.MAX} over {Activation.RELU}"
            )

    @property
    def _gives_logits(self) -> bool:
        return self.overrides.output is Output.LOGITS

    @property
    @override
    def record(self) -> SparseRecord:
        pooling = self._model[-1]
        is_splade = type(pooling).__name__ == "SpladePooling"
        return SparseRecord(
            pooling=tuple(map(PoolingMode, self.pooling)),
            dimension=self.dimension,
            similarity=str(self._model.similarity_fn_name),
            max_active_dims=self._model.max_active_dims,
            strategy=Strategy(pooling.pooling_strategy) if is_splade else None,
            activation=Activation(pooling.activation_function) if is_splade else None,
        )

    @property
    def dimension(self) -> int | None:
        """Usually the size of the vocabulary."""
        # From the last module that has one, because the chain would return the transformer's if it
        # is unknown.
        sized = [module for module in self._model if hasattr(module, "get_embedding_dimension")]
        dimension = sized[-1].get_embedding_dimension()
        if dimension is None:  # SpladePooling determines it from its input
            dimension = self._model.transformers_model.config.vocab_size
        return int(dimension)

    @property
    @override
    def value_sizes(self) -> dict[str, int | None]:
        logits = self.dimension if self._gives_logits else None
        return {TOKEN_LOGITS: logits, "sentence_embedding": self.dimension}

    @override
    def save_modules(self, folder: Path) -> None:
        """Writes module files that declare a sparse model and its pooling."""
        entries = []
        for number, module in enumerate(self._model):
            kind = type(module)
            path = f"{number}_{kind.__name__}" if number else ""
            (folder / path).mkdir(exist_ok=True)
            module.save_config(str(folder / path))
            entries.append(ModuleEntry(path=path, type=f"{kind.__module__}.{kind.__qualname__}"))
        write_json(folder / "modules.json", listed(entries))
        said = {"model_type": KINDS[self.kind].library_class, "prompts": {}}
        write_json(folder / "config_sentence_transformers.json", said)

    @override
    def _values(self, features: "dict[str, torch.Tensor]") -> "tuple[torch.Tensor, ...]":
        from sentence_transformers.util import select_max_active_dims

        # encode() does this outside the modules.
        most = self._model.max_active_dims
        vectors = select_max_active_dims(features["sentence_embedding"], max_active_dims=most)
        return self._token_values(features), vectors

    def _token_values(self, features: "dict[str, torch.Tensor]") -> "torch.Tensor":
        return features["token_embeddings"]

    @contextlib.contextmanager
    @override
    def _while_traced(self) -> Iterator[None]:
        """Makes SparseAutoEncoder skip its computations for training.

        It checks whether torch is in inference mode, which does not allow tracing.
        """
        import torch

        original = torch.is_inference_mode_enabled
        torch.is_inference_mode_enabled = lambda: True
        try:
            yield
        finally:
            torch.is_inference_mode_enabled = original

    @override
    def _encode(self, texts: Sequence[Item]) -> Embeddings:
        with self._sampling_logits() as logits:
            vectors = self._encoder.encode(
                **self._asked(texts), task=self._task, convert_to_sparse_tensor=False
            )
        tokens = None
        if self._gives_logits:
            tokens = tuple(logits[tuple(text["input_ids"])] for text in self.tokens(texts))
        return Embeddings(sentence=as_numpy(vectors), token_mean=None, tokens=tokens)

    @contextlib.contextmanager
    def _sampling_logits(self) -> Iterator[dict[tuple[int, ...], FloatArray]]:
        """Yields what will be samples of the logits of the texts encoded in the block.

        By token ids, because encode() sorts texts; equal texts of a batch have equal logits.
        """
        found: dict[tuple[int, ...], FloatArray] = {}

        def sample(_module: Any, _inputs: Any, features: "dict[str, torch.Tensor]") -> None:
            names = ("input_ids", "attention_mask", "token_embeddings")
            for ids, mask, logits in zip(*(features[name] for name in names), strict=True):
                kept = mask.bool()
                found[tuple(ids[kept].tolist())] = sampled(as_numpy(logits[kept]))

        hook = self._model[0].register_forward_hook(sample) if self._gives_logits else None
        try:
            yield found
        finally:
            if hook is not None:
                hook.remove()


class TokenWeightsModel(SparseModel):
    """A SparseEncoder without a transformer, in a chain with its SparseStaticEmbedding."""

    def __init__(
        self, loaded: LoadedModel, resolved: ResolvedModel, overrides: Overrides | None = None
    ) -> None:
        super().__init__(loaded, resolved, overrides)
        self.reading = WordReading(loaded.chain, self._samples, self._task)

    @override
    def _cut_at_positions(self, warn: Callable[[str], None]) -> None:
        """Does nothing: a table has no positions."""

    @property
    def _static(self) -> Any:
        return self._model[0]

    @property
    @override
    def dimension(self) -> int | None:
        return self.rows

    @property
    @override
    def rows(self) -> int | None:
        return int(self._static.num_dimensions)

    @override
    def save_own_files(self, folder: Path) -> None:
        write_idf(self._static, folder)

    @override
    def _traced_chain(self) -> "torch.nn.Module":
        import torch

        return torch.nn.Sequential(weigh_words(self._static), *list(self._model)[1:])

    @override
    def _token_values(self, features: "dict[str, torch.Tensor]") -> "torch.Tensor":
        return features[TOKEN_LOGITS]

    @staticmethod
    @override
    def _asked(texts: Sequence[Item]) -> dict[str, Any]:
        # In a batch, the library writes padding over a text's own pad token.
        return {**SparseModel._asked(texts), "batch_size": 1}


SOURCE = SparseModel
STATIC_SOURCE = TokenWeightsModel
