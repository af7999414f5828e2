"""The source model in torch, which is traced and which computes the reference."""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from embconvert.errors import SourceError
from embconvert.fidelity.figures import Embeddings, FloatArray
from embconvert.fidelity.texts import Item, Plain, joined, plain, prompt_of
from embconvert.fidelity.tokenizer_errors import check_range, tokenizer_errors
from embconvert.manifest import ModelRecord
from embconvert.models.choices import Overrides
from embconvert.models.kinds import KINDS, Kind, TracedValue
from embconvert.models.prompts import Prompts
from embconvert.models.values import ResolvedModel
from embconvert.source.block_attention import attend_fully, tell_of_blocks
from embconvert.source.loading import LoadedModel, load_model
from embconvert.source.lockstep import layers_of, run_in_lockstep
from embconvert.source.model_errors import model_errors, naming_missing_pad_token_id
from embconvert.source.positions import one_token_again, positions_of, positions_of_biases
from embconvert.source.prompt_pooling import beginnings_of
from embconvert.source.prompts import prompts_of
from embconvert.source.reading import SourceTokenizer
from embconvert.source.rescaled_layers import keep_scale
from embconvert.source.routing import with_router
from embconvert.source.short_texts import fill_short_texts
from embconvert.source.stored_weights import as_stored
from embconvert.source.text_checks import (
    refuse_chat_template,
    refuse_what_reads_no_text,
    tell_of_left_out,
)
from embconvert.source.traced_module import graph_inputs, make_traced
from embconvert.source.weights import mapped_files

if TYPE_CHECKING:
    import torch

# Two texts of different length, so that the trace has padding: with a batch of 1 or a full mask,
# the tracer would record shortcuts of the model.
_SAMPLE_TEXTS = ("A short text.", "Another text, which is quite a bit longer than the first one.")


class SourceModel:
    """A sentence-transformers model in float32.

    Each kind of model is a subclass; see `source/kinds/`.
    """

    kind: ClassVar[Kind]
    #: Inputs of the trace; see _SAMPLE_TEXTS.
    _samples: ClassVar[Sequence[Plain]] = _SAMPLE_TEXTS

    def __init__(
        self, loaded: LoadedModel, resolved: ResolvedModel, overrides: Overrides | None = None
    ) -> None:
        self._model = loaded.chain
        self._resolved = resolved
        self._made_up = loaded.made_up
        self._casts = loaded.casts
        self.overrides = overrides or Overrides()
        self._task = resolved.routed.route.task if resolved.routed else None
        self.reading = SourceTokenizer(loaded.chain, self._samples, self._task)

    @classmethod
    def load(
        cls,
        resolved: ResolvedModel,
        folder: Path,
        *,
        device: str,
        overrides: Overrides,
        trust_remote_code: bool,
        warn: Callable[[str], None],
    ) -> Self:
        """Loads the source from a private copy; `warn` gets messages for the user.

        Raises as load_model(), and UsageError if an override does not fit the model.
        """
        loaded = cls._loaded(resolved, folder, device=device, trust_remote_code=trust_remote_code)
        source = cls(loaded, resolved, overrides)
        source._settle(warn)
        refuse_what_reads_no_text(source._model[0], resolved.architecture.model_type)
        source._refuse_chat_template()
        source.reading.refuse_missing_pad_token()
        source.reading.refuse_pad_token_beyond(source.rows)
        keep_scale(source._model[0])
        unblocked = attend_fully(source._model[0])
        source._refuse_missing_pad_token_id()
        if not all(text["input_ids"] for text in source.checked_tokens(cls._samples)):
            raise SourceError(
                "the tokenizer gives no tokens for an English text",
                "its files are damaged or belong to another model; download the model again",
            )
        pad = source.tokenizer.pad_token_id
        with model_errors():
            fill_short_texts(source._model[0], source._run_on_a_token_again, warn, pad=pad)
        with naming_missing_pad_token_id(source._model[0]):
            source._cut_at_positions(warn)
        tell_of_blocks(unblocked, source.max_seq_length, warn)
        if not source.prompts.pooled:
            cuts = source.max_seq_length is not None
            on_left = source.tokenizer.truncation_side == "left"
            tell_of_left_out(source.prompts, warn, cuts_beginnings=cuts and on_left)
        return source

    @classmethod
    def _loaded(
        cls, resolved: ResolvedModel, folder: Path, *, device: str, trust_remote_code: bool
    ) -> LoadedModel:
        return load_model(resolved, folder, device=device, trust_remote_code=trust_remote_code)

    def _refuse_chat_template(self) -> None:
        """Raises UnsupportedModelError for a chat template that no published file can contain."""
        refuse_chat_template(self._model)

    def _refuse_missing_pad_token_id(self) -> None:
        """Refuses a model that reads batches only if its configuration knows the pad token."""

    def _run_on_a_token_again(self, tokens: int) -> None:
        """Runs the model on one text that repeats a token so often."""
        self.traced_module()(*one_token_again(self.sample_features(), tokens))

    def _cut_at_positions(self, warn: Callable[[str], None]) -> None:
        """Cuts texts where the model's positions end, should its settings name a larger length.

        Raises SourceError if the model cannot embed a text.
        """
        with model_errors():
            usable = positions_of(self.traced_module(), self.sample_features(), self.word_table)
        usable = usable or positions_of_biases(self._resolved.config)
        length = self.reading.longest
        if usable is None or (length is not None and length <= usable):
            return
        self.reading.cut_at(usable)
        allowed = f", and its settings allow {length}" if length is not None else ""
        warn(
            f"the model has positions for {usable} tokens{allowed}: "
            f"texts are truncated to {usable} tokens"
        )

    def _settle(self, warn: Callable[[str], None]) -> None:
        """Checks the loaded modules and applies the user's overrides.

        Raises UnsupportedModelError for the former, UsageError for the latter.
        """
        raise NotImplementedError

    @property
    def _encoder(self) -> Any:
        """Returns what computes the reference: for a route, the library's own router with it."""
        routed = self._resolved.routed
        return self._model if routed is None else with_router(self._model, routed)

    @property
    def record(self) -> ModelRecord:
        """The manifest's record of the loaded model."""
        raise NotImplementedError

    @property
    def value_sizes(self) -> dict[str, int | None]:
        """Last dimension of each traced value, by name; None if unknown.

        A value of the kind that is not named here does not exist in this model.
        """
        raise NotImplementedError

    @property
    def values(self) -> tuple[TracedValue, ...]:
        """What is traced, in the order of the graph's outputs."""
        return tuple(v for v in KINDS[self.kind].values if v.name in self.value_sizes)

    def _values(self, features: "dict[str, torch.Tensor]") -> "tuple[torch.Tensor, ...]":
        """Returns the values of its kind from the modules' outputs."""
        raise NotImplementedError

    def _encode(self, texts: Sequence[Item]) -> Embeddings:
        """Encodes one batch as sentence-transformers does."""
        raise NotImplementedError

    @staticmethod
    def _asked(texts: Sequence[Item]) -> dict[str, Any]:
        """Returns the arguments of encode() and predict() for a batch.

        The library takes one prompt per batch, and puts it before each text; for a batch with
        several prompts that is done here.
        """
        prompts = set(map(prompt_of, texts))
        one = len(prompts) == 1
        return {
            "inputs": [plain(text) if one else joined(text) for text in texts],
            "prompt": prompts.pop() if one else "",
            "batch_size": len(texts),
            "show_progress_bar": False,
        }

    @property
    def modules(self) -> tuple[str, ...]:
        """Class names of its modules, in order."""
        return tuple(type(module).__name__ for module in self._model)

    @property
    def tokenizer(self) -> Any:
        return self._model.tokenizer

    @property
    def pooling(self) -> tuple[str, ...]:
        """The pooling modes by sentence-transformers' names; empty if there are none."""
        for module in self._model:
            mode = getattr(module, "pooling_mode", None)
            if mode is not None:
                return (mode,) if isinstance(mode, str) else tuple(mode)
        return ()

    @property
    def token_dimension(self) -> int | None:
        """Of a token vector before pooling; None without a pooling module."""
        dimensions = (getattr(m, "embedding_dimension", None) for m in self._model)
        return next((d for d in dimensions if d is not None), None)

    @cached_property
    def prompts(self) -> Prompts:
        """Its prompts, after the user's changes; raises SourceError if they are absurd."""
        return prompts_of(self._model)

    @property
    def max_seq_length(self) -> int | None:
        """sentence-transformers truncates texts to so many tokens."""
        return self.reading.max_seq_length

    def save_modules(self, folder: Path) -> None:
        """Writes the module files of a source without any, so that its class can load it.

        Plain transformers models need none.
        """

    def save_own_files(self, folder: Path) -> None:
        """Writes files that a consumer may read instead of a graph; most models have none."""

    @property
    def weight_files(self) -> frozenset[str]:
        """The paths of its weight files, with links resolved."""
        return mapped_files(self._resolved)

    def weights(self) -> "dict[str, torch.Tensor]":
        """Returns traced_module()'s parameters and buffers as stored, by name."""
        state = self.traced_module().state_dict(keep_vars=True)
        return {name: as_stored(tensor) for name, tensor in state.items()}

    def refuse_made_up(self, used: Iterable[str]) -> None:
        """Raises SourceError if the graph uses weights that are not in the model's files.

        transformers initializes missing weights randomly and only logs it. Weights that the graph
        does not use, such as a pooler's, may be missing.
        """
        for name in used:
            # traced_module > SentenceTransformer > index > Transformer.model > the weight
            if name.split(".", 3)[-1] in self._made_up:
                raise SourceError(
                    f"the weight {name.split('.', 3)[-1]} is not in the model's files",
                    "download the model again, or fix the architecture in config.json",
                )

    def sample_features(self) -> "dict[str, torch.Tensor]":
        """Returns the inputs of a trace: name to (2, seq) int64, in the graph's order."""
        with model_errors():
            features = self.reading.features(self._samples)
        return graph_inputs(features, self._model.device)

    def calibrate(self, texts: Sequence[Item], *, layer_by_layer: bool) -> None:
        """Determines what its outputs need of calibration texts; most kinds need nothing."""

    def traced_module(self) -> "torch.nn.Module":
        """Returns a module from the inputs to its `values`."""
        return make_traced(
            self._traced_chain(),
            tuple(self.sample_features()),
            self._values,
            self._while_traced,
            () if self.prompts.pooled else beginnings_of(self.prompts, self.reading),
        )

    def _traced_chain(self) -> "torch.nn.Module":
        """Returns the modules that are traced, which take and return features by name."""
        chain: torch.nn.Module = self._model
        return chain

    def _while_traced(self) -> "contextlib.AbstractContextManager[None]":
        """Returns the context for a trace of its modules."""
        return contextlib.nullcontext()

    def encode(
        self,
        groups: Sequence[Sequence[Item]],
        advance: Callable[[float], None] = lambda _: None,
        *,
        layer_by_layer: bool = False,
    ) -> list[Embeddings]:
        """Encodes groups of texts, each as one batch, as sentence-transformers does.

        A group has one prompt if the pooling leaves prompts out. `advance` gets the share of work
        since the last call. With `layer_by_layer`, for weights that exceed the memory, all groups
        go through a layer before the next one is read; so they always do if weights must be cast.
        """
        if not (self._casts.are_needed or layer_by_layer):
            found = []
            for group in groups:
                found.append(self._checked_encode(group))
                advance(1 / len(groups))
            return found

        layers = layers_of(self._model)

        def after_layer() -> None:
            self._casts.clear()
            advance(1 / (len(layers) + 1))

        self._casts.are_kept = True
        try:
            return run_in_lockstep(
                [partial(self._checked_encode, group) for group in groups], self._model, after_layer
            )
        finally:
            self._casts.are_kept = False

    def _checked_encode(self, texts: Sequence[Item]) -> Embeddings:
        with model_errors():
            return self._encode(texts)

    @property
    def word_table(self) -> "torch.Tensor | None":
        """The token embedding table; None if there is none."""
        model: Any = getattr(self._model[0], "auto_model", None)
        try:
            table: torch.Tensor = model.get_input_embeddings().weight
        except (AttributeError, NotImplementedError):  # canine hashes its input
            return None
        return table

    @property
    def rows(self) -> int | None:
        """Rows of the token embedding table; None if there is none."""
        return None if self.word_table is None else int(self.word_table.shape[0])

    def checked_tokens(self, texts: Sequence[Item]) -> list[dict[str, list[int]]]:
        """Returns tokens(); raises SourceError if the tokenizer fails or exceeds the table."""
        with tokenizer_errors("cannot read a text"):
            tokens = self.tokens(texts)
        # deberta-v2 has no table of types (0), but the tokenizer gives types.
        types = self._resolved.config.get("type_vocab_size") or None
        check_range(tokens, {"input_ids": self.rows, "token_type_ids": types})
        return tokens

    def tokens(self, texts: Sequence[Item]) -> list[dict[str, list[int]]]:
        """Returns the model's inputs for each text, by name."""
        return self.reading.tokens(texts)


def as_numpy(tensor: "torch.Tensor") -> FloatArray:
    array: FloatArray = tensor.detach().float().cpu().numpy()
    return array
