"""From verdicts to scores: one number in [0, 1] a prompt, aligned over models.

What could not be decided (a verifier's error or timeout, a prompt without an answer, a request that failed) counts as
not passed, and is counted. So a model gains nothing by breaking the verifier, and all models are compared on exactly
the same prompts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fusion.errors import SchemaError
from fusion.evaluation.intervals import Scores
from fusion.schema import RESPONSE, Outcome, prompt_of


@dataclass(frozen=True)
class DomainScores:
    """One model on one domain."""

    scores: Scores
    """Share of passed samples of each prompt, prompts in order of their id: the same order for every model."""
    num_samples: int
    undecided: int


def domain_scores(prompts: pa.Table, rewards: pa.Table, dropped: Iterable[str]) -> dict[str, DomainScores]:
    """Scores by domain, domains sorted.

    Args:
        prompts: PROMPT columns prompt_id and domain.
        rewards: REWARD rows of one model, one verifier.
        dropped: keys of samples that have no reward row (`prompt_id/source/sample_index`).

    Raises:
        SchemaError: a verdict belongs to no prompt.
    """
    verdicts = _verdicts(prompts, rewards, dropped)
    by_domain: dict[str, list[list[str]]] = {}
    for row in sorted(prompts.to_pylist(), key=lambda row: (row["domain"], row["prompt_id"])):
        by_domain.setdefault(row["domain"], []).append(verdicts[row["prompt_id"]] or [Outcome.ERROR])
    return {domain: _domain(groups) for domain, groups in by_domain.items()}


def _domain(groups: list[list[str]]) -> DomainScores:
    flat = [outcome for group in groups for outcome in group]
    decided = sum(outcome in (Outcome.PASS, Outcome.FAIL) for outcome in flat)
    scores = [sum(outcome == Outcome.PASS for outcome in group) / len(group) for group in groups]
    return DomainScores(np.array(scores), num_samples=len(flat), undecided=len(flat) - decided)


def _verdicts(prompts: pa.Table, rewards: pa.Table, dropped: Iterable[str]) -> Mapping[str, list[str]]:
    verdicts: dict[str, list[str]] = {prompt: [] for prompt in prompts.column("prompt_id").to_pylist()}
    pairs = zip(rewards.column("prompt_id").to_pylist(), rewards.column("outcome").to_pylist(), strict=True)
    for prompt, outcome in [*pairs, *((prompt_of(key, RESPONSE), Outcome.ERROR) for key in sorted(set(dropped)))]:
        if prompt not in verdicts:
            raise SchemaError(f"a verdict belongs to prompt {prompt}, which is not among the evaluation prompts")
        verdicts[prompt].append(outcome)
    return verdicts
