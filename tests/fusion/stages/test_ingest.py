"""Ingest: every prompt goes on or is dropped with its reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion.artifact import Artifact
from fusion.errors import ConfigError, StepFailed
from fusion.prompts.base import Prompts
from fusion.prompts.jsonl import Jsonl
from fusion.prompts.reasoning_gym import ReasoningGym
from fusion.runtime import InProcess
from fusion.schema import PROMPT
from fusion.stages import ingest
from fusion.step import Step
from fusion.work import Work
from fusion.writer import ArtifactWriter

LONG = "Please write a short poem about the sea at night, with a ship, a storm and a lonely sailor who sings"


def ingested(path: Path, prompts: Prompts, exclude: Artifact | None = None, near: float = 0.8) -> Artifact:
    config = ingest.IngestConfig(prompts=prompts, near_duplicates=near)
    step = Step(kind="prompts", label="test", run=ingest.run, config=config, produces=PROMPT)
    out = ArtifactWriter(str(path), PROMPT)
    inputs = {} if exclude is None else {"exclude": exclude}
    ingest.run([Work(step, inputs, out, lambda done, total: None, lambda: False)], InProcess())
    return out.seal({})


def texts(artifact: Artifact) -> set[str]:
    return {row["messages"][-1]["content"] for row in artifact.read().to_pylist()}


def ids(artifact: Artifact) -> set[str]:
    return set(artifact.read().column("prompt_id").to_pylist())


def jsonl(path: Path, *prompts: str, limit: int = 0) -> Jsonl:
    import json

    path.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
    return Jsonl(path=str(path), limit=limit)


def test_every_prompt_goes_on_or_is_dropped_with_its_reason(tmp_path: Path) -> None:
    prompts = jsonl(tmp_path / "p.jsonl", "Hi", "", "hi!", LONG, LONG + " loudly", " \n", "Bye", "One more", limit=3)
    artifact = ingested(tmp_path / "out", prompts)
    assert texts(artifact) == {"Hi", LONG, "Bye"}
    assert [(d["key"], d["reason"]) for d in artifact.drops().to_pylist()] == [
        ("p.jsonl:2", "empty_prompt"),
        ("p.jsonl:3", "duplicate_prompt"),
        ("p.jsonl:5", "near_duplicate_prompt"),
        ("p.jsonl:6", "empty_prompt"),
        ("p.jsonl:8", "over_limit"),
    ]
    assert (artifact.accounts.rows_in, artifact.accounts.rows_out) == (8, 3)


def test_evaluation_prompts_and_their_likes_are_not_trained_on(tmp_path: Path) -> None:
    held_out = ingested(tmp_path / "held_out", jsonl(tmp_path / "e.jsonl", "Hi", LONG))
    train = ingested(tmp_path / "train", jsonl(tmp_path / "t.jsonl", "hi", LONG + " loudly", "Bye"), held_out)
    assert texts(train) == {"Bye"}
    assert {d["reason"] for d in train.drops().to_pylist()} == {"duplicate_prompt", "near_duplicate_prompt"}


def test_held_out_procedural_prompts_are_disjoint_from_training(tmp_path: Path) -> None:
    tasks: dict[str, dict[str, object]] = {"gcd": {"max_value": 6}}  # 36 questions: most are drawn twice
    held_out = ingested(tmp_path / "held_out", ReasoningGym(tasks=tasks, per_task=10, seed=2))
    train = ingested(tmp_path / "train", ReasoningGym(tasks=tasks, per_task=60, seed=1), held_out)
    assert not texts(held_out) & texts(train)
    assert len(texts(train)) > 5


@pytest.mark.parametrize("few_and_more", [(5, 9), (20, 40)])
def test_growing_per_task_only_adds_prompts(tmp_path: Path, few_and_more: tuple[int, int]) -> None:
    tasks: dict[str, dict[str, object]] = {"gcd": {"max_value": 6}, "chain_sum": {}}
    few, more = (ingested(tmp_path / str(n), ReasoningGym(tasks=tasks, per_task=n)) for n in few_and_more)
    assert ids(few) < ids(more)


def test_growing_the_limit_only_adds_prompts(tmp_path: Path) -> None:
    tasks: dict[str, dict[str, object]] = {"gcd": {"max_value": 4}, "chain_sum": {}}
    kept = [ids(ingested(tmp_path / str(n), ReasoningGym(tasks=tasks, per_task=20, limit=n))) for n in (3, 8, 20, 25)]
    assert kept[0] < kept[1] < kept[2] < kept[3]


def test_same_prompts_give_the_same_parts(tmp_path: Path) -> None:
    one, two = (ingested(tmp_path / name, jsonl(tmp_path / "p.jsonl", "Hi", "Bye", "")) for name in ("a", "b"))
    assert one.parts == two.parts


def test_ingest_can_be_done_again_in_a_folder_it_was_interrupted_in(tmp_path: Path) -> None:
    prompts = jsonl(tmp_path / "p.jsonl", "Hi", "", "Bye")
    first = ingested(tmp_path / "out", prompts)
    (tmp_path / "out" / "manifest.json").unlink()
    assert ingested(tmp_path / "out", prompts).parts == first.parts


def test_nothing_left_is_an_error_that_says_why(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="empty_prompt"):
        ingested(tmp_path / "out", jsonl(tmp_path / "p.jsonl", "", " "))


def test_threshold_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="near_duplicates"):
        ingest.IngestConfig(prompts=Jsonl(path="p.jsonl"), near_duplicates=0.0)
