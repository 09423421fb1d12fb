"""A workspace of the four judged benchmarks: invented items in the published forms, a model, and a judge with opinions.

The judge is a real HTTP server. Its opinions depend on what it is shown and are computed here a second time, from the
stored answers, by whoever checks the scores.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from fusion.cli import main
from tests.endpoint_server import Body, chat
from tests.tiny import make_pico_llama

TARGET = "name: pico\nmodel: {{uri: {folder}/pico, chat: {{stop: [e, t]}}}}\n"
JUDGED = ("alpaca_eval2", "arena_hard", "mt_bench", "alignbench")
BASELINE = "the baseline says this"
NUM = {"alpaca_eval2": 6, "arena_hard": 5, "mt_bench": 4, "alignbench": 3}
REQUESTS = {"alpaca_eval2": 12, "arena_hard": 10, "mt_bench": 8, "alignbench": 3}
"""Pairs in both orders; two turns; one mark."""


def make_judged(folder: Path) -> Path:
    """Items, baselines and a random model that answers; returns `folder`."""
    make_pico_llama(folder / "pico", layers=1)
    config = folder / "pico" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": 2048}))
    (folder / "conf" / "target").mkdir(parents=True)
    (folder / "conf" / "target" / "pico.yaml").write_text(TARGET.format(folder=folder))
    asked = [f"Tell me of number {i}." for i in range(9)]
    rows: dict[str, list[dict[str, object]]] = {
        "alpaca": [{"instruction": asked[i], "dataset": "d"} for i in range(6)],
        "alpaca_baseline": [
            {"instruction": asked[i], "source": "gpt4_1106_preview", "response": f"{BASELINE} {i}"} for i in range(6)
        ],
        "arena": [{"uid": f"u{i}", "prompt": asked[i], "cluster": "c"} for i in range(5)],
        "arena_baseline": [
            {"uid": f"u{i}", "prompt": asked[i], "source": "gpt-4-0314", "response": f"{BASELINE} {i}"}
            for i in range(5)
        ],
        "mt": [{"question_id": i, "turns": [asked[i], "And more?"], "category": "writing"} for i in range(4)],
        "mt_solved": [{"question_id": 0, "choices": [{"turns": ["first gold", "second gold"]}]}],
        "align": [
            {"question_id": i, "question": asked[i], "reference": "gold", "category": "综合问答"} for i in range(3)
        ],
    }
    for name, lines in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def settings(folder: Path, url: str, *names: str, **places: str) -> list[str]:
    """Arguments of `fusion eval` on the benchmarks `names`, judged at `url`."""
    at = {"store": "store", "runs": "runs", "cache": "cache"} | places
    paths = {
        "alpaca_eval2": {"data.path": "alpaca", "control.baseline.path": "alpaca_baseline"}
        | {"reward.baseline.path": "alpaca_baseline"},
        "arena_hard": {"data.path": "arena", "control.baseline.path": "arena_baseline"}
        | {"reward.baseline.path": "arena_baseline"},
        "mt_bench": {"data.path": "mt", "data.aside.path": "mt_solved"},
        "alignbench": {"data.path": "align"},
    }
    chosen = [
        f"benchmark=[{','.join(names)}]", "target=pico", "generator=transformers", "generator.batch_size=4",
        "cluster=in_process", f"store.path={folder / at['store']}", f"runs={folder / at['runs']}",
    ]  # fmt: skip
    for name in names:
        chosen += [f"benchmarks.{name}.{key}={folder}/{file}.jsonl" for key, file in paths[name].items()]
        chosen.append(f"benchmarks.{name}.sampling.max_new_tokens=12")
        chosen.append(f"benchmarks.{name}.reward.cache={folder / at['cache']}")
        if url:
            reward = f"benchmarks.{name}.reward"
            chosen += [f"{reward}.endpoint.url={url}", f"{reward}.endpoint.model=m", f"{reward}.revision=1"]
            chosen.append(f"{reward}.budget.ledger={folder / 'ledger'}")
    return chosen


def evaluate(folder: Path, arguments: list[str], runs: str = "runs") -> dict[str, dict[str, object]]:
    """Benchmark -> its row in the result of `fusion eval`."""
    with pytest.raises(SystemExit) as end:
        main(["eval", "--config-dir", str(folder / "conf"), *arguments])
    assert end.value.code == 0
    result = json.loads((folder / runs / "eval" / "result.json").read_text())
    return {row["benchmark"]: row for row in result["benchmarks"]["scores"]}


def favour(answer: str, other: str, is_first: bool) -> float:
    """The judge's probability that `answer` is better: by the sum of its letters, and a habit for the first place."""
    liking = (sum(map(ord, answer)) - sum(map(ord, other))) % 10 / 10
    return 0.1 + 0.6 * liking + (0.2 if is_first else 0.0)


def is_strong(p: float) -> bool:
    """Whether the judge calls a preference much better, where it may."""
    return abs(p - 0.5) > 0.15


def mark(answer: str) -> int:
    return 1 + sum(map(ord, answer)) % 10


def opinion(path: str, body: Body) -> Body:
    """The judge's reply: a mark, or A with a probability that it reports where that is asked for."""
    asked = str(body["messages"][0]["content"])
    single = re.search(r"<(?:answer|reply|回答)>\n(.*?)\n</", asked, re.S)
    if single:
        return chat(f"[[{mark(single[1])}]]")
    shown = [re.search(rf"<answer_{name}>\n(.*?)\n</answer_{name}>", asked, re.S) for name in "ab"]
    first, second = (found[1] if found else "" for found in shown)
    # The habit for the first place is the same whichever answer stands there.
    p_first = favour(first, second, True) if BASELINE in second else 1 - favour(second, first, False)
    verdict = "A" if p_first > 0.5 else "B"
    if "[[A>>B]]" in asked:
        sign = ">>" if is_strong(p_first) else ">"
        return chat(f"Thus [[{verdict}{sign}{'B' if verdict == 'A' else 'A'}]]")
    if not body.get("logprobs"):
        return chat(f"Thus [[{verdict}]]")
    both = [{"token": "A", "logprob": math.log(p_first)}, {"token": "B", "logprob": math.log(1 - p_first)}]
    place = {"token": verdict, "logprob": max(both, key=lambda one: float(str(one["logprob"])))["logprob"]}
    around = [{"token": token, "logprob": 0.0, "top_logprobs": []} for token in ("[[", "]]")]
    return chat(f"[[{verdict}]]", logprobs=[around[0], {**place, "top_logprobs": both}, around[1]])
