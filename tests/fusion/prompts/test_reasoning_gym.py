"""Procedural prompts: what their identity rests on."""

from __future__ import annotations

import json

import pytest

from fusion.errors import ConfigError
from fusion.prompts.reasoning_gym import ReasoningGym
from fusion.schema import prompt_id

TASKS: dict[str, dict[str, object]] = {
    "gcd": {"max_value": 30},
    "chain_sum": {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 2},
}


def test_tasks_come_in_turn_with_the_family_as_domain() -> None:
    prompts = list(ReasoningGym(tasks=TASKS, per_task=2).read())
    assert [(p.key, p.domain) for p in prompts] == [
        ("gcd#0", "gcd"),
        ("chain_sum#0", "chain_sum"),
        ("gcd#1", "gcd"),
        ("chain_sum#1", "chain_sum"),
    ]


def test_more_per_task_only_appends() -> None:
    few, more = (list(ReasoningGym(tasks=TASKS, per_task=n).read()) for n in (5, 9))
    assert more[: len(few)] == few


def test_same_question_is_the_same_prompt_whatever_its_number_and_ranges() -> None:
    """The library's metadata holds the entry's number and the settings' ranges; an id must not depend on them."""
    by_question: dict[str, set[str]] = {}
    for settings in ({"max_value": 3}, {"max_value": 4}):
        for p in ReasoningGym(tasks={"gcd": settings}, per_task=100).read():
            by_question.setdefault(p.messages[0]["content"], set()).add(prompt_id(p.messages, p.reference))
    assert len(by_question) < 30  # 4 x 4 pairs of numbers, so nearly all are repeated
    assert all(len(ids) == 1 for ids in by_question.values())


def test_neighbouring_seeds_share_few_prompts() -> None:
    """The library seeds entry i with seed + i; passed on as it is, seeds 1 and 2 would share all but one entry."""
    one, two = (
        {p.messages[0]["content"] for p in ReasoningGym(tasks=TASKS, per_task=50, seed=seed).read()} for seed in (1, 2)
    )
    assert len(one & two) < 15


def test_reference_is_canonical_json_that_names_the_family() -> None:
    reference = next(ReasoningGym(tasks=TASKS, per_task=1).read()).reference
    assert reference is not None
    entry = json.loads(reference)
    assert json.dumps(entry, sort_keys=True) == reference
    assert entry.keys() == {"answer", "metadata", "reasoning_gym"}
    assert entry["reasoning_gym"] == "gcd"


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({"gdc": {}}, "did you mean gcd"),
        ({"gcd": {"max_vale": 3}}, "max_vale"),
        ({"gcd": {"min_value": 30, "max_value": 3}}, "prompts.tasks.gcd"),
        ({"arc_agi": {}}, "its own answer does not pass"),  # its scorer needs tuples, which JSON has not
    ],
)
def test_unusable_task_is_refused_by_name(tasks: dict[str, dict[str, object]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        list(ReasoningGym(tasks=tasks).read())


def test_version_of_the_library_bears_identity() -> None:
    prompts = ReasoningGym(tasks=TASKS)
    prompts.resolve()
    assert prompts.package_version
    with pytest.raises(ConfigError, match="installed"):
        ReasoningGym(tasks=TASKS, package_version="0.0.1").resolve()
