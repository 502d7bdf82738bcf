"""
How a run of a task ends: what its job's end means for the task, and what it leaves behind.

`end_of` runs a job and answers with a change of the task, a pure function of the row as it is by then: the row may have
been paused or deleted meanwhile, and then the lifecycle refuses. Storing the change, and again when the store is back,
is the service's.
"""

from collections.abc import Callable, Coroutine
from typing import Any  # Any: a coroutine's send and yield types, and fields by name

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from m3u8svc.errors import Fault, InvalidTransition, M3u8svcError, StoreError
from m3u8svc.job import Job, Outcome
from m3u8svc.report import bounded
from m3u8svc.tasks.again import give_up, halt
from m3u8svc.tasks.incidents import incident_of, url_of, with_incident
from m3u8svc.tasks.lifecycle import Event, advance
from m3u8svc.tasks.pace import status_bar
from m3u8svc.tasks.task import Progress, Status, Task
from m3u8svc.waiting import log_failure

log = Logger()

Change = Callable[[Task], Task]
"""What a task becomes. May raise InvalidTransition: the task is not in a state for it any more."""


@attrs.define
class Run:
    """
    A task that has a job now. `ended` fires when the job is over, whatever way.
    """

    task: Task
    job: Job
    ended: Deferred[None] = attrs.field(factory=Deferred)
    shown: Progress = attrs.field(factory=Progress)
    cancelled: bool = False
    """Whether we told the job to stop."""
    over: bool = False
    """Whether the job has ended, and only its end is to be stored: nothing can stop it any more, or count for it."""
    in_the_way: M3u8svcError | None = None
    """Why we told it so, if the task is to be held for that."""
    again: bool = False
    """Whether it makes a finished task again, which stays 已完成."""

    @property
    def shows(self) -> bool:
        """Whether anybody should still see it move: not once it was paused or deleted."""
        if self.again:
            return self.task.again is not None and not self.task.again.paused and not self.task.deleting
        return self.task.status is Status.DOWNLOADING and not self.task.deleting

    def live(self) -> Task:
        """
        The task with the job's progress, and what went wrong so far.
        """
        return attrs.evolve(self.task, progress=self.job.progress(), incidents=self.job.incidents)


async def end_of(run: Run, wall: Callable[[], float]) -> Change | None:
    """
    Run the job; the answer is what its end changes in the task. None: somebody stopped it.
    """
    try:
        outcome = await run.job.run()
    except CancelledError:
        if run.in_the_way is not None:
            return failed(run, run.in_the_way, at=wall())
        if not run.cancelled:  # something below us was cancelled that nobody here asked to stop
            return failed(run, M3u8svcError(reason="CancelledError"), at=wall())
        log.info("task {task} stopped", task=run.task.id)
        return None
    except StoreError as error:
        # A database that was busy or away when the job had something to record is no fault of the task.
        return interrupted(run, error) if error.retriable else failed(run, error, at=wall())
    except M3u8svcError as error:
        return failed(run, error, at=wall())
    except (Exception, SystemExit) as error:  # a bug of ours fails one task, never the service
        log_failure(f"task {run.task.id}")
        return failed(run, M3u8svcError(reason=type(error).__name__), at=wall())
    return completed(run, outcome, at=wall())


def completed(run: Run, outcome: Outcome, *, at: float) -> Change:
    """
    The task is done: it has a result, and nothing speaks of trouble any more.
    """

    def change(task: Task) -> Task:
        if run.again and task.again is None:
            raise InvalidTransition(current=task.status.value, wanted=Status.COMPLETED.value)
        missing = task.missing if task.again is None else task.again.missing
        return attrs.evolve(
            task,
            status=Status.COMPLETED if run.again else advance(task.status, Event.COMPLETE),
            missing=missing,
            again=None,
            output_id=task.output_id if task.again is None else task.again.output_id,
            completed_at=at,
            err_code="",
            err_msg="",
            size=outcome.size_bytes,
            output=outcome.output,
            incidents=run.job.incidents,
            companions=outcome.companions,
            warnings=outcome.warnings,
            progress=attrs.evolve(at_rest(run.job.progress()), percent=100, status_bar=missing),
        )

    return change


def failed(run: Run, error: M3u8svcError, *, at: float) -> Change:
    """
    The task failed, or is held by what it can do nothing about; one that is made again keeps what it has.
    """
    level = log.error if error.fault is Fault.SERVICE else log.warn
    how = "is held" if error.holds else "failed"
    if not run.again:  # with the others, so that whoever stores those knows it, too
        run.job.incidents = with_incident(run.job.incidents, incident_of(error, at=at))
    level("task {task} {how}: {code} {error}", task=run.task.id, how=how, code=error.code, error=error.text("en"))

    def change(task: Task) -> Task:
        if run.again:
            return halt(task, error.told) if run.job.placed else give_up(task, error.told)
        ended = stopped_by(task, error, at=at)
        return attrs.evolve(
            ended,
            incidents=run.job.incidents,
            warnings=bounded(run.job.warnings),
            progress=at_rest(run.job.progress()),
        )

    return change


def interrupted(run: Run, error: M3u8svcError) -> Change:
    """
    The task waits once more: its next run finds what this one did.
    """
    log.warn("task {task} waits again: {code} {error}", task=run.task.id, code=error.code, error=error.text("en"))

    def change(task: Task) -> Task:
        if run.again:
            return task
        return attrs.evolve(task, status=advance(task.status, Event.INTERRUPT), progress=at_rest(run.job.progress()))

    return change


def stopped_by(task: Task, error: M3u8svcError, *, at: float) -> Task:
    """
    The task with this error: failed, or held by what it can do nothing about.

    Raises:
        InvalidTransition: it neither runs nor waits.
    """
    return attrs.evolve(
        task,
        status=advance(task.status, Event.HOLD if error.holds else Event.FAIL),
        held=error.code if error.holds else "",
        err_code=error.code,
        err_msg=error.text("zh"),
        err_url=url_of(error),
        incidents=with_incident(task.incidents, incident_of(error, at=at)),
    )


def unstored(run: Run, change: Change) -> Change:
    """
    What is stored later of an end that could not be: the same, but what was done waits once more, since its next run
    finds the result and does what follows from it. Holds nothing of the job.
    """
    try:
        ended = run.task if run.again else change(run.task)
    except InvalidTransition:  # somebody paused it meanwhile
        ended = run.task
    if ended == run.task:
        return lambda task: task
    known: dict[str, Any] = {"incidents": ended.incidents, "progress": at_rest(run.job.progress())}
    event = Event.INTERRUPT
    if ended.status in (Status.PAUSED, Status.FAILED):
        event = Event.HOLD if ended.held else Event.FAIL
        known |= {name: getattr(ended, name) for name in ("held", "err_code", "err_msg", "err_url", "warnings")}
    return lambda task: attrs.evolve(task, status=advance(task.status, event), **known)


def as_ended(task: Task, change: Change) -> Task:
    """
    A task as it is shown whose end is not stored yet.
    """
    try:
        return change(task)
    except InvalidTransition:  # somebody paused it meanwhile
        return task


async def clean_up(work: Coroutine[Any, Any, None], task: Task) -> None:
    """
    Let a finished task's leftovers go. What cannot go stays: the next start tries again.
    """
    try:
        await work
    except M3u8svcError as error:  # the task is done all the same
        log.warn("task {task} left its work directory: {error}", task=task.id, error=error.text("en"))


def at_rest(progress: Progress) -> Progress:
    """
    The same without a rate: a task that does not run has none.
    """
    return attrs.evolve(progress, speed=0.0, eta_s=None, status_bar=status_bar(progress.phase))
