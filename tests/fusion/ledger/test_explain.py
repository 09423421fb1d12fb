"""`fusion explain`: the whole story of a prompt, under any of its names."""

import json
import os

import pytest

from fusion.ledger.reasons import MEANING, meaning
from fusion.schema import Reason


@pytest.fixture
def story(call):
    def run(*words: str) -> dict:
        code, out, err = call("explain", *words, "--json")
        assert code == 0, err
        return json.loads(out)

    return run


def test_a_pair_is_told_with_every_candidate_and_score(story, rows, record):
    pair = rows("pairs")[3]
    told = story("sample", pair["prompt_id"])
    answers = [one for source in record.responses.values() for one in source.read().to_pylist()]
    own = [one for one in answers if one["prompt_id"] == pair["prompt_id"]]
    assert {(one["source"], one["sample_index"]) for one in told["candidates"]} == {
        (one["source"], one["sample_index"]) for one in own
    }
    for one in told["candidates"]:
        assert one["scores"].keys() == {"answer", "clean_text", "likelihood"}
        assert {"seed", "finish_reason", "num_tokens", "text"} <= one.keys()
    asked = told["sources"]["gemma3_270m"]
    assert asked["model"] == "hf://google/gemma-3-270m"
    assert asked["revision"].startswith("9b0cfec8")
    assert asked["sampling"] == {"temperature": 0.8, "max_new_tokens": 48}
    assert told["pairs"][0]["margin"] == pytest.approx(pair["margin"])


def test_the_margin_is_the_difference_of_the_candidates_ranks(story, rows):
    for pair in rows("pairs")[:5]:
        told = story("sample", pair["prompt_id"])
        ranks = {(one["source"], one["sample_index"]): one["standing"]["rank"] for one in told["candidates"]}
        chosen, rejected = (ranks[pair[f"{kind}_source"], pair[f"{kind}_index"]] for kind in ("chosen", "rejected"))
        assert chosen - rejected == pytest.approx(pair["margin"], abs=1e-5)


def test_the_first_candidate_is_the_one_that_won(story, rows):
    for row in rows("sft")[:5]:
        told = story("sample", row["prompt_id"])
        first = told["candidates"][0]
        assert (first["source"], first["sample_index"]) == (row["source"], row["sample_index"])
        assert first["standing"]["note"] == "best"
        for other in told["candidates"][1:]:
            assert other["standing"]["note"] != "best"


def test_what_it_beat_is_said_with_the_distance(call, rows):
    row = next(row for row in rows("sft") if row["domain"] == "letter_counting")
    _, out, _ = call("explain", "sample", row["prompt_id"])
    assert f"SFT row by rule {row['rule']}: {row['source']} sample {row['sample_index']} beats" in out
    assert "behind in likelihood" in out
    assert "CorrectVsWrong; ranked by likelihood" in out


def test_a_prompt_without_a_row_says_why(call, story, rows):
    drop = rows("drops/sft/train", "--where", "reason=no_passing_response")[0]
    told = story("sample", drop["key"])
    assert told["sft"] == told["pairs"] == []
    assert {one["table"] for one in told["not_in"]} == {"sft", "pairs"}
    _, out, _ = call("explain", "sample", drop["key"])
    assert "not in sft: no_passing_response: no whole answer passes" in out


def test_an_answer_that_may_not_win_says_why(story, rows):
    notes = {
        one["standing"]["note"]
        for row in rows("pairs")[:20]
        for one in story("sample", row["prompt_id"])["candidates"]
        if not one["standing"]["may_be_chosen"]
    }
    assert "does not pass" in notes
    assert notes <= {"does not pass", "not clean", "cut off", "not clean, cut off"}


@pytest.mark.parametrize("form", ["{id}", "{id:.8}", "{id}/0", "{id}/gemma3_270m/1"])
def test_a_key_may_be_cut_or_be_a_rows(story, rows, form):
    row = rows("pairs")[0]
    assert story("sample", form.format(id=row["prompt_id"]))["prompt"]["prompt_id"] == row["prompt_id"]


def test_without_a_run_the_newest_that_has_it_is_found(story, rows, runs):
    (runs / "empty").mkdir(exist_ok=True)
    later = {"experiment": "empty", "store": "/nowhere", "steps": []}
    (runs / "empty" / "result.json").write_text(json.dumps(later))
    (runs / "empty" / "config.yaml").write_text("name: empty\n")
    os.utime(runs / "empty" / "result.json", (2e9, 2e9))
    assert story(rows("sft")[0]["prompt_id"])["run"] == "sample"


def test_a_prompt_that_was_not_let_in_says_why(call, story):
    assert story("sample", "gcd#3")["drop"]["reason"] == "duplicate_prompt"
    _, out, _ = call("explain", "gcd#3")
    assert "was not let in" in out
    assert "an equal prompt is there already" in out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("sample", "zzz"), ["'zzz'", "fusion show sample sft"]),
        (("zzz",), ["'zzz'", "sample"]),
        (("nothing", "abc"), ["fusion run experiment=nothing"]),
        (("a", "b", "c"), ["a b c"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_a_key_that_is_not_there_is_named(call, words, expected):
    code, _, err = call("explain", *words)
    assert code == 2
    for word in expected:
        assert word in err


def test_a_key_of_several_prompts_lists_them(call, rows):
    ids = sorted({row["prompt_id"] for row in rows("prompts")})
    start = next(one[:1] for one in ids if sum(other.startswith(one[:1]) for other in ids) > 1)
    code, _, err = call("explain", "sample", start)
    assert code == 2
    assert f"prompts begin with {start!r}" in err


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_sentence(reason):
    assert reason in MEANING
    assert meaning(reason.value) == MEANING[reason]
