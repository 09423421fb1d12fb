"""Selecting and pairing 2.4 million scored responses: 120,000 prompts, 4 sources, 5 samples. Goal: 10 s and 2 GiB.

Twice, each in a process of its own: one rule for all prompts, and FuseChat-3.0's rules by domain in the paper's shares,
with the verdicts of four verifiers. What is timed starts with the frame in memory; the peak counts that frame too.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

import numpy as np
import polars as pl

from fusion.config import composed, objects
from fusion.selection.base import Selection, Split, Window
from fusion.selection.best_worst_per_source import BestWorstPerSource
from fusion.selection.pairs import select

NUM_PROMPTS, NUM_SOURCES, NUM_SAMPLES = 120_000, 4, 5
TOTAL = NUM_PROMPTS * NUM_SOURCES * NUM_SAMPLES
SHARES = {"instruction": 0.51, "math": 0.33, "code": 0.10, "chinese": 0.06}  # table 1 of arXiv 2503.04222
PASSING = {"math_answer": 0.7, "code_tests": 0.6, "clean_text": 0.99, "fits_target": 0.98}
"""Verifier -> the share of answers that it passes; of those beside its domain it says nothing."""


def one_rule() -> tuple[pl.DataFrame, pl.DataFrame, Selection]:
    rule = BestWorstPerSource(rank_by="armorm", window=Window(low=0.01, high=0.1), split=Split(sft_frac=0.4))
    return *frames(["instruction"]), rule


def by_domain() -> tuple[pl.DataFrame, pl.DataFrame, Selection]:
    frame, prompts = frames(list(SHARES))
    rng = np.random.default_rng(1)
    for name, share in PASSING.items():
        said = pl.Series(["fail", "pass"]).gather((rng.random(TOTAL) < share).astype(np.uint32))
        domain = {"math_answer": "math", "code_tests": "code"}.get(name)
        outcome = (
            said
            if domain is None
            else pl.when(pl.col("domain") == domain).then(said).otherwise(pl.lit("not_applicable"))
        )
        frame = frame.with_columns(outcome.alias(f"outcome:{name}"))
    selection = objects(composed(["name=bench", "selection=fusechat3"])).selection
    assert selection is not None
    return frame, prompts, selection


def frames(domains: list[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Scored responses and their prompts."""
    rng = np.random.default_rng(0)
    index = np.arange(TOTAL)
    prompt, source = index // (NUM_SOURCES * NUM_SAMPLES), index // NUM_SAMPLES % NUM_SOURCES
    bounds = np.cumsum([SHARES[domain] for domain in domains]) * NUM_PROMPTS
    ids = pl.Series([f"{i:016x}" for i in range(NUM_PROMPTS)])
    drawn = np.searchsorted(bounds[:-1], rng.permutation(NUM_PROMPTS), side="right")
    domain = pl.Series(domains).gather(drawn)
    frame = pl.DataFrame(
        {
            "prompt_id": ids.gather(prompt),
            "source": pl.Series([f"source_{i}" for i in range(NUM_SOURCES)]).gather(source),
            "source_order": source.astype(np.int32),
            "sample_index": (index % NUM_SAMPLES).astype(np.int32),
            "dataset": "d",
            "domain": domain.gather(prompt),
            "finish_reason": "stop",
            "length": rng.integers(1, 4000, TOTAL),
            "folded": index.astype(np.uint64),
            "value:armorm": rng.normal(0.12, 0.03, TOTAL).astype(np.float32),
        }
    )
    return frame, pl.DataFrame({"prompt_id": ids, "dataset": "d", "domain": domain})


CASES = {"one_rule": one_rule, "by_domain": by_domain}


def measure(name: str) -> None:
    frame, prompts, rule = CASES[name]()
    started, used = time.perf_counter(), time.process_time()
    selected = select(frame, prompts, rule)
    seconds, used = time.perf_counter() - started, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"select {name}: {TOTAL:,} responses in {seconds:.1f} s, {seconds / 10:.2f} of the goal ({used:.1f} s of CPU);"
    )
    print(f"        peak {peak:.2f} GiB, {peak / 2:.2f} of the goal;")
    print(f"        {selected.sft.height:,} SFT rows, {selected.pairs.height:,} pairs")


if __name__ == "__main__":
    if sys.argv[1:]:
        measure(sys.argv[1])
    else:
        for case in CASES:
            subprocess.run([sys.executable, "-m", "tests.benchmarks.bench_select", case], check=True)
