"""Whether there is anything to gain: verdicts on tables that leave no doubt, and on the sample run."""

import dataclasses

import numpy as np
import pytest

from fusion.report.headroom import compared, headroom
from fusion.report.record import RunRecord
from fusion.report.samples import Samples, load


def samples(values: dict[str, list[float]], decided: bool = True) -> Samples:
    """One domain, one sample a prompt and source; 1 passes, other values are rewards."""
    sources, number = sorted(values), len(next(iter(values.values())))
    flat = np.array([values[source] for source in sources], dtype=float).ravel()
    return Samples(
        sources=sources,
        domains=["math"],
        source_codes=np.repeat(np.arange(len(sources)), number),
        domain_codes=np.zeros(len(flat), np.int64),
        prompt_codes=np.tile(np.arange(number), len(sources)),
        num_tokens=np.ones(len(flat)),
        is_cut=np.zeros(len(flat), bool),
        passed=(flat == 1) & decided,
        decided=np.full(len(flat), decided),
        values={} if decided else {"rm": flat},
    )


def run(target: str = "") -> RunRecord:
    return RunRecord(experiment="r", config=f"target: {{name: {target}}}" if target else "")


RIGHT, WRONG = [1.0] * 200, [0.0] * 200
HALF = [1.0, 0.0] * 100


@pytest.mark.parametrize(
    ("values", "target", "own", "best", "words"),
    [
        # the target solves all, the sources are no help
        (
            {"t": RIGHT, "a": HALF},
            "t",
            1.0,
            1.0,
            "Fusion has nothing to gain here: the best of all sources is at most +0.0",
        ),
        # the source solves the half that the target does not
        ({"t": HALF, "a": RIGHT}, "t", 0.5, 1.0, "Fusion has something to gain here: on 50% of the prompts a has"),
        # two sources, one is enough
        ({"a": RIGHT, "b": HALF}, "", 1.0, 1.0, "a alone is enough here: the best of all sources is at most +0.0"),
        # two sources that complement each other
        ({"a": HALF, "b": HALF[::-1]}, "", 0.5, 1.0, "No source is enough alone: on 50% of the prompts b has"),
        # nobody solves anything
        ({"t": WRONG, "a": WRONG}, "t", 0.0, 0.0, "Fusion has nothing to gain here"),
        # one source
        ({"a": HALF}, "", 0.5, 0.5, "a alone answered here"),
    ],
)
def test_the_verdict_says_what_the_numbers_say(values, target, own, best, words):
    (one,), where = compared(run(target), samples(values))
    assert (one.own, one.best) == (own, best)
    assert words in one.verdict
    assert where == "training prompts"


def test_few_prompts_are_said_to_be_few():
    (one,), _ = compared(run("t"), samples({"t": [1.0, 0.0, 1.0], "a": [1.0, 1.0, 1.0]}))
    assert "Too little to tell: on 3 prompts" in one.verdict
    (one,), _ = compared(run("t"), samples({"t": [1.0, 0.0], "a": [0.0, 0.0]}))
    assert one.verdict.startswith("No gain was seen: on 2 prompts no source has a right answer where the target has")


def test_without_verdicts_rewards_are_compared_on_their_own_scale():
    rng = np.random.default_rng(1)
    base = rng.normal(0.1, 0.02, 200)
    (one,), _ = compared(run("t"), samples({"t": list(base), "a": list(base + 0.02)}, decided=False))
    assert one.reward == "rm"
    assert one.gain.value == pytest.approx(0.02)
    assert "a better answer" in one.verdict
    (one,), _ = compared(run("t"), samples({"t": list(base), "a": list(base - 0.02)}, decided=False))
    assert "nothing to gain" in one.verdict
    aside = samples({"t": list(base), "a": list(base - 0.02)}, decided=False)
    (one,), _ = compared(run("t"), aside)
    assert one.gain.high <= 0.02 * base.std()


def test_the_oracle_is_the_share_of_prompts_that_some_source_solves(record):
    loaded = load(record)
    found, where = compared(record, loaded)
    assert where == "training prompts"
    for one in found:
        inside = loaded.domain_codes == loaded.domains.index(one.domain)
        if one.num_prompts == len(np.unique(loaded.prompt_codes[inside])):
            assert one.best == pytest.approx(loaded.any_pass_rate(inside))
        assert one.against == "smollm2_135m"


def test_a_target_that_is_no_source_is_compared_before_training(record):
    """Its answers to the evaluation prompts exist; the trained models' do not count."""
    other = dataclasses.replace(record, config=record.config.replace("name: smollm2_135m", "name: fused"))
    found, where = compared(other, load(other))
    assert where == "evaluation prompts, before training"
    assert {one.against for one in found} == {"base"}
    assert {source for one in found for source in one.bests} == {"gemma3_270m"}


def test_a_run_without_answers_has_no_such_section():
    assert headroom(RunRecord(experiment="nothing"), None) is None
