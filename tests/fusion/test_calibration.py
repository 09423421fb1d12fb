"""A margin window carried to another reward's scale."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from fusion.calibration import quantile_window
from fusion.errors import ConfigError
from fusion.selection.base import Window, WindowScale
from fusion.selection.best_worst_per_source import BestWorstPerSource
from fusion.selection.pairs import select
from tests.shared_data import shared_data


def scored(margins: list[float]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A prompt for each margin, with two answers of one source that lie so far apart."""
    rows = [(f"p{i}", k, value) for i, m in enumerate(margins) for k, value in enumerate((m, 0.0))]
    frame = pl.DataFrame(
        {
            "prompt_id": [row[0] for row in rows],
            "source": "one",
            "domain": "d",
            "dataset": "d",
            "source_order": 0,
            "sample_index": [row[1] for row in rows],
            "finish_reason": "stop",
            "length": 5,
            "folded": range(len(rows)),
            "value:rm": [row[2] for row in rows],
        }
    )
    return frame, pl.DataFrame({"prompt_id": [f"p{i}" for i in range(len(margins))], "dataset": "d", "domain": "d"})


def kept(margins: list[float], window: Window) -> set[str]:
    rule = BestWorstPerSource(rank_by="rm", window=window)
    rule.split.sft_frac = 0.0
    return set(select(*scored(margins), rule).pairs["prompt_id"])


def test_quantiles_of_a_known_distribution() -> None:
    window = quantile_window(list(np.linspace(0.0, 0.2, 2001)))
    assert (window.low.value, window.high.value) == pytest.approx((0.05, 0.5), abs=1e-3)
    assert window.low.low < 0.05 < window.low.high < 0.07
    assert window.overrides().startswith("selection.window.low=0.0495248 selection.window.high=0.49975 selection.")


def test_selection_keeps_the_same_pairs_on_any_scale() -> None:
    """The quantiles, typed as overrides, keep under a monotone other reward what the published bounds keep."""
    margins = [float(m) for m in np.random.default_rng(0).gamma(2.0, 0.03, 300)]
    window = quantile_window(margins)
    published = kept(margins, Window(low=0.01, high=0.10))
    assert 20 < len(published) < 280
    other = [40 * m**2 for m in margins]
    low, high = window.bounds(other)
    assert kept(other, Window(low=low, high=high)) == published
    carried = Window(low=window.low.value, high=window.high.value, scale=WindowScale.QUANTILE)
    assert kept(other, carried) == published


def test_overrides_compose() -> None:
    from fusion.config import composed

    found = quantile_window([0.005, 0.02, 0.05, 0.2])
    one = composed(["experiment=quickstart", *found.overrides().split()]).selection
    by_domain = composed(["experiment=fusechat3", *found.overrides("selection.rules.math").split()]).selection
    for window in (one.window, by_domain.rules.math.window):
        assert (window.low, window.high, window.scale) == (0.111111, 0.777778, WindowScale.QUANTILE)


def test_bounds_outside_the_margins_are_the_ends() -> None:
    window = quantile_window([0.02, 0.03, 0.04])
    assert (window.low.value, window.high.value) == (0.0, 1.0)
    assert window.low.high > 0.5, "three margins say little"
    assert "of 3 margins; too few to rely on" in window.words()


def test_margins_that_make_no_pair_do_not_count() -> None:
    assert quantile_window([0.0, 0.0, 0.05, 0.2]) == quantile_window([0.05, 0.2])
    with pytest.raises(ConfigError, match="none of 2 margins is positive"):
        quantile_window([0.0, 0.0])
    with pytest.raises(ConfigError, match=r"window is \[0\.1, 0\.01\]"):
        quantile_window([0.05], (0.1, 0.01))


def test_published_window_among_real_armorm_margins() -> None:
    """Five prompts of five answers: no margin reaches 0.10, and 0.01 lies below three of them, more or less."""
    examples = json.loads(shared_data("preference/magpie_5responses_armorm.json").read_text())
    scores = [[score["score"] for score in example["rewards_armorm"]] for example in examples]
    margins = [max(one) - min(one) for one in scores]
    window = quantile_window(margins)
    assert (len(margins), window.high.value) == (5, 1.0)
    assert 0.2 < window.low.value < 0.4
    assert window.low.high - window.low.low > 0.5
