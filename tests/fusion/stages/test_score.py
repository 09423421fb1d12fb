"""Scoring: streamed, resumed, bound to the text that was scored, with every response accounted for."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fusion.artifact import Artifact, Receipt
from fusion.errors import ArtifactError, EngineError, PluginError, StepFailed
from fusion.models import ModelRef
from fusion.prompts.reasoning_gym import ReasoningGym
from fusion.rewards.answer import Answer
from fusion.rewards.base import Candidate, Reward, Score, Scorer
from fusion.rewards.sequence_classifier import SequenceClassifier
from fusion.runtime import InProcess
from fusion.schema import PROMPT, RESPONSE, REWARD, Outcome, hash_text, prompt_id
from fusion.stages import score
from fusion.step import Placement, Step
from fusion.work import Work
from fusion.writer import ArtifactWriter
from tests.tiny import make_pico_classifier

SCORED: list[str] = []
"""Texts that `Length` was asked to score, in order."""


@dataclass(kw_only=True)
class Length(Reward):
    """Value: number of characters. Some texts make it misbehave."""

    factor: float = 1.0
    is_broken: bool = False

    @contextmanager
    def open(self, cache: str, placement: Placement) -> Iterator[Scorer]:
        yield _LengthScorer(self)


class _LengthScorer:
    def __init__(self, config: Length) -> None:
        self._config = config

    def score(self, candidates: Sequence[Candidate]) -> list[Score]:
        if self._config.is_broken:
            return []
        for one in candidates:
            if one.text == "raise":
                raise RuntimeError("cannot read this")
            if one.text == "die":
                raise EngineError("the device is gone")
        SCORED.extend(one.text for one in candidates)
        special = {"nan": float("nan"), "inf": float("inf"), "huge": 1e39}
        return [
            Score(Outcome.NOT_APPLICABLE, special.get(c.text, self._config.factor * len(c.text))) for c in candidates
        ]


@pytest.fixture(autouse=True)
def _forget() -> None:
    SCORED.clear()


def prompts(path: Path, names: str = "abcdefgh") -> Artifact:
    writer = ArtifactWriter(str(path / "prompts"), PROMPT)
    rows = [
        {
            "prompt_id": name,
            "messages": [{"role": "user", "content": name}],
            "domain": "d",
            "dataset": "s",
            "reference": None,
        }
        for name in names
    ]
    writer.expect(set(names))
    writer.accept(Receipt(parts=writer.folder.write(PROMPT.build(rows))))
    return writer.seal({})


def commit(writer: ArtifactWriter, texts: dict[str, str], source: str = "tiny") -> None:
    """One part: prompt id -> text of its sample 0."""
    said = {
        "source": source,
        "sample_index": 0,
        "num_tokens": 1,
        "finish_reason": "stop",
        "seed": 0,
        "logprob_sum": None,
    }
    rows = [{"prompt_id": prompt, "text": text, **said} for prompt, text in texts.items()]
    writer.expect({f"{prompt}/{source}/0" for prompt in texts})
    writer.accept(Receipt(parts=writer.folder.write(RESPONSE.build(rows))))


def responses(path: Path, *parts: dict[str, str], source: str = "tiny") -> Artifact:
    writer = ArtifactWriter(str(path / f"responses-{source}"), RESPONSE)
    for part in parts:
        commit(writer, part, source)
    return writer.seal({})


def work(
    out: Path,
    prompt_table: Artifact,
    answers: Artifact | ArtifactWriter,
    reward: Reward | None = None,
    siblings: Sequence[Path] = (),
    stopped: bool = False,
) -> Work:
    config = score.ScoreConfig(reward=reward or Length(), name="length", max_failed_frac=0.5)
    step = Step(kind="rewards", label="test", run=score.run, config=config, produces=REWARD)
    writer = ArtifactWriter(str(out), REWARD, [str(sibling) for sibling in siblings])
    inputs = {"prompts": prompt_table, "responses": answers}
    return Work(step, inputs, writer, lambda done, total: None, lambda: stopped)


def scored(one: Work) -> dict[str, float | None]:
    """Run, seal, read: prompt id -> value."""
    score.run([one], InProcess())
    sealed = one.rows_out.seal({})
    return dict(zip(*sealed.read(["value"]).select(["prompt_id", "value"]).to_pydict().values(), strict=True))


def test_every_response_is_scored_and_bound_to_its_text(tmp_path: Path) -> None:
    one = work(tmp_path / "out", prompts(tmp_path), responses(tmp_path, {"a": "x", "b": "xx"}, {"c": "xxx"}))
    score.run([one], InProcess())
    rows = one.rows_out.seal({}).read().to_pylist()
    assert [(row["prompt_id"], row["value"], row["text_hash"]) for row in rows] == [
        ("a", 1.0, hash_text("x")),
        ("b", 2.0, hash_text("xx")),
        ("c", 3.0, hash_text("xxx")),
    ]


def test_sources_and_rewards_of_a_gang_share_one_stream_with_their_own_artifacts(tmp_path: Path) -> None:
    table = prompts(tmp_path)
    answers = {s: responses(tmp_path, {"a": "x" * n, "b": "y"}, source=s) for n, s in ((2, "one"), (3, "two"))}
    works = [
        work(tmp_path / f"{source}-{factor}", table, answers[source], Length(factor=factor))
        for source in answers
        for factor in (1.0, 10.0)
    ]
    score.run(works, InProcess())
    values = [one.rows_out.seal({}).read(["value"])["value"].to_pylist() for one in works]
    assert values == [[2, 1], [20, 10], [3, 1], [30, 10]]


def test_scores_appear_while_responses_are_still_being_written(tmp_path: Path) -> None:
    table = prompts(tmp_path)
    live = ArtifactWriter(str(tmp_path / "responses"), RESPONSE)
    one = work(tmp_path / "out", table, live)
    scored_before_the_end = threading.Event()

    def generate() -> None:
        commit(live, {"a": "x"})
        for _ in range(200):
            if one.rows_out.is_done("a/tiny/0"):
                scored_before_the_end.set()
                break
            threading.Event().wait(0.02)
        commit(live, {"b": "xx"})
        live.seal({})

    thread = threading.Thread(target=generate)
    thread.start()
    assert scored(one) == {"a": 1.0, "b": 2.0}
    thread.join()
    assert scored_before_the_end.is_set()


def test_failed_generation_ends_scoring_and_keeps_what_was_scored(tmp_path: Path) -> None:
    live = ArtifactWriter(str(tmp_path / "responses"), RESPONSE)
    commit(live, {"a": "x"})
    live.close("the engine died")
    one = work(tmp_path / "out", prompts(tmp_path), live)
    with pytest.raises(ArtifactError, match="the engine died"):
        score.run([one], InProcess())
    assert ArtifactWriter(str(tmp_path / "out"), REWARD).is_done("a/tiny/0")


def test_resuming_scores_only_what_is_missing(tmp_path: Path) -> None:
    table, answers = prompts(tmp_path), responses(tmp_path, {"a": "x", "b": "xx"}, {"c": "die"})
    with pytest.raises(EngineError):
        score.run([work(tmp_path / "out", table, answers)], InProcess())
    committed = list(SCORED)
    assert set(committed) < {"x", "xx", "die"}
    SCORED.clear()
    more = responses(tmp_path / "more", {"a": "x", "b": "xx"}, {"c": "xxx"})
    assert scored(work(tmp_path / "out", table, more)) == {"a": 1.0, "b": 2.0, "c": 3.0}
    assert not set(committed) & set(SCORED)


def test_nothing_to_do_opens_no_scorer(tmp_path: Path) -> None:
    table, answers = prompts(tmp_path), responses(tmp_path, {"a": "x"})
    scored(work(tmp_path / "out", table, answers))

    @dataclass(kw_only=True)
    class Unopened(Length):
        @contextmanager
        def open(self, cache: str, placement: Placement) -> Iterator[Scorer]:
            raise AssertionError("opened")
            yield

    assert scored(work(tmp_path / "out", table, answers, Unopened())) == {"a": 1.0}


def test_new_responses_take_over_the_scores_of_old_ones(tmp_path: Path) -> None:
    table = prompts(tmp_path)
    scored(work(tmp_path / "old", table, responses(tmp_path / "1", {"a": "x", "b": "xx"})))
    SCORED.clear()
    grown = responses(tmp_path / "2", {"a": "x", "b": "xx", "c": "xxx"})
    assert scored(work(tmp_path / "new", table, grown, siblings=[tmp_path / "old"])) == {"a": 1.0, "b": 2.0, "c": 3.0}
    assert SCORED == ["xxx"]


def test_changed_text_under_the_same_key_is_scored_again(tmp_path: Path) -> None:
    table = prompts(tmp_path)
    scored(work(tmp_path / "old", table, responses(tmp_path / "1", {"a": "x", "b": "xx"})))
    changed = responses(tmp_path / "2", {"a": "x", "b": "changed"})
    SCORED.clear()
    assert scored(work(tmp_path / "new", table, changed, siblings=[tmp_path / "old"])) == {"a": 1.0, "b": 7.0}
    assert SCORED == ["changed"]
    SCORED.clear()
    assert scored(work(tmp_path / "old", table, changed)) == {"a": 1.0, "b": 7.0}, "in the same folder, too"
    assert SCORED == ["changed"]


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("raise", "RuntimeError: cannot read this"),
        ("nan", "value is nan"),
        ("inf", "value is inf"),
        ("huge", "value is 1e+39"),
    ],
)
def test_row_without_a_usable_score_fails_alone(tmp_path: Path, text: str, detail: str) -> None:
    one = work(tmp_path / "out", prompts(tmp_path), responses(tmp_path, {"a": "x", "b": text, "c": "xxx"}))
    score.run([one], InProcess())
    sealed = one.rows_out.seal({})
    assert sealed.read(["value"])["value"].to_pylist() == [1.0, 3.0]
    assert sealed.drops().to_pylist() == [
        {"key": "b/tiny/0", "reason": "scorer_failed", "kind": "failed", "detail": detail}
    ]
    assert (sealed.accounts.rows_in, sealed.accounts.rows_out, sealed.accounts.failed) == (3, 2, {"scorer_failed": 1})


def test_too_many_failures_stop_the_step_and_are_tried_again(tmp_path: Path) -> None:
    table = prompts(tmp_path)
    with pytest.raises(StepFailed, match="reward length failed on 2 of 3 responses"):
        scored(work(tmp_path / "out", table, responses(tmp_path / "1", {"a": "x", "b": "nan", "c": "raise"})))
    SCORED.clear()
    mended = responses(tmp_path / "2", {"a": "x", "b": "xx", "c": "xxx"})
    assert scored(work(tmp_path / "out", table, mended)) == {"a": 1.0, "b": 2.0, "c": 3.0}
    assert SCORED == ["xx", "xxx"]


def test_broken_device_is_not_a_fault_of_the_rows(tmp_path: Path) -> None:
    one = work(tmp_path / "out", prompts(tmp_path), responses(tmp_path, {"a": "x", "b": "die"}))
    with pytest.raises(EngineError, match="the device is gone"):
        score.run([one], InProcess())


def test_scorer_that_loses_rows_breaks_its_contract(tmp_path: Path) -> None:
    one = work(tmp_path / "out", prompts(tmp_path), responses(tmp_path, {"a": "x"}), Length(is_broken=True))
    with pytest.raises(PluginError, match="0 scores for 1 candidates"):
        score.run([one], InProcess())


def test_stopped_run_is_not_taken_for_a_finished_one(tmp_path: Path) -> None:
    one = work(tmp_path / "out", prompts(tmp_path), responses(tmp_path, {"a": "x"}), stopped=True)
    with pytest.raises(StepFailed, match="stopped"):
        score.run([one], InProcess())


def test_large_part_is_cut_so_that_progress_is_durable(tmp_path: Path) -> None:
    names = [f"p{i:03}" for i in range(600)]
    table = ArtifactWriter(str(tmp_path / "prompts"), PROMPT)
    said = {"messages": [{"role": "user", "content": "?"}], "domain": "d", "dataset": "s", "reference": None}
    table.expect(set(names))
    rows = PROMPT.build([{"prompt_id": name, **said} for name in names])
    table.accept(Receipt(parts=table.folder.write(rows)))
    one = work(tmp_path / "out", table.seal({}), responses(tmp_path, dict.fromkeys(names, "x")))
    score.run([one], InProcess())
    sealed = one.rows_out.seal({})
    assert [part.rows for part in sorted(sealed.parts, key=lambda part: -part.rows)] == [256, 256, 88]


def test_verifiers_share_a_pool_and_each_model_has_its_own(tmp_path: Path) -> None:
    table, answers = prompts(tmp_path), responses(tmp_path, {"a": "x"})
    models = [SequenceClassifier(model=ModelRef(uri="somewhere", revision=name)) for name in "xy"]
    rewards: list[Reward] = [Length(), Answer(), *models]
    works = [work(tmp_path / f"out{i}", table, answers, reward) for i, reward in enumerate(rewards)]
    assert sorted(len(pool.rewards) for pool, _ in score.pools(works)) == [1, 1, 2]
    assert len(score.pools(works[:2])) == 1


def test_verifier_and_reward_model_judge_the_same_responses(tmp_path: Path) -> None:
    """The real thing on a small scale: procedural prompts, the verifier's child process, a classifier."""
    raw = list(ReasoningGym(tasks={"gcd": {"max_value": 9}}, per_task=3).read())
    table = ArtifactWriter(str(tmp_path / "prompts"), PROMPT)
    rows = [
        {
            "prompt_id": prompt_id(p.messages, p.reference),
            "messages": list(p.messages),
            "domain": p.domain,
            "dataset": p.dataset,
            "reference": p.reference,
        }
        for p in raw
    ]
    table.expect({str(row["prompt_id"]) for row in rows})
    table.accept(Receipt(parts=table.folder.write(PROMPT.build(rows))))
    sealed = table.seal({})
    answers = responses(tmp_path, {str(row["prompt_id"]): "The GCD is 1." for row in rows})
    classifier = SequenceClassifier(model=ModelRef(uri=str(make_pico_classifier(tmp_path / "classifier"))))
    works = [work(tmp_path / "a", sealed, answers, Answer()), work(tmp_path / "c", sealed, answers, classifier)]
    score.run(works, InProcess())
    verdicts, values = (one.rows_out.seal({}).read() for one in works)
    assert set(verdicts["outcome"].to_pylist()) <= {"pass", "fail"}
    assert set(values["outcome"].to_pylist()) == {"not_applicable"}
    assert len(set(values["value"].to_pylist())) == 3
