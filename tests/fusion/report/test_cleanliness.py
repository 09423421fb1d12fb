import dataclasses

from fusion.hygiene.finding import Kind
from fusion.report.cleanliness import CUT, EMPTY, KINDS, LONG, TWICE, cleanliness, counts
from fusion.report.palette import Palette
from fusion.report.record import RunRecord
from fusion.schema import RESPONSE, REWARD
from tests.fusion.report.sample_run import IDENTITY, sealed

PALETTE = Palette(["gemma3_270m", "smollm2_135m"])


def response(prompt: str, index: int, text: str, finish_reason: str = "stop") -> dict:
    row = {"prompt_id": prompt, "source": "a", "sample_index": index, "text": text, "finish_reason": finish_reason}
    return row | {"num_tokens": 1, "seed": 0, "logprob_sum": None}


def verdict(prompt: str, index: int, detail: str | None) -> dict:
    row = {"prompt_id": prompt, "source": "a", "sample_index": index, "detail": detail, "text_hash": "x", "value": None}
    return row | {"outcome": "fail" if detail else "pass"}


def test_faults_are_counted_by_hand(tmp_path):
    answers = [
        response("p", 0, "Yes."),
        response("p", 1, " Yes.\n"),  # the same but for white space
        response("q", 0, "Yes."),  # the same text, but to another prompt
        response("q", 1, " \n"),
        response("q", 2, "I am", "length"),
    ]
    clean = [
        verdict("p", 0, None),
        verdict("p", 1, "identity: I am Qwen; secret: AWS access key AKIA…; identity: made by Alibaba"),
        verdict("q", 0, "personal: e-mail"),
        verdict("q", 1, "empty: 2 characters of white space"),
        verdict("q", 2, None),
    ]
    fits = [verdict("p", 0, "3000 tokens, over the 2048 of training")]
    record = RunRecord(
        experiment="r",
        responses={"a": sealed(tmp_path / "r", RESPONSE, answers, {})},
        rewards={
            ("a", "clean_text"): sealed(tmp_path / "c", REWARD, clean, {}),
            ("a", "fits_target"): sealed(tmp_path / "f", REWARD, fits, {}),
        },
    )
    found = {name: number for name, number in counts(record, "a").items() if number}
    assert found == {
        EMPTY: 1,
        CUT: 1,
        TWICE: 1,
        KINDS[Kind.IDENTITY]: 1,  # one answer, though it is said twice in it
        KINDS[Kind.SECRET]: 1,
        KINDS[Kind.PERSONAL]: 1,
        LONG: 1,
    }


def test_the_sample_runs_faults_are_its_texts(record):
    texts = record.responses["gemma3_270m"].read(["text"])["text"].to_pylist()
    found = counts(record, "gemma3_270m")
    assert found[KINDS[Kind.IDENTITY]] == sum(IDENTITY in text for text in texts) > 0
    assert found["request failed"] == sum(record.responses["gemma3_270m"].accounts.failed.values()) > 0


def test_what_was_looked_for_and_what_was_not_is_said(record):
    shown = cleanliness(record, PALETTE)
    assert KINDS[Kind.SECRET] in shown["absent"]
    assert shown["unchecked"] == [LONG]
    bare = cleanliness(dataclasses.replace(record, rewards={}), PALETTE)
    assert KINDS[Kind.SECRET] in bare["unchecked"]


def test_a_run_without_answers_has_no_such_section():
    assert cleanliness(RunRecord(experiment="nothing"), PALETTE) is None
