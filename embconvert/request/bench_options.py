"""The options of `embconvert bench`."""

from embconvert.errors import UsageError
from embconvert.models.shapes import BENCH_SHAPES
from embconvert.request import values
from embconvert.request.options import Group, Option, flag, shared
from embconvert.request.records import BenchRequest

_ALL = "all"
_MOST_THREADS, _DAY_S = 10_000, 86_400


def _threads(word: str) -> tuple[int | None, ...]:
    """Parses numbers of threads, such as 1,2,all; None stands for all."""
    found: list[int | None] = []
    for part in word.split(","):
        number = values.whole_number(part.strip())
        if part.strip().lower() != _ALL and not (
            number is not None and 0 < number <= _MOST_THREADS
        ):
            raise UsageError(
                f"--threads must be numbers of threads, not {word}", "write --threads 1,2,all"
            )
        found.append(number)
    return tuple(dict.fromkeys(found))


def _providers(word: str) -> tuple[str, ...]:
    """Parses names of ONNX Runtime's execution providers, such as cpu,cuda."""
    names = tuple(
        part.strip().lower().removesuffix("executionprovider") for part in word.split(",")
    )
    if not all(name.isalnum() for name in names):
        raise UsageError(f"--providers must be names, not {word}", "write --providers cpu,cuda")
    return names


# fmt: off
BENCH_OPTIONS: tuple[Option, ...] = (
    Option(
        name="shapes", metavar="LIST", group=Group.MEASURE, parse=values.shapes("shapes"),
        default=",".join(map(str, BENCH_SHAPES)),
        help="Batches: the number of texts, and of tokens of each.",
    ),
    Option(
        name="threads", metavar="LIST", group=Group.MEASURE, parse=_threads, default=_ALL,
        help="Numbers of threads, such as 1,2,all. All is the number of CPUs.",
    ),
    Option(
        name="providers", metavar="LIST", group=Group.MEASURE, parse=_providers,
        default="all that are installed",
        help="Execution providers of ONNX Runtime, such as cpu,cuda.",
    ),
    Option(
        name="seconds", metavar="N", group=Group.MEASURE,
        parse=values.positive("seconds", _DAY_S, example=60),
        default=f"{BenchRequest.seconds:.0f}",
        help="Seconds of measurement, in addition to the time for loading and checking the files.",
    ),
    Option(
        name="output", metavar="FILE", group=Group.FOLDER, parse=values.path("output"),
        default=str(BenchRequest.output),
        help="Page to write; an existing file is replaced.",
    ),
    *shared("max_graph_seconds"),
    flag("json", Group.OUTPUT, "Print all figures as JSON."),
    *shared("quiet", "debug"),
)
# fmt: on
