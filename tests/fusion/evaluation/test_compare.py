import numpy as np

from fusion.evaluation.compare import comparison_rows, pairs_to_compare
from fusion.evaluation.scores import DomainScores


def test_final_is_compared_with_everything_that_was_evaluated():
    assert pairs_to_compare(["base", "sft", "final", "gemma"]) == [
        ("final", "base"),
        ("sft", "base"),
        ("final", "sft"),
        ("final", "gemma"),
    ]


def test_a_run_without_a_phase_compares_what_there_is():
    assert pairs_to_compare(["base", "final"]) == [("final", "base")]


def test_the_p_value_of_the_mean_follows_the_mean_and_not_the_larger_domain():
    rng = np.random.default_rng(0)

    def scores(domain: int, share: float, size: int) -> DomainScores:
        return DomainScores((rng.random(size) < share).astype(float), size, 0)

    base = {"small": scores(0, 0.1, 40), "large": scores(1, 0.6, 400)}
    ours = {"small": scores(0, 0.95, 40), "large": scores(1, 0.4, 400)}
    row = comparison_rows("final", "base", ours, base)[-1]
    assert row["low"] > 0
    assert row["losses"] > row["wins"]
    assert row["p_value"] < 0.05
