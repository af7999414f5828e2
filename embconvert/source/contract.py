"""Checks whether a layout's program computes the right embeddings; adapts the request to it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from embconvert.errors import UsageError
from embconvert.json_files import read_any_json
from embconvert.manifest.consumers import POOLED, Consumer, consumer_of
from embconvert.manifest.layouts import refuse_precisions
from embconvert.models.choices import TOKEN_TYPES, Inputs, Output
from embconvert.models.kinds import Kind
from embconvert.models.values import ResolvedModel
from embconvert.request.records import Request
from embconvert.source.settings.module_list import parse_modules
from embconvert.source.settings.pooling import pooling_modes


def settle_contract(request: Request, resolved: ResolvedModel) -> Request:
    """Returns the request with the inputs, outputs and ONNX Runtime of the layout's program.

    Raises UsageError if that could not load the result, or would compute other embeddings.
    """
    consumer = consumer_of(request.layout, resolved.kind)
    refuse_precisions(request, consumer)
    _refuse_other_embeddings(request, resolved, consumer)
    _refuse_missing_files(request, resolved, consumer)
    return fitted(request, resolved.kind)


def fitted(request: Request, kind: Kind) -> Request:
    """Does the same without checking the model; raises UsageError for other --inputs."""
    consumer = consumer_of(request.layout, kind)
    newest = consumer.newest_onnxruntime
    if newest is not None:
        newest = min(newest, request.min_onnxruntime or newest)
        request = replace(request, min_onnxruntime=newest)
    if request.output is Output.BOTH and request.output not in consumer.outputs:
        request = replace(request, output=consumer.outputs[0])
    return replace(request, inputs=_inputs(request, consumer))


def _inputs(request: Request, consumer: Consumer) -> Inputs | None:
    """Returns what the program sends; None if it sends what the graph has."""
    if consumer.sends is None or TOKEN_TYPES in consumer.may_send:
        wanted = None
    else:
        wanted = Inputs.WITH_TYPES if TOKEN_TYPES in consumer.sends else Inputs.IDS_AND_MASK
    if wanted is not None and request.inputs not in (None, wanted):
        raise UsageError(
            f"--inputs {request.inputs}: {consumer.name} always sends {wanted}",
            "remove --inputs, or use --layout hub",
        )
    return wanted or request.inputs


def _refuse_other_embeddings(request: Request, resolved: ResolvedModel, consumer: Consumer) -> None:
    """Raises UsageError if a program that pools itself would compute other embeddings."""
    if not consumer.pools:
        return
    instead = "use --layout hub, and a program that takes the output sentence_embedding"
    if others := [name for name in resolved.modules if name not in POOLED]:
        raise UsageError(
            f"{consumer.name} pools itself, without the model's {' and '.join(others)} module: "
            "its embeddings would be wrong",
            instead,
        )
    if request.dimensions is not None:
        raise UsageError(
            f"{consumer.name} pools itself, so it ignores --dimensions",
            f"remove --dimensions; or {instead}",
        )
    wrong = [mode for mode in modes_of(request, resolved) if mode not in consumer.pools]
    if not prompts_are_pooled(resolved):
        raise UsageError(
            f"{consumer.name} pools itself, with the tokens of prompts, which this model leaves "
            "out: its embeddings would be wrong",
            instead,
        )
    if wrong:
        raise UsageError(
            f"{consumer.name} pools itself, by {' or '.join(consumer.pools)}; this model's pooling "
            f"is {' and '.join(wrong)}: its embeddings would be wrong",
            instead,
        )
    if consumer.normalizes and not (request.normalize or "Normalize" in resolved.modules):
        raise UsageError(
            f"{consumer.name} normalizes every embedding, but this model does not",
            f"add --normalize, if similarity by cosine is right for the model; or {instead}",
        )


def modes_of(request: Request, resolved: ResolvedModel) -> tuple[str, ...]:
    """Returns the pooling modes of a model that is not loaded; empty if its files do not tell."""
    if request.pooling is not None:
        return (str(request.pooling),)
    return tuple(pooling_modes(_pooling(resolved)))


def prompts_are_pooled(resolved: ResolvedModel) -> bool:
    """Whether a model pools the tokens of a prompt, too, as far as its files tell."""
    return _pooling(resolved).get("include_prompt") is not False


def _pooling(resolved: ResolvedModel) -> Mapping[str, Any]:
    """Returns the settings of a model's pooling; {} if its files do not tell."""
    modules = _json(resolved, "modules.json")
    for module in () if modules is None else parse_modules(modules):
        if module.name == "Pooling":
            settings = _json(resolved, f"{module.path}/config.json")
            return settings if isinstance(settings, dict) else {}
    return {}


def _json(resolved: ResolvedModel, path: str) -> Any:
    """Returns the content of a settings file; None if there is none."""
    if path in resolved.written:
        return resolved.written[path]
    return read_any_json(resolved.path(path)) if resolved.path(path).is_file() else None


def _refuse_missing_files(request: Request, resolved: ResolvedModel, consumer: Consumer) -> None:
    """Raises UsageError for a vocabulary that a program reads and the source has not."""
    has = {file.path for file in resolved.files}
    if "vocab.txt" in consumer.files and "vocab.txt" not in has:
        raise UsageError(
            f"{consumer.name} reads vocab.txt, the words of a WordPiece tokenizer, which "
            f"{request.model_id} does not have",
            "use --layout hub, and a program that reads tokenizer.json",
        )
