"""Scores from a language model's next token, with only the rows of its head that count."""

from typing import TYPE_CHECKING, Any

from embconvert.source.stored_weights import as_stored

if TYPE_CHECKING:
    import torch


def head_weights(language_model: Any) -> list[str]:
    """Returns the names of the weights of a language model's head; a tied table has two names."""
    head = language_model.get_output_embeddings()
    return [
        f"{name}.{weight}"
        for name, module in language_model.named_modules()
        if module is head
        for weight, _ in module.named_parameters()
    ]


def next_token_scores(chain: Any) -> "torch.nn.Module":
    """Returns the modules of a CrossEncoder with LogitScore, with a head of one or two rows.

    What a model does to its logits after the head, such as scaling, it does to each by itself.
    """
    import torch

    transformer, score = chain
    language_model = transformer.model
    whole = language_model.get_output_embeddings()
    ids = [n for n in (score.true_token_id, score.false_token_id) if n is not None]

    class Score(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            rows = as_stored(whole.weight)[ids].float()
            self.head = torch.nn.Linear(rows.shape[1], len(ids), bias=whole.bias is not None)
            self.head.weight = torch.nn.Parameter(rows, requires_grad=False)
            if whole.bias is not None:
                bias = as_stored(whole.bias)[ids].float()
                self.head.bias = torch.nn.Parameter(bias, requires_grad=False)

        def forward(self, features: "dict[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
            logits = features[score.module_input_name][:, -1]
            scores = logits[:, :1] - logits[:, 1:] if len(ids) == 2 else logits
            return {**features, "scores": scores}

    class NextTokenScores(torch.nn.Sequential):  # type: ignore[misc]
        def forward(self, features: "dict[str, Any]") -> Any:
            message = {"modality": "message"} if "message" in transformer.modality_config else {}
            language_model.set_output_embeddings(self[1].head)
            try:
                return super().forward({**features, **message, "logits_to_keep": 1})
            finally:
                language_model.set_output_embeddings(whole)

    return NextTokenScores(transformer, Score())
