"""Rerankers (cross-encoders) in torch: they score a pair of texts."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from embconvert.errors import UnsupportedModelError
from embconvert.fidelity.figures import Embeddings
from embconvert.fidelity.texts import Item
from embconvert.manifest import RerankerRecord
from embconvert.models.kinds import Kind
from embconvert.source.torch_model import SourceModel, as_numpy

if TYPE_CHECKING:
    import torch


class Reranker(SourceModel):
    """A CrossEncoder: a transformer with a head that scores."""

    kind: ClassVar[Kind] = Kind.RERANKER
    _samples: ClassVar[Sequence[Item]] = (
        ("A short text.", "Another one."),
        ("A question that is asked?", "Another text, which is quite a bit longer than the first."),
    )

    def _settle(self, warn: Callable[[str], None]) -> None:
        """Refuses what scores without a head.

        Raises:
            UnsupportedModelError: It reads its scores off a language model's next word.
        """
        del warn
        if "LogitScore" in self.modules:
            raise UnsupportedModelError(
                "this reranker reads its scores off a language model's next word (LogitScore)",
                "rerankers with a classification head can be converted; some models of this sort "
                "are published with one, too, as ...ForSequenceClassification",
            )

    @property
    def record(self) -> RerankerRecord:
        """How many scores a pair has, and what CrossEncoder.predict() makes of them."""
        kind = type(self._model.activation_fn)
        return RerankerRecord(
            labels=int(self._model.num_labels),
            activation=f"{kind.__module__}.{kind.__qualname__}",
        )

    @property
    def dimension(self) -> int | None:
        """None: it makes no embedding."""
        return None

    @property
    def value_sizes(self) -> dict[str, int | None]:
        """The number of labels."""
        return {"logits": int(self._model.num_labels)}

    def _values(self, features: "dict[str, torch.Tensor]") -> "tuple[torch.Tensor, ...]":
        return (features["scores"],)

    def _encode(self, texts: Sequence[Item]) -> Embeddings:
        import torch

        scores = self._model.predict(
            list(texts),
            prompt="",
            batch_size=len(texts),
            show_progress_bar=False,
            activation_fn=torch.nn.Identity(),
            convert_to_tensor=True,
        )
        # Of a single label, predict() drops the axis.
        return Embeddings(sentence=as_numpy(scores.reshape(len(texts), -1)), token_mean=None)
