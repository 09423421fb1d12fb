"""The table of scores on benchmarks: a row for each model and benchmark."""

from __future__ import annotations

import pyarrow as pa

from fusion.table import Table

KEY = ("benchmark", "model")

BENCHMARK = Table(
    "benchmark",
    pa.schema(
        [
            pa.field(name, kind, nullable=False)
            for name, kind in {
                "benchmark": pa.string(),
                "model": pa.string(),
                "score": pa.float64(),  # on the benchmark's own scale, as are low, high and detectable
                "low": pa.float64(),  # 95% interval
                "high": pa.float64(),
                "n": pa.int32(),  # items that were asked
                "num_samples": pa.int32(),
                "unparsed": pa.int32(),  # samples in which no answer was found
                "undecided": pa.int32(),  # samples without a verdict; they count as the least score
                "truncated": pa.int32(),  # samples that ended at the token limit
                "mean_chars": pa.float64(),  # length of an answer
                "detectable": pa.float64(),  # difference of two such models that is noticed with 80% power
                "content": pa.string(),  # hash of the items as they were found
                "num_items": pa.int32(),  # items found in the data set
            }.items()
        ]
    ),
    key=KEY,
    unit=KEY,
)
