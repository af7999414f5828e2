"""The last stage: adapts the folder to its consumers, writes the pages and publishes."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from embconvert.console import Console
from embconvert.folder.consumer_files import adapt_to_layout
from embconvert.folder.opensearch import archive
from embconvert.folder.published import is_whole
from embconvert.folder.staging import Staging
from embconvert.foreign_text import shell_line
from embconvert.json_files import write_json
from embconvert.manifest import Manifest
from embconvert.manifest.consumers import consumer_of
from embconvert.manifest.consumers.differences import differences
from embconvert.manifest.layouts import LAYOUTS
from embconvert.models.choices import Command, Layout, Precision
from embconvert.models.values import ResolvedModel
from embconvert.pipeline.prepare import Prepared
from embconvert.pipeline.results import Results
from embconvert.reporting.pages import has_try_page, users_pages, write_pages
from embconvert.reporting.table import recommended_words, table_header, table_rows
from embconvert.request.parsing import next_command, word_of
from embconvert.request.places import repository_name
from embconvert.request.records import Request
from embconvert.source.folder import CONFIGURATION_FILES, PROCESSORS
from embconvert.source.weights import is_index, is_weights


def copy_source_files(resolved: ResolvedModel, staging: Staging) -> None:
    """Stages the source's tokenizer, configuration and module files, but not its weights."""
    routed = resolved.routed
    if routed is not None:
        write_json(staging.path("modules.json"), routed.published_chain)
    for file in resolved.files:
        published = file.path if routed is None else routed.published(file.path)
        if published is None or published in resolved.written:
            continue
        path = Path(published)
        if resolved.left_out and path.name in PROCESSORS:
            continue
        in_module = len(path.parts) > 1 and not (is_weights(path.name) or is_index(path.name))
        if path.name in CONFIGURATION_FILES or in_module or path.suffix == ".py":
            staging.add(resolved.path(file.path), published)
    for name, value in resolved.written.items():
        if not (target := staging.path(name)).exists():
            write_json(target, value)


def adapt_folder(prepared: Prepared, staging: Staging, results: Results, console: Console) -> None:
    """Adds the files that the layout's consumer needs; warns if its embeddings differ."""
    rules = LAYOUTS[prepared.request.layout]
    consumer = consumer_of(prepared.request.layout, prepared.resolved.kind)
    source = results.manifest().source
    adapt_to_layout(
        staging.folder, rules, prepared.resolved, results.records.values(), source.max_seq_length
    )
    if rules.archive:
        archive(staging.folder, results.manifest())
    if not source.modules:
        console.warn(
            "the source was not loaded (--skip_validation), so its tokenizer files are published "
            "as they are: they may pad or cut texts otherwise than sentence-transformers does"
        )
    for difference in differences(consumer, source):
        console.warn(difference)


def complete(
    prepared: Prepared, staging: Staging, manifest: Manifest, console: Console
) -> tuple[Manifest, bool]:
    """Completes the staged folder, so that only Staging.swap() is left; returns if it differs."""
    old, target = prepared.old, staging.target
    if (
        old is not None
        and manifest.describes_the_same(old)
        and is_whole(target, old, contents=True)
    ):
        console.say(f"{target} is up to date; nothing was changed")
        return replace(manifest, tool=old.tool, pages=old.pages), False
    users = users_pages(target, old)
    for file in sorted(users):
        console.say(f"{target / file} was changed by you and is kept")
    manifest = write_pages(
        manifest, staging.folder, target=target, keep=users, with_try=has_try_page(old)
    )
    if old is not None:  # unlisted files are kept
        old = replace(old, pages=tuple(p for p in old.pages if p.path not in users))
    staging.complete(manifest, old)
    return manifest, True


def show(manifest: Manifest, model_id: str, target: Path, console: Console) -> None:
    """Prints the figures of a published folder."""
    console.table(
        f"{model_id} -> {target}",
        table_header(manifest.measure),
        table_rows(manifest),
    )
    console.say("what the columns mean: embconvert help figures")
    console.say(recommended_words(manifest))


def next_step(request: Request, folder: Path, manifests: Iterable[Manifest]) -> str:
    """Returns the command line that follows a conversion, of all routes if there are several."""
    records = [record for manifest in manifests for record in manifest.artifacts]
    if request.command is Command.EXPORT:
        return next_command(request, Command.OPTIMIZE)
    if request.layout is Layout.HUB and all(r.precision is Precision.FLOAT32 for r in records):
        return next_command(request, Command.QUANTIZE, quantize=(Precision.QINT8,))
    if all(record.fidelity is not None for record in records):
        repository = f"YOU/{repository_name(folder.name)}"
        return shell_line("embconvert", "push", str(folder), "--repo_id", repository)
    adapters = ("--adapter", word_of(request.adapter)) if request.adapter else ()
    return shell_line("embconvert", "verify", str(folder), "--against", request.model_id, *adapters)
