"""Gates that a reward passes on a sample of answers before rows are ranked by it.

Half of a reward's faults show without gold answers: a score that depends on its batch, a head that was never trained,
values that follow length or family rather than quality. A gate measures one of them and compares it with a limit; one
that fails stops the run before anything is spent, unless the user overrides it by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fusion.rewards.base import Candidate, Scorer
from fusion.trust.config import GATES, TrustConfig
from fusion.trust.judged import Judged
from fusion.trust.known_answer import KnownAnswer
from fusion.trust.probes import batching_gate, known_answers_gate, number, padding_gate
from fusion.trust.result import GateResult, demand
from fusion.trust.tables import agreement_gate, favouritism_gate, length_gate

__all__ = [
    "GATES", "GateResult", "Judged", "KnownAnswer", "TrustConfig", "demand", "run_gates", "scorer_gates", "table_gates",
]  # fmt: skip

NUM_PROBES = 32
"""Answers that are scored again alone and with other padding: enough to show a wrong token, cheap beside the sample."""


def run_gates(
    reward: str,
    scorer: Scorer,
    candidates: Sequence[Candidate],
    config: TrustConfig,
    verdicts: Mapping[tuple[str, str, int], bool] | None = None,
) -> list[GateResult]:
    """All gates on a sample of answers, in the order of `GATES`; `demand` turns their results into an error.

    Args:
        reward: the reward's name, by which `config.known_answers` are found.
        candidates: several answers a prompt, of several sources.
        verdicts: (prompt_id, source, sample_index) -> whether a verifier passed the answer, where it decided.
    """
    judged = []
    for one, score in zip(candidates, scorer.score(candidates), strict=True):
        if (value := number(score)) is not None:
            is_right = (verdicts or {}).get((one.prompt_id, one.source, one.sample_index))
            judged.append(Judged(one.prompt_id, one.source, value, len(one.text), is_right))
    return [*scorer_gates(reward, scorer, candidates, config), *table_gates(judged, config)]


def scorer_gates(reward: str, scorer: Scorer, candidates: Sequence[Candidate], config: TrustConfig) -> list[GateResult]:
    """Batching and padding, on answers spread over the sample, and known answers."""
    probes = candidates[:: max(1, len(candidates) // NUM_PROBES)]
    return [
        batching_gate(scorer, probes, config.max_batching),
        padding_gate(scorer, probes, config.max_padding),
        known_answers_gate(scorer, candidates, config.known_answers, reward),
    ]


def table_gates(rows: Sequence[Judged], config: TrustConfig) -> list[GateResult]:
    """Length, favouritism and agreement, of answers that are scored already."""
    return [
        length_gate(rows, config.max_length_correlation, config.min_prompts),
        favouritism_gate(rows, config.families, config.max_favouritism, config.min_prompts),
        agreement_gate(rows, config.min_agreement, config.min_prompts),
    ]
