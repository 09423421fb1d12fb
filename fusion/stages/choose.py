"""Choose: the better of the last checkpoints, by what they score on the same prompts.

`take` makes a checkpoint of each candidate that one training kept, so that it can answer like any other; `run` then
compares their verdicts and keeps the best. Files are hard links where the disk has them, so nothing is stored twice.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fusion.evaluation.compare import OVERALL, ModelScores, comparison_rows, evaluation_rows
from fusion.runtime import Runtime
from fusion.stages.evaluate import scores_of
from fusion.train.config import CheckpointChoice
from fusion.train.job import candidate_name
from fusion.work import Work


@dataclass(kw_only=True)
class TakeConfig:
    """One candidate of a training."""

    from_last: int
    """1: the last candidate, 2: the one before; the first, where there are not so many."""


@dataclass(kw_only=True)
class ChooseConfig:
    """What decides."""

    choice: CheckpointChoice
    reward: str
    """The verifier whose pass and fail are counted."""


def take(works: Sequence[Work], runtime: Runtime) -> None:
    """Input: `candidates`. Output: one of its models, as a checkpoint."""
    for work in works:
        config, candidates = work.step.config, work.model_in("candidates")
        assert isinstance(config, TakeConfig)
        steps: Sequence[int] = candidates.manifest["metrics"]["candidates"]  # type: ignore[index]
        step = steps[-min(config.from_last, len(steps))]
        _link(candidates.files / candidate_name(step), work.files_out.files)
        work.files_out.metrics["step"] = step


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """Inputs: `prompts`; for i = 1, 2, ...: `candidate:i` with its `responses:i` and `rewards:i`.

    Output: the candidate with the highest mean over domains, of equal ones the later. Its metrics say by how much, and
    whether that is more than noise.
    """
    for work in works:
        assert isinstance(work.step.config, ChooseConfig)
        numbers = sorted(int(name.partition(":")[2]) for name in work.inputs if name.startswith("candidate:"))
        found = {number: scores_of(work, str(number)) for number in numbers}
        overall = {number: _overall(scores) for number, scores in found.items()}
        best = max(numbers, key=lambda number: (overall[number], -number))
        others = [number for number in numbers if number != best]
        _link(work.model_in(f"candidate:{best}").files, work.files_out.files)
        work.files_out.metrics.update(
            {
                "step": _step(work, best),
                "score": overall[best],
                "against": [_difference(work, other, found[best], found[other]) for other in others],
            }
        )


def sentence(metrics: Mapping[str, object]) -> str:
    """What was chosen, by how much, and whether that means anything.

    Example: "step 500 was chosen, 0.010 [-0.020, 0.040] above step 400: no more than noise"
    """
    parts = []
    for one in metrics["against"]:  # type: ignore[attr-defined]
        verdict = "more than noise" if one["low"] > 0 else "no more than noise"
        bounds = f"{one['difference']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"
        parts.append(f"{bounds} above step {one['step']}: {verdict}")
    return f"step {metrics['step']} was chosen, " + "; ".join(parts)


def _overall(scores: ModelScores) -> float:
    row = evaluation_rows("candidate", scores)[-1]
    assert row["domain"] == OVERALL
    return float(str(row["score"]))


def _step(work: Work, number: int) -> int:
    return int(work.model_in(f"candidate:{number}").manifest["metrics"]["step"])  # type: ignore[index]


def _difference(work: Work, other: int, ours: ModelScores, theirs: ModelScores) -> dict[str, object]:
    row = comparison_rows("best", "other", ours, theirs)[-1]
    assert row["domain"] == OVERALL
    return {"step": _step(work, other)} | {name: row[name] for name in ("difference", "low", "high", "p_value")}


def _link(source: Path, target: Path) -> None:
    """The files of `source` at `target`, whole when this returns; a torn one of an interrupted run is replaced."""
    shutil.rmtree(target, ignore_errors=True)
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, place)
        except OSError:  # another disk, or one without links
            shutil.copy2(path, place)
