"""Generative rerankers whose files are only a language model's: what their card says is added."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from embconvert.errors import SourceError, UnsupportedModelError, UsageError
from embconvert.json_files import read_json, write_json
from embconvert.models.kinds import KINDS, TASKS, Kind
from embconvert.models.reranker_templates import (
    RERANKER_TEMPLATES,
    NextToken,
    RerankerTemplate,
    template_name_of,
)
from embconvert.models.suggestions import unknown_value
from embconvert.models.values import ResolvedModel
from embconvert.request.records import Request
from embconvert.source.classifier_words import WORDS, reads_pairs, words_of
from embconvert.source.settings.files import TRANSFORMER_FILES
from embconvert.source.settings.module_list import ModuleEntry, listed
from embconvert.source.settings.modules import MODULES
from embconvert.source.weights import tensor_shapes
from embconvert.user_files import UnreadableFileError, read_regular

_OPTION = "--reranker_template"
_SCORE = "1_LogitScore"
#: A chat template has a few kB.
_MOST_BYTES = 1_000_000
_MODULES = ("Transformer", "LogitScore")
_TOKENIZER = "tokenizer_config.json"
#: The kind of models that score by LogitScore.
RERANKERS = next(kind for kind, rules in KINDS.items() if "LogitScore" in rules.modules)
#: Has a chat template in a file of its own, which is preferred to that in the tokenizer's settings.
TEMPLATE_FILE = "chat_template.jinja"
#: Names of rerankers, such as bge-reranker-v2-gemma, mxbai-rerank-large-v2 and zerank-1.
_RERANKER = re.compile(r"re-?rank|zerank", re.IGNORECASE)


def settle_template(request: Request, resolved: ResolvedModel) -> Request:
    """Returns a request that names the template of a model that is known by its name."""
    asked = TASKS[request.task] if request.task is not None else RERANKERS
    if request.reranker_template or asked is not RERANKERS or not _is_bare(resolved):
        return request
    if words_of(resolved.config) is not None and reads_pairs(_chat_template(resolved)):
        return request
    name = template_name_of(resolved.public_id, resolved.architecture.model_type)
    return request if name is None else replace(request, reranker_template=name)


def describe(template: NextToken) -> str:
    """Says in one line how a pair becomes a score, for a model whose modules do not."""
    words = " minus ".join(f'"{word}"' for word in _words(template).values())
    if not isinstance(template, RerankerTemplate):
        return (
            f"pairs are scored by the next token, {words}, as {WORDS} in config.json says, after "
            "the text that the model's chat template makes of them"
        )
    note = f" ({template.note})" if template.note else ""
    return (
        f"the files do not say how pairs are scored: as on the card of {template.source}, by the "
        f"next token, {words}{note}; {_OPTION} {template.name}"
    )


def with_template(request: Request, resolved: ResolvedModel) -> ResolvedModel:
    """Returns the source with the template that a request names or that its own files have.

    The words of config.json go before those of a template that is named.

    Raises:
        UsageError: There is no such template, or the model is none for it.
        SourceError: config.json says in another form which words count.
        UnsupportedModelError: It says it in an unsupported way.
    """
    name = request.reranker_template
    asked = TASKS[request.task] if request.task is not None else RERANKERS
    own = words_of(resolved.config) if asked is RERANKERS and _is_bare(resolved) else None
    if name is None:
        if own is None or not reads_pairs(_chat_template(resolved)):
            return resolved
        return replace(resolved, modules=_MODULES, template=own)
    if name not in RERANKER_TEMPLATES:
        raise unknown_value(_OPTION, name, RERANKER_TEMPLATES)
    if asked is not RERANKERS:
        raise UsageError(
            f"{_OPTION} is for rerankers, and --task {request.task} makes another model",
            f"remove --task or {_OPTION}",
        )
    if not _is_bare(resolved):
        why = (
            "has modules.json" if resolved.has_modules else "is no language model (...ForCausalLM)"
        )
        raise UsageError(
            f"{_OPTION} is for language models whose files do not say how they score pairs, but "
            f"{resolved.model_id} {why}",
            f"remove {_OPTION}",
        )
    template = RERANKER_TEMPLATES[name]
    if own is not None:
        template = replace(
            template, true=own.true, false=own.false, are_entries=True,
            note=f"the words are those of {WORDS} in config.json",
        )  # fmt: skip
    return replace(resolved, modules=_MODULES, template=template)


def refuse_untold_reranker(resolved: ResolvedModel) -> None:
    """Refuses a language model that is called a reranker: its scores are from its next token.

    So is one with an adapter that is called so.

    Raises:
        UnsupportedModelError: It is one, by its name; nothing in its files says so.
    """
    ids = (resolved.public_id, *(adapter.record.adapter for adapter in resolved.adapters))
    names = (model_id.rpartition("/")[2] for model_id in ids)
    if not _is_bare(resolved):
        return
    if words_of(resolved.config) is not None:
        raise UnsupportedModelError(
            f"{WORDS} in config.json says which next tokens are the score of a pair, but the "
            "tokenizer has no chat template for messages of a query and of a document",
            f"add {_OPTION} {' or '.join(RERANKER_TEMPLATES)} for the text around a pair",
        )
    name = next(filter(_RERANKER.search, names), None)
    if name is None:
        return
    raise UnsupportedModelError(
        f"{name} is called a reranker and is a language model, but its files do not say which "
        "of its next tokens are the score, and which texts are around a pair (modules.json "
        "with LogitScore, and a chat template for query and document)",
        f"if it reads pairs as the model of one of these names does, add {_OPTION} "
        f"{' or '.join(RERANKER_TEMPLATES)}; otherwise save it with CrossEncoder(modules="
        "[Transformer(..., transformer_task='text-generation'), LogitScore(...)]); or add --task "
        f"{KINDS[Kind.EMBEDDING].task} to make an (untrained) embedding model of it",
    )


def written_files(resolved: ResolvedModel) -> Mapping[str, Any]:
    """Returns the settings that a template adds, by path; none without a template.

    The ids of the words are known when the tokenizer is loaded.
    """
    if resolved.template is None:
        return {}
    template = resolved.template
    read = {"method": "forward", "method_output_name": "logits"}
    named = zip(("", _SCORE), resolved.modules, strict=True)
    files: dict[str, Any] = {
        "modules.json": listed(
            ModuleEntry(path=path, type=MODULES[module].path) for path, module in named
        ),
        TRANSFORMER_FILES[0]: {
            "transformer_task": "text-generation",
            "modality_config": {"text": read, "message": {**read, "format": "flat"}},
            "module_output_name": "causal_logits",
            # vLLM does not ask for it when it applies a model's own chat template.
            "processing_kwargs": {
                "chat_template": {"add_generation_prompt": template.chat_template is not None}
            },
        },
        f"{_SCORE}/config.json": {
            "true_token_id": 0,
            "false_token_id": None if template.false is None else 0,
        },
        "config_sentence_transformers.json": {"model_type": "CrossEncoder"},
    }
    if template.chat_template is not None:
        files[_TOKENIZER] = {
            **_tokenizer_settings(resolved), "chat_template": template.chat_template
        }  # fmt: skip
    return files


def replaces_template(resolved: ResolvedModel) -> bool:
    """Whether the tokenizer's own chat template is not used."""
    return resolved.template is not None and resolved.template.chat_template is not None


def save_template(resolved: ResolvedModel, score: Any, folder: Path) -> None:
    """Writes the files that a template adds to a published folder.

    Args:
        score: The module, with the ids of the words.
    """
    assert resolved.template is not None
    for path, value in written_files(resolved).items():
        if path != _TOKENIZER:
            (folder / path).parent.mkdir(exist_ok=True)
            write_json(folder / path, value)
    write_json(folder / _SCORE / "config.json", score.get_config_dict())
    if resolved.template.chat_template is not None:
        (folder / TEMPLATE_FILE).write_text(resolved.template.chat_template, encoding="utf-8")


def set_words(template: NextToken, score: Any, tokenizer: Any) -> None:
    """Sets the ids of the tokens whose logits are the score.

    Args:
        score: The module LogitScore.
        tokenizer: Of transformers.

    Raises:
        UnsupportedModelError: A word is not one token.
    """
    for name, word in _words(template).items():
        if isinstance(word, int):
            setattr(score, name, word)
            continue
        if template.are_entries:
            ids = [tokenizer.convert_tokens_to_ids(word)]
        else:
            ids = tokenizer(word, add_special_tokens=False)["input_ids"]
        if len(ids) != 1 or ids[0] in (None, tokenizer.unk_token_id):
            what = "unknown to" if len(ids) == 1 else f"{len(ids)} tokens of"
            raise UnsupportedModelError(
                f'the word "{word}", whose logit is the score, is {what} the tokenizer',
                _advice(template),
            )
        setattr(score, name, ids[0])


def _advice(template: NextToken) -> str:
    if template.are_entries:
        return f"set {WORDS} in a copy of config.json to entries of tokenizer.json"
    assert isinstance(template, RerankerTemplate)
    return (
        f"{_OPTION} {template.name} is for models like {template.source}; use another template's "
        "name"
    )


def _words(template: NextToken) -> dict[str, str | int]:
    """Returns the words or ids whose logits count, by the module's name for them."""
    words = {"true_token_id": template.true, "false_token_id": template.false}
    return {name: word for name, word in words.items() if word is not None}


def _is_bare(resolved: ResolvedModel) -> bool:
    """Whether a model is a language model whose modules say nothing about scores."""
    if resolved.has_modules:
        return False
    architectures = [str(name) for name in resolved.config.get("architectures") or ()]
    if any(name.endswith("ForCausalLM") for name in architectures):
        return True
    if words_of(resolved.config) is None:
        return False
    # vLLM calls it a classifier when config.json has its words, but there is no head in its files.
    weights = [
        name
        for file in resolved.files
        if file.path.endswith(".safetensors")
        for name in tensor_shapes(resolved.path(file.path))
    ]
    is_classifier = any(name.endswith("ForSequenceClassification") for name in architectures)
    has_head = not weights or any(name.endswith("score.weight") for name in weights)
    return is_classifier and not has_head


def _chat_template(resolved: ResolvedModel) -> object:
    path = resolved.path(TEMPLATE_FILE)
    if path.is_file():
        try:
            return read_regular(path, _MOST_BYTES).decode(errors="replace")
        except UnreadableFileError as error:
            raise SourceError(f"{TEMPLATE_FILE} {error}", "download the model again") from error
    return _tokenizer_settings(resolved).get("chat_template")


def _tokenizer_settings(resolved: ResolvedModel) -> Mapping[str, Any]:
    if resolved.settings is not None:
        return dict(resolved.settings.get(_TOKENIZER, {}))
    path = resolved.folder / _TOKENIZER
    return read_json(path) if path.is_file() else {}
