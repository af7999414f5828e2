"""The code that shows how servers and programs in Java load a graph."""

from collections.abc import Mapping
from typing import Any

from embconvert.foreign_text import (
    json_string,
    json_text,
    shell_line,
    shell_word,
    url_path,
    xml_attribute,
    xml_text,
    yaml_block,
)
from embconvert.manifest.consumers import consumer_of
from embconvert.models.choices import Layout
from embconvert.reporting.snippet_parts import (
    SENTENCE,
    ServedModel,
    Snippet,
    files_of_graph,
)


def text_embeddings_inference(
    model: ServedModel, route: str, body: Mapping[str, Any]
) -> Snippet | None:
    """Returns the code for text-embeddings-inference, with the body for a route of its HTTP API."""
    served = model.usual_graph
    # Docker takes what follows a colon for a path of the container's.
    if served is None or ":" in model.home.name:
        return None
    if not served.runs_on(consumer_of(Layout.TEI).newest_onnxruntime):
        return None
    if model.home.on_hub:
        volume = '"$PWD"/data:/data'
        words = ["--model-id", model.home.name]
        words += ["--revision", model.home.revision] if model.home.revision else []
        named = shell_line(*words)
    else:
        volume = f'"$PWD"/{shell_word(f"{model.home.name}:/model:ro")}'
        named = "--model-id /model"
    remark = f"It serves `{served.path}`, the only name that it looks for here."
    if served.path != model.graph.path:
        remark = (
            f"It serves `{served.path}` ({served.precision}), the only name that it looks for "
            f"here; converted with `--layout tei`, it serves {model.graph.precision}."
        )
    return Snippet(
        key="text-embeddings-inference",
        title="text-embeddings-inference",
        language="sh",
        code=f"""\
docker run --rm -p 8080:80 -v {volume} \\
  ghcr.io/huggingface/text-embeddings-inference:cpu-latest {named}

curl 127.0.0.1:8080/{route} -X POST -H 'Content-Type: application/json' \\
  -d {shell_word(json_text(body, indent=None))}""",
        remark=remark,
    )


def embed_with_tei(model: ServedModel) -> Snippet | None:
    """Returns the code for an embedding model on text-embeddings-inference, which pools itself."""
    if not model.source.prompts.pooled:
        return None
    return text_embeddings_inference(model, "embed", {"inputs": list(model.texts.literal)})


def nixiesearch(model: ServedModel) -> Snippet | None:
    """Returns a part of Nixiesearch's configuration file."""
    # It pools output 0 itself, and knows no branches.
    if model.pooled_by_client is None or model.home.revision is not None:
        return None
    if not model.graph.runs_on(consumer_of(Layout.NIXIESEARCH).newest_onnxruntime):
        return None
    remark = "A part of its configuration file."
    address = model.home.name
    if not model.home.on_hub:
        address = f"file:///models/{url_path(model.home.name)}"
        remark = "A part of its configuration file; here the folder lies in `/models`."
    settings: dict[str, Any] = {
        "provider": "onnx",
        "model": address,
        "file": model.graph.path,
        "pooling": model.pooled_by_client,
    }
    named = zip(("query", "doc"), model.texts.for_search, strict=True)
    prompts = {role: prompt for role, prompt in named if prompt}
    settings |= {"prompt": prompts} if prompts else {}
    name = model.home.short_name.lower()
    return Snippet(
        key="nixiesearch",
        title="Nixiesearch",
        language="yaml",
        code=yaml_block({"inference": {"embedding": {name: settings}}}).rstrip("\n"),
        remark=remark,
    )


def vespa(model: ServedModel) -> Snippet | None:
    """Returns a part of Vespa's services.xml."""
    types = "" if "token_type_ids" in model.inputs else "  <transformer-token-type-ids/>\n"
    prepended = _vespa_prompts(model)
    return vespa_component(
        model,
        "hugging-face-embedder",
        f"""\
{types}{prepended or ""}  <transformer-output>{SENTENCE}</transformer-output>
  <pooling-strategy>none</pooling-strategy>
""",
        adds_prompts=prepended is not None,
    )


def vespa_component(
    model: ServedModel,
    kind: str,
    settings: str,
    *,
    max_tokens: str = "max-tokens",
    adds_prompts: bool = False,
) -> Snippet | None:
    """Returns a component of Vespa's services.xml.

    `settings` are lines of XML after the model, the tokenizer and the limit, which the kind calls
    `max_tokens`; `adds_prompts` if they have the model's prompts, should it have any.
    """
    if model.graph.external_data is not None or len(model.inputs) > 3:
        return None
    if not (model.home.name + model.graph.path).isprintable():
        return None  # XML could not hold it
    limit = model.max_tokens if isinstance(model.max_tokens, int) else 0
    cut = f"  <{max_tokens}>{limit}</{max_tokens}>\n" if limit else ""
    address = model.home.files_address
    remark = "In `services.xml`."
    if address is None:
        remark = "In `services.xml`, with the folder in the application package."
    if not adds_prompts and any(model.texts.for_search):
        remark += " Put the prompts before the texts that it gets; it cannot add these."
    return Snippet(
        key="vespa",
        title="Vespa",
        language="xml",
        code=f"""\
<component id={xml_attribute(model.home.short_name.lower())} type="{kind}">
  <transformer-model {_vespa_file(model, model.graph.path)}/>
  <tokenizer-model {_vespa_file(model, "tokenizer.json")}/>
{cut}{settings}</component>""",
        remark=remark,
    )


def _vespa_prompts(model: ServedModel) -> str | None:
    """Returns the part with the prompts; None if it cannot have them.

    Source: prependInstruction() of its HuggingFaceEmbedder, which adds one space to each.
    """
    lines = []
    for role, prompt in zip(("query", "document"), model.texts.for_search, strict=True):
        if not prompt:
            continue
        content = prompt.removesuffix(" ")
        if (
            not content
            or content != prompt.strip()
            or content == prompt
            or not content.isprintable()
        ):
            return None
        lines.append(f"    <{role}>{xml_text(content)}</{role}>\n")
    return f"  <prepend>\n{''.join(lines)}  </prepend>\n" if lines else ""


def _vespa_file(model: ServedModel, file: str) -> str:
    address = model.home.files_address
    if address is None:
        return f"path={xml_attribute(_folder_file(model, file))}"
    return f"url={xml_attribute(f'{address}/{url_path(file)}')}"


def _download(model: ServedModel) -> str:
    """Returns the command that puts the files of a repository into a folder beside the program."""
    revision = ["--revision", model.home.revision] if model.home.revision else []
    files = (*files_of_graph(model), "tokenizer.json")
    to = ["--local-dir", model.home.short_name]
    return shell_line("hf", "download", model.home.name, *files, *revision, *to)


def langchain4j(model: ServedModel) -> Snippet | None:
    """Returns the code for LangChain4j, which reads one file into memory and pools output 0."""
    pooling = model.pooled_by_client
    if pooling is None or model.graph.external_data is not None:
        return None
    download = f"// {_download(model)}\n" if model.home.on_hub else ""
    graph, tokenizer = (
        json_string(_folder_file(model, file)) for file in (model.graph.path, "tokenizer.json")
    )
    return Snippet(
        key="langchain4j",
        title="LangChain4j",
        language="java",
        code=f"""\
// dev.langchain4j:langchain4j-embeddings
{download}\
EmbeddingModel model = new OnnxEmbeddingModel(
    {graph},
    {tokenizer},
    PoolingMode.{pooling.upper()});
Embedding embedding = model.embed({json_string(model.texts.literal[0])}).content();""",
    )


def spring_ai(model: ServedModel) -> Snippet | None:
    """Returns properties of Spring AI, which reads one file into memory and takes means."""
    if model.pooled_by_client != "mean" or model.graph.external_data is not None:
        return None
    address = model.home.files_address
    if address is None:
        address = f"file:{url_path(model.home.short_name)}"
    return Snippet(
        key="spring-ai",
        title="Spring AI",
        language="properties",
        code=f"""\
spring.ai.embedding.transformer.onnx.modelUri={address}/{url_path(model.graph.path)}
spring.ai.embedding.transformer.onnx.modelOutputName={model.graph.outputs[0].name}
spring.ai.embedding.transformer.tokenizer.uri={address}/tokenizer.json
spring.ai.embedding.transformer.tokenizer.options.padding=true""",
        remark="In `application.properties`. Spring AI does not normalize: compare by cosine."
        + (" Put the model's prompts before the texts." if model.source.prompts.distinct else ""),
    )


def _folder_file(model: ServedModel, file: str) -> str:
    """Returns the path of a file for a program that runs beside the folder."""
    return f"{model.home.short_name}/{file}"
