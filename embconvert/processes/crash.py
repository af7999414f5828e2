"""Why a child process crashed."""

import signal

from embconvert.errors import MORE_MEMORY
from embconvert.processes.limits import cpu_limit_s, few_processes
from embconvert.processes.resources import address_space_limit_bytes


class WorkerCrashed(Exception):  # noqa: N818 - not an error for the user as it is
    """The process ended during a task.

    Attributes:
        out_of_memory: Whether the system probably killed it for lack of memory.
        out_of_cpu_time: Whether the user's limit of CPU time ended it (`ulimit -t`).
    """

    def __init__(self, exit_code: int | None) -> None:
        killed_by = -(exit_code or 0)
        name = _signal_name(killed_by) if killed_by > 0 else f"exit code {exit_code}"
        reason = f"a library crashed ({name})"
        limit = address_space_limit_bytes()
        self.out_of_memory = killed_by == signal.SIGKILL
        self.out_of_cpu_time = killed_by == signal.SIGXCPU
        self.hint = "please report the model"
        if self.out_of_cpu_time:
            reason = f"its CPU time is used up: `ulimit -t` allows {cpu_limit_s()} s"
            self.hint = "raise the limit and run the command again"
        elif self.out_of_memory:
            reason = "the system killed it, most likely for lack of memory"
        elif limit is not None:
            # Few libraries check whether an allocation succeeded.
            self.out_of_memory = True
            reason += f", most likely for lack of memory: `ulimit -v` allows {limit / 1e9:.1f} GB"
        few = few_processes()
        if killed_by == signal.SIGABRT and few is not None:
            reason += f"; {few}"
            self.hint = "raise the limit"
        if self.out_of_memory:
            self.hint = MORE_MEMORY
        super().__init__(reason)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
