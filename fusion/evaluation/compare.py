"""Tables of an evaluation: every model by domain, and the paired differences that answer "what was gained".

Models are compared on shared prompts, so what all of them find easy or hard cancels out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fusion.evaluation.intervals import Interval, difference, mean_over_domains, p_value, share, sign_test
from fusion.evaluation.scores import DomainScores

OVERALL = "overall"
"""The unweighted mean over domains: a large domain does not outvote a small one."""

ROLES = ("base", "sft", "final")
"""The target before training, after SFT, and at the end; every other model of an evaluation is a source."""

ModelScores = Mapping[str, DomainScores]


def evaluation_rows(model: str, scores: ModelScores) -> list[dict[str, object]]:
    """EVALUATION rows of one model: its domains, then overall."""
    rows = [_row(model, domain, share(one.scores), [one]) for domain, one in scores.items()]
    overall = mean_over_domains([one.scores for one in scores.values()], low=0.0, high=1.0)
    return [*rows, _row(model, OVERALL, overall, list(scores.values()))]


def comparison_rows(model: str, against: str, ours: ModelScores, theirs: ModelScores) -> list[dict[str, object]]:
    """COMPARISON rows of `model` minus `against`, which were scored on the same prompts: domains, then overall."""
    rows, gaps = [], []
    for domain, one in ours.items():
        other = theirs[domain]
        gaps.append(one.scores - other.scores)
        rows.append(_comparison(model, against, domain, difference(one.scores, other.scores), gaps[-1:]))
    overall = mean_over_domains(gaps, low=-1.0, high=1.0)
    return [*rows, _comparison(model, against, OVERALL, overall, gaps)]


def pairs_to_compare(models: Sequence[str]) -> list[tuple[str, str]]:
    """Which (model, against) are worth a table: the roles, and final against each source."""
    sources = [model for model in models if model not in ROLES]
    wanted = [("final", "base"), ("sft", "base"), ("final", "sft"), *(("final", source) for source in sources)]
    return [(model, against) for model, against in wanted if model in models and against in models]


def _row(model: str, domain: str, found: Interval, parts: Sequence[DomainScores]) -> dict[str, object]:
    return {
        "model": model,
        "domain": domain,
        "score": found.value,
        "low": found.low,
        "high": found.high,
        "n": sum(len(part.scores) for part in parts),
        "num_samples": sum(part.num_samples for part in parts),
        "undecided": sum(part.undecided for part in parts),
    }


def _comparison(
    model: str, against: str, domain: str, found: Interval, gaps: Sequence[np.ndarray]
) -> dict[str, object]:
    """A mean over domains weighs prompts otherwise than a count of wins does, so its p-value is its interval's."""
    gap_N = np.concatenate(gaps)
    wins, losses = int((gap_N > 0).sum()), int((gap_N < 0).sum())
    return {
        "model": model,
        "against": against,
        "domain": domain,
        "difference": found.value,
        "low": found.low,
        "high": found.high,
        "n": len(gap_N),
        "wins": wins,
        "losses": losses,
        "p_value": p_value(found) if domain == OVERALL else sign_test(wins, losses),
    }
