"""What is done is not done again; what changed is; what failed keeps what it had; accounts add up."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fusion.artifact import Artifact, Receipt
from fusion.errors import StepFailed
from fusion.gangs import jobs
from fusion.plan import Status, plan
from fusion.runner import Outcome, Runner
from fusion.runtime import InProcess, Runtime
from fusion.schema import PROMPT, REWARD, hash_text
from fusion.step import CHECKPOINT, Capacity, Placement, Step
from fusion.work import Work

CALLS: list[str] = []
"""Row keys worked on, by every toy step of this file; each test clears it."""


@dataclass(kw_only=True)
class Words:
    words: list[str]


@dataclass(kw_only=True)
class Measure:
    times: float = 1.0
    fail_at: str = ""


def read_words(works: Sequence[Work], runtime: Runtime) -> None:
    for work in works:
        config: Words = work.step.config  # type: ignore[assignment]
        rows = [
            {
                "prompt_id": w, "messages": [{"role": "user", "content": w}], "domain": "d", "dataset": "t",
                "reference": None,
            }
            for w in config.words
        ]  # fmt: skip
        work.rows_out.expect(config.words)
        work.rows_out.accept(Receipt(parts=work.rows_out.folder.write(PROMPT.build(rows))))
        CALLS.append("words")


def measure(works: Sequence[Work], runtime: Runtime) -> None:
    """A row-local toy: the value of a word is its length; one part a word."""
    for work in works:
        config: Measure = work.step.config  # type: ignore[assignment]
        for part in work.rows_in("words").stream():
            for word in work.rows_in("words").folder.read(part.name)["prompt_id"].to_pylist():
                for _ in work.rows_out.pending({f"{word}/s/0": hash_text(word)}):
                    if word == config.fail_at:
                        raise ValueError(f"cannot measure {word}")
                    row = {
                        "prompt_id": word, "source": "s", "sample_index": 0, "outcome": "pass",
                        "value": len(word) * config.times, "detail": None, "text_hash": hash_text(word),
                    }  # fmt: skip
                    CALLS.append(word)
                    work.rows_out.accept(Receipt(parts=work.rows_out.folder.write(REWARD.build([row]))))


def build_tree(works: Sequence[Work], runtime: Runtime) -> None:
    work = works[0]
    work.files_out.files.mkdir(parents=True, exist_ok=True)
    total = sum(work.table_in("values").read(["value"])["value"].to_pylist())
    (work.files_out.files / "total.txt").write_text(str(total))
    work.files_out.rows_in = 1
    CALLS.append("tree")


def longer_words(works: Sequence[Work], runtime: Runtime) -> None:
    """Each measured word twice, as new prompts."""
    for work in works:
        words = sorted(work.table_in("values").read(["prompt_id"])["prompt_id"].to_pylist())
        rows = [
            {"prompt_id": 2 * w, "messages": [{"role": "user", "content": w}], "domain": "d", "dataset": "t",
             "reference": None}
            for w in words
        ]  # fmt: skip
        work.rows_out.expect([2 * w for w in words])
        work.rows_out.accept(Receipt(parts=work.rows_out.folder.write(PROMPT.build(rows))))


class Silent:
    """A listener that only remembers notices."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def planned(self, steps: object) -> None: ...
    def started(self, step: object) -> None: ...
    def progress(self, step: object, done: int, total: int) -> None: ...
    def sealed(self, step: object, artifact: object) -> None: ...
    def notice(self, text: str) -> None:
        self.notices.append(text)


def recipe(*words: str, placement: Placement | None = None, **settings: object) -> tuple[Step, Step, Step]:
    source = Step(kind="prompts", label="words", run=read_words, config=Words(words=list(words)), produces=PROMPT)
    values = Step(
        kind="rewards", label="length", run=measure, config=Measure(**settings), produces=REWARD,  # type: ignore[arg-type]
        inputs={"words": source}, row_local=True, by_content=frozenset({"words"}), streams=frozenset({"words"}),
        placement=placement or Placement(),
    )  # fmt: skip
    return source, values, Step(
        kind="checkpoint", label="sum", run=build_tree, config=Words(words=[]), produces=CHECKPOINT,
        inputs={"values": values},
    )  # fmt: skip


def run(store: Path, steps: Sequence[Step], capacity: Capacity | None = None) -> Outcome:
    CALLS.clear()
    return Runner(str(store), InProcess, capacity or Capacity(), Silent()).run(steps)


def statuses(store: Path, steps: Sequence[Step]) -> list[str]:
    return [one.status.value for one in plan(str(store), steps)]


def test_second_run_does_no_work(tmp_path: Path) -> None:
    run(tmp_path, recipe("a", "bb"))
    assert sorted(CALLS) == ["a", "bb", "tree", "words"]
    outcome = run(tmp_path, recipe("a", "bb"))
    assert CALLS == []
    assert {one.status for one in outcome.planned} == {Status.HIT}


def test_a_gang_whose_steps_wait_for_each_other_runs_in_turns(tmp_path: Path) -> None:
    """The second turn of a conversation: the same engine, after prompts made of its first answers. As one job the gang
    waited for its own result, for ever."""
    source, values, _ = recipe("a", "bb")
    first, other = replace(values, gang="engine"), replace(values, gang="engine", config=Measure(times=3.0))
    turn = Step(
        kind="prompts", label="turn", run=longer_words, config=Words(words=[]), produces=PROMPT,
        inputs={"values": first},
    )  # fmt: skip
    second = replace(first, label="second", inputs={"words": turn})
    outcome = run(tmp_path, (source, first, other, turn, second))
    assert sorted(outcome.artifact(second).read(["prompt_id"])["prompt_id"].to_pylist()) == ["aa", "bbbb"]
    assert CALLS == ["words", "a", "bb", "a", "bb", "aa", "bbbb"]
    together = [[one.step.label for one in job] for job in jobs(plan(str(tmp_path / "empty"), (first, other, second)))]
    assert together == [["words"], ["length", "length"], ["turn"], ["second"]]


def test_placement_is_not_identity(tmp_path: Path) -> None:
    run(tmp_path, recipe("a"))
    assert statuses(tmp_path, recipe("a", placement=Placement(replicas=4, gpus=2))) == ["HIT"] * 3


def test_a_changed_setting_redoes_exactly_what_depends_on_it(tmp_path: Path) -> None:
    run(tmp_path, recipe("a", "bb"))
    changed = recipe("a", "bb", times=2.0)
    planned = plan(str(tmp_path), changed)
    assert [one.status.value for one in planned] == ["HIT", "NEW", "NEW"]
    assert planned[1].reason == "config.times 1.0 -> 2.0"
    assert planned[2].reason == "input values changed"
    run(tmp_path, changed)
    assert sorted(CALLS) == ["a", "bb", "tree"]


def test_added_rows_take_over_the_old_ones(tmp_path: Path) -> None:
    run(tmp_path, recipe("a", "bb"))
    grown = recipe("a", "bb", "ccc")
    assert statuses(tmp_path, grown) == ["NEW", "REUSE", "NEW"]
    outcome = run(tmp_path, grown)
    assert sorted(CALLS) == ["ccc", "tree", "words"]
    assert outcome.artifact(grown[1]).manifest["rows_reused"] == 2


def test_a_failure_keeps_what_was_committed_and_says_what_failed(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="rewards/length: cannot measure ccc"):
        run(tmp_path, recipe("a", "bb", "ccc", fail_at="ccc"))
    planned = plan(str(tmp_path), recipe("a", "bb", "ccc", fail_at="ccc"))
    assert planned[1].word == "RESUME 66%" or planned[1].status is Status.RESUME


def test_only_missing_rows_are_done_after_a_damaged_part(tmp_path: Path) -> None:
    steps = recipe("a", "bb")
    outcome = run(tmp_path, steps)
    artifact = outcome.artifact(steps[1])
    assert isinstance(artifact, Artifact)
    before = artifact.read(["value"])
    Path(artifact.path, artifact.parts[0].name).write_bytes(b"garbage")
    assert statuses(tmp_path, steps)[1] == "RESUME"
    after = run(tmp_path, steps).artifact(steps[1])
    assert isinstance(after, Artifact)
    assert len(CALLS) == 1
    assert after.read(["value"]).equals(before)


def test_an_input_made_again_with_other_content_is_noticed(tmp_path: Path) -> None:
    steps = recipe("a", "bb")
    tree = run(tmp_path, steps).artifact(steps[2])
    (tree.files / "total.txt").write_text("4.0")  # type: ignore[union-attr]
    assert statuses(tmp_path, steps) == ["HIT", "HIT", "RESUME"] or statuses(tmp_path, steps)[2] == "NEW"


def test_a_streaming_consumer_starts_before_its_producer_ends(tmp_path: Path) -> None:
    order: list[str] = []
    consumed = threading.Event()

    def produce(works: Sequence[Work], runtime: Runtime) -> None:
        out = works[0].rows_out
        for word in ("a", "b"):
            row = {
                "prompt_id": word, "messages": [{"role": "user", "content": word}], "domain": "d", "dataset": "t",
                "reference": None,
            }  # fmt: skip
            out.expect({word})
            out.accept(Receipt(parts=out.folder.write(PROMPT.build([row]))))
            if word == "a":
                assert consumed.wait(10), "the consumer never saw the first part"
        order.append("produced")

    def consume(works: Sequence[Work], runtime: Runtime) -> None:
        for _ in works[0].rows_in("words").stream():
            order.append("consumed")
            consumed.set()
        works[0].rows_out.expect(set())

    source = Step(kind="prompts", label="w", run=produce, config=Words(words=[]), produces=PROMPT)
    reader = Step(
        kind="rewards", label="r", run=consume, config=Words(words=[]), produces=REWARD, inputs={"words": source},
        streams=frozenset({"words"}),
    )  # fmt: skip
    run(tmp_path, [source, reader])
    assert order.index("consumed") < order.index("produced")


def test_capacity_bounds_what_runs_at_once(tmp_path: Path) -> None:
    running, most = [0], [0]
    lock = threading.Lock()

    def busy(works: Sequence[Work], runtime: Runtime) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.1)
        with lock:
            running[0] -= 1
        read_words(works, runtime)

    steps = [
        Step(
            kind="prompts", label=str(i), run=busy, config=Words(words=[str(i)]), produces=PROMPT,
            placement=Placement(cpus=2),
        )
        for i in range(4)
    ]  # fmt: skip
    run(tmp_path, steps, Capacity(cpus=4))
    assert most[0] == 2


def test_two_runs_on_one_store_share_the_work(tmp_path: Path) -> None:
    CALLS.clear()
    runners = [
        threading.Thread(target=Runner(str(tmp_path), InProcess, Capacity(), Silent()).run, args=(recipe("a", "bb"),))
        for _ in range(2)
    ]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join(30)
    assert sorted(CALLS) == ["a", "bb", "tree", "words"]
    assert statuses(tmp_path, recipe("a", "bb")) == ["HIT"] * 3
