"""What `export`, `optimize`, `quantize` and `all` do."""

import json

from embconvert import hub
from embconvert.console import Console
from embconvert.fidelity.texts import calibration_texts
from embconvert.folder.disk import output_errors
from embconvert.folder.staging import Staging
from embconvert.manifest.codec import as_json
from embconvert.models.choices import Command
from embconvert.pipeline.prepare import describe, prepare, warn_of_memory
from embconvert.processes.limits import refuse_missing_proc
from embconvert.processes.resources import limit_threads
from embconvert.processes.workers import Workers
from embconvert.processes.zygote import Zygotes
from embconvert.request.records import Finished, Request
from embconvert.source.device import check_device


def convert(request: Request, zygotes: Zygotes | None = None) -> Finished:
    """Runs a request.

    Args:
        request: What to do.
        zygotes: What to fork workers from; for those who convert many models.

    Returns:
        For stdout the output folder's path; with `json` the manifest; with `dry_run` the plan.

    Raises:
        EmbconvertError: Something is wrong; what was published before is still there.
    """
    console = Console(quiet=request.quiet, debug=request.debug)
    target = hub.output_folder(request)
    calibration = calibration_texts(request.calibration_dataset)
    check_device(request.device)
    if request.dry_run:
        plan = prepare(request, target, calibration.digest, console).plan
        return Finished(text=describe(plan, as_json=request.json))
    refuse_missing_proc()
    limit_threads()
    with (
        Staging(target, console.say) as staging,
        Workers(console, zygotes=zygotes, graph_seconds=request.max_graph_seconds) as workers,
    ):
        if request.command in (Command.EXPORT, Command.ALL) and not target.exists():
            workers.prepare_for_source()
        # While the source's process imports its libraries.
        from embconvert.pipeline.run import Run

        # Only now, because a run that this one waited for may have published.
        prepared = prepare(request, target, calibration.digest, console)
        for remark in prepared.plan.remarks:
            console.say(remark)
        warn_of_memory(prepared.plan, console)
        with output_errors(target):
            manifest = Run(prepared, staging, workers, console).execute()
    text = json.dumps(as_json(manifest), indent=2) if request.json else str(target)
    return Finished(text=text)
