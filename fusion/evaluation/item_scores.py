"""From verdicts to one number an item: what benchmarks, their intervals and their comparisons are made of.

An item counts once something was answered to it, or was to be: a row or a drop among the model's responses. What could
not be decided counts as the least score there is, and is counted; so does an answer that no answer could be read from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa

from fusion.evaluation.benchmark import Benchmark, Metric
from fusion.evaluation.style import Style, style
from fusion.judging.comparison import games_in
from fusion.judging.verdict import Reading, pooled
from fusion.schema import Outcome

UNPARSED = ("no answer found", "guessed", "no program", "the reply holds no program", "no code")
"""How verifiers begin the detail of a reply that states no answer."""


@dataclass(frozen=True)
class ItemScores:
    """One model on one benchmark. All maps have the same prompt ids, sorted."""

    scores: Mapping[str, float]
    """Mean over the item's samples, on the benchmark's own scale; of win rates, over their games."""
    weights: Mapping[str, float]
    """1, the number of parts, or of games of a sample and order."""
    groups: Mapping[str, str]
    styles: Mapping[str, Style] = field(default_factory=dict)
    """Of the item's first answer."""
    num_samples: int = 0
    undecided: int = 0
    """Samples on which the scorer failed, or that were not answered."""
    unparsed: int = 0
    """Samples from which no answer could be read."""
    truncated: int = 0
    """Samples that ended at the token limit."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of one sample; no text: it was asked for and not given."""

    prompt_id: str
    sample_index: int
    text: str | None
    finish_reason: str | None


def item_scores(benchmark: Benchmark, prompts: pa.Table, answers: Iterable[Answer], rewards: pa.Table) -> ItemScores:
    """Scores of one model.

    Args:
        prompts: PROMPT columns prompt_id, domain and reference.
        rewards: REWARD columns.
    """
    verdicts = {(row["prompt_id"], row["sample_index"]): row for row in rewards.to_pylist()}
    found: dict[str, list[Reading]] = {}
    styles: dict[str, Style] = {}
    tally = {"undecided": 0, "unparsed": 0, "truncated": 0}
    for answer in sorted(answers, key=lambda one: (one.prompt_id, one.sample_index)):
        verdict = verdicts.get((answer.prompt_id, answer.sample_index))
        reading = None if verdict is None else _reading(benchmark, verdict)
        found.setdefault(answer.prompt_id, []).append(Reading(benchmark.low) if reading is None else reading)
        if answer.prompt_id not in styles:
            styles[answer.prompt_id] = style(answer.text or "")
        tally["undecided"] += reading is None
        tally["unparsed"] += verdict is not None and (verdict["detail"] or "").startswith(UNPARSED)
        tally["truncated"] += answer.finish_reason == "length"
    known = {row["prompt_id"]: row for row in prompts.to_pylist()}
    items = {prompt: pooled(readings) for prompt, readings in found.items()}
    return ItemScores(
        scores={prompt: item.value for prompt, item in items.items()},
        weights={p: item.weight * _num_parts(benchmark, known[p]["reference"]) for p, item in items.items()},
        groups={prompt: known[prompt]["domain"] for prompt in found},
        styles=styles,
        num_samples=sum(map(len, found.values())),
        **tally,
    )


def over_turns(first: ItemScores, second: ItemScores, begins: Mapping[str, str]) -> ItemScores:
    """The first turns with the mean of both turns: a conversation is one observation.

    Args:
        begins: item of `second` -> item of `first` that it goes on from.
    """
    later = {begins[item]: score for item, score in second.scores.items()}
    return replace(
        first,
        scores={i: (score + later[i]) / 2 if i in later else score for i, score in first.scores.items()},
        num_samples=first.num_samples + second.num_samples,
        undecided=first.undecided + second.undecided,
        unparsed=first.unparsed + second.unparsed,
        truncated=first.truncated + second.truncated,
    )


def _reading(benchmark: Benchmark, verdict: Mapping[str, object]) -> Reading | None:
    """None: undecided."""
    outcome, value = verdict["outcome"], verdict["value"]
    if benchmark.metric is Metric.PASSED:
        passed = {Outcome.PASS: 1.0, Outcome.FAIL: 0.0}.get(Outcome(str(outcome)))
        return None if passed is None else Reading(passed)
    if outcome in (Outcome.ERROR, Outcome.TIMEOUT) or value is None:
        return None
    games = games_in(str(verdict["detail"])) if benchmark.metric.is_of_games else 1.0
    return Reading(float(value), games)  # type: ignore[arg-type]


def _num_parts(benchmark: Benchmark, reference: str | None) -> float:
    if benchmark.metric is not Metric.PARTS:
        return 1.0
    return float(len(json.loads(reference or "{}").get("instruction_id_list", [None])))
