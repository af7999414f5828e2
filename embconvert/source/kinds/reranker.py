"""Rerankers (cross-encoders) in torch: scores per pair of texts."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from embconvert.errors import UnsupportedModelError
from embconvert.fidelity.figures import Embeddings
from embconvert.fidelity.texts import Item, Plain
from embconvert.manifest.kinds.reranker import RerankerRecord
from embconvert.models.choices import Overrides
from embconvert.models.kinds import Kind
from embconvert.models.pair_template import PairTemplate
from embconvert.models.prompts import NO_PROMPTS, Prompts
from embconvert.models.values import ResolvedModel
from embconvert.overriding import override
from embconvert.source.chat_template import PairReading
from embconvert.source.loading import LoadedModel
from embconvert.source.model_errors import naming_missing_pad_token_id
from embconvert.source.next_token import head_weights, next_token_scores
from embconvert.source.prompts import prompts_of
from embconvert.source.torch_model import SourceModel, as_numpy
from embconvert.source.untold_rerankers import save_template, set_words

if TYPE_CHECKING:
    import torch


class Reranker(SourceModel):
    """A CrossEncoder: a transformer with a scoring head."""

    kind: ClassVar[Kind] = Kind.RERANKER
    _samples: ClassVar[Sequence[Plain]] = (
        ("A short text.", "Another one."),
        ("A question that is asked?", "Another text, which is quite a bit longer than the first."),
    )

    def __init__(
        self, loaded: LoadedModel, resolved: ResolvedModel, overrides: Overrides | None = None
    ) -> None:
        super().__init__(loaded, resolved, overrides)
        #: How pairs become texts; None for a model that reads pairs.
        self._template: PairTemplate | None = None

    @override
    def _settle(self, warn: Callable[[str], None]) -> None:
        """Finds out how pairs are read.

        Raises:
            UnsupportedModelError: It has LogitScore that it does not declare, or with others; or
                a word of a template is not one token.
        """
        if self._is_generative and (not self._resolved.has_modules or len(self.modules) != 2):
            raise UnsupportedModelError(
                "a reranker that takes its scores from a language model's next token needs "
                "modules.json with Transformer and LogitScore, and nothing else",
                "save it with CrossEncoder.save_pretrained()",
            )
        if self._resolved.template is not None:
            set_words(self._resolved.template, self._model[1], self.tokenizer)
        # Of a model without modules, sentence-transformers guesses that from a leftover template.
        if self._resolved.has_modules and "message" in self._model[0].modality_config:
            usual = prompts_of(self._model)
            reading = PairReading(self._model, self._samples, usual.usual)
            self._template = reading.template()
            self.reading = reading
            if any(prompt.text != usual.usual for prompt in usual.named if prompt.text):
                warn(
                    "the model's other prompts are left out: the published template has the "
                    "default prompt"
                )

    @property
    def _is_generative(self) -> bool:
        """Whether scores are from a language model's next token."""
        return "LogitScore" in self.modules

    @override
    def _refuse_chat_template(self) -> None:
        if self._template is None:
            super()._refuse_chat_template()

    @cached_property
    @override
    def prompts(self) -> Prompts:
        return super().prompts if self._template is None else NO_PROMPTS

    @override
    def _traced_chain(self) -> "torch.nn.Module":
        return next_token_scores(self._model) if self._is_generative else super()._traced_chain()

    @override
    def refuse_made_up(self, used: Iterable[str]) -> None:
        # The graph has copies of the head's rows, under other names.
        head = head_weights(self._model[0].model) if self._is_generative else []
        super().refuse_made_up([*used, *(f"source.0.model.{name}" for name in head)])

    @override
    def _refuse_missing_pad_token_id(self) -> None:
        """Refuses a head that takes a decoder's last token, and cannot tell it from padding.

        Raises:
            SourceError: It is one, and config.json has no pad_token_id.
        """
        config = self._model[0].config.get_text_config()
        if getattr(config, "pad_token_id", None) is not None:
            return
        with naming_missing_pad_token_id(self._model[0]):
            self._checked_encode(self._samples)

    @property
    @override
    def record(self) -> RerankerRecord:
        kind = type(self._model.activation_fn)
        return RerankerRecord(
            labels=int(self._model.num_labels),
            activation=f"{kind.__module__}.{kind.__qualname__}",
            template=self._template,
            template_name=getattr(self._resolved.template, "template_name", None),
        )

    @override
    def save_modules(self, folder: Path) -> None:
        if self._resolved.template is not None:
            save_template(self._resolved, self._model[1], folder)

    @property
    @override
    def value_sizes(self) -> dict[str, int | None]:
        return {"logits": int(self._model.num_labels)}

    @override
    def _values(self, features: "dict[str, torch.Tensor]") -> "tuple[torch.Tensor, ...]":
        return (features["scores"],)

    @override
    def _encode(self, texts: Sequence[Item]) -> Embeddings:
        import torch

        asked = self._asked(texts)
        if self._template is not None:
            asked["prompt"] = prompts_of(self._model).usual
        scores = self._model.predict(
            **asked, activation_fn=torch.nn.Identity(), convert_to_tensor=True
        )
        # For a single label, predict() drops the axis.
        return Embeddings(sentence=as_numpy(scores.reshape(len(texts), -1)), token_mean=None)


SOURCE = Reranker
