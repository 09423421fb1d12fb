"""Small training jobs: a pico model and a few random rows. `python -m tests.fusion.train.jobs FOLDER` runs one."""

from __future__ import annotations

import pickle
import random
import sys
from dataclasses import replace
from pathlib import Path

from safetensors.torch import load_file

from fusion.objectives.base import Objective
from fusion.objectives.dpo import Dpo
from fusion.train.config import Dtype, Execution, Lora, PreferenceConfig, SftConfig
from fusion.train.job import TrainJob
from fusion.train.rows import TokenRow, read_rows, write_rows
from fusion.train.workspace import Workspace
from tests.tiny import make_pico_llama

END_OF_TURN = 2


def random_rows(count: int, num_roles: int) -> list[TokenRow]:
    """Rows of 5 to 40 tokens; references lie where those of a random model do."""
    source = random.Random(7)

    def ids(low: int, high: int) -> tuple[int, ...]:
        return tuple(source.randrange(6, 260) for _ in range(source.randrange(low, high)))

    rows = []
    for i in range(count):
        responses = tuple((*ids(2, 10), END_OF_TURN) for _ in range(num_roles))
        references = tuple(-5.5 * len(response) for response in responses) if num_roles > 1 else ()
        rows.append(TokenRow(f"row{i}", ids(3, 30), responses, references))
    return rows


def make_job(
    folder: Path,
    objective: Objective | None = None,
    *,
    epochs: int = 8,
    lora: Lora | None = None,
    learning_rate: float = 1e-3,
    **execution: int,
) -> TrainJob:
    """A job of 3 steps an epoch (21 rows in batches of 8, micro-batches of 4) that saves every 5 steps."""
    model = folder.parent / "pico"
    if not model.exists():
        make_pico_llama(model)
    work = folder / "work"
    work.mkdir(parents=True)
    write_rows(work / "rows.parquet", random_rows(21, 1 if objective is None else len(objective.roles)))
    kind = SftConfig if objective is None else PreferenceConfig
    return TrainJob(
        model=str(model),
        cache="",
        work=str(work),
        files=str(folder / "files"),
        config=kind(
            global_batch_size=8,
            epochs=epochs,
            learning_rate=learning_rate,
            dtype=Dtype.FLOAT32,
            lora=lora or Lora(),
            execution=Execution(**{"micro_batch_size": 4, "save_every_steps": 5} | execution),
        ),
        objective=objective,
        chat_template=None,
        end_of_turn_ids=(END_OF_TURN,),
        use_gpu=False,
    )


def make_diverging_job(folder: Path) -> TrainJob:
    """A job whose first loss is not a number, because a reference is not."""
    job = make_job(folder, Dpo())
    rows = [replace(row, references=(float("nan"), 0.0)) for row in random_rows(21, 2)]
    write_rows(Path(job.work) / "rows.parquet", rows)
    return job


def weighted(job: TrainJob, sources: int = 0) -> TrainJob:
    """The same job on rows of seven prompts, three a prompt, with weights; and with numbers of so many sources."""
    rows = []
    for i, row in enumerate(read_rows(Path(job.work) / "rows.parquet")):
        means = tuple(tuple(-5.0 - 0.5 * ((i + r + s) % 3) for s in range(sources)) for r in range(len(row.responses)))
        rows.append(
            replace(row, weight=(0.5, 0.3, 0.2)[i % 3], group=f"prompt{i // 3}", sources=means if sources else ())
        )
    write_rows(Path(job.work) / "rows.parquet", rows)
    return job


def losses(job: TrainJob) -> list[float]:
    """The loss of each step, from step 1; the job must be over."""
    result = Workspace(Path(job.work)).result()
    assert result is not None
    curve = result["curve"]
    assert isinstance(curve, list)
    assert [point["step"] for point in curve] == list(range(1, len(curve) + 1))
    return [point["loss"] for point in curve]


def assert_same_outcome(job: TrainJob, other: TrainJob, tolerance: float) -> None:
    """Equal curves and equal exported weights."""
    assert max(abs(a - b) for a, b in zip(losses(job), losses(other), strict=True)) <= tolerance
    weights, others = (load_file(Path(one.files) / "model.safetensors") for one in (job, other))
    assert weights.keys() == others.keys()
    assert max(float((weights[name] - others[name]).abs().max()) for name in weights) <= tolerance


def elsewhere(job: TrainJob, folder: Path) -> TrainJob:
    """The same job in another folder."""
    work = folder / "work"
    work.mkdir(parents=True)
    (work / "rows.parquet").write_bytes((Path(job.work) / "rows.parquet").read_bytes())
    return replace(job, work=str(work), files=str(folder / "files"))


if __name__ == "__main__":
    pickle.loads(Path(sys.argv[1]).read_bytes()).run(0, 1)  # noqa: S301  written by the test that starts this
