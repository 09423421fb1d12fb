"""A published window, carried over to another reward by a command."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from fusion.cli import main
from fusion.ledger.tables import RunTables
from fusion.selecting import Selecting
from fusion.selection.base import PairPolicy, Window, WindowScale
from fusion.selection.best_of_all import BestOfAll
from fusion.selection.best_worst_per_source import BestWorstPerSource
from fusion.selection.by_domain import ByDomain
from fusion.selection.correct_vs_wrong import CorrectVsWrong
from fusion.selection.pairs import select
from tests.fusion.report.sample_run import sample_folder

PUBLISHED = Window(low=1.0, high=1.6)
RULE = ByDomain(
    rules={
        "gcd": BestOfAll(rank_by="likelihood"),
        "products": BestWorstPerSource(rank_by="likelihood", clean_by=["clean_text"], pair_policy=PairPolicy.ALL),
        "sums": CorrectVsWrong(rank_by="likelihood", correct_by=["answer"], clean_by=["clean_text"]),
        "other": BestWorstPerSource(rank_by="likelihood", truncated_rejected=True),
    },
    known_by={"sums": ["chain"]},
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_folder(tmp_path_factory.mktemp("by_domain"), rule=RULE)


@pytest.fixture(scope="module")
def selecting(runs: Path) -> Selecting:
    found = Selecting.of(RunTables.open(str(runs), "sample").artifacts)
    assert found is not None
    return found


def windows(said: str) -> dict[str, Window]:
    """Dotted key of a rule -> the window that is to be typed for it."""
    typed: dict[str, dict[str, str]] = {}
    for key, name, value in re.findall(r"(\S+)\.window\.(low|high|scale)=(\S+)", said):
        typed.setdefault(key, {})[name] = value
    return {
        key: Window(low=float(one["low"]), high=float(one["high"]), scale=WindowScale(one["scale"].lower()))
        for key, one in typed.items()
    }


def selected(selecting: Selecting, given: Mapping[str, Window]) -> list[tuple[object, ...]]:
    rule = copy.deepcopy(selecting.config.selection)
    assert isinstance(rule, ByDomain)
    for key, window in given.items():
        rule.rules[key.removeprefix("selection.rules.")].window = window
    pairs = select(selecting.frame, selecting.prompts, rule).pairs
    return pairs.sort("prompt_id", "pair_index").rows()


def test_what_is_typed_keeps_the_pairs_of_the_published_window(call, selecting):
    code, out, err = call("calibrate", "sample", "likelihood", "--window", "1.0", "1.6")
    assert code == 0, err
    typed = windows(out)
    assert set(typed) == {f"selection.rules.{name}" for name in ("products", "sums", "other")}
    assert all(window.scale is WindowScale.QUANTILE for window in typed.values())
    as_published = selected(selecting, dict.fromkeys(typed, PUBLISHED))
    assert 50 < len(as_published) < len(selected(selecting, dict.fromkeys(typed, Window(low=0.0, high=100.0))))
    assert selected(selecting, typed) == as_published


def test_another_rewards_window_is_on_its_own_scale(call):
    """The same reward's window comes back as it was."""
    _, out, _ = call("calibrate", "sample", "likelihood", "--window", "1.0", "1.6", "--for", "likelihood")
    lines = [line for line in out.splitlines() if "scale=value" in line]
    assert len(lines) == 3
    assert all("rank_by=likelihood" in line for line in lines)
    for window in windows("\n".join(lines)).values():
        assert np.allclose([window.low, window.high], [1.0, 1.6], rtol=1e-3)


def test_a_rule_for_all_domains_has_one_window(capsys, tmp_path):
    runs = sample_folder(tmp_path, rule=BestWorstPerSource(rank_by="likelihood"))
    with pytest.raises(SystemExit):
        main(["calibrate", "sample", "likelihood", "--window", "1.0", "1.6", "--runs", str(runs)])
    assert set(windows(capsys.readouterr().out)) == {"selection"}


def test_a_reward_that_was_not_computed_is_refused_with_those_that_were(call):
    code, _, err = call("calibrate", "sample", "armorm")
    assert code == 2
    assert "no values of reward 'armorm'; it has " in err
