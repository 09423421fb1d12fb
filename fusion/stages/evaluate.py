"""Evaluate: from verdicts on held-out prompts to scores with intervals, by model and domain.

Seconds of arithmetic; the cost of an evaluation lies in the responses that it reads. Inputs: `prompts` (PROMPT), and
for each model m `responses:<m>` (RESPONSE) and `rewards:<m>` (REWARD).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from omegaconf import MISSING

from fusion.artifact import Artifact, Receipt
from fusion.errors import ConfigError
from fusion.evaluation.compare import ModelScores, evaluation_rows
from fusion.evaluation.scores import domain_scores
from fusion.part_keys import keys_of
from fusion.runtime import Runtime
from fusion.work import Work


@dataclass(kw_only=True)
class EvaluateConfig:
    """Who is evaluated, by which verifier.

    Example:
        EvaluateConfig(models=["base", "sft", "final", "gemma3_270m"], reward="answer")
    """

    models: list[str] = field(default_factory=list)
    """Roles (base, sft, final) and names of sources, as in the inputs."""
    reward: str = MISSING
    """The verifier whose pass and fail are counted."""

    def __post_init__(self) -> None:
        doubled = sorted({model for model in self.models if self.models.count(model) > 1})
        if doubled:
            raise ConfigError(f"evaluation has {doubled[0]!r} twice: base, sft and final are roles; rename the source")


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """EVALUATION: a row for each model and domain, and one for each model overall."""
    for work in works:
        commit(work, [row for model, scores in model_scores(work).items() for row in evaluation_rows(model, scores)])


def model_scores(work: Work) -> Mapping[str, ModelScores]:
    """Scores of every model of the config, by domain, on the same prompts in the same order."""
    assert isinstance(work.step.config, EvaluateConfig)
    return {model: scores_of(work, model) for model in work.step.config.models}


def scores_of(work: Work, model: str) -> ModelScores:
    """Scores by domain from the inputs `responses:<model>` and `rewards:<model>`."""
    return scored(*(work.table_in(name) for name in ("prompts", f"responses:{model}", f"rewards:{model}")))


def scored(prompts: Artifact, responses: Artifact, rewards: Artifact) -> ModelScores:
    """Scores by domain of one model's answers; those that were dropped count as not passed."""
    dropped = [*responses.drops().column("key").to_pylist(), *rewards.drops().column("key").to_pylist()]
    return domain_scores(prompts.read(["domain"]), rewards.read(["outcome"]), dropped)


def commit(work: Work, rows: Sequence[Mapping[str, object]]) -> None:
    """Write a small table whole, unless a run that was killed before its seal has written it already."""
    out = work.rows_out
    table = out.table.build(rows)
    keys = keys_of(table, out.table.unit)
    out.expect(set(keys))
    if not all(out.is_done(key) for key in keys):
        out.accept(Receipt(parts=out.folder.write(table)))
    work.progress(len(keys), len(keys))
