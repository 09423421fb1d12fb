"""The driver's side of a training job: hand over the rows, show progress, pass on the wish to stop, keep the result."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from fusion.errors import StepFailed
from fusion.runtime import Runtime
from fusion.train.job import TrainJob
from fusion.train.rows import TokenRow, write_rows
from fusion.train.workspace import Workspace
from fusion.work import Work

POLL_S = 0.5


def train(work: Work, runtime: Runtime, job: TrainJob, rows: Sequence[TokenRow], dropped: Mapping[str, int]) -> None:
    """Run the job to its end, from its last checkpoint if it was interrupted earlier.

    Raises:
        StepFailed: there is nothing to train on, or the run was stopped (a checkpoint was saved).
    """
    name = work.step.name
    if not rows:
        raise StepFailed(f"{name}: no row is left to train on; dropped: {dict(dropped)}")
    out = work.files_out
    out.rows_in, out.dropped = len(rows) + sum(dropped.values()), dict(dropped)
    workspace = Workspace(job.work)
    workspace.path.mkdir(parents=True, exist_ok=True)
    workspace.withdraw_stop()
    if workspace.result() is None:
        write_rows(workspace.rows, rows)
        workspace.send_rows()
        with _watched(work, workspace, len(rows)):
            runtime.train(job, work.step.placement, name)
    result = workspace.result()
    if result is None:
        step, steps = workspace.progress()
        raise StepFailed(f"{name}: stopped at step {step} of {steps}; the same command continues from there")
    out.metrics.update(result)
    work.progress(len(rows), len(rows))


@contextmanager
def _watched(work: Work, workspace: Workspace, num_rows: int) -> Iterator[None]:
    """Progress in rows, as if each were trained on once, however many epochs there are."""
    end = threading.Event()

    def watch() -> None:
        while not end.wait(POLL_S):
            step, steps = workspace.progress()
            work.progress(num_rows * step // max(steps, 1), num_rows)
            if work.stopped():
                workspace.ask_to_stop()

    watcher = threading.Thread(target=watch, name=f"watch {work.step.name}", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        end.set()
        watcher.join()
