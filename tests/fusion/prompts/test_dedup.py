"""Which prompts count as the same."""

from __future__ import annotations

import json
import random

import pytest

from fusion.prompts.base import RawPrompt
from fusion.prompts.dedup import Likeness, disjoint, duplicates
from tests.shared_data import shared_data

LONG = "Please write a short poem about the sea at night, with a ship, a storm and a lonely sailor who sings"


def prompts(*texts: str, reference: str | None = None) -> list[RawPrompt]:
    return [RawPrompt(f"k{i}", ({"role": "user", "content": t},), "d", "s", reference) for i, t in enumerate(texts)]


SAME = [
    ("What is the capital of France?", "what is  the capital of france"),
    ("Tell me a joke!", "Tell me a joke."),
    ("Write a step-by-step guide", "Write a step by step guide"),
    ("“Hello”, he said", "“Hello” he said."),
    ("法国的首都是什么？", "法国的首都是什么"),
    ("What is ３ + 4?", "What is 3 + 4?"),  # a full-width digit
]

DIFFERENT = [
    ("What is 3 + 4?", "What is 3 + 5?"),
    ("What is 3 + 4?", "What is 3 - 4?"),
    ("What is 5?", "What is -5?"),
    ("What is 3.5 * 2?", "What is 35 * 2?"),
    ("What is 5?", "What is 5!?"),
    ("Is (3 + 4) * 5 even?", "Is 3 + (4 * 5) even?"),
    ('How often is "n" in "hundred"?', 'How often is "d" in "hundred"?'),
    ('Print "Yes"', 'Print "yes"'),
    ("What follows ↑ ↑ ↓?", "What follows ↓ ↓ ↑?"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_case_space_and_punctuation_make_no_difference(one: str, other: str) -> None:
    matches = duplicates(prompts(one, other), threshold=1)
    assert {key: (m.key, m.likeness) for key, m in matches.items()} == {"k1": ("k0", Likeness.EQUAL)}


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_decides_the_answer_makes_a_difference(one: str, other: str) -> None:
    assert duplicates(prompts(one, other), threshold=1) == {}
    suffix = " " + LONG  # long enough for the rest to look alike
    assert not duplicates(prompts(one + suffix, other + suffix), threshold=0.5), "near-duplicates"


def test_small_edit_of_a_long_prompt_is_a_near_duplicate() -> None:
    matches = duplicates(prompts(LONG, LONG + " loudly", "Something else entirely"), threshold=0.8)
    assert {key: (m.key, m.likeness) for key, m in matches.items()} == {"k1": ("k0", Likeness.NEAR)}


def test_prompt_of_symbols_only_is_not_folded_away() -> None:
    assert duplicates(prompts("🙂", "🙃", "?", "🙂!"), threshold=0.8).keys() == {"k3"}


def test_threshold_one_means_exact_only() -> None:
    assert duplicates(prompts(LONG, LONG + " loudly"), threshold=1) == {}


def test_similarity_is_compared_exactly_at_the_threshold() -> None:
    """Four words of five in common: 2 of 4 shingles, a similarity of 0.5."""
    pair = prompts("one two three four five", "one two three four six")
    assert duplicates(pair, threshold=0.5).keys() == {"k1"}
    assert duplicates(pair, threshold=0.51) == {}


def test_entries_of_a_verifier_are_told_apart_by_their_record() -> None:
    """`Spell this word backward: hay` differs from `...: both` in one word that is no number and not quoted."""
    text = LONG + ", and spell this word backward: "
    records = [json.dumps({"answer": answer, "reasoning_gym": "spell_backward"}) for answer in ("yah", "htob")]
    pair = [
        RawPrompt(word, ({"role": "user", "content": text + word},), "d", "s", record)
        for word, record in zip(("hay", "both"), records, strict=True)
    ]
    assert duplicates(pair, threshold=0.8) == {}


def test_first_one_wins_and_later_rows_change_nothing_before() -> None:
    texts = [LONG, "Hi", LONG + " loudly", "hi!", "Other"]
    assert list(duplicates(prompts(*texts), 0.8)) == ["k2", "k3"]
    assert list(duplicates(prompts(*texts, LONG.upper()), 0.8)) == ["k2", "k3", "k5"]


def test_system_message_does_not_hide_a_duplicate() -> None:
    plain, told = prompts("Hi", "Hi")
    told = RawPrompt("k1", ({"role": "system", "content": "You are a pirate."}, *told.messages), "d", "s", None)
    assert duplicates([plain, told], 1).keys() == {"k1"}


def test_training_prompts_like_evaluation_prompts_are_found() -> None:
    evaluation = [RawPrompt("k0", ({"role": "user", "content": LONG},), "d", "s", None)]  # keys may be the same
    matches = disjoint(prompts("Hi", LONG.upper(), LONG + " loudly", "Hello"), evaluation, 0.8)
    assert {key: (m.key, m.likeness) for key, m in matches.items()} == {
        "k1": ("k0", Likeness.EQUAL),
        "k2": ("k0", Likeness.NEAR),
    }


def test_changed_punctuation_is_found_among_real_prompts() -> None:
    pool = shared_data("prompts/prompt_pool.jsonl")
    texts = [json.loads(line)["prompt"] for line in pool.read_text().splitlines()[:1000]]
    found = duplicates(prompts(*texts, *(f" {text}\n." for text in texts[:200])), 0.8)
    assert {f"k{i}" for i in range(1000, 1200)} <= found.keys()
    assert len(found) < 220, "the pool itself holds hardly any"


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.9])
def test_no_near_duplicate_is_missed_among_many(threshold: float) -> None:
    """Against all pairs compared exactly: 600 texts of 12 to 120 words, half with up to three changed."""
    draw = random.Random(7)
    vocabulary = [f"w{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(300)]
    texts = [draw.choices(vocabulary, k=draw.randint(12, 120)) for _ in range(300)]
    for own in list(texts):
        changed = list(own)
        for _ in range(draw.randint(1, 3)):
            changed[draw.randrange(len(changed))] = draw.choice(vocabulary)
        texts.append(changed)
    sets = [{tuple(text[i : i + 3]) for i in range(len(text) - 2)} for text in texts]
    kept: list[int] = []
    expected = {}
    for number, own_set in enumerate(sets):
        near = [k for k in kept if len(own_set & sets[k]) / len(own_set | sets[k]) >= threshold]
        if near:
            expected[f"k{number}"] = f"k{near[0]}"
        else:
            kept.append(number)
    found = duplicates(prompts(*map(" ".join, texts)), threshold)
    assert len(expected) > 50
    assert {key: match.key for key, match in found.items()} == expected
