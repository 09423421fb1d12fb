"""LiveBench's tasks, each on replies whose value was worked out by hand, and the score over tasks and categories."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fusion.rewards.base import Score, Scorer
from fusion.rewards.livebench import Livebench
from fusion.rewards.livebench_tasks.amps_hard import answered
from fusion.sandbox.launch import Limits
from fusion.schema import Outcome
from fusion.step import Placement
from tests.fusion.evaluation.stored_run import evaluated, scores
from tests.fusion.rewards.candidates import candidate

AMC = r"Find it. $\textbf{(A) }17\qquad\textbf{(B) }\frac{1}{2}\qquad\textbf{(C) }~33~$ Repeat the letter: AAAAA."
PLOT = "Ann leaves home. Ben waits for her. They meet. The end comes"
CASES = [
    {"input": "1 2\n", "output": "3\n", "testtype": "stdin"},
    {"input": "4 5\n", "output": "9", "testtype": "stdin"},
]
SUMS = {"public_test_cases": json.dumps(CASES[:1]), "private_test_cases": json.dumps(CASES[1:]), "metadata": "{}"}
CONVERT = (
    "Please convert the Input Table from CSV format to {} format. Please respond only with the table. \n Input Table:"
)
JSON_TABLE = '{"0":{"Name":"a","Size":1.0},"7":{"Name":"b","Size":2.5}}'
MARKDOWN = "|    | Name   |   Size |\n|---:|:-------|-------:|\n|  0 | a      |    1.0 |\n|  7 | b      |    2.5 |"
HTML = "<table><tr><th>Name</th><th>Size</th></tr><tr><td>a &amp; c</td><td>1</td></tr></table>"


def item(task: str, **more: object) -> dict[str, object]:
    return {"task": task, **more}


VALUES: dict[str, tuple[dict[str, object], str, str, float | None]] = {
    # name: (fields, question, reply, value; None: no answer is found)
    "amc: the letter repeated": (item("math_comp", subtask="amc_12a_2023", ground_truth="B"), AMC, "So BBBBB.", 1),
    "amc: another letter": (item("math_comp", subtask="amc_12a_2023", ground_truth="B"), AMC, "So AAAAA.", 0),
    "amc: too few letters": (item("math_comp", subtask="amc_12a_2023", ground_truth="B"), AMC, "So BBB.", None),
    "amc: in a box": (item("math_comp", subtask="smc", ground_truth="C"), AMC, r"It is \boxed{C}", 1),
    "amc: wrong in a box": (item("math_comp", subtask="smc", ground_truth="C"), AMC, r"\boxed{C} or \boxed{D}", 0),
    "amc: the option's text": (
        item("math_comp", subtask="house_amc_8", ground_truth="B"), AMC, r"so it is $\frac{1}{2}$, surely.", 1,
    ),
    "amc: the option's text long before": (
        item("math_comp", subtask="amc_12", ground_truth="A"), AMC, "It is 17, as was to be expected of it.", None,
    ),
    "aime: at the end": (item("math_comp", subtask="aime_i_2024", ground_truth="204"), "", "Thus 204.", 1),
    "aime: before the end": (
        item("math_comp", subtask="aime_i_2024", ground_truth="204"), "", "204 is what I found, or so I think.", None,
    ),
    "aime: another": (item("math_comp", subtask="aime_i_2024", ground_truth="204"), "", "It is 240", 0),
    "olympiad: right": (item("olympiad", subtask="imo_2024", ground_truth="3,1,2"), "", "<b>\nAnswer: 3, 1, 2.", 1),
    "olympiad: one of three replaced": (item("olympiad", ground_truth="3,1,2"), "", "Answer: 3,1,4", 2 / 3),
    "olympiad: two exchanged": (item("olympiad", ground_truth="3,1,2,4"), "", "Answer: 1,3,2,4", 1 / 2),
    "olympiad: one too many": (item("olympiad", ground_truth="3,1,2"), "", "Answer: 3,1,2,4", 3 / 4),
    "olympiad: the list ends with other text": (
        item("olympiad", ground_truth="3,1"), "", "Answer: 3, 1 as shown, 2", 1,
    ),
    "olympiad: a number without end": (item("olympiad", ground_truth="3,1"), "", f"Answer: 03,{'9' * 5000}", 1 / 2),
    "olympiad: none": (item("olympiad", ground_truth="3,1,2"), "", "I give up.", None),
    "amps: equal": (item("AMPS_Hard", ground_truth=r"\frac{x}{2}+1"), "", r"$\boxed{f(x)=1+\frac{x}{2} + C}$", 1),
    "amps: cosine stays": (item("AMPS_Hard", ground_truth=r"x+\cos(x)"), "", r"\boxed{\cos(x)+x}", 1),
    "amps: near": (item("AMPS_Hard", ground_truth=r"\sqrt{2}"), "", r"\boxed{1.4142}", 1),
    "amps: not near": (item("AMPS_Hard", ground_truth=r"\sqrt{2}"), "", r"\boxed{1.41}", 0),
    "amps: the last box": (item("AMPS_Hard", ground_truth=["1", "2"]), "", r"\boxed{1}, no, \boxed{2}", 1),
    "amps: no box": (item("AMPS_Hard", ground_truth="2"), "", "It is 2.", None),
    "amps: a box that is not closed": (item("AMPS_Hard", ground_truth="2"), "", r"\boxed{2", None),
    "lies: right": (item("web_of_lies_v2", ground_truth="yes, no, yes"), "", "First **no**, then **Yes, no, yes**", 1),
    "lies: in a sentence": (
        item("web_of_lies_v2", ground_truth="yes, no, unknown"), "", "**They say: yes, no, unknown.**", 1,
    ),
    "lies: a fourth word": (
        item("web_of_lies_v2", ground_truth="yes, no, yes"), "", "**yes, no, yes, no**", 0,
    ),
    "lies: not bold": (item("web_of_lies_v2", ground_truth="yes, no, yes"), "", "yes, no, yes", None),
    "zebra: three asterisks": (item("zebra_puzzle", ground_truth="Three"), "", "***2*** no, ***3*** is it", 1),
    "zebra: the last word": (item("zebra_puzzle", ground_truth="action movies"), "", "He likes **action**.", 1),
    "zebra: wrong": (item("zebra_puzzle", ground_truth="3"), "", "***4***, not 3", 0),
    "zebra: nothing": (item("zebra_puzzle", ground_truth="3"), "", " ... ", None),
    "spatial: spelled": (item("spatial", ground_truth="4"), "", "**Four** it is, **I think**", 1),
    "spatial: a kind of it": (item("spatial", ground_truth="triangle"), "", "**equilateral triangle**", 1),
    "spatial: several shapes": (item("spatial", ground_truth="square"), "", "**circle, triangle, square**", 0),
    "spatial: the fourth from the end": (item("spatial", ground_truth="4"), "", "**4** **a** **b** **c**", 0),
    "spatial: nothing bold": (item("spatial", ground_truth="4"), "", "4", None),
    "connections: all": (item("connections", ground_truth="a,b,c,d,e,f,g,h"), "", "**H, g, f, e, d, c, b, a**", 1),
    "connections: the best passage": (
        item("connections", ground_truth="a,b,c,d,e,f,g,h"), "",
        "**Groups** **a, b, c, d, e, f, g, x** **a, b, c, x, e, f, g, y**", 1 / 2,
    ),
    "connections: none": (item("connections", ground_truth="a,b,c,d"), "", "**a, b, c, e**", 0),
    "connections: nothing bold": (item("connections", ground_truth="a,b,c,d"), "", "a, b, c, d", None),
    "plot: right": (item("plot_unscrambling", ground_truth=PLOT), "", f"Well. Now.\n<PLOT_SUMMARY>{PLOT}", 1),
    "plot: two exchanged": (
        item("plot_unscrambling", ground_truth=PLOT), "",
        "<PLOT_SUMMARY>Ben waits for her. Ann leaves home. They meet. The end comes.", 1 / 2,
    ),
    "plot: a sentence before it": (item("plot_unscrambling", ground_truth=PLOT), "", f"Sure thing. {PLOT}", 1 / 2),
    "plot: nothing": (item("plot_unscrambling", ground_truth=PLOT), "", "<PLOT_SUMMARY>", None),
    "typos: in the last line": (item("typos", ground_truth="It is so."), "", "Here:\nMended: It is so.\n", 1),
    "typos: in another line": (item("typos", ground_truth="It is so."), "", "It is so.\nIs it?", 0),
    "typos: nothing": (item("typos", ground_truth="It is so."), "", "", None),
    "cta: signs and capitals": (item("cta", ground_truth="Team name"), "", " **team Name**.", 1),
    "cta: more than the name": (item("cta", ground_truth="Team name"), "", "It is team name", 0),
    "cta: nothing": (item("cta", ground_truth="Team name"), "", "...", None),
    "join: right": (item("tablejoin", ground_truth="{'a': 'x', 'b': 'y'}"), "", "{'b': 'y', 'a': 'x'}", 1),
    # one right, one wrong (too many, and missing): 2 / (2 + 1 + 1)
    "join: one wrong": (item("tablejoin", ground_truth="{'a': 'x', 'b': 'y'}"), "", "{'a': 'x', 'b': 'z'}", 0.5),
    # one right, one missing: 2 / (2 + 1); one too many: the same
    "join: one missing": (
        item("tablejoin", ground_truth={"a": "x", "b": "y"}), "", "Sure:\n```python\n{'a':\n 'x'}\n```", 0.67,
    ),
    "join: one too many": (item("tablejoin", ground_truth={"a": "x"}), "", "{'a': 'x', 'c': 'y'}", 0.67),
    "join: prose": (item("tablejoin", ground_truth={"a": "x"}), "", "a joins x", None),
    "join: a list": (item("tablejoin", ground_truth={"a": "x"}), "", "['a', 'x']", None),
    "table: json, rows in another order": (
        item("tablereformat", ground_truth=JSON_TABLE), CONVERT.format("JSON"),
        '```json\n[{"size":2.5,"name":"b"},{"size":1,"name":"a"}]\n```', 1,
    ),
    "table: json, another value": (
        item("tablereformat", ground_truth=JSON_TABLE), CONVERT.format("JSON"),
        '[{"size":2.5,"name":"b"},{"size":1.5,"name":"a"}]', 0,
    ),
    "table: json, a row too few": (
        item("tablereformat", ground_truth=JSON_TABLE), CONVERT.format("JSON"), '[{"size":1,"name":"a"}]', 0,
    ),
    "table: json, prose": (item("tablereformat", ground_truth=JSON_TABLE), CONVERT.format("JSON"), "I cannot.", None),
    "table: csv": (
        item("tablereformat", ground_truth="Name,Size\na,1.0\nb,\n"), CONVERT.format("CSV"),
        "```csv\n```", None,
    ),
    "table: csv after a phrase": (
        item("tablereformat", ground_truth="Name,Size\na,1.0\nb,\n"), CONVERT.format("CSV"),
        "Here is the table in CSV format:\n```\nname,size\nb,\n a,1\n```", 1,
    ),
    "table: csv, another column": (
        item("tablereformat", ground_truth="Name,Size\na,1.0\nb,\n"), CONVERT.format("CSV"), "name,weight\na,1\nb,", 0,
    ),
    "table: tsv": (
        item("tablereformat", ground_truth="Name\tSize\na\t1\n"), CONVERT.format("TSV"), "Name\tSize\na\t1.0", 1,
    ),
    "table: jsonl": (
        item("tablereformat", ground_truth='{"A":"x"}\n{"A":"y"}'), CONVERT.format("JSONL"),
        '```jsonl\n{"A":"y"}\n{"A":"x"}\n```', 1,
    ),
    "table: markdown": (
        item("tablereformat", ground_truth=MARKDOWN), CONVERT.format("Markdown"),
        "| | Name | Size |\n|---|---|---|\n| 1 | a | 1 |\n| 2 | b | 2.5 |", 1,
    ),
    "table: markdown, another value": (
        item("tablereformat", ground_truth=MARKDOWN), CONVERT.format("Markdown"),
        "| | Name | Size |\n|---|---|---|\n| 1 | a | 1 |\n| 2 | c | 2.5 |", 0,
    ),
    "table: html": (
        item("tablereformat", ground_truth=HTML), CONVERT.format("HTML"),
        "```html\n<table>\n <thead><tr><th>Size</th><th>Name</th></tr></thead>\n"
        " <tr><td>1.0</td><td> a &amp; c\n</td></tr>\n</table>\n```", 1,
    ),
    "table: html, no table": (item("tablereformat", ground_truth=HTML), CONVERT.format("HTML"), "a, 1", None),
    "program: right": (
        item("LCB_generation", **SUMS), "", "```python\nprint(sum(map(int, input().split())))\n```", 1,
    ),
    "program: a hidden case": (item("LCB_generation", **SUMS), "", "```python\nprint(3)\n```", 0),
    "program: the first block": (
        item("LCB_generation", **SUMS), "",
        "```python\nprint(sum(map(int, input().split())))\n```\nOutput:\n```\n3\n```", 1,
    ),
    "program: no fence": (item("LCB_generation", **SUMS), "", "print(sum(map(int, input().split())))", None),
    "program: completed": (
        item("coding_completion", partial_solution="a, b = map(int,", **SUMS), "",
        "```python\n    input().split())\nprint(a + b)\n```", 1,
    ),
    "program: repeated and completed": (
        item("coding_completion", partial_solution="a, b = map(int,", **SUMS), "",
        "```python\na, b = map(int, input().split())\nprint(a + b)\n```", 1,
    ),
    "instructions: all": (
        item("paraphrase", instruction_id_list=["punctuation:no_comma"], kwargs=[{"n": None}]), "", "None here.", 1,
    ),
    # not all, and one of two: (0 + 1/2) / 2
    "instructions: one of two": (
        item(
            "story_generation", instruction_id_list=["punctuation:no_comma", "keywords:existence"],
            kwargs=[{}, {"keywords": ["fox"]}],
        ),
        "", "A fox, a hen.", 1 / 4,
    ),
    "instructions: none": (
        item("summarize", instruction_id_list=["punctuation:no_comma"], kwargs=[{}]), "", "One, two.", 0,
    ),
}  # fmt: skip

MALFORMED: dict[str, tuple[dict[str, object], str]] = {
    "no gold answer": (item("spatial"), "ground_truth"),
    "an empty gold answer": (item("tablejoin", ground_truth={}), "ground_truth"),
    "no letter": (item("math_comp", subtask="amc_8", ground_truth="42"), "no letter"),
    "no number": (item("math_comp", subtask="aime_i", ground_truth="x"), "no number"),
    "no list": (item("olympiad", ground_truth="one, two"), "no list"),
    "no formula": (item("AMPS_Hard", ground_truth=r"\frac{{"), ""),
    "no mapping": (item("tablejoin", ground_truth="a joins x"), "no mapping"),
    "no format": (item("tablereformat", ground_truth=JSON_TABLE), "no format"),
    "no cases": (item("LCB_generation"), "public_test_cases"),
    "cases that cannot be read": (item("LCB_generation", public_test_cases="%"), "cannot be read"),
    "no instructions": (item("simplify"), "instruction_id_list"),
    "an unknown instruction": (item("simplify", instruction_id_list=["no:such"], kwargs=[{}]), "no:such"),
    "another contest": (item("math_comp", subtask="putnam", ground_truth="A"), "putnam"),
    "a task that was removed": (item("house_traversal", ground_truth="a"), "house_traversal"),
    "a later item": (item("spatial", ground_truth="4", release="2024-11-25"), "2024-11-25"),
}


@pytest.fixture(scope="module")
def scorer() -> Iterator[Scorer]:
    with Livebench(limits=Limits(cpu_s=3, deadline_s=60)).open("", Placement(cpus=1)) as opened:
        yield opened


def scored(scorer: Scorer, fields: dict[str, object], question: str, reply: str) -> Score:
    return scorer.score([candidate(reply, json.dumps(fields), question)])[0]


@pytest.mark.parametrize("name", VALUES)
def test_values_are_those_worked_out_by_hand(name: str, scorer: Scorer) -> None:
    fields, question, reply, value = VALUES[name]
    found = scored(scorer, {"release": "2024-06-24", **fields}, question, reply)
    assert found.value == pytest.approx(value or 0.0), found
    assert found.outcome is (Outcome.PASS if value == 1 else Outcome.FAIL)
    assert (found.detail or "").startswith(("no answer found", "no code")) is (value is None), found.detail


@pytest.mark.parametrize("name", MALFORMED)
def test_a_reference_that_cannot_be_read_is_an_error_that_says_why(name: str, scorer: Scorer) -> None:
    fields, why = MALFORMED[name]
    found = scored(scorer, fields, "What is it?", "```python\nprint(4)\n``` **4** \\boxed{4} 4")
    assert (found.outcome, found.value) == (Outcome.ERROR, None), found
    assert why in str(found.detail)


@pytest.mark.parametrize(
    ("reply", "formula"),
    [
        (r"\boxed{x^2 + C}", "x^2"),
        (r"\boxed{x+cos(x)}", "x+cos(x)"),
        (r"\fbox{1}, or $\boxed{\frac{1}{2}}$", r"\frac{1}{2}"),
        (r"so $\boxed 5$.", "5"),
        (r"$\boxed{y = 3}$", "3"),
    ],
)
def test_a_formula_is_read_from_the_last_box(reply: str, formula: str) -> None:
    assert answered(reply) == formula


def test_other_references_are_not_its_own(scorer: Scorer) -> None:
    found = scorer.score([candidate("4", reference) for reference in (None, "4", "[1]", '{"tests": "assert f()"}')])
    assert {one.outcome for one in found} == {Outcome.NOT_APPLICABLE}


def test_private_reasoning_is_no_answer(scorer: Scorer) -> None:
    fields = {"task": "spatial", "ground_truth": "4"}
    assert scored(scorer, fields, "", "<think>**4**</think>It is **5**").value == 0.0
    assert scored(scorer, fields, "", "<think>**5**</think>It is **4**").value == 1.0


def test_scores_keep_the_order_of_replies_where_programs_stand_among_them(scorer: Scorer) -> None:
    names = ["program: right", "spatial: spelled", "program: a hidden case", "typos: in another line", "amps: equal"]
    cases = [VALUES[name] for name in names]
    found = scorer.score([candidate(reply, json.dumps(fields), question) for fields, question, reply, _ in cases])
    assert [one.value for one in found] == [value for *_, value in cases]


ROWS: list[tuple[str, str, dict[str, object], str]] = [
    # category, task, further columns, reply. Values: 1, 0; 2/3 | 1 | 1, 0 | 1/4
    ("math", "math_comp", {"subtask": "aime_i", "ground_truth": "204"}, "204"),
    ("math", "math_comp", {"subtask": "aime_i", "ground_truth": "17"}, "204"),
    ("math", "olympiad", {"subtask": "imo_2024", "ground_truth": "3,1,2"}, "Answer: 3,1,4"),
    ("coding", "LCB_generation", {**SUMS, "original_json": {"metadata": "{}"}},
     "```\nprint(sum(map(int, input().split())))\n```"),
    ("reasoning", "spatial", {"ground_truth": "4"}, "**four**"),
    ("reasoning", "spatial", {"ground_truth": "5"}, "four"),
    ("instruction_following", "simplify",
     {"instruction_id_list": ["punctuation:no_comma", "keywords:existence"],
      "kwargs": [{"keywords": None}, {"keywords": ["fox"]}]},
     "A fox, so."),
]  # fmt: skip
NESTED = ((1 / 2 + 2 / 3) / 2 + 1 + 1 / 2 + 1 / 4) / 4
"""Mean over categories of the mean over their tasks of the mean over their items."""


def rows() -> list[dict[str, object]]:
    """Rows in LiveBench's form, of which two are not of the release, and one that was removed only later."""
    found: list[dict[str, object]] = []
    for number, (category, task, more, _) in enumerate(ROWS):
        dates = {"livebench_release_date": datetime(2024, 7, 26), "livebench_removal_date": "" if number else None}
        columns = {name: value for name, value in more.items() if name != "metadata"}
        found.append(
            {"question_id": f"q{number}", "category": category, "task": task, "turns": ["Do."], **dates, **columns}
        )
    for name, month, removal in (("later", 11, ""), ("removed", 6, "2024-08-31"), ("kept", 8, "2024-11-25")):
        dates = {"livebench_release_date": datetime(2024, month, 25), "livebench_removal_date": removal}
        found.append({**found[4], "question_id": name, **dates})
    return found


def write(path: Path, lines: list[dict[str, object]]) -> None:
    if path.suffix == ".parquet":
        columns = dict.fromkeys(name for line in lines for name in line)
        pq.write_table(pa.table({name: [line.get(name) for line in lines] for name in columns}), path)
    else:
        path.write_text("".join(f"{json.dumps(line, default=str)}\n" for line in lines))


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_copy_of_all_six_sets_is_evaluated_as_livebench_averages(form: str, tmp_path: Path) -> None:
    replies = {f"q{number}": reply for number, (*_, reply) in enumerate(ROWS)}
    replies |= {"later": "**5**", "removed": "**5**", "kept": "**4**"}
    write(tmp_path / f"livebench.{form}", rows())
    answers = [{"question_id": name, "source": "tiny", "response": reply} for name, reply in replies.items()]
    write(tmp_path / "replies.jsonl", answers)
    chosen = ["benchmark=[livebench]", f"benchmarks.livebench.outputs.path={tmp_path / 'replies.jsonl'}"]
    row = scores(evaluated(tmp_path, *chosen, f"data={tmp_path}"), "livebench")["tiny"]
    # The row that is kept is one more of `spatial`, and right: 2/3 of it rather than 1/2.
    assert row["score"] == pytest.approx(NESTED + (2 / 3 - 1 / 2) / 4)
    assert (row["n"], row["num_items"], row["unparsed"], row["undecided"]) == (8, 8, 1, 0)
    assert row["low"] <= row["score"] <= row["high"]
    assert row["printed"]["value"] == pytest.approx(100 * row["score"])
