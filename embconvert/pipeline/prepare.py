"""Determines the source, the published folder and the plan, before work starts."""

from dataclasses import dataclass
from pathlib import Path

from embconvert import hub
from embconvert.console import Console
from embconvert.folder.published import read_manifest
from embconvert.manifest import Manifest
from embconvert.manifest.codec import OlderManifest
from embconvert.manifest.consumers import consumer_of
from embconvert.manifest.requesting import request_from
from embconvert.models.choices import Command
from embconvert.models.values import ResolvedModel
from embconvert.plan.plan import Plan, make_plan
from embconvert.plan.requested_steps import float32_only, pooled_only
from embconvert.processes.resources import available_memory_bytes, memory_limit_bytes
from embconvert.request.places import local_folder
from embconvert.request.records import Request
from embconvert.source.contract import settle_contract
from embconvert.source.dimensions import dimensions_problem
from embconvert.source.kind import heads_left_out, settle_kind
from embconvert.source.untold_rerankers import describe, settle_template


@dataclass(frozen=True, kw_only=True)
class Prepared:
    request: Request
    resolved: ResolvedModel
    plan: Plan
    old: Manifest | None

    @property
    def same_source(self) -> Manifest | None:
        """The published manifest, if the source is unchanged since."""
        same = self.old is not None and self.old.source.digest == self.resolved.digest
        return self.old if same else None

    @property
    def digests(self) -> dict[str | None, str]:
        """What identifies the source, under None, and each published graph of it, by path."""
        records = self.same_source.artifacts if self.same_source else ()
        return {None: self.resolved.digest, **{record.path: record.digest for record in records}}


def prepare(request: Request, target: Path, calibration: str, console: Console) -> Prepared:
    """Resolves the source and plans the steps; raises EmbconvertError for what is unsuitable."""
    old = _published(target, console)
    if request.command in (Command.OPTIMIZE, Command.QUANTIZE) and old is not None:
        is_local = local_folder(request.model_id) is not None
        request = request_from(old, request, is_local=is_local)
    found = hub.resolve(request, console)
    asked, request = request, pooled_only(request, found.modules)
    if request != asked:
        console.warn(
            "the model is one weight per token, without token logits: its graph gives "
            "sentence_embedding"
        )
    request = settle_template(request, found)
    resolved = settle_kind(request, found)
    if resolved.template is not None:
        console.say(describe(resolved.template))
    asked, request = request, settle_contract(request, resolved)
    consumer = consumer_of(request.layout, resolved.kind)
    if request.inputs != asked.inputs:
        console.say(f"{consumer.name} always sends {request.inputs}: the graph has these inputs")
    if request.output != asked.output:
        console.say(f"{consumer.name} reads one vector of a text: --output {request.output}")
    for problem in (dimensions_problem(request, resolved), heads_left_out(request, resolved)):
        if problem is not None:
            console.warn(problem)
    if resolved.left_out:
        console.warn(f"only texts are converted: no graph reads {' or '.join(resolved.left_out)}")
    asked, request = request, float32_only(request, resolved.modules)
    if request != asked:
        console.warn("the model is one weight per token, which stays float32: nothing is quantized")
    plan = make_plan(
        request,
        resolved,
        output_dir=str(target),
        available=[a.path for a in old.artifacts] if old else [],
        calibration_digest=calibration,
    )
    return Prepared(request=request, resolved=resolved, plan=plan, old=old)


def _published(target: Path, console: Console) -> Manifest | None:
    try:
        return read_manifest(target)
    except OlderManifest as error:
        console.warn(f"{error}; the model is converted again")
        return None
    except ValueError as error:
        console.warn(f"{error}; the folder is treated as empty")
        return None


def warn_of_memory(plan: Plan, console: Console) -> None:
    """Warns about a container's memory limit below the plan's need."""
    limit = memory_limit_bytes()
    if limit is not None and limit < plan.memory_need_bytes:
        console.warn(
            f"the conversion needs about {plan.memory_need_bytes / 1e9:.1f} GB of memory, but the "
            f"container's limit is {limit / 1e9:.1f} GB; if it is killed, raise the limit"
        )


def is_short_of_memory(plan: Plan, console: Console) -> bool:
    """Whether graphs must be verified layer by layer; tells the user."""
    available = available_memory_bytes()
    if not plan.verifies or plan.whole_graphs_bytes <= available:
        return False
    console.say(
        f"with {available / 1e9:.1f} GB of memory the source and the graphs run layer by layer "
        f"(at once they would need {plan.whole_graphs_bytes / 1e9:.1f} GB)"
    )
    return True
