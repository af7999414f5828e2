"""What a program without torch makes of a published folder, and what a model's own library says."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from embconvert.models.kinds import Kind
from embconvert.models.late_interaction import LateInteraction
from embconvert.models.pair_template import InputRules, PairTemplate
from support import model2vec, multimodal, zoo
from support.twins.cards import CardReranker
from support.twins.records import Twin

Vectors = npt.NDArray[np.float32]
#: A text, or a pair of texts.
Item = str | tuple[str, str]

_OUTPUTS = {
    Kind.EMBEDDING: "sentence_embedding",
    Kind.RERANKER: "logits",
    Kind.SPARSE: "sentence_embedding",
    Kind.LATE_INTERACTION: "token_embeddings",
    Kind.HYBRID: "sentence_embedding",
}
#: The further outputs of a hybrid model: a weight and a vector of each token.
_OF_HEADS = ("token_weights", "colbert_embeddings")
#: model2vec cuts texts after so many tokens, unless it is told another number.
_MODEL2VEC_TOKENS = 512


class Published:
    """A published folder, loaded with nothing but tokenizers and ONNX Runtime."""

    def __init__(self, folder: Path, file: str, kind: Kind) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        truncation = self._tokenizer.truncation
        self._length = truncation["max_length"] if truncation else None
        self._session = onnxruntime.InferenceSession(str(folder / "onnx" / file))
        manifest = json.loads((folder / "embconvert.json").read_text(encoding="utf-8"))
        said = manifest["source"]["model"]
        rules = said.get("late_interaction") or said.get("template")
        self.rules: InputRules | None = (
            TypeAdapter(InputRules).validate_python(rules) if rules else None
        )
        self._outputs = [_OUTPUTS[kind], *_OF_HEADS] if kind is Kind.HYBRID else [_OUTPUTS[kind]]

    def run(self, items: Sequence[Item], *, task: str | None = None) -> list[Vectors]:
        """Returns the vector, the scores or the token vectors of each item of a batch.

        Of a hybrid model, these are all numbers of all outputs, one after the other.

        Args:
            task: "query" or "document", for late interaction.
        """
        if isinstance(self.rules, PairTemplate):
            items = [self.rules.text(*item) for item in items if isinstance(item, tuple)]
        if isinstance(self.rules, LateInteraction):
            limit = self.rules.limit(self._length, query=task == "query")
            assert limit is not None, "every twin has a limit"
            self._tokenizer.enable_truncation(limit)
            items = [self.rules.prompt(query=task == "query") + str(item) for item in items]
        encodings = self._tokenizer.encode_batch(list(items))
        feed = {
            "input_ids": np.array([e.ids for e in encodings], dtype=np.int64),
            "attention_mask": np.array([e.attention_mask for e in encodings], dtype=np.int64),
            "token_type_ids": np.array([e.type_ids for e in encodings], dtype=np.int64),
        }
        if isinstance(self.rules, PairTemplate):
            _end_in_suffix(feed, self.rules, encodings)
        counts = feed["attention_mask"].astype(bool)
        if isinstance(self.rules, LateInteraction):
            counts = _late_interaction(feed, self.rules, query=task == "query")
        named = {i.name: feed[i.name] for i in self._session.get_inputs()}
        found, *of_heads = self._session.run(self._outputs, named)
        if of_heads:
            rows = zip(found, *of_heads, counts, strict=True)
            return [np.concatenate([d, w[kept], v[kept][1:].ravel()]) for d, w, v, kept in rows]
        if not isinstance(self.rules, LateInteraction):
            return list(found)
        return [vectors[kept] for vectors, kept in zip(found, counts, strict=True)]


def _end_in_suffix(
    feed: dict[str, npt.NDArray[np.int64]],
    rules: PairTemplate,
    encodings: Sequence[Any],
) -> None:
    """Puts the suffix of a template at the end of texts that were cut; padding is on the left."""
    for row, encoding in zip(feed["input_ids"], encodings, strict=True):
        if encoding.overflowing and rules.suffix_ids:
            row[-len(rules.suffix_ids) :] = rules.suffix_ids


def _late_interaction(
    feed: dict[str, npt.NDArray[np.int64]], rules: LateInteraction, *, query: bool
) -> npt.NDArray[np.bool_]:
    """Fills up queries by the manifest's rules; returns which tokens count."""
    counts: npt.NDArray[np.bool_] = feed["attention_mask"] == 1
    expansion = rules.expansion
    if query and expansion is not None:
        missing = max(0, expansion.length - counts.shape[1])
        for name, array in feed.items():
            feed[name] = np.pad(array, ((0, 0), (0, missing)))
        room = np.arange(feed["input_ids"].shape[1])[None] < expansion.length
        filled = (feed["attention_mask"] == 0) & room
        feed["input_ids"][filled] = expansion.token_id
        counts = (feed["attention_mask"] == 1) | filled
        if expansion.attend:
            feed["attention_mask"][filled] = 1
    if ("query" if query else "document") in rules.skipped_in:
        counts &= ~np.isin(feed["input_ids"], rules.skipped_ids)
    return counts


class Library:
    """The model in its own library, from its own files, in float32.

    Args:
        twin: The model's record.
        folder: Of its files.
        route: Of an asymmetric model.
    """

    def __init__(self, twin: Twin, folder: Path, route: str | None = None) -> None:
        import sentence_transformers
        import torch

        self._kind = twin.kind
        self._folder = folder
        self._route = route
        self._is_model2vec = twin.config.get("model_type") == "model2vec"
        classes = {
            Kind.EMBEDDING: "SentenceTransformer",
            Kind.RERANKER: "CrossEncoder",
            Kind.SPARSE: "SparseEncoder",
            Kind.LATE_INTERACTION: "MultiVectorEncoder",
            Kind.HYBRID: "SentenceTransformer",
        }
        self._is_retriever = twin.architecture in multimodal.RETRIEVERS
        self._card = None
        if self._is_retriever:
            return
        if twin.is_on_card_only:
            self._card = CardReranker(twin, folder)
            return
        with multimodal.without_images():
            self.model = getattr(sentence_transformers, classes[twin.kind])(
                str(folder), device="cpu", model_kwargs={"dtype": torch.float32},
                trust_remote_code="--trust_remote_code" in twin.flags, local_files_only=True,
            )  # fmt: skip
        if twin.architecture in multimodal.FILLED_UP:  # as its authors do
            self.model.max_seq_length = multimodal.POSITIONS
            self.model[0].processing_kwargs = {"text": {"padding": "max_length"}}

    def run(
        self, items: Sequence[Item], *, prompt: str | None = "", task: str | None = None
    ) -> list[Vectors]:
        """Returns what Published.run() does, of one batch."""
        import torch

        if self._is_model2vec:  # sentence-transformers pools unknown words, too
            texts = [str(item) for item in items]
            return list(model2vec.vectors(self._folder, texts, _MODEL2VEC_TOKENS))
        if self._is_retriever:  # its documents are images: a text is always a query
            texts = [str(item) for item in items]
            return multimodal.query_vectors(self._folder, texts, zoo.MAX_POSITIONS)
        if self._card is not None:
            return self._card.run(items)
        settings = {"batch_size": len(items), "show_progress_bar": False}
        if self._kind is Kind.RERANKER:
            scores = self.model.predict(
                list(items), prompt=prompt, activation_fn=torch.nn.Identity(), **settings
            )
            return list(scores.reshape(len(items), -1))
        if self._kind is Kind.LATE_INTERACTION:
            encode = self.model.encode_query if task == "query" else self.model.encode_document
            return list(encode(list(items), convert_to_numpy=True, **settings))
        if self._kind is Kind.HYBRID:
            read = self.model.encode(list(items), prompt=prompt, output_value=None, **settings)
            return [self._with_heads(features) for features in read]
        encode = getattr(self.model, f"encode_{self._route}" if self._route else "encode")
        more = {"convert_to_sparse_tensor": False} if self._kind is Kind.SPARSE else {}
        return [
            np.asarray(vector) for vector in encode(list(items), prompt=prompt, **settings, **more)
        ]

    def _with_heads(self, features: dict[str, Any]) -> Vectors:
        """Returns what FlagEmbedding computes of a text; its library knows no heads."""
        import torch

        kept = features["attention_mask"].bool()
        ids, states = features["input_ids"][kept], features["token_embeddings"][kept]

        def of(file: str, tokens: Any) -> Any:
            layer = torch.load(self._folder / file, weights_only=True)
            return tokens @ layer["weight"].float().T + layer["bias"].float()

        tokenizer = self.model.tokenizer
        special = torch.tensor(
            [getattr(tokenizer, f"{name}_token_id") for name in ("cls", "eos", "pad", "unk")]
        )
        weights = torch.relu(of("sparse_linear.pt", states))[:, 0] * ~torch.isin(ids, special)
        vectors = torch.nn.functional.normalize(of("colbert_linear.pt", states[1:]), dim=1)
        return np.concatenate(
            [features["sentence_embedding"].numpy(), weights.numpy(), vectors.numpy().ravel()]
        )
