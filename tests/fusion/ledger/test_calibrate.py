"""A published window, carried over to another reward by a command."""

from __future__ import annotations

import re

import numpy as np

from fusion.calibration import same_source_margins


def margins(rows, reward: str) -> np.ndarray:
    scored = [row for row in rows("rewards") if row["reward"] == reward and row["value"] is not None]
    found = np.array(same_source_margins((r["prompt_id"], r["source"], r["value"]) for r in scored))
    return found[found > 0]


def test_quantiles_and_what_to_type_are_said(call, rows):
    low, high = np.quantile(margins(rows, "likelihood"), [0.25, 0.75])
    code, out, err = call("calibrate", "sample", "likelihood", "--window", f"{low:.9f}", f"{high:.9f}")
    assert code == 0, err
    told = [float(number) for number in re.findall(r"window\.(?:low|high)=([\d.]+)", out)]
    assert np.allclose(told, [0.25, 0.75], atol=0.01)
    assert "selection.window.scale=QUANTILE" in out


def test_another_rewards_window_is_on_its_own_scale(call, rows):
    """The same reward's window comes back as it was."""
    low, high = np.quantile(margins(rows, "likelihood"), [0.25, 0.75])
    window = ("--window", f"{low:.9f}", f"{high:.9f}")
    _, out, _ = call("calibrate", "sample", "likelihood", *window, "--for", "likelihood")
    told = re.findall(r"window\.(?:low|high)=([\d.]+)", out.splitlines()[-1])
    assert np.allclose([float(number) for number in told], [low, high], rtol=1e-3)
    assert "selection.window.scale=value" in out


def test_a_reward_that_was_not_computed_is_refused_with_those_that_were(call):
    code, _, err = call("calibrate", "sample", "armorm")
    assert code == 2
    assert "no values of reward 'armorm'; it has " in err
