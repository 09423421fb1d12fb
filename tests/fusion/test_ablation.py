"""Selecting again without a source: on a table small enough to check by hand, and on a whole run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fusion.ablation import ALL, NOTHING, Remains, leave_one_out
from fusion.cli import main
from fusion.errors import ArtifactError, ConfigError
from fusion.report.record import RunRecord
from fusion.selecting import Selecting, restored
from tests.fusion.report.sample_run import RULE, sample_folder, sample_run
from tests.fusion.selection.test_pairs import frame, math, prompts


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    return sample_run(tmp_path_factory.mktemp("ablation"), per_domain=20, held_out=4)


ROWS = (
    # one passes for both: a wins it, and b would take it over
    ("p1", "a", 0, "pass", 0.9),
    ("p1", "b", 0, "pass", 0.5),
    # only b passes, and b alone has a pair
    ("p2", "a", 0, "fail", 0.1),
    ("p2", "b", 0, "pass", 0.6),
    ("p2", "b", 1, "fail", 0.2),
    # nobody passes
    ("p3", "a", 0, "fail", 0.3),
)


def test_what_each_source_is_worth_by_hand():
    found = leave_one_out(frame(*ROWS), prompts("p1", "p2", "p3"), math(), ["a", "b"])
    assert [one for one in found if one.domain == ALL] == [
        Remains(NOTHING, ALL, sft=1, pairs=1, prompts=2, lost=0.0, moved=0),
        # p1 goes over to b; p2 stays
        Remains("a", ALL, sft=1, pairs=1, prompts=2, lost=0.0, moved=1),
        # p2 has no right answer any more
        Remains("b", ALL, sft=1, pairs=0, prompts=1, lost=0.5, moved=0),
    ]


def test_each_domain_is_counted_by_itself():
    found = leave_one_out(frame(*ROWS), prompts("p1", "p2", "p3"), math(), ["a", "b"])
    assert {one.domain for one in found} == {ALL, "m"}
    whole, single = (next(one for one in found if one.domain == name) for name in (ALL, "m"))
    assert (whole.sft, whole.pairs) == (single.sft, single.pairs)


def test_one_source_alone_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"one source \(a\)"):
        leave_one_out(frame(*ROWS), prompts("p1"), math(), ["a"])


def test_with_all_sources_it_is_what_the_run_selected(record):
    selecting = Selecting.of(record.artifacts)
    found = leave_one_out(selecting.frame, selecting.prompts, selecting.config.selection, selecting.config.sources)
    whole = next(one for one in found if (one.without, one.domain) == (NOTHING, ALL))
    assert (whole.sft, whole.pairs) == (record.sft.accounts.rows_out, record.pairs.read().num_rows)


def test_the_rule_is_restored_as_it_was(record):
    selecting = Selecting.of(record.artifacts)
    assert selecting.config.selection == RULE
    assert selecting.rule_of("gcd") == RULE


def test_a_rule_of_a_plugin_that_is_gone_is_named():
    with pytest.raises(ArtifactError, match="MyOwnRule"):
        restored({"()": "MyOwnRule"})


def test_a_field_of_another_version_is_named():
    with pytest.raises(ArtifactError, match="mood"):
        restored({"()": "CorrectVsWrong", "mood": "good"})


def test_the_command_prints_rows_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = sample_folder(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["ablate", "sample", "--runs", str(runs), "--json"])
    assert ended.value.code == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    overall = {row["without"]: row for row in rows if row["domain"] == ALL}
    assert set(overall) == {NOTHING, "gemma3_270m", "smollm2_135m"}
    assert 0 < overall["smollm2_135m"]["lost"] < overall["gemma3_270m"]["lost"] < 1
