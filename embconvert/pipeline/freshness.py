"""Whether a published folder is what a request would make, found out without making it.

Made of the same source, with the same options, libraries and version, reaching the floors that are
asked for now, and with files of the right size. Contents are not read.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

from embconvert.fidelity.figures import Fidelity
from embconvert.fidelity.floors import Floor, shortfall
from embconvert.fidelity.texts import calibration_texts
from embconvert.folder.published import is_whole, read_manifest
from embconvert.manifest import Manifest
from embconvert.models.kinds import TASKS
from embconvert.plan.keys import unmade
from embconvert.plan.plan import make_steps
from embconvert.plan.search import make_search
from embconvert.plan.steps import Step
from embconvert.request.records import Request
from embconvert.source.folder import resolve_folder


def current_manifest(request: Request, folder: Path, source: str | Path) -> Manifest | None:
    """Returns the manifest of a folder that is up to date; None when there is work to do.

    Args:
        request: What would be done; its command makes an export.
        folder: The output folder.
        source: The hub's commit, or the local folder of the source, whose files are hashed.

    Raises:
        EmbconvertError: The local source is broken.
    """
    try:
        manifest = read_manifest(folder)
    except ValueError:
        return None
    if manifest is None or manifest.layout != request.layout:
        return None
    if request.task is not None and TASKS[request.task] is not manifest.kind:
        return None
    if not _same_source(request, manifest, source):
        return None
    digest = _calibration_digest(request.calibration_dataset)
    steps = make_steps(request, digest, kind=manifest.kind)
    search = make_search(request, digest, kind=manifest.kind)
    # Of what a search may end with, any one will do: it ended with that.
    ends = [(*steps, end) for end in search.candidates] if search else [steps]
    if not any(_stand(end, manifest, request) for end in ends):
        return None
    return manifest if is_whole(folder, manifest, contents=False) else None


def _stand(steps: Sequence[Step], manifest: Manifest, request: Request) -> bool:
    """Whether a manifest has the outcome of every step, and it is what is asked for now."""
    if unmade(steps, manifest.artifacts, manifest.source.digest):
        return False
    records = {record.path: record for record in manifest.artifacts}
    return all(
        _reaches(step.floor, records[step.file].fidelity)
        and records[step.file].runs_on(request.min_onnxruntime)
        for step in steps
    )


def _same_source(request: Request, manifest: Manifest, source: str | Path) -> bool:
    trusted = request.trust_remote_code
    if manifest.source.trust_remote_code != trusted:
        return False  # other files of the source count
    if isinstance(source, str):
        return manifest.source.revision == source
    if manifest.source.revision is not None:
        return False
    resolved = resolve_folder(source, model_id=request.model_id, trust_remote_code=trusted)
    return manifest.source.digest == resolved.digest


def _reaches(floor: Floor | None, fidelity: Fidelity | None) -> bool:
    if floor is None:
        return True
    return fidelity is not None and shortfall(fidelity, floor) is None


@functools.cache
def _calibration_digest(dataset: Path | None) -> str:
    return calibration_texts(dataset).digest
