"""Embedding models in torch: one vector per text."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from embconvert.errors import SourceError, UsageError
from embconvert.fidelity.figures import Embeddings, FloatArray
from embconvert.fidelity.texts import Item, batches, joined, prompt_of
from embconvert.fidelity.vector_codes import ranges_of
from embconvert.json_files import write_json
from embconvert.manifest import ModelRecord
from embconvert.manifest.kinds.embedding import EmbeddingRecord
from embconvert.models.choices import OutputPrecision, Overrides, PoolingMode
from embconvert.models.kinds import TOKENS_OUTPUT, Kind
from embconvert.models.prompts import NO_PROMPTS, Prompts
from embconvert.models.values import ResolvedModel, StaticFormat
from embconvert.models.vector_code import VectorCode
from embconvert.overriding import override
from embconvert.source.chat_template import TextReading
from embconvert.source.coded import coded
from embconvert.source.loading import LoadedModel, load_model
from embconvert.source.model_errors import model_errors
from embconvert.source.overrides import normalize, set_pooling, truncate
from embconvert.source.pooling_size import correct_pooling_size
from embconvert.source.prompts import prompts_of
from embconvert.source.settings.module_list import listed, own_module
from embconvert.source.static_table import (
    StaticReading,
    load_model2vec,
    model2vec_means,
    rows_of,
    tell_of_model2vec,
    token_table,
    unknown_token,
)
from embconvert.source.text_tower import settle_pooling, settle_text_tower
from embconvert.source.torch_model import SourceModel, as_numpy

if TYPE_CHECKING:
    import torch


#: sentence-transformers leaves prompts out of these models' pooling, whatever their settings say.
#: Source: sentence_transformers.sentence_transformer.model.SentenceTransformer.__init__ (6.2).
_LEAVE_OUT_PROMPTS = ("hkunlp/instructor-base", "hkunlp/instructor-large", "hkunlp/instructor-xl")
#: The modules that model2vec itself writes to modules.json.
_OF_MODEL2VEC = ("StaticEmbedding", "Normalize")


class EmbeddingModel(SourceModel):
    """A SentenceTransformer."""

    kind: ClassVar[Kind] = Kind.EMBEDDING

    def __init__(
        self, loaded: LoadedModel, resolved: ResolvedModel, overrides: Overrides | None = None
    ) -> None:
        super().__init__(loaded, resolved, overrides)
        self._ranges = self.overrides.output_ranges

    @override
    def _settle(self, warn: Callable[[str], None]) -> None:
        settle_text_tower(self._model[0], warn)
        if not self._resolved.has_modules:
            settle_pooling(self._model)
        with model_errors():
            correct_pooling_size(self._model, self.sample_features, warn)
        if self._resolved.has_modules and "message" in getattr(
            self._model[0], "modality_config", {}
        ):
            self._read_through_template(warn)
        if self._resolved.revision and self._resolved.model_id in _LEAVE_OUT_PROMPTS:
            self._model.set_pooling_include_prompt(False)
        has_modules = self._resolved.has_modules
        set_pooling(self._model, self.overrides.pooling, has_modules=has_modules, warn=warn)
        if self.overrides.normalize:
            normalize(self._model)
        if self.overrides.dimensions is not None:
            truncate(self._model, self.overrides.dimensions, full=self.dimension)

    def _read_through_template(self, warn: Callable[[str], None]) -> None:
        """Reads texts in a chat template; raises UnsupportedModelError if it does more."""
        usual = prompts_of(self._model)
        reading = TextReading(self._model, self._samples, usual.usual)
        reading.settle(warn)
        self.reading = reading
        if any(prompt.text != usual.usual for prompt in usual.named if prompt.text):
            warn(
                "the model's other prompts are left out: tokenizer.json adds the chat template "
                "with the default prompt"
            )

    @override
    def _refuse_chat_template(self) -> None:
        if not isinstance(self.reading, TextReading):
            super()._refuse_chat_template()

    @cached_property
    @override
    def prompts(self) -> Prompts:
        return NO_PROMPTS if isinstance(self.reading, TextReading) else super().prompts

    @property
    @override
    def record(self) -> ModelRecord:
        return EmbeddingRecord(
            pooling=tuple(map(PoolingMode, self.pooling)), dimension=self.dimension, code=self.code
        )

    @property
    @override
    def value_sizes(self) -> dict[str, int | None]:
        size = self.dimension if self.code is None else self.code.size
        return {TOKENS_OUTPUT: self.token_dimension, "sentence_embedding": size}

    @property
    def code(self) -> VectorCode | None:
        """What makes integers of embeddings; None if they stay floats, or before calibrate()."""
        precision, dimension = self.overrides.output_precision, self.dimension
        if precision is OutputPrecision.FLOAT32:
            return None
        if dimension is None:
            raise UsageError(
                f"--output_precision {precision} needs embeddings of a known dimension",
                "remove --output_precision",
            )
        if not precision.is_calibrated:
            return VectorCode(precision=precision, dimension=dimension)
        if self._ranges is None:
            return None
        lows, highs = self._ranges
        return VectorCode(precision=precision, dimension=dimension, lows=lows, highs=highs)

    @override
    def calibrate(self, texts: Sequence[Item], *, layer_by_layer: bool) -> None:
        """Determines the range of each component of embeddings that become 8-bit integers.

        Raises SourceError if the source's embeddings are not finite.
        """
        if not self.overrides.output_precision.is_calibrated or self._ranges is not None:
            return
        lengths = [len(text["input_ids"]) for text in self.checked_tokens(texts)]
        groups = [
            [texts[i] for i in group if prompt_of(texts[i]) == prompt]
            for group in batches(lengths, texts=16)
            for prompt in dict.fromkeys(prompt_of(texts[i]) for i in group)
        ]
        parts = [part.sentence for part in self.encode(groups, layer_by_layer=layer_by_layer)]
        vectors = np.concatenate([part for part in parts if part is not None])
        if not np.isfinite(vectors).all():
            raise SourceError(
                "the source's embeddings of the calibration texts are not finite",
                "give other texts with --calibration_dataset",
            )
        self._ranges = ranges_of(vectors)

    @property
    def dimension(self) -> int | None:
        """Of a sentence embedding; None if there is none."""
        dimension: int | None = self._model.get_embedding_dimension()
        return dimension

    @override
    def _values(self, features: "dict[str, torch.Tensor]") -> "tuple[torch.Tensor, ...]":
        sentence = self._finish(features["sentence_embedding"])
        code = self.code
        return features["token_embeddings"], sentence if code is None else coded(sentence, code)

    def _finish(self, sentence: "torch.Tensor") -> "torch.Tensor":
        """Applies what encode() does outside the modules to (batch, dim) float32.

        It truncates to truncate_dim, and for --dimensions normalizes again.
        """
        import torch

        if self._model.truncate_dim is not None:
            sentence = sentence[:, : self._model.truncate_dim]
        if self.overrides.dimensions is not None:
            sentence = torch.nn.functional.normalize(sentence, p=2, dim=1)
        return sentence

    @override
    def _encode(self, texts: Sequence[Item]) -> Embeddings:
        """Encodes one batch with sentence-transformers' encode()."""
        asked = self._asked(texts)
        if isinstance(self.reading, TextReading):
            asked["prompt"] = self.reading.prompt
        return self._embeddings(self._encoder.encode(**asked, task=self._task, output_value=None))

    def _embeddings(self, items: "Sequence[Mapping[str, torch.Tensor]]") -> Embeddings:
        """Returns the embeddings from the features of each text."""
        import torch

        # With output_value=None, encode() truncates but does not normalize.
        sentence = self._finish(torch.stack([item["sentence_embedding"] for item in items]))
        return Embeddings(
            sentence=as_numpy(sentence),
            token_mean=np.stack(
                [
                    _token_mean(as_numpy(i["token_embeddings"]), as_numpy(i["attention_mask"]))
                    for i in items
                ]
            ),
        )


class StaticModel(EmbeddingModel):
    """Static embeddings: a table without a transformer, in a chain with its StaticEmbedding."""

    def __init__(
        self, loaded: LoadedModel, resolved: ResolvedModel, overrides: Overrides | None = None
    ) -> None:
        super().__init__(loaded, resolved, overrides)
        self.reading = StaticReading(loaded.chain, self._samples)
        #: Of sentence-transformers, or model2vec's, which leaves a token out.
        self._is_model2vec = resolved.static is StaticFormat.MODEL2VEC
        self._unknown = unknown_token(self._static.tokenizer) if self._is_model2vec else None

    @classmethod
    @override
    def _loaded(
        cls, resolved: ResolvedModel, folder: Path, *, device: str, trust_remote_code: bool
    ) -> LoadedModel:
        if resolved.static is StaticFormat.MODEL2VEC:
            return load_model2vec(resolved, folder, resolved.config, device=device)
        return load_model(resolved, folder, device=device, trust_remote_code=trust_remote_code)

    @override
    def _settle(self, warn: Callable[[str], None]) -> None:
        super()._settle(warn)
        if self._is_model2vec:
            unread = [name for name in self._resolved.modules if name not in _OF_MODEL2VEC]
            tell_of_model2vec(unread, self._static.tokenizer, self.max_seq_length, warn)

    @override
    def _cut_at_positions(self, warn: Callable[[str], None]) -> None:
        """Does nothing: a table has no positions."""

    @property
    def _static(self) -> Any:
        return self._model[0]

    @property
    @override
    def tokenizer(self) -> Any:
        return self.reading.tokenizer

    @property
    @override
    def record(self) -> EmbeddingRecord:
        return EmbeddingRecord(
            pooling=(PoolingMode.MEAN,), dimension=self.dimension, code=self.code
        )

    @property
    @override
    def token_dimension(self) -> int | None:
        return int(self._static.embedding_dim)

    @property
    @override
    def word_table(self) -> "torch.Tensor | None":
        table: torch.Tensor = self._static.embedding.weight
        return table

    @property
    @override
    def rows(self) -> int | None:
        return rows_of(self._static)

    @override
    def _traced_chain(self) -> "torch.nn.Module":
        import torch

        table = token_table(self._static, self._unknown)
        return torch.nn.Sequential(table, *list(self._model)[1:])

    @override
    def save_modules(self, folder: Path) -> None:
        """Writes the modules that model2vec's own files have since its version 0.3."""
        kinds = self.modules
        paths = ["", *(f"{n}_{kind}" for n, kind in enumerate(kinds) if n)]
        write_json(folder / "modules.json", listed(map(own_module, kinds, paths)))

    @override
    def _encode(self, texts: Sequence[Item]) -> Embeddings:
        """Encodes as the model's library does, one text after the other."""
        import torch

        means = self._means(texts)
        if self._is_model2vec:
            features = {"sentence_embedding": means}
            for module in list(self._model)[1:]:
                features = module(features)
            sentence = features["sentence_embedding"]
        else:
            sentence = self._model.encode(**self._asked(texts), convert_to_tensor=True)
        counts = [[len(t["input_ids"]), self._kept(t).numel()] for t in self.tokens(texts)]
        shares = torch.tensor([kept / max(all_, 1) for all_, kept in counts])[:, None]
        return Embeddings(
            sentence=as_numpy(self._finish(sentence)),
            # Of tokens that are left out, the graph has zeros.
            token_mean=as_numpy(means.cpu() * shares),
        )

    def _kept(self, text: Mapping[str, Sequence[int]]) -> "torch.Tensor":
        import torch

        ids = [number for number in text["input_ids"] if number != self._unknown]
        return torch.tensor(ids, dtype=torch.long, device=self._model.device)

    def _means(self, texts: Sequence[Item]) -> "torch.Tensor":
        """Returns the mean of each text's vectors, (texts, dim) float32.

        Source: sentence-transformers' StaticEmbedding.forward (6.2); see model2vec_means().
        """
        if not self._is_model2vec:
            features = self._static.preprocess(list(map(joined, texts)))
            means: torch.Tensor = self._static(features)["sentence_embedding"]
            return means
        return model2vec_means(self._static, [self._kept(text) for text in self.tokens(texts)])


def _token_mean(tokens: FloatArray, mask: FloatArray) -> FloatArray:
    """Returns the mean of a text's token vectors, (hidden,) float32; zeros without tokens."""
    total: FloatArray = (tokens * mask[:, None]).sum(axis=0, dtype=np.float32)
    return total / np.float32(max(float(mask.sum()), 1.0))


SOURCE = EmbeddingModel
STATIC_SOURCE = StaticModel
