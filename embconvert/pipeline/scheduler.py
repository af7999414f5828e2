"""Runs jobs: decides when each starts, which run in parallel, and which are repeated."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from embconvert.console import Console
from embconvert.errors import EmbconvertError
from embconvert.pipeline.job_times import JobTimes
from embconvert.plan.jobs import BASE_BYTES, Job
from embconvert.processes.worker import RunningTask, Work, resume, wait_for_any


class DoOver(Exception):  # noqa: N818 - not an error
    """A step must be repeated from the start with another method."""

    def __init__(self, file: str) -> None:
        super().__init__(file)
        self.file = file


class NeedsFirst(Exception):  # noqa: N818 - not an error
    """A job must be repeated after others, which may not be among the jobs yet."""

    def __init__(self, *jobs: Job) -> None:
        super().__init__(*(job.name for job in jobs))
        self.jobs = jobs


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """The number of jobs, and their memory together, that may run at once."""

    jobs: int
    memory_bytes: int


class DoesJobs(Protocol):
    def perform(self, job: Job) -> Work[None]:
        """Returns the work of a job.

        Raises:
            DoOver: In the work: the file must be made by another method.
            NeedsFirst: In the work: another job must be done before.
            EmbconvertError: In the work: the job failed.
        """

    def end_process(self, name: str) -> None:
        """Ends a process that jobs share; a second call does nothing."""


@dataclass
class _Running:
    job: Job
    work: Work[None]
    task: RunningTask
    is_beside: bool


class Scheduler:
    """Starts each job when the jobs that it needs are done and the machine has capacity.

    Earlier jobs have priority. An exclusive job that could start blocks all later ones, so that it
    does not wait forever. If a parallel job runs out of memory, it is repeated, and from then on
    jobs run one at a time.

    Args:
        tolerated: Errors that end only a job and the jobs that need it; others end the run.
    """

    def __init__(
        self,
        capacity: Capacity,
        performer: DoesJobs,
        console: Console,
        tolerated: tuple[type[EmbconvertError], ...],
    ) -> None:
        self._capacity = capacity
        self._performer = performer
        self._console = console
        self._tolerated = tolerated
        self._jobs: dict[str, Job] = {}
        self._done: set[str] = set()
        self._failed: dict[str, EmbconvertError] = {}
        self._running: dict[str, _Running] = {}
        #: Running shared processes.
        self._processes: set[str] = set()
        self._told_of_memory = False
        #: Names of the jobs that were announced, each as often as it was started.
        self._announced: list[str] = []
        self._times = JobTimes()

    def run(self, jobs: Sequence[Job]) -> list[EmbconvertError]:
        """Runs jobs; returns the tolerated errors of the failed ones, in the order of the jobs."""
        self._jobs = {job.name: job for job in jobs}
        try:
            while True:
                self._start_all()
                if not self._running:
                    break
                wait_for_any([running.task for running in self._running.values()])
                for running in list(self._running.values()):
                    if running.task.is_finished and running.job.name in self._running:
                        self._go_on(running)
        finally:
            for running in self._running.values():
                running.work.close()
            for process in self._processes:
                self._performer.end_process(process)
            if self._console.debug:
                self._times.show(self._console)
        return [self._failed[name] for name in self._jobs if name in self._failed]

    def _start_all(self) -> None:
        """Starts all jobs that can start now."""
        while (job := self._next()) is not None:
            self._start(job)

    def _next(self) -> Job | None:
        for job in self._pending():
            if not self._done.issuperset(job.needs):
                continue
            if job.process is not None and self._uses(job.process):
                continue
            if not self._running:
                return job
            if job.exclusive or any(r.job.exclusive for r in self._running.values()):
                return None
            if len(self._running) < self._capacity.jobs and self._fits(job):
                return job
        return None

    def _pending(self) -> Iterable[Job]:
        for name, job in self._jobs.items():
            if name not in self._done and name not in self._running and not self._is_lost(job):
                yield job

    def _is_lost(self, job: Job) -> bool:
        """Whether a job failed, or needs one that failed."""
        return job.name in self._failed or any(
            self._is_lost(self._jobs[need]) for need in job.needs
        )

    def _uses(self, process: str) -> bool:
        return any(running.job.process == process for running in self._running.values())

    def _fits(self, job: Job) -> bool:
        jobs = [job, *(running.job for running in self._running.values())]
        if BASE_BYTES + sum(j.memory_bytes for j in jobs) <= self._capacity.memory_bytes:
            return True
        if not self._told_of_memory:
            self._told_of_memory = True
            self._console.say("jobs run one at a time, because there is little memory")
        return False

    def _start(self, job: Job) -> None:
        for running in self._running.values():
            running.is_beside = True
        if job.process is not None:
            self._processes.add(job.process)
        self._announce(job)
        self._times.start(job)
        work = self._performer.perform(job)
        self._advance(job, work, None, is_beside=bool(self._running))

    def _announce(self, job: Job) -> None:
        """Prints one line, unless the job is silent.

        What is repeated, or lost with a failed job, changes the total.
        """
        if job.is_silent:
            return
        again = " again" * (job.name in self._announced)
        self._announced.append(job.name)
        number = len(self._announced)
        left = sum(not other.is_silent for other in self._pending() if other.name != job.name)
        self._console.say(f"{number}/{number + left} {job.words}{again}")

    def _go_on(self, running: _Running) -> None:
        """Continues a job with the result that it waited for."""
        job = running.job
        self._times.add(job, running.task.cpu_s)
        crash = running.task.crash
        if crash is not None and crash.out_of_memory and running.is_beside:
            self._do_alone(running)
            return
        del self._running[job.name]
        self._advance(job, running.work, running.task, is_beside=running.is_beside)

    def _advance(
        self,
        job: Job,
        work: Work[None],
        ended: RunningTask | None,
        *,
        is_beside: bool,
    ) -> None:
        """Runs a job until it waits for a process again, or ends.

        Args:
            ended: The task that the job waited for; None if it starts.
        """
        try:
            task = next(work) if ended is None else resume(work, ended)
        except StopIteration:
            self._done.add(job.name)
            self._end_unused_processes()
        except DoOver as over:
            self._reset({n for n, j in self._jobs.items() if j.step and j.step.file == over.file})
        except NeedsFirst as needs:
            self._put_before(job, needs.jobs)
        except self._tolerated as error:
            self._failed[job.name] = error
            self._end_unused_processes()
        else:
            self._running[job.name] = _Running(job, work, task, is_beside)

    def _do_alone(self, running: _Running) -> None:
        self._console.warn(f"{running.job.name}: {running.task.crash}; repeating it alone")
        self._capacity = Capacity(jobs=1, memory_bytes=self._capacity.memory_bytes)
        running.work.close()
        del self._running[running.job.name]
        if running.job.process is not None:
            self._end_process(running.job.process)

    def _put_before(self, job: Job, first: Sequence[Job]) -> None:
        """Adds jobs, if they are new, that another one needs."""
        jobs: dict[str, Job] = {}
        for name, other in self._jobs.items():
            if name == job.name:
                for needed in first:
                    jobs.setdefault(needed.name, needed)
                jobs[name] = replace(other, needs=(*other.needs, first[-1].name))
            else:
                jobs[name] = other
        self._jobs = jobs
        self._restore_lost()

    def _reset(self, names: set[str]) -> None:
        """Marks jobs, and all that need them, as not done."""
        for name, job in self._jobs.items():  # a job comes after those that it needs
            if not names.isdisjoint(job.needs):
                names = names | {name}
        for name in names & self._running.keys():
            self._running.pop(name).work.close()
        self._done -= names
        for name in names:  # what was made of a wrong graph may have failed before it
            self._failed.pop(name, None)
        self._restore_lost()

    def _end_unused_processes(self) -> None:
        in_use = {
            job.process for job in (*self._pending(), *(r.job for r in self._running.values()))
        }
        for process in self._processes - in_use:
            self._end_process(process)

    def _end_process(self, process: str) -> None:
        self._performer.end_process(process)
        self._processes.discard(process)
        self._restore_lost()

    def _restore_lost(self) -> None:
        """Marks jobs as not done whose results were lost with their process, if still needed."""
        for job in reversed(self._jobs.values()):
            if job.is_volatile and job.process not in self._processes:
                users = [other for other in self._pending() if job.name in other.needs]
                if any(other.process == job.process for other in users):
                    self._done.discard(job.name)
