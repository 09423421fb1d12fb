"""`experiment=replay` on public answers of many models, as in docs/replay.md; here on the first prompts of each set."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from fusion.cli import main
from tests.replay_sets import SETS, Row, write

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("name", SETS)]
NUM_PROMPTS = 40
CODE_PROMPTS = 8
"""Programs are run, one after another; a prompt has up to 56."""
UNVERIFIED = "alpaca_eval"
"""Has no reference: a judge's win rate ranks its answers."""


def answers(name: str) -> list[Row]:
    """All answers to the first prompts of a set, whose file gives the answers of one source after another's."""
    prompts = dict.fromkeys(row["prompt_id"] for row in SETS[name]())
    first = set(islice(prompts, CODE_PROMPTS if name == "code" else NUM_PROMPTS))
    return [row for row in SETS[name]() if row["prompt_id"] in first]


def one_a_source(rows: Iterable[Row]) -> list[Row]:
    firsts: dict[tuple[object, str], Row] = {}
    for row in rows:
        firsts.setdefault((row["prompt_id"], row["source"]), row)
    return list(firsts.values())


def replayed(name: str, rows: Iterable[Row], policy: str) -> Path:
    """What `fusion run` leaves, its accounts checked."""
    write(rows, Path("answers.jsonl"))
    unverified = ["selection.rules.instruction.window.scale=quantile", "trust.override=[length,favouritism]"]
    more = unverified if name == UNVERIFIED else []
    with pytest.raises(SystemExit) as ended:
        main(["run", "experiment=replay", "replay.path=answers.jsonl", f"selection.pair_policy={policy}", *more])
    assert ended.value.code == 0
    run = Path("runs/replay")
    steps = json.loads((run / "result.json").read_text())["steps"]
    assert {step["kind"] for step in steps} >= {"prompts", "responses", "rewards", "sft", "pairs"}
    for step in steps:
        assert step["rows_in"] == step["rows_out"] + sum(step["dropped"].values()) + sum(step["failed"].values()), step
    return run


def table(run: Path, kind: str) -> list[dict[str, Any]]:
    return list(pq.read_table(run / "data" / kind).to_pylist())


def verdicts(scores: list[dict[str, Any]]) -> set[str]:
    """What verifiers said of an answer; hygiene is another matter."""
    return {one["outcome"] for one in scores if one["reward"] != "clean_text"} - {"not_applicable"}


def won(scores: list[dict[str, Any]]) -> float:
    (value,) = [one["value"] for one in scores if one["reward"] == "preference"]
    return float(value)


def check_sft(name: str, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert verdicts(row["rewards"]) == (set() if name == UNVERIFIED else {"pass"}), row["prompt_id"]


def check_pairs(name: str, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        chosen, rejected = row["chosen_rewards"], row["rejected_rewards"]
        if name == UNVERIFIED:
            assert won(chosen) > won(rejected)
        else:
            assert (verdicts(chosen), verdicts(rejected)) == ({"pass"}, {"fail"}), row["prompt_id"]


def test_a_public_set_becomes_data_sets(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = answers(name)
    monkeypatch.chdir(tmp_path)

    one_each = replayed(name, one_a_source(rows), "same_source")
    unpaired = [row for row in table(one_each, "drops") if row["reason"] == "no_same_source_pair"]
    assert unpaired
    assert all("pair_policy" in row["detail"] for row in unpaired)
    assert f"{len(unpaired)} prompts make no pair" in capsys.readouterr().out
    assert table(one_each, "pairs") == []
    sft = table(one_each, "sft")
    assert sft
    check_sft(name, sft)

    crossed = replayed(name, rows, "cross_source")
    sft, pairs = table(crossed, "sft"), table(crossed, "pairs")
    assert pairs
    assert not {row["prompt_id"] for row in sft} & {row["prompt_id"] for row in pairs}
    check_sft(name, sft)
    check_pairs(name, pairs)
