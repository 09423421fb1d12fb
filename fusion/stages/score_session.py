"""The worker's side of scoring: a pool of scorers that reads responses, scores them, and commits rewards."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from fusion.artifact import PartFolder, Receipt, reasons_of
from fusion.errors import ArtifactError, FusionError, PluginError
from fusion.rewards.base import Candidate, Reward, Score, Scorer
from fusion.schema import PROMPT, RESPONSE, REWARD, Reason, hash_text, key_string
from fusion.stages.score_feed import Pending, ScoreItem
from fusion.step import Placement

MAX_FLOAT32 = 3.4e38


@dataclass(frozen=True)
class ScorePool:
    """How to open scorers: `reward_key` -> reward. Verifiers share a pool, each model has its own."""

    rewards: Mapping[str, Reward]
    cache: str
    """Folder of prepared models on the machine that scores."""

    @contextmanager
    def open(self, placement: Placement) -> Iterator[ScoreSession]:
        with ExitStack() as stack:
            yield ScoreSession(
                {key: stack.enter_context(reward.open(self.cache, placement)) for key, reward in self.rewards.items()}
            )


@dataclass(frozen=True, slots=True)
class _Fault:
    """Why a row has no score."""

    detail: str


class ScoreSession:
    """Open scorers; an item is scored by those of them that it names."""

    def __init__(self, scorers: Mapping[str, Scorer]) -> None:
        self._scorers = scorers
        self._prompts = lru_cache(maxsize=4)(_prompts)

    def process(self, task: object) -> Mapping[str, Receipt]:
        """Score an item and commit a part for each reward.

        Raises:
            PluginError: a scorer does not keep its contract.
        """
        assert isinstance(task, ScoreItem)
        own = [pending for pending in task.pending if pending.reward in self._scorers]
        if not own:
            return {}
        candidates = self._candidates(task, {key for pending in own for key in pending.keys})
        return {pending.out.path: self._score(pending, candidates) for pending in own}

    def _candidates(self, item: ScoreItem, keys: set[str]) -> dict[str, Candidate]:
        prompts = self._prompts(item.prompts.path, item.prompt_parts)
        columns = [*RESPONSE.key, "text", "finish_reason"]
        found = {}
        for row in item.responses.read(item.part, columns).to_pylist():
            key = key_string([row[name] for name in RESPONSE.key])
            if key in keys:
                prompt = prompts.get(row["prompt_id"])
                if prompt is None:
                    raise ArtifactError(f"{item.responses.path}: response {key} has no prompt in {item.prompts.path}")
                found[key] = prompt(row)
        return found

    def _score(self, pending: Pending, candidates: Mapping[str, Candidate]) -> Receipt:
        started = time.monotonic()
        chosen = [candidates[key] for key in pending.keys]
        verdicts = _verdicts(self._scorers[pending.reward], chosen)
        rows, drops = [], []
        for candidate, verdict in sorted(zip(chosen, verdicts, strict=True), key=lambda pair: _key(pair[0])):
            if isinstance(verdict, _Fault):
                drops.append((_key(candidate), Reason.SCORER_FAILED, verdict.detail))
            else:
                rows.append(_row(candidate, verdict))
        return Receipt(
            pending.out.write(REWARD.build(rows)),
            pending.out.write_drops(drops),
            num_requests=len(chosen),
            seconds=time.monotonic() - started,
            reasons=reasons_of(drops),
        )


def _verdicts(scorer: Scorer, candidates: Sequence[Candidate]) -> list[Score | _Fault]:
    """A batch that raises is scored row by row, so that one row does not take the others with it."""
    try:
        return _checked(scorer, candidates)
    except FusionError:
        raise
    except Exception as error:
        if len(candidates) == 1:
            return [_Fault(f"{type(error).__name__}: {error}")]
    return [_verdicts(scorer, [candidate])[0] for candidate in candidates]


def _checked(scorer: Scorer, candidates: Sequence[Candidate]) -> list[Score | _Fault]:
    scores = scorer.score(candidates)
    if len(scores) != len(candidates):
        raise PluginError(f"{type(scorer).__name__}.score gave {len(scores)} scores for {len(candidates)} candidates")
    return [score if _is_number(score.value) else _Fault(f"value is {score.value}") for score in scores]


def _is_number(value: float | None) -> bool:
    """Null is an answer; NaN, infinity and what overflows the column's fp32 are not."""
    return value is None or (math.isfinite(value) and abs(value) <= MAX_FLOAT32)


def _key(candidate: Candidate) -> tuple[str, str, int]:
    return candidate.prompt_id, candidate.source, candidate.sample_index


def _row(candidate: Candidate, score: Score) -> dict[str, object]:
    prompt, source, index = _key(candidate)
    return {
        "prompt_id": prompt,
        "source": source,
        "sample_index": index,
        "outcome": score.outcome.value,
        "value": score.value,
        "detail": score.detail,
        "text_hash": hash_text(candidate.text),
    }


def _prompts(path: str, parts: tuple[str, ...]) -> dict[str, Callable[[Mapping[str, Any]], Candidate]]:
    """prompt_id -> what makes a candidate of one of its responses."""
    rows = (row for part in parts for row in PartFolder(path, PROMPT).read(part).to_pylist())
    return {row["prompt_id"]: partial(_candidate, row) for row in rows}


def _candidate(prompt: Mapping[str, Any], response: Mapping[str, Any]) -> Candidate:
    return Candidate(
        prompt_id=prompt["prompt_id"],
        messages=tuple(prompt["messages"]),
        domain=prompt["domain"],
        dataset=prompt["dataset"],
        reference=prompt["reference"],
        source=response["source"],
        sample_index=response["sample_index"],
        text=response["text"],
        finish_reason=response["finish_reason"],
    )
