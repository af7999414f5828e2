"""The topics of `embconvert help` on folders' layouts and on the programs that load them."""

from typing import TYPE_CHECKING

from embconvert.cli.topic import Topic, code, release
from embconvert.models.choices import Layout

if TYPE_CHECKING:
    from embconvert.manifest.consumers import Consumer


def layouts() -> Topic:
    from embconvert.manifest.consumers import CONSUMERS, consumer_of
    from embconvert.manifest.layouts import LAYOUTS, SERVED_FILE, LayoutRules

    def graphs(rules: LayoutRules) -> str:
        if rules.form is not None:
            return ", ".join(f"`{file}` ({precision})" for precision, file in rules.names.items())
        if rules.serves_one:
            return f"`{SERVED_FILE}`, the only graph at the root: the last that the run makes"
        named = [f"`{file}` ({precision})" for precision, file in rules.names.items()]
        return ", ".join(["`onnx/model.onnx`", *named, "`onnx/model_opt1_<precision>.onnx`"])

    def also(layout: Layout) -> str:
        rules, consumer = LAYOUTS[layout], consumer_of(layout)
        found = [f"`{field}` in `config.json`" for field in rules.config]
        if rules.external_data_in_config:
            found.append("`use_external_data_format` in `config.json` if needed")
        if rules.model_max_length:
            found.append("texts are truncated as in the source")
        if consumer.pools:
            found.append(f"pools by itself: {' or '.join(consumer.pools)}")
        if rules.archive:
            found.append("`opensearch/model.zip`, and `register.json` with its hash")
        if rules.form is not None:
            found.append("the exported graph in `onnx/`, which the files are made from")
        if not consumer.external_data:
            found.append("never external data, so at most 2 GB")
        return "; ".join(found)

    return Topic(
        title="Layouts",
        introduction=(
            "Values of `--layout`, the target runtime. The graphs in ONNX are the same in all "
            "layouts, except for the inputs and outputs that a [program demands](consumers.md); "
            "their paths and a few fields of the configuration files differ. What a program cannot "
            "load, or would compute otherwise, is a usage error before work starts."
        ),
        columns=("layout", "for", "graphs to load", "also", "ONNX Runtime"),
        rows=tuple(
            (
                f"`{layout}`",
                "; ".join(c.name for c in CONSUMERS if c.layout is layout),
                graphs(rules),
                also(layout),
                "none"
                if rules.form
                else _runtimes(consumer_of(layout))
                or "yours; the manifest has the oldest of each file",
            )
            for layout, rules in LAYOUTS.items()
        ),
    )


def _runtimes(consumer: "Consumer") -> str:
    """Returns the releases of ONNX Runtime that a program contains or allows; "" if unknown."""
    oldest, newest = consumer.oldest_onnxruntime, consumer.newest_onnxruntime
    if newest is None:
        return "" if oldest is None else f"{release(oldest)} or newer"
    if oldest in (None, newest):
        return release(newest)
    return f"{release(oldest)} to {release(newest)}"


def programs() -> Topic:
    from embconvert.manifest.consumers import CONSUMERS, Consumer

    def inputs(consumer: Consumer) -> str:
        if consumer.layout is None:
            return ""
        if consumer.sends is None:
            return "what the graph has"
        others = f", and {code(consumer.may_send)} if the graph has it" if consumer.may_send else ""
        return f"{code(consumer.sends)}{others}"

    def output(consumer: Consumer) -> str:
        if consumer.layout is None:
            return ""
        rank = "" if consumer.rank is None else f", rank {consumer.rank}"
        pools = f"; pools itself: {' or '.join(consumer.pools)}" if consumer.pools else ""
        normal = {True: ", normalized", False: ", never normalized", None: ""}
        return f"{consumer.reads}{rank}{pools}{normal[consumer.normalizes]}"

    def run(consumer: Consumer) -> str:
        programs = [
            f"{'its engine: ' if run.is_engine else ''}{run.program} (`{run.test}`)"
            for run in consumer.runs
        ]
        return "; ".join(programs) or ("not run, only read" if consumer.source else "")

    return Topic(
        title="Programs",
        introduction=(
            "What each program demands, and with which `--layout` a folder for it is made. A test "
            "in `tests/consumers` that is named here loads a folder unchanged and compares its "
            "vectors with the source's. `its engine` means that the test is not the program "
            "itself: it uses the program's engine by the rules in the program's source."
        ),
        columns=(
            "program",
            "`--layout`",
            "sends",
            "reads",
            "files",
            "external data",
            "ONNX Runtime",
            "run in CI",
            "read in",
            "remark",
        ),
        rows=tuple(
            (
                consumer.name,
                "" if consumer.layout is None else f"`{consumer.layout}`",
                inputs(consumer),
                output(consumer),
                "" if consumer.layout is None else code(consumer.files),
                "" if consumer.layout is None else "yes" if consumer.external_data else "no",
                _runtimes(consumer),
                run(consumer),
                "" if consumer.source is None else consumer.source.link,
                consumer.remark,
            )
            for consumer in CONSUMERS
        ),
    )
