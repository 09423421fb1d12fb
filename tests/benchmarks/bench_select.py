"""Selecting and pairing 2.4 million scored responses: 120,000 prompts, 4 sources, 5 samples. Goal: 10 s and 2 GiB."""

from __future__ import annotations

import resource
import time

import numpy as np
import polars as pl

from fusion.selection.base import Split, Window
from fusion.selection.best_worst_per_source import BestWorstPerSource
from fusion.selection.pairs import select

NUM_PROMPTS, NUM_SOURCES, NUM_SAMPLES = 120_000, 4, 5


def main() -> None:
    rng = np.random.default_rng(0)
    total = NUM_PROMPTS * NUM_SOURCES * NUM_SAMPLES
    index = np.arange(total)
    ids = pl.Series([f"{i:016x}" for i in range(NUM_PROMPTS)])
    source = index // NUM_SAMPLES % NUM_SOURCES
    frame = pl.DataFrame(
        {
            "prompt_id": ids.gather(index // (NUM_SOURCES * NUM_SAMPLES)),
            "source": pl.Series([f"source_{i}" for i in range(NUM_SOURCES)]).gather(source),
            "source_order": source.astype(np.int32),
            "sample_index": (index % NUM_SAMPLES).astype(np.int32),
            "dataset": "d",
            "domain": "instruction",
            "finish_reason": "stop",
            "length": rng.integers(1, 4000, total),
            "folded": index.astype(np.uint64),
            "value:rm": rng.normal(0.12, 0.03, total).astype(np.float32),
        }
    )
    prompts = pl.DataFrame({"prompt_id": ids, "dataset": "d", "domain": "instruction"})
    rule = BestWorstPerSource(rank_by="rm", window=Window(low=0.01, high=0.1), split=Split(sft_frac=0.4))
    started, used = time.perf_counter(), time.process_time()
    selected = select(frame, prompts, rule)
    seconds, used = time.perf_counter() - started, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"select: {total:,} responses in {seconds:.1f} s, {seconds / 10:.2f} of the goal ({used:.1f} s of CPU);")
    print(f"        peak {peak:.2f} GiB, {peak / 2:.2f} of the goal;")
    print(f"        {selected.sft.height:,} SFT rows, {selected.pairs.height:,} pairs")


if __name__ == "__main__":
    main()
