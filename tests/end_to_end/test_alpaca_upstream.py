"""AlpacaEval 2 on files as its authors publish them: instruction, output, generator in one JSON list."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from tests.end_to_end.judged import evaluate
from tests.endpoint_server import Body, chat, serving

ASKED = ["Name a river.", "Name a lake.", "Name a sea."]
BASELINE = [f"the baseline says {i}" for i in range(3)]
OURS = ["o" * 40, "o" * 90, "o" * 25]
GAPS = np.array([len(theirs) - len(ours) for theirs, ours in zip(BASELINE, OURS, strict=True)])
LIKING = 1 / (1 + np.exp(1.5 * np.tanh(GAPS / GAPS.std(ddof=1))))
"""The judge's probability that ours is better: by its length and nothing else."""


def opinion(path: str, body: Body) -> Body:
    asked = body["messages"][0]["content"]
    item = next(i for i, text in enumerate(ASKED) if text in asked)
    first, second = (re.search(rf"<answer_{name}>\n(.*?)\n</answer_{name}>", asked, re.S)[1] for name in "ab")  # type: ignore[index]
    assert {first, second} == {OURS[item], BASELINE[item]}
    p_first = float(LIKING[item]) if first == OURS[item] else 1 - float(LIKING[item])
    verdict = "A" if p_first > 0.5 else "B"
    both = [{"token": "A", "logprob": math.log(p_first)}, {"token": "B", "logprob": math.log(1 - p_first)}]
    tokens = [{"token": token, "logprob": 0.0, "top_logprobs": both} for token in ("[[", verdict, "]]")]
    return chat(f"[[{verdict}]]", logprobs=tokens)


def written(path: Path, form: str, source: str, texts: list[str]) -> Path:
    """Answers in one of the two forms, one of which is also the form of the items."""
    rows = zip(ASKED, texts, strict=True)
    if form == "upstream":
        lines = [{"dataset": "d", "instruction": asked, "output": text, "generator": source} for asked, text in rows]
        (path := path.with_suffix(".json")).write_text(json.dumps(lines, indent=1))
        return path
    named = [
        {"prompt_id": f"ae-{i}", "dataset": "d", "instruction": asked, "source": source, "response": text}
        for i, (asked, text) in enumerate(rows)
    ]
    (path := path.with_suffix(".jsonl")).write_text("".join(json.dumps(row) + "\n" for row in named))
    return path


@pytest.mark.parametrize(
    ("items", "baseline"), [("upstream", "upstream"), ("ours", "upstream"), ("upstream", "ours"), ("ours", "ours")]
)
def test_the_judge_and_the_control_of_length_read_the_baseline_in_either_form(
    items: str, baseline: str, tmp_path: Path
) -> None:
    """Two numbers explain three preferences that only length decides, so nothing is left of a plain rate of 0.7."""
    (tmp_path / "conf").mkdir()
    answers = written(tmp_path / "answers", items, "mine", OURS)
    theirs = written(tmp_path / "baseline", baseline, "gpt4_1106_preview", BASELINE)
    with serving(opinion) as server:
        name = "benchmarks.alpaca_eval2"
        chosen = [
            "benchmark=[alpaca_eval2]", "cluster=in_process", f"store.path={tmp_path}/store", f"runs={tmp_path}/runs",
            f"{name}.data.path={answers}", f"{name}.outputs.path={answers}", f"{name}.control.baseline.path={theirs}",
            f"{name}.reward.baseline.path={theirs}", f"{name}.reward.cache={tmp_path}/cache",
            f"{name}.reward.budget.ledger={tmp_path}/ledger", f"{name}.reward.endpoint.url={server.url}",
            f"{name}.reward.endpoint.model=m", f"{name}.reward.revision=1", f"{name}.control.length.variants=[]",
        ]  # fmt: skip
        plain = evaluate(tmp_path, [*chosen, f"{name}.metric=value"])["alpaca_eval2"]
        assert (plain["model"], plain["n"], plain["undecided"]) == ("mine", 3, 0)
        assert plain["score"] == pytest.approx(LIKING.mean(), abs=1e-6)
        assert LIKING.mean() > 0.65
        controlled = evaluate(tmp_path, chosen)["alpaca_eval2"]
        assert controlled["score"] == pytest.approx(0.5, abs=0.005)
        assert len(server.asked) == 6
