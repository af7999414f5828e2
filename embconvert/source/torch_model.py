"""The source model in torch: what is traced, and what everything is compared with."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from embconvert.errors import EmbconvertError, ExportError, SourceError, UnsupportedModelError
from embconvert.fidelity.figures import Embeddings, FloatArray
from embconvert.fidelity.texts import Item
from embconvert.fidelity.tokenizer_errors import check_range, tokenizer_errors
from embconvert.manifest import EmbeddingRecord, ModelRecord
from embconvert.models.choices import Overrides, PoolingMode
from embconvert.models.kinds import TOKENS_OUTPUT, Kind
from embconvert.models.values import ResolvedModel
from embconvert.processes.heap import keep_freed
from embconvert.source.loading import LoadedModel, load_model
from embconvert.source.lockstep import layers_of, run_in_lockstep
from embconvert.source.overrides import normalize, set_pooling, truncate
from embconvert.source.stored_weights import as_stored

if TYPE_CHECKING:
    import torch

#: The order of a graph's inputs; others that a tokenizer makes follow.
INPUT_ORDER = ("input_ids", "attention_mask", "token_type_ids")

# Two texts of different length, so that the trace sees padding: a batch of 1 or a full mask lets
# the tracer take a shortcut for a fact of the model.
_SAMPLE_TEXTS = ("A short text.", "Another text, which is quite a bit longer than the first one.")


class SourceModel:
    """A sentence-transformers model in float32, ready to trace and to encode.

    This one makes sentence embeddings; models of other kinds are subclasses.

    Attributes:
        kind: What it is.
        overrides: What the user changed of it.
    """

    kind: ClassVar[Kind] = Kind.EMBEDDING
    #: What it is traced on; see _SAMPLE_TEXTS.
    _samples: ClassVar[Sequence[Item]] = _SAMPLE_TEXTS

    def __init__(
        self, loaded: LoadedModel, resolved: ResolvedModel, overrides: Overrides | None = None
    ) -> None:
        self._model = loaded.chain
        self._resolved = resolved
        self._made_up = loaded.made_up
        self._casts = loaded.casts
        self.overrides = overrides or Overrides()

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
    ) -> "SourceModel":
        """Loads the source; see load_model.

        Args:
            resolved: The files.
            folder: Where the libraries find them.
            device: A torch device.
            overrides: What the user changes of it.
            trust_remote_code: Run Python code that comes with the model.
            warn: Called with what the user should know.

        Raises:
            SourceError: The weights don't fit the configuration, or are not all there.
            UnsupportedModelError: transformers or sentence-transformers can't build the model.
            UsageError: An override doesn't fit the model.
        """
        loaded = load_model(resolved, folder, device=device, trust_remote_code=trust_remote_code)
        source = cls(loaded, resolved, overrides)
        source._settle(warn)
        source._refuse_chat_template()
        if not all(text["input_ids"] for text in source.checked_tokens(cls._samples)):
            raise SourceError(
                "the tokenizer gives no token for an English text",
                "its files are damaged, or of another model; download the model again",
            )
        return source

    def _refuse_chat_template(self) -> None:
        """Refuses a model whose texts go through a template.

        Such a template is a program of the model's; it is never run.

        Raises:
            UnsupportedModelError: They do.
        """
        if "message" in getattr(self._model[0], "modality_config", {}):
            raise UnsupportedModelError(
                "this model puts its texts into a chat template, which no tokenizer.json has",
                "if it is meant to read texts as they are, remove its chat template "
                "(chat_template.jinja, and chat_template in tokenizer_config.json) from a copy",
            )

    def _settle(self, warn: Callable[[str], None]) -> None:
        """Makes the loaded modules what is asked for.

        Args:
            warn: Called with what the user should know.

        Raises:
            UnsupportedModelError: They are not what can be converted.
            UsageError: An override doesn't fit the model.
        """
        has_modules = self._resolved.has_modules
        set_pooling(self._model, self.overrides.pooling, has_modules=has_modules, warn=warn)
        if self.overrides.normalize:
            normalize(self._model)
        if self.overrides.dimensions is not None:
            truncate(self._model, self.overrides.dimensions, full=self.dimension)

    @property
    def record(self) -> ModelRecord:
        """What a consumer of this kind of model must know."""
        return EmbeddingRecord(
            pooling=tuple(map(PoolingMode, self.pooling)), dimension=self.dimension
        )

    @property
    def value_sizes(self) -> dict[str, int | None]:
        """The last size of each traced value, by its name; None when it is not known."""
        return {TOKENS_OUTPUT: self.token_dimension, "sentence_embedding": self.dimension}

    @property
    def dimension(self) -> int | None:
        """Length of a sentence embedding; None when it makes none."""
        dimension: int | None = self._model.get_embedding_dimension()
        return dimension

    @property
    def modules(self) -> tuple[str, ...]:
        """The names of the classes of its modules, in order."""
        return tuple(type(module).__name__ for module in self._model)

    @property
    def tokenizer(self) -> Any:
        """Transformers' tokenizer."""
        return self._model.tokenizer

    @property
    def pooling(self) -> tuple[str, ...]:
        """The pooling modes, as sentence-transformers names them; empty when there is none."""
        for module in self._model:
            mode = getattr(module, "pooling_mode", None)
            if mode is not None:
                return (mode,) if isinstance(mode, str) else tuple(mode)
        return ()

    @property
    def token_dimension(self) -> int | None:
        """Length of a token vector, as it is pooled; None without a pooling module."""
        dimensions = (getattr(m, "embedding_dimension", None) for m in self._model)
        return next((d for d in dimensions if d is not None), None)

    @property
    def max_seq_length(self) -> int | None:
        """Tokens after which sentence-transformers truncates."""
        length = self._model.max_seq_length
        return int(length) if length is not None and length < 1_000_000 else None

    def save_modules(self, folder: Path) -> None:
        """Writes the module files of a source that has none, so that its class loads it again.

        A source that transformers' files describe needs none.
        """

    def weights(self) -> "dict[str, torch.Tensor]":
        """Returns every parameter and buffer of traced_module() as it is stored, by name."""
        state = self.traced_module().state_dict(keep_vars=True)
        return {name: as_stored(tensor) for name, tensor in state.items()}

    def refuse_made_up(self, used: Iterable[str]) -> None:
        """Refuses a model whose graph needs weights that its files lack.

        transformers fills missing weights with random ones and only logs it. Weights that the
        graph doesn't use (a pooler, say) may be missing.

        Args:
            used: Names of weights, as weights() has them.

        Raises:
            SourceError: A used weight is made up.
        """
        for name in used:
            # traced_module > SentenceTransformer > index > Transformer.model > the weight
            if name.split(".", 3)[-1] in self._made_up:
                raise SourceError(
                    f"the weight {name.split('.', 3)[-1]} is not in the model's files",
                    "the folder is incomplete, or config.json names another architecture",
                )

    def sample_features(self) -> "dict[str, torch.Tensor]":
        """Returns the inputs of a trace: name to (2, seq) int64, in the graph's order."""
        import torch

        with _model_errors():
            features = self._model.preprocess(list(self._samples))
        shape = features["input_ids"].shape
        # A prime length: a model that pads to a multiple of its window must be seen to do so.
        length = _largest_prime(shape[1])
        named = {
            name: value[:, :length].to(self._model.device)
            for name, value in features.items()
            if isinstance(value, torch.Tensor) and value.shape == shape
        }
        first = {name: named.pop(name) for name in INPUT_ORDER if name in named}
        return first | named

    def traced_module(self) -> "torch.nn.Module":
        """Returns a module from the named inputs to the values of its kind; see kinds.KINDS."""
        import torch

        source, names = self._model, list(self.sample_features())
        values, while_traced = self._values, self._while_traced

        class Traced(torch.nn.Module):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.source = source

            def forward(self, *inputs: "torch.Tensor") -> "tuple[torch.Tensor, ...]":
                with while_traced():
                    return values(self.source(dict(zip(names, inputs, strict=True))))

        # The exporter restores the training flag that it finds; without eval() of the wrapper
        # itself, dropout would be in what is encoded afterwards.
        return Traced().eval()

    def _while_traced(self) -> "contextlib.AbstractContextManager[None]":
        """Returns the context that its modules run in while they are traced."""
        return contextlib.nullcontext()

    def _values(self, features: "dict[str, torch.Tensor]") -> "tuple[torch.Tensor, ...]":
        """Returns the values of its kind, of what the modules give."""
        return features["token_embeddings"], self._finish(features["sentence_embedding"])

    def _finish(self, sentence: "torch.Tensor") -> "torch.Tensor":
        """Does what encode() does outside of the modules.

        It cuts to truncate_dim, and normalizes again where `normalize_embeddings` asks for it,
        as --dimensions does.

        Args:
            sentence: (batch, dim) float32, as the modules give it.
        """
        import torch

        if self._model.truncate_dim is not None:
            sentence = sentence[:, : self._model.truncate_dim]
        if self.overrides.dimensions is not None:
            sentence = torch.nn.functional.normalize(sentence, p=2, dim=1)
        return sentence

    def encode(
        self,
        groups: Sequence[Sequence[Item]],
        advance: Callable[[float], None] = lambda _: None,
        *,
        layer_by_layer: bool = False,
    ) -> list[Embeddings]:
        """Encodes groups of texts, each as one batch, with sentence-transformers' own encode.

        No prompt is prepended: a graph is given the text as it is.

        Args:
            groups: The texts of each batch.
            advance: Called with the share of the work that is done since the last call.
            layer_by_layer: Let all groups go through a layer before the next is read, for weights
                that don't fit into memory. Weights that have to be cast always go that way.
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
        keep_freed()
        try:
            return run_in_lockstep(
                [partial(self._checked_encode, group) for group in groups], self._model, after_layer
            )
        finally:
            self._casts.are_kept = False

    def _checked_encode(self, texts: Sequence[Item]) -> Embeddings:
        with _model_errors():
            return self._encode(texts)

    def _encode(self, texts: Sequence[Item]) -> Embeddings:
        """Encodes one batch with sentence-transformers' own function."""
        import torch

        items = self._model.encode(
            list(texts),
            output_value=None,
            batch_size=len(texts),
            prompt="",
            show_progress_bar=False,
        )
        # With output_value=None it cuts, and does not normalize.
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

    @property
    def rows(self) -> int | None:
        """Rows of its table of token embeddings; None when it has none."""
        model: Any = getattr(self._model[0], "auto_model", None)
        try:
            shape = model.get_input_embeddings().weight.shape
        except (AttributeError, NotImplementedError):  # canine hashes
            return None
        return int(shape[0])

    def checked_tokens(self, texts: Sequence[Item]) -> list[dict[str, list[int]]]:
        """Returns what tokens() does, if the model can read it.

        Raises:
            SourceError: The tokenizer fails, or gives ids that the model has no rows for.
        """
        with tokenizer_errors("cannot read a text"):
            tokens = self.tokens(texts)
        # deberta-v2 has no table of types, says 0, and is given types nevertheless.
        types = self._resolved.config.get("type_vocab_size") or None
        check_range(tokens, {"input_ids": self.rows, "token_type_ids": types})
        return tokens

    def tokens(self, texts: Sequence[Item]) -> list[dict[str, list[int]]]:
        """Returns what the model reads of each text, by the names of its inputs."""
        encoded = self.tokenizer(list(texts), truncation=True, max_length=self.max_seq_length)
        names = [name for name in ("input_ids", "token_type_ids") if name in encoded]
        return [{name: encoded[name][row] for name in names} for row in range(len(texts))]


@contextlib.contextmanager
def _model_errors() -> Iterator[None]:
    """Turns what sentence-transformers raises on a text: the model's settings can ask for anything.

    Raises:
        ExportError: There is not enough memory.
        SourceError: Anything else was raised.
    """
    import torch

    try:
        yield
    except EmbconvertError:
        raise
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise ExportError(
            "there is not enough memory for the source model",
            "convert it on a machine with more memory, or raise the container's limit",
        ) from error
    except Exception as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise SourceError(
            f"sentence-transformers cannot embed a text with this model: {said}",
            "a setting in its JSON files is wrong; "
            "download the model again, or add --debug for the traceback",
        ) from error


def as_numpy(tensor: "torch.Tensor") -> FloatArray:
    """Returns a tensor as a float32 array."""
    array: FloatArray = tensor.detach().float().cpu().numpy()
    return array


def _token_mean(tokens: FloatArray, mask: FloatArray) -> FloatArray:
    """Returns the mean of a text's token vectors, (hidden,) float32; zeros without tokens."""
    total: FloatArray = (tokens * mask[:, None]).sum(axis=0, dtype=np.float32)
    return total / np.float32(max(float(mask.sum()), 1.0))


def _largest_prime(limit: int) -> int:
    """Returns the largest prime up to limit, or limit when there is none."""
    primes = (n for n in range(limit, 1, -1) if all(n % d for d in range(2, int(n**0.5) + 1)))
    return next(primes, limit)
