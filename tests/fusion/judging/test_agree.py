"""`fusion agree`: judges at a loopback endpoint against labels, and stored raters against the real sets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusion.cli import main
from fusion.config import composed, objects
from fusion.judging.agree import measured
from tests.endpoint_server import Body, Fault, Server, chat, serving
from tests.shared_data import ROOT, shared_data

SET = """\
# @package labelled.mine
title: Mine
labels_of: me
path: {folder}/pairs.jsonl
question: "{{{{ q }}}}"
first: "{{{{ a }}}}"
second: "{{{{ b }}}}"
label: "{{{{ label }}}}"
group: "{{{{ part }}}}"
raters: {{length: {{first: "{{{{ a | length }}}}", second: "{{{{ b | length }}}}"}}}}
"""
ROWS = [
    # label 1: the first is better. The judge likes what is longer, and in part "vain" whatever stands first.
    {"q": "one", "a": "long answer", "b": "short", "label": 1, "part": "plain"},  # right
    {"q": "two", "a": "short", "b": "long answer", "label": 0, "part": "plain"},  # right
    {"q": "three", "a": "long answer", "b": "short", "label": 0, "part": "plain"},  # wrong
    {"q": "four", "a": "long answer", "b": "short", "label": 0.5, "part": "plain"},  # not decided by the labels
    {"q": "vain one", "a": "long answer", "b": "short", "label": 1, "part": "vain"},  # torn: a tie
    {"q": "vain two", "a": "long answer", "b": "short", "label": 0, "part": "vain"},  # torn: a tie
]


def opinion(path: str, body: Body) -> Body:
    asked = body["messages"][0]["content"]
    first, second = (re.search(rf"<answer_{name}>\n(.*?)\n</answer_{name}>", asked, re.S)[1] for name in "ab")  # type: ignore[index]
    return chat("[[A]]" if "vain" in asked or len(first) > len(second) else "[[B]]")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(opinion) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (tmp_path / "conf" / "labelled").mkdir(parents=True)
    (tmp_path / "conf" / "labelled" / "mine.yaml").write_text(SET.format(folder=tmp_path))
    return tmp_path


def judge(folder: Path, server: Server) -> list[str]:
    return [
        "reward=[judge]", f"rewards.judge.endpoint.url={server.url}", "rewards.judge.endpoint.model=m",
        "rewards.judge.revision=1", f"rewards.judge.cache={folder}/cache",
        f"rewards.judge.budget.ledger={folder}/ledger",
    ]  # fmt: skip


def agreed(folder: Path, *arguments: str, code: int = 0) -> dict[tuple[str, str], dict[str, object]]:
    """(rater, part) -> row of agreement.json."""
    with pytest.raises(SystemExit) as end:
        main(["agree", "--config-dir", str(folder / "conf"), "labelled=[mine]", f"runs={folder}/runs", *arguments])
    assert end.value.code == code
    rows = json.loads((folder / "runs" / "agree" / "agreement.json").read_text())["rows"]
    return {(row["rater"], row["group"]): row for row in rows}


def test_a_judge_is_measured_in_both_orders_over_all_and_by_part(folder: Path, server: Server) -> None:
    rows = agreed(folder, *judge(folder, server))
    assert len(server.asked) == 12
    everything = rows["judge", "all"]
    assert (everything["num_pairs"], everything["num_ties"]) == (6, 2)
    assert everything["accuracy"]["value"] == pytest.approx((1 + 1 + 0 + 0.5 + 0.5) / 5)  # type: ignore[index]
    assert everything["accuracy_decided"]["value"] == pytest.approx(2 / 3)  # type: ignore[index]
    assert everything["consistency"]["value"] == pytest.approx(4 / 6)  # type: ignore[index]
    assert everything["first_place"] == 1.0
    low, high = (everything["accuracy"][key] for key in ("low", "high"))  # type: ignore[index]
    assert low < 0.6 < high
    assert rows["judge", "vain"]["accuracy"]["value"] == 0.5  # type: ignore[index]
    assert rows["judge", "plain"]["accuracy"]["value"] == pytest.approx(2 / 3)  # type: ignore[index]
    assert rows["length", "all"]["accuracy"]["value"] == pytest.approx(3 / 5)  # type: ignore[index]


def test_the_same_command_again_asks_nothing(folder: Path, server: Server) -> None:
    first = agreed(folder, *judge(folder, server))
    assert agreed(folder, *judge(folder, server)) == first
    assert len(server.asked) == 12
    agreed(folder, *judge(folder, server), "rewards.judge.template=alpaca_eval")
    assert len(server.asked) == 24


def test_a_limit_spreads_over_the_set(folder: Path, server: Server) -> None:
    rows = agreed(folder, *judge(folder, server), "limit=3")
    assert rows["judge", "all"]["num_pairs"] == 3
    assert len(server.asked) == 6
    assert {part for rater, part in rows if rater == "judge"} == {"all", "plain", "vain"}


def test_what_cannot_be_judged_is_counted_and_not_guessed(folder: Path, server: Server) -> None:
    server.always = lambda body: Fault(status=400) if "three" in body["messages"][0]["content"] else None
    row = agreed(folder, *judge(folder, server))["judge", "all"]
    assert (row["num_pairs"], row["num_undecided"]) == (5, 1)


def test_what_is_no_judge_is_refused(folder: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    agreed(folder)  # stored raters need no judge
    agreed(folder, "reward=[math_answer]", code=2)
    assert "rewards.math_answer compares no two answers" in capsys.readouterr().err
    agreed(folder, "labelled=[llmbar]", code=2)
    assert "no labelled pairs are at hand; set data=FOLDER" in capsys.readouterr().err


def stored(*names: str) -> dict[tuple[str, str], object]:
    config = objects(composed(["experiment=agree", f"labelled=[{','.join(names)}]", f"data={ROOT}"]))
    return {(row.title, row.rater): row for row in measured(config, {})[0]}


def test_a_person_beside_two_who_agree_is_counted_as_by_hand() -> None:
    """Labels of 0 (a tie) of the two do not count; a tie of the third counts half. Counted a second time without
    templates."""
    rows = json.loads(shared_data("preference/pandalm_human_testset.json").read_text())
    right = []
    for row in rows:
        one, two, three = (int(row[f"annotator{i}"]) for i in (1, 2, 3))
        if one == two and one > 0:
            right.append(0.5 if three == 0 else float(three == one))
    (found,) = stored("pandalm").values()
    assert found.num_pairs == len(right)  # type: ignore[attr-defined]
    assert found.accuracy.value == pytest.approx(sum(right) / len(right))  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "num_pairs"), [("llmbar", 871), ("pandalm", None), ("alpaca_eval", 6550)])
def test_texts_of_the_real_sets_are_read(name: str, num_pairs: int | None) -> None:
    shared_data("preference/llmbar_and_processed.jsonl")
    labelled = objects(composed(["experiment=agree", f"labelled=[{name}]", f"data={ROOT}"])).labelled[name]
    pairs = labelled.pairs()
    assert num_pairs in (None, len(pairs))
    assert all(pair.question and 0 <= pair.label <= 1 for pair in pairs)
    assert sum(pair.first != pair.second for pair in pairs) > 0.98 * len(pairs)
    assert {len(labelled.pairs(limit)) for limit in (1, 7)} == {1, 7}
