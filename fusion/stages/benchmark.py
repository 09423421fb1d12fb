"""Benchmark: from verdicts to scores, by model and benchmark.

Seconds of arithmetic; the cost of an evaluation lies in the responses that it reads. Inputs, for each benchmark b and
model m that answered it: `prompts:<b>`, `responses:<b>:<m>`, `rewards:<b>:<m>`; of a second turn `prompts:<b>:<m>+2`
and so on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from fusion.evaluation.benchmark import Benchmark
from fusion.evaluation.item_scores import Answer, ItemScores, item_scores, over_turns
from fusion.evaluation.rows import Found, benchmark_rows
from fusion.runtime import Runtime
from fusion.stages.evaluate import commit
from fusion.work import Work

SECOND = "+2"
"""Marks what belongs to the second turn."""


@dataclass(kw_only=True)
class BenchmarkConfig:
    """What is put into one table."""

    benchmarks: dict[str, Benchmark] = field(default_factory=dict)
    models: list[str] = field(default_factory=list)
    """In the order of the table."""
    against: str = ""
    """The model that others are compared with, beside base, sft and final; empty: none."""


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """BENCHMARK: a row for each model and benchmark that it answered."""
    for work in works:
        config = config_of(work)
        commit(work, benchmark_rows(config.benchmarks, found(work)))


def config_of(work: Work) -> BenchmarkConfig:
    config = work.step.config
    assert isinstance(config, BenchmarkConfig)
    return config


def found(work: Work) -> Found:
    """Scores of every model on every benchmark that it answered."""
    config = config_of(work)
    made: dict[str, dict[str, ItemScores]] = {}
    for name, benchmark in config.benchmarks.items():
        prompts = work.table_in(f"prompts:{name}").read(["messages", "domain", "reference"])
        made[name] = {
            model: _all_turns(benchmark, prompts, work, f"{name}:{model}")
            for model in config.models
            if f"responses:{name}:{model}" in work.inputs
        }
    return made


def _all_turns(benchmark: Benchmark, prompts: pa.Table, work: Work, label: str) -> ItemScores:
    """A second turn counts with its first."""
    first = _scores(benchmark, prompts, work, label)
    if f"prompts:{label}{SECOND}" not in work.inputs:
        return first
    later = work.table_in(f"prompts:{label}{SECOND}").read(["messages", "domain", "reference"])
    second = _scores(benchmark, later, work, f"{label}{SECOND}")
    begins = {_text(row["messages"]): row["prompt_id"] for row in prompts.to_pylist()}
    return over_turns(
        first, second, {row["prompt_id"]: begins[_text(row["messages"][:-2])] for row in later.to_pylist()}
    )


def _text(messages: Sequence[object]) -> str:
    return json.dumps(messages, ensure_ascii=False)


def _scores(benchmark: Benchmark, prompts: pa.Table, work: Work, label: str) -> ItemScores:
    responses, rewards = work.table_in(f"responses:{label}"), work.table_in(f"rewards:{label}")
    known = set(prompts["prompt_id"].to_pylist())
    answers = [
        Answer(row["prompt_id"], row["sample_index"], row["text"], row["finish_reason"])
        for row in responses.read(["text", "finish_reason"]).to_pylist()
    ]
    for key in responses.drops()["key"].to_pylist():
        prompt, _, rest = key.partition("/")
        if prompt in known:
            answers.append(Answer(prompt, int(rest.rpartition("/")[2]), None, None))
    return item_scores(benchmark, prompts, answers, rewards.read(["outcome", "value", "detail"]))
