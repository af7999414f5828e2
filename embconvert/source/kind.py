"""Which kind of model a source is, and as which it is converted."""

from dataclasses import replace

from embconvert.errors import UnsupportedModelError, UsageError
from embconvert.json_files import read_any_json, read_json
from embconvert.models.choices import Output
from embconvert.models.kinds import KINDS, TASKS, Kind
from embconvert.models.values import ResolvedModel
from embconvert.request.records import Request
from embconvert.source.settings.module_list import parse_modules

_CLASSIFIER = "ForSequenceClassification"
_MASKED = "ForMaskedLM"
# What the authors of ColBERT call theirs; its projection is among the transformer's weights.
_STANFORD = "HF_ColBERT"
_HEADS = {Kind.RERANKER: _CLASSIFIER, Kind.SPARSE: _MASKED}


def settle_kind(request: Request, resolved: ResolvedModel) -> ResolvedModel:
    """Returns the source as the kind of model that it is converted as.

    That is what it is, unless --task asks for another kind that can be made of it.

    Raises:
        UsageError: --task, or another option, does not go with the source.
        UnsupportedModelError: It is of no kind that can be converted.
    """
    asked = TASKS[request.task] if request.task is not None else None
    if asked is Kind.EMBEDDING and request.pooling is not None:
        kind: Kind = asked  # of the transformer of whatever it is
    else:
        kind = _own_kind(resolved)
        if asked is Kind.SPARSE and not resolved.has_modules and _has_head(resolved, _MASKED):
            kind = asked  # most masked language models are not; that it is one must be said
        if asked not in (None, kind):
            raise _wrong_task(request, kind, asked)
    _refuse_options(request, kind)
    return replace(resolved, kind=kind)


def _own_kind(resolved: ResolvedModel) -> Kind:
    """Returns what a source says that it is.

    sentence-transformers loads anything as anything: with modules of its own making, whose weights
    are random or which nobody trained, and a message in its log.

    Raises:
        UnsupportedModelError: It is of no kind that can be converted.
    """
    path = resolved.folder / "config_sentence_transformers.json"
    said = read_json(path).get("model_type") if path.is_file() else None
    if said is None:
        if resolved.has_modules:
            modules = parse_modules(read_any_json(resolved.folder / "modules.json"))
            pools_words = any(module.name == "SpladePooling" for module in modules)
            return Kind.SPARSE if pools_words else Kind.EMBEDDING
        if _has_head(resolved, _STANFORD):
            return Kind.LATE_INTERACTION
        return Kind.RERANKER if _has_head(resolved, _CLASSIFIER) else Kind.EMBEDDING
    for kind, rules in KINDS.items():
        if said in rules.model_types:
            return kind
    known = ", ".join(rules.words for rules in KINDS.values())
    raise UnsupportedModelError(
        f"{resolved.model_id} is a {said}, which is no kind of model that can be converted",
        f"give {known}; or add --task {KINDS[Kind.EMBEDDING].task} --pooling mean to make an "
        "embedding model of its transformer, whose embeddings nobody trained",
    )


def _has_head(resolved: ResolvedModel, ending: str) -> bool:
    heads = resolved.config.get("architectures") or ()
    return any(str(head).endswith(ending) for head in heads)


def _wrong_task(request: Request, kind: Kind, asked: Kind | None) -> UsageError:
    assert asked is not None
    hint = f"leave --task out, or write --task {KINDS[kind].task}"
    if asked is Kind.EMBEDDING:
        hint += (
            "; or add --pooling mean to make an embedding model of its transformer, whose "
            "embeddings nobody trained"
        )
    if asked in _HEADS:
        hint += f"; {KINDS[asked].words} is of an architecture that is called ...{_HEADS[asked]}"
    return UsageError(
        f"--task {request.task} is for {KINDS[asked].words}, and {request.model_id} is "
        f"{KINDS[kind].words}",
        hint,
    )


def _refuse_options(request: Request, kind: Kind) -> None:
    """Refuses options that change nothing of what a kind of model gives.

    Raises:
        UsageError: One was given.
    """
    rules = KINDS[kind]
    given = {
        "pooling": request.pooling is not None,
        "normalize": request.normalize,
        "dimensions": request.dimensions is not None,
        "force_dimensions": request.force_dimensions,
        "output": request.output is not Output.BOTH,
    }
    for option in (name for name, is_given in given.items() if is_given):
        if option in rules.overrides:
            continue
        hint = f"leave --{option} out"
        if option == "pooling":
            hint += (
                f"; or add --task {KINDS[Kind.EMBEDDING].task} to make an embedding model of its "
                "transformer, whose embeddings nobody trained"
            )
        raise UsageError(
            f"--{option} is for embedding models, and {request.model_id} is {rules.words}", hint
        )
    if request.layout not in rules.layouts:
        raise UsageError(
            f"--layout {request.layout} is for other models: its program loads no such graph as "
            f"that of {rules.words}",
            f"for {request.model_id}, --layout can be {', '.join(rules.layouts)}",
        )
