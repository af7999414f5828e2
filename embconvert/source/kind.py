"""The kind of a source, and the kind as which it is converted."""

from dataclasses import replace
from pathlib import PurePosixPath

from embconvert.derive.tokenizer.text_graph import LET_THE_PROGRAM, tokenizer_problem
from embconvert.errors import UnsupportedModelError, UsageError
from embconvert.json_files import read_any_json, read_json
from embconvert.models.choices import Inputs, Layout, Output, OutputPrecision
from embconvert.models.forms import TokenizerPlace
from embconvert.models.kinds import KINDS, TASKS, Kind, KindRules, Measure, Reading, with_heads
from embconvert.models.values import TOKEN_WEIGHTS, ResolvedModel, StaticFormat
from embconvert.request.records import Request
from embconvert.source.retriever import refuse_other_retrievers
from embconvert.source.settings.files import TRANSFORMER_FILES
from embconvert.source.settings.module_list import parse_modules
from embconvert.source.tokenizer_file import parts_of
from embconvert.source.untold_rerankers import RERANKERS, refuse_untold_reranker, with_template

#: The layouts for embeddings of integers, and for models whose config.json is none of a transformer
#: that reads text: the other runtimes go by it, and read floats.
_PLAIN_LAYOUTS = (Layout.HUB, Layout.SINGLEFILE, Layout.OPENVINO)


def settle_kind(request: Request, resolved: ResolvedModel) -> ResolvedModel:
    """Returns the source with its own kind, or another possible one that --task asks for.

    Raises UsageError if --task or another option does not fit the source, and
    UnsupportedModelError for a kind that is not supported.
    """
    asked = TASKS[request.task] if request.task is not None else None
    resolved = with_template(request, resolved)
    if asked is Kind.EMBEDDING and request.pooling is not None:
        kind: Kind = asked  # uses the transformer of any kind of model
    else:
        own = _own_kind(resolved)
        kind = with_heads(own, resolved.head_files, request.layout)
        if request.model_path is not None:  # mostly another program's, which has no heads
            kind = own
        if asked in (own, with_heads(own, resolved.head_files, Layout.HUB)):
            kind = asked
        if asked is not None and _may_be(resolved, KINDS[asked]):
            kind = asked
        if asked not in (None, kind):
            raise _wrong_task(request, kind, asked)
        if asked is None and kind is Kind.EMBEDDING:
            refuse_untold_reranker(resolved)
    if request.inputs is Inputs.IN_A_ROW and resolved.static is None:
        raise UsageError(
            f"--inputs {request.inputs} is for static embeddings; {request.model_id} has none",
            "remove --inputs",
        )
    _refuse_options(request, kind)
    _refuse_layout(request, resolved, kind)
    if request.tokenizer is TokenizerPlace.IN_GRAPH and KINDS[kind].reading is Reading.TEXT:
        _refuse_tokenizer(resolved)
    if resolved.static is not None:
        _refuse_static(request, kind, resolved.static)
    refuse_other_retrievers(resolved.config)
    if resolved.routed is not None and KINDS[kind].reading is not Reading.TEXT:
        raise UnsupportedModelError(
            f"{request.model_id} is {KINDS[kind].words} with routes, which is not supported",
            "use an embedding model or a sparse model",
        )
    return replace(resolved, kind=kind)


def heads_left_out(request: Request, resolved: ResolvedModel) -> str | None:
    """Says which heads of a source are not converted, and why; None if there are none."""
    if KINDS[resolved.kind].heads or not resolved.head_files:
        return None
    possible = with_heads(Kind.EMBEDDING, resolved.head_files, Layout.HUB)
    why = f"--task {KINDS[possible].task} converts them, too"
    if request.model_path is not None:
        why = "--model_path is compared as the graph of an embedding model"
    elif request.layout not in KINDS[possible].layouts:
        layouts = ", ".join(KINDS[possible].layouts)
        why = f"the program of --layout {request.layout} reads one output; {layouts} have all"
    return f"only the dense vectors are converted, not {', '.join(resolved.head_files)}: {why}"


def _own_kind(resolved: ResolvedModel) -> Kind:
    """Returns the kind that a source declares; raises UnsupportedModelError for an unknown one.

    sentence-transformers would load any model as any kind, with untrained or random modules and
    only a log message.
    """
    if resolved.template is not None:
        return RERANKERS
    path = resolved.folder / "config_sentence_transformers.json"
    said = read_json(path).get("model_type") if path.is_file() else None
    if said is None:
        if resolved.has_modules:
            names = {*resolved.modules, *_module_types(resolved)}
            found = [kind for kind, rules in KINDS.items() if names & set(rules.modules)]
        else:
            found = [
                kind for kind, rules in KINDS.items() if _ends_in(resolved, rules.architectures)
            ] or [
                kind
                for kind, rules in KINDS.items()
                if rules.is_ending_enough and _has_ending(resolved, rules)
            ]
        return found[0] if found else Kind.EMBEDDING
    for kind, rules in KINDS.items():
        if said in rules.model_types:
            return kind
    known = ", ".join(rules.words for rules in KINDS.values())
    raise UnsupportedModelError(
        f"{resolved.model_id} is a {said}, a kind of model that is not supported",
        f"give {known}; if it is one of these, remove model_type from a copy of "
        f"{path.name}; or add --task {KINDS[Kind.EMBEDDING].task} --pooling mean to make an "
        "(untrained) embedding model of its transformer",
    )


def _has_template(resolved: ResolvedModel) -> bool:
    """Whether its modules read messages, which a chat template makes a text of."""
    return resolved.template is not None or any(
        "message" in (value.get("modality_config") or {})
        for path, value in (resolved.settings or {}).items()
        if path.endswith(TRANSFORMER_FILES[0])
    )


def _module_types(resolved: ResolvedModel) -> set[str]:
    """Returns the import paths of a source's modules."""
    modules = parse_modules(read_any_json(resolved.folder / "modules.json"))
    return {module.type for module in modules}


def _may_be(resolved: ResolvedModel, rules: KindRules) -> bool:
    """Whether --task decides that a plain transformers model is of this kind."""
    return not rules.is_ending_enough and not resolved.has_modules and _has_ending(resolved, rules)


def _has_ending(resolved: ResolvedModel, rules: KindRules) -> bool:
    return rules.architecture_ending is not None and _ends_in(
        resolved, (rules.architecture_ending,)
    )


def _ends_in(resolved: ResolvedModel, endings: tuple[str, ...]) -> bool:
    architectures = resolved.config.get("architectures") or ()
    return any(str(architecture).endswith(endings) for architecture in architectures)


def _wrong_task(request: Request, kind: Kind, asked: Kind | None) -> UsageError:
    assert asked is not None
    hint = f"remove --task, or write --task {KINDS[kind].task}"
    if asked is Kind.EMBEDDING:
        hint += "; or add --pooling mean to make an (untrained) embedding model of its transformer"
    if KINDS[asked].heads:
        files = " or ".join(head.file for head in KINDS[asked].heads)
        hint += f"; {KINDS[asked].words} has the file {files}"
    ending = KINDS[asked].architecture_ending
    if ending is not None:
        hint += f"; {KINDS[asked].words} has an architecture named ...{ending}"
    return UsageError(
        f"--task {request.task} is for {KINDS[asked].words}, but {request.model_id} is "
        f"{KINDS[kind].words}",
        hint,
    )


def _refuse_static(request: Request, kind: Kind, static: StaticFormat) -> None:
    """Refuses what static embeddings cannot be (UnsupportedModelError) or have (UsageError)."""
    weighs = static is StaticFormat.TOKEN_WEIGHTS
    of_weights = [k for k, rules in KINDS.items() if TOKEN_WEIGHTS in rules.modules]
    possible = of_weights[0] if weighs else Kind.EMBEDDING
    if kind is not possible:
        what = "a table of one weight per token" if weighs else "static embeddings"
        raise UnsupportedModelError(
            f"{request.model_id} is {KINDS[kind].words} of {what}, which is not supported",
            f"give {KINDS[possible].words} of {what}",
        )
    if request.pooling is not None:
        raise UsageError(
            f"--pooling {request.pooling} cannot be set: static embeddings are the mean of their "
            "tokens' vectors",
            "remove --pooling",
        )


def _refuse_tokenizer(resolved: ResolvedModel) -> None:
    """Raises UsageError for a tokenizer.json that no graph can have."""
    place, modules = "", resolved.path("modules.json")
    if resolved.routed is not None:
        place = resolved.routed.place
    elif modules.is_file():
        place = parse_modules(read_any_json(modules))[0].path
    path = resolved.path((PurePosixPath(place) / "tokenizer.json").as_posix())
    parts = parts_of(path) if path.is_file() else {"model": {}}
    # Without a name, which old files lack, it is known when the file is published.
    if parts["model"].get("type") and (problem := tokenizer_problem(parts)):
        raise UsageError(f"--tokenizer in_graph: {problem}", LET_THE_PROGRAM)


def _refuse_options(request: Request, kind: Kind) -> None:
    """Raises UsageError for options that do not apply to a kind of model."""
    rules = KINDS[kind]
    given = {
        "pooling": request.pooling is not None,
        "normalize": request.normalize,
        "dimensions": request.dimensions is not None,
        "force_dimensions": request.force_dimensions,
        "output_precision": request.output_precision is not OutputPrecision.FLOAT32,
    }
    for option in (name for name, is_given in given.items() if is_given):
        if option in rules.overrides:
            continue
        hint = f"remove --{option}"
        if option == "pooling":
            hint += (
                f"; or add --task {KINDS[Kind.EMBEDDING].task} to make an (untrained) embedding "
                "model of its transformer"
            )
        raise UsageError(
            f"--{option} is for embedding models, but {request.model_id} is {rules.words}", hint
        )
    _refuse_output(request, rules)
    if request.min_neighbours is not None and rules.measure is Measure.AGREEMENT:
        raise UsageError(
            f"--min_neighbours is for vectors, but {request.model_id} is {rules.words}",
            "remove --min_neighbours; --min_cosine limits the loss of its scores",
        )


def _refuse_output(request: Request, rules: KindRules) -> None:
    """Raises UsageError for an output that no graph of the kind has."""
    if request.output in rules.outputs:
        return
    of = " or ".join(other.words for other in KINDS.values() if request.output in other.outputs)
    hint = "remove --output"
    if len(rules.outputs) > 1:
        others = [output for output in rules.outputs if output is not Output.BOTH]
        hint += f", or write --output {' or '.join(others)}"
    if request.output is Output.LOGITS and rules is KINDS[Kind.EMBEDDING]:
        tasks = [k.task for k in KINDS.values() if k.has_token_logits]
        hint += f"; a masked language model is a sparse model with --task {tasks[0]}"
    raise UsageError(
        f"--output {request.output} is for {of}, but {request.model_id} is {rules.words}", hint
    )


def _refuse_layout(request: Request, resolved: ResolvedModel, kind: Kind) -> None:
    """Raises UsageError for a layout whose runtime cannot load the model."""
    rules = KINDS[kind]
    words, layouts = rules.words, rules.layouts_for(request.output)
    for module in set(resolved.modules) & set(rules.layouts_with):
        words, layouts = f"{words} with {module}", rules.layouts_with[module]
    if KINDS[kind].reading is Reading.PAIR and _has_template(resolved):
        words, layouts = f"{words} with a chat template", _PLAIN_LAYOUTS
    if request.layout in layouts and resolved.static is not None:
        words, layouts = "static embeddings", _PLAIN_LAYOUTS
    elif request.layout in layouts and resolved.left_out:
        words, layouts = f"models that also read {resolved.left_out[0]}", _PLAIN_LAYOUTS
    if request.output_precision is not OutputPrecision.FLOAT32:
        words = f"--output_precision {request.output_precision}"
        layouts = tuple(layout for layout in layouts if layout in _PLAIN_LAYOUTS)
    if request.layout not in layouts:
        raise UsageError(
            f"--layout {request.layout} does not support {words}",
            f"for {request.model_id}, --layout can be {', '.join(layouts)}"
            + "".join(
                f"; with --output {output} also {request.layout}"
                for output, more in rules.layouts_of.items()
                if request.layout in more
            ),
        )
