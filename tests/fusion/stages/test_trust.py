"""Gates as a step: a sample of stored answers, and nothing committed where a gate fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from fusion.artifact import Artifact, Receipt
from fusion.errors import StepFailed
from fusion.rewards.base import Candidate, Reward, Score, Scorer
from fusion.rewards.choice_answer import ChoiceAnswer
from fusion.runtime import InProcess
from fusion.schema import PROMPT, RESPONSE, Outcome, hash_text
from fusion.selection.verdicts import Verdicts
from fusion.stages import trust
from fusion.step import Placement, Step
from fusion.table import Table
from fusion.trust import GATES, TrustConfig
from fusion.work import Work
from fusion.writer import ArtifactWriter

ASKED: set[str] = set()
"""Prompts whose answers were scored."""
PROMPTS = [f"p{i:02}" for i in range(40)]
TEXTS = ["one", "one two", "one two three"]


@dataclass(kw_only=True)
class OneWord(Reward):
    """A verifier that passes one word and cannot decide three."""

    is_verifier: ClassVar[bool] = True

    @contextmanager
    def open(self, cache: str, placement: Placement) -> Iterator[Scorer]:
        yield _OneWordScorer()


class _OneWordScorer:
    def score(self, candidates: Sequence[Candidate]) -> list[Score]:
        found = {1: Outcome.PASS, 2: Outcome.FAIL, 3: Outcome.ERROR}
        return [Score(found[len(one.text.split())]) for one in candidates]


@dataclass(kw_only=True)
class Noise(Reward):
    """A value that follows nothing, or the length."""

    follows_length: bool = False

    @contextmanager
    def open(self, cache: str, placement: Placement) -> Iterator[Scorer]:
        yield _NoiseScorer(self.follows_length)


class _NoiseScorer:
    def __init__(self, follows_length: bool) -> None:
        self._follows_length = follows_length

    def score(self, candidates: Sequence[Candidate]) -> list[Score]:
        ASKED.update(one.prompt_id for one in candidates)
        return [Score(Outcome.NOT_APPLICABLE, self._value(one)) for one in candidates]

    def _value(self, one: Candidate) -> float:
        return float(len(one.text)) if self._follows_length else int(hash_text(one.prompt_id, one.source, one.text), 16)


def sealed(path: Path, table: Table, rows: list[dict[str, object]]) -> Artifact:
    writer = ArtifactWriter(str(path), table)
    for half in (rows[::2], rows[1::2]):
        writer.expect({"/".join(str(row[name]) for name in table.unit) for row in half})
        writer.accept(Receipt(parts=writer.folder.write(table.build(half))))
    return writer.seal({})


def work(path: Path, reward: Reward, **settings: object) -> Work:
    """40 prompts, two sources of three answers, a verifier that passes the shortest, and one that applies to none."""
    message = [{"role": "user", "content": "Hi"}]
    asked = {"messages": message, "domain": "d", "dataset": "s", "reference": None}
    said = {"num_tokens": 1, "finish_reason": "stop", "seed": 0, "logprob_sum": None}
    inputs = {"prompts": sealed(path / "prompts", PROMPT, [{"prompt_id": p} | asked for p in PROMPTS])}
    for source in ("a", "b"):
        keys = [{"prompt_id": p, "source": source, "sample_index": i} for p in PROMPTS for i in range(3)]
        texts = [key | {"text": TEXTS[key["sample_index"]]} | said for key in keys]  # type: ignore[index]
        inputs[f"responses:{source}"] = sealed(path / f"responses-{source}", RESPONSE, texts)
    config = trust.TrustStepConfig(
        reward=reward,
        name="rm",
        trust=TrustConfig(**settings),
        sources=["a", "b"],  # type: ignore[arg-type]
        verdicts=Verdicts(by={"d": ["letter", "one_word"]}),
        verifiers={"letter": ChoiceAnswer(), "one_word": OneWord()},
    )
    step = Step(kind="trust", label="rm", run=trust.run, config=config, produces=trust.TRUST)
    return Work(step, inputs, ArtifactWriter(str(path / "out"), trust.TRUST), lambda done, total: None, lambda: False)


def test_results_of_every_gate_are_kept_and_the_sample_is_fixed(tmp_path: Path) -> None:
    seen = []
    for name in ("first", "second"):
        ASKED.clear()
        one = work(tmp_path / name, Noise(), sample_prompts=30, override=["agreement"])
        trust.run([one], InProcess())
        rows = one.rows_out.seal({}).read().to_pylist()
        assert {row["gate"] for row in rows} == set(GATES)
        assert {row["gate"] for row in rows if row["passed"] is None} == {"padding", "known_answers"}
        seen.append(set(ASKED))
    assert seen[0] == seen[1]
    assert len(seen[0]) == 30


def test_failing_gate_stops_and_commits_nothing(tmp_path: Path) -> None:
    one = work(tmp_path, Noise(follows_length=True))
    with pytest.raises(StepFailed, match=r"length: FAILED 1 .* agreement: FAILED 0 .*override=\[length,agreement\]"):
        trust.run([one], InProcess())
    assert one.rows_out.num_done == 0
    assert one.rows_out.refresh() == 0


def test_override_lets_it_pass_and_keeps_the_figures(tmp_path: Path) -> None:
    one = work(tmp_path, Noise(follows_length=True), override=["length", "agreement"])
    trust.run([one], InProcess())
    rows = {row["gate"]: row for row in one.rows_out.seal({}).read().to_pylist()}
    assert (rows["length"]["passed"], rows["length"]["measured"]) == (False, 1.0)


def test_committed_results_are_not_measured_again(tmp_path: Path) -> None:
    one = work(tmp_path, Noise(), override=["agreement"])
    trust.run([one], InProcess())
    ASKED.clear()
    trust.run([one], InProcess())
    assert not ASKED
