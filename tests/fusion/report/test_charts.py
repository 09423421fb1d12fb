import re

import numpy as np
import pytest

from fusion.evaluation.intervals import Interval
from fusion.report.charts import Dot, curve, dot_panel, mirrored_histogram
from fusion.report.svg import Scale


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-2.1, 0.4, [-2.0, -1.5, -1.0, -0.5, 0.0]),
        (0.0, 480.0, [0.0, 100.0, 200.0, 300.0, 400.0]),
        (5.0, 5.0, [5.0]),
    ],
)
def test_ticks_are_round_and_inside(low, high, ticks):
    assert Scale(low, high, 0, 100).ticks(5) == ticks


def test_histogram_counts_every_value_once():
    up, down = np.linspace(-10, 10, 500), np.linspace(-1, 1, 77)
    drawn = mirrored_histogram(up, down, bounds=(-1, 1), colour="--final", names=("a", "b"), label="x")
    tips = re.findall(r"<title>(a|b): ([\d,]+) with", drawn)
    assert sum(int(number) for name, number in tips if name == "a") == 500
    assert sum(int(number) for name, number in tips if name == "b") == 77


def test_names_are_escaped_in_drawings():
    dots = [Dot('<b>"x"', "--base", Interval(0.5, 0.4, 0.6))]
    drawn = dot_panel(dots, '"><script>')
    assert "<b>" not in drawn
    assert "<script>" not in drawn


@pytest.mark.parametrize("ys", [[1.0, 1.0], [0.0, 0.0], [3.0, -3.0], [1e-9, 2e-9]])
def test_curves_of_any_size_can_be_drawn(ys):
    drawn = curve(list(enumerate(ys)), colour="--sft", x_name="step", label="loss")
    assert "nan" not in drawn
    assert "inf" not in drawn
