"""Win rates under control: regressions against closed forms, simulated judges, and the published leaderboard."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from fusion.evaluation.bradley_terry import Battle, rate_gaps, win_rates
from fusion.evaluation.length_controlled import LengthControl, difficulty, length_controlled, length_controlled_gap
from fusion.evaluation.logistic import fit, logistic
from fusion.evaluation.style import Style, style
from tests.fusion.evaluation.stored_run import evaluated, scores
from tests.shared_data import shared_data

FREE = LengthControl(variants=[])
PLAIN, LONG = Style(400, 100, 0, 0, 0), Style(800, 200, 0, 0, 0)


def test_a_column_of_ones_alone_gives_the_mean():
    shares = np.array([0.1, 0.4, 0.9])
    assert logistic(fit(np.ones((3, 1)), shares, ridge=0.0))[0] == pytest.approx(shares.mean(), abs=1e-9)


def test_known_coefficients_are_found_again():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(4000, 3))
    truth = np.array([0.5, -1.0, 2.0])
    assert fit(features, logistic(features @ truth), ridge=0.0) == pytest.approx(truth, abs=1e-6)


def test_a_judge_that_looks_at_length_only_leaves_an_even_rate():
    rng = np.random.default_rng(2)
    lengths = rng.uniform(500, 3000, 600)
    baseline = rng.uniform(500, 1500, 600)
    gaps = baseline - lengths
    preferences = logistic(-1.5 * np.tanh(gaps / gaps.std(ddof=1)))
    assert preferences.mean() > 0.6
    assert length_controlled(preferences, lengths, baseline, None, FREE).value == pytest.approx(0.5, abs=0.005)


def test_a_judge_that_ignores_length_leaves_the_plain_rate():
    rng = np.random.default_rng(3)
    preferences = rng.uniform(0.2, 0.9, 600)
    found = length_controlled(preferences, rng.uniform(500, 3000, 600), rng.uniform(500, 3000, 600), None, FREE)
    assert found.value == pytest.approx(preferences.mean(), abs=0.01)
    assert found.low < preferences.mean() < found.high


def test_difficulties_are_what_models_agree_on():
    hard, easy = [0.1, 0.2, np.nan], [0.8, 0.7, 0.9]
    found = difficulty(np.array([hard, easy, easy]))
    assert found[0] < 0 < found[1] == found[2]
    assert (found.mean(), found.std()) == (pytest.approx(0.0, abs=1e-9), pytest.approx(1.0))


def test_without_control_a_rate_is_the_mean_outcome():
    battles = [Battle("m", str(i), outcome, PLAIN, PLAIN) for i, outcome in enumerate([1.0, 0.5, 0.0, 1.0])]
    assert win_rates(battles, is_controlled=False)["m"].value == pytest.approx(0.625, abs=1e-3)


def test_style_that_wins_by_itself_is_taken_out():
    """Two models of equal strength; the judge prefers long answers, and one model writes more of them."""
    rng = np.random.default_rng(4)

    def battles(model: str, share_long: float) -> list[Battle]:
        rows = []
        for i in range(1500):
            is_long = rng.random() < share_long
            wins = rng.random() < (0.75 if is_long else 0.5)
            rows.append(Battle(model, str(i), float(wins), LONG if is_long else PLAIN, PLAIN))
        return rows

    both = [*battles("short", 0.1), *battles("wordy", 0.9)]
    plain, controlled = win_rates(both, is_controlled=False), win_rates(both)
    assert plain["wordy"].value - plain["short"].value > 0.15
    assert abs(controlled["wordy"].value - controlled["short"].value) < 0.05
    (gap,) = rate_gaps(both, [("wordy", "short")]).values()
    assert gap.value == pytest.approx(controlled["wordy"].value - controlled["short"].value)
    assert gap.low < 0 < gap.high


def test_a_longer_answer_alone_is_no_gain_over_another_model():
    rng = np.random.default_rng(5)
    baseline, short = rng.uniform(500, 1500, 400), rng.uniform(300, 1800, 400)
    lengths = np.stack([short + rng.uniform(500, 1500, 400), short])
    gaps = baseline - lengths
    preferences = logistic(-1.5 * np.tanh(gaps / gaps.std(axis=1, ddof=1)[:, None]))
    assert preferences[0].mean() - preferences[1].mean() > 0.2
    found = length_controlled_gap(preferences, lengths, baseline, None, FREE)
    assert abs(found.value) < 0.01
    alone = [length_controlled(*one, baseline, None, FREE).value for one in zip(preferences, lengths, strict=True)]
    assert found.value == pytest.approx(alone[0] - alone[1])
    raised = np.clip(preferences + np.array([[0.0], [0.2]]), 0, 1)
    better = length_controlled_gap(raised, lengths, baseline, None, FREE)
    assert better.high < -0.1


def test_markup_is_counted_outside_of_code():
    found = style("# Title\n\n- one **bold** item\n- two\n1. three\n\n```\n# no header\n- no item\n```")
    assert (found.headers, found.lists, found.bolds) == (1, 3, 1)


@pytest.fixture(scope="module")
def alpaca(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    shared_data("preference/alpaca_eval_multi_source.jsonl.gz")
    shared_data("preference/alpaca_eval_preference_matrix.csv.gz")
    return evaluated(tmp_path_factory.mktemp("alpaca"), "benchmark=[alpaca_eval2_annotated,alpaca_eval2_raw]")


def leaderboard() -> dict[str, dict[str, str]]:
    path: Path = shared_data("preference/alpaca_eval2_leaderboard.csv")
    with path.open(encoding="utf-8") as file:
        return {row[""]: row for row in csv.DictReader(file)}


def test_the_plain_rate_is_the_mean_of_the_published_preferences(alpaca) -> None:
    path = shared_data("preference/alpaca_eval_preference_matrix.csv.gz")
    import gzip

    with gzip.open(path, "rt", encoding="utf-8") as file:
        matrix = list(csv.DictReader(file))
    found = scores(alpaca, "alpaca_eval2_raw")
    assert len(found) == 11
    for model, row in found.items():
        mean = np.mean([float(line[model]) for line in matrix])
        assert row["score"] == pytest.approx(mean, abs=1e-4), model


def test_length_controlled_rates_are_close_to_the_leaderboard(alpaca) -> None:
    """655 of its 805 instructions; difficulties and the two variants of the baseline are estimated."""
    known = leaderboard()
    gaps = {
        model: row["printed"]["value"] - float(known[model]["length_controlled_winrate"])
        for model, row in scores(alpaca, "alpaca_eval2_annotated").items()
    }
    assert len(gaps) == 11
    assert max(map(abs, gaps.values())) < 1.0, gaps
    assert np.mean(np.abs(list(gaps.values()))) < 0.5, gaps
