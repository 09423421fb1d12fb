"""Benchmark comparisons: what was gained over what, paired by item. Config and inputs as `fusion.stages.benchmark`."""

from __future__ import annotations

from collections.abc import Sequence

from fusion.evaluation.rows import comparison_rows, pairs
from fusion.runtime import Runtime
from fusion.stages.benchmark import config_of, found
from fusion.stages.evaluate import commit
from fusion.work import Work


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """COMPARISON: a row for each pair of models and benchmark, and one overall."""
    for work in works:
        config = config_of(work)
        commit(work, comparison_rows(config.benchmarks, found(work), pairs(config.models, config.against)))
