"""Tiny models that embed queries and documents with different modules (Router, once Asym)."""

import json
import shutil
from pathlib import Path
from typing import Any

from support import zoo

#: Of the vectors that the routes of a shared transformer give.
SIZE = 24
PROMPTS = {"query": "search for: ", "document": ""}
#: Architecture, seed and maximum length of each tower.
TOWERS = {"query": ("bert", 1, 16), "document": ("mpnet", 2, 64)}


def build_two_towers(folder: Path, scratch: Path, **options: Any) -> Path:
    """Builds a model whose router comes first: each route has its own transformer and tokenizer.

    Args:
        folder: Where to.
        scratch: For the two parts.
        options: Of the router.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Router

    routes = {}
    for name, (architecture, seed, length) in TOWERS.items():
        part = zoo.build_model(
            architecture, scratch / name, seed=seed, normalize=False, max_seq_length=length
        )
        routes[name] = list(SentenceTransformer(str(part), device="cpu"))
    return _save([Router(routes, **options), Normalize()], folder, prompts=PROMPTS)


def build_shared(folder: Path, scratch: Path, **options: Any) -> Path:
    """Builds a model whose routes share the transformer and differ in a Dense module."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Router

    part = zoo.build_model("bert", scratch / "shared", normalize=False)
    router = Router({"query": [_dense(1)], "document": [_dense(2)]}, **options)
    return _save([*SentenceTransformer(str(part), device="cpu"), router, Normalize()], folder)


def build_inference_free(
    folder: Path,
    scratch: Path,
    *,
    weights: dict[str, float] | None = None,
    dtype: str = "float32",
    prompts: dict[str, str] | None = None,
) -> Path:
    """Builds a sparse model that looks up the words of queries, as opensearch-neural-sparse does.

    Args:
        folder: Where to.
        scratch: For the part that embeds documents.
        weights: Of a query's tokens; None for a random weight of each token of the vocabulary.
        dtype: Name of the torch dtype of the weights.
        prompts: Of the model.
    """
    import torch
    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Router
    from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding

    part = zoo.build_sparse("bert", scratch / "documents")
    documents = SparseEncoder(str(part), device="cpu")
    tokenizer = documents.tokenizer
    if weights is None:
        torch.manual_seed(0)
        weight = 10 * torch.rand(len(tokenizer.get_vocab()))
        query = SparseStaticEmbedding(tokenizer, weight.to(getattr(torch, dtype)), frozen=True)
    else:
        (scratch / "idf.json").write_text(json.dumps(weights))
        query = SparseStaticEmbedding.from_json(str(scratch / "idf.json"), tokenizer, frozen=True)
    router = Router({"query": [query], "document": list(documents)}, default_route="document")
    chain = SparseEncoder(modules=[router], device="cpu", prompts=prompts)
    chain.save_pretrained(str(folder), create_model_card=False)
    return folder


def only_query_route(model: Path, folder: Path) -> Path:
    """Returns an inference-free model that has the query route's module and no router."""
    shutil.copytree(model / "query_0_SparseStaticEmbedding", folder)
    shutil.copy(model / "config_sentence_transformers.json", folder)
    kind = "sentence_transformers.sparse_encoder.models.SparseStaticEmbedding"
    entry = {"idx": 0, "name": "0", "path": "", "type": kind}
    (folder / "modules.json").write_text(json.dumps([entry]))
    return folder


def _dense(seed: int) -> Any:
    import torch
    from sentence_transformers.base.modules import Dense

    torch.manual_seed(seed)
    return Dense(zoo.HIDDEN_SIZE, SIZE, activation_function=torch.nn.Tanh())


def _save(modules: list[Any], folder: Path, **options: Any) -> Path:
    from sentence_transformers import SentenceTransformer

    chain = SentenceTransformer(modules=modules, device="cpu", **options)
    chain.save_pretrained(str(folder), create_model_card=False)
    return folder


def make_old(folder: Path) -> Path:
    """Turns a router's files into those of sentence-transformers 2 to 4, where it was Asym."""
    entries = json.loads((folder / "modules.json").read_text())
    (entry,) = (entry for entry in entries if entry["type"].endswith(".Router"))
    new, old = folder / entry["path"], folder / f"{entry['idx']}_Asym"
    entry |= {"path": old.name, "type": "sentence_transformers.models.Asym"}
    (folder / "modules.json").write_text(json.dumps(entries))
    shutil.move(new, old)
    said = json.loads((old / "router_config.json").read_text())
    (old / "router_config.json").unlink()
    ids = {name: str(140_000_000_000 + number) for number, name in enumerate(said["types"])}
    types, structure = {}, said["structure"]
    for name, number in ids.items():
        (old / name).rename(old / number)
        class_name = said["types"][name].rpartition(".")[2]
        types[number] = f"sentence_transformers.models.{class_name}"
    said = {
        "types": types,
        "structure": {route: [ids[name] for name in names] for route, names in structure.items()},
        "parameters": {"allow_empty_key": True},
    }
    (old / "config.json").write_text(json.dumps(said))
    return folder
