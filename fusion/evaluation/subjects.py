"""Who is evaluated on what: models named on the command line, and the files of the chosen benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fusion.errors import ConfigError
from fusion.evaluation.benchmark import Benchmark
from fusion.models import ModelRef


def as_sources(models: Sequence[str], taken: Sequence[str]) -> dict[str, ModelRef]:
    """Name -> model. The name is the last part of the path, or more of it where that is taken.

    Raises:
        ConfigError: a model of the hub has no commit.

    Args:
        taken: names that others have.

    Example: as_sources(["runs/quickstart/models/final"], []) has the name "final"
    """
    found: dict[str, ModelRef] = {}
    for uri in models:
        place, _, revision = uri.partition("@") if uri.startswith("hf://") else (uri, "", "")
        if uri.startswith("hf://") and not revision:
            raise ConfigError(f"models: {uri} is not pinned; write hf://org/name@COMMIT (40 hex digits)")
        parts = place.removeprefix("file://").removeprefix("hf://").rstrip("/").split("/")
        names = ["_".join(parts[-depth:]) for depth in range(1, len(parts) + 1)]
        name = next((name for name in names if name and name not in (*found, *taken)), None)
        if name is None:
            raise ConfigError(f"models: {uri} is named twice")
        found[name] = ModelRef(uri=place, revision=revision)
    return found


def resolve_all(benchmarks: Mapping[str, Benchmark], limit: int) -> None:
    """Find the data, the stored answers and the scorers of the benchmarks.

    Args:
        limit: items of each; 0: as each says itself.

    Raises:
        ConfigError: naming the benchmark, what is missing, and the remedy.
    """
    for name, benchmark in benchmarks.items():
        benchmark.data.limit = limit or benchmark.data.limit
        try:
            benchmark.data.resolve()
            benchmark.outputs.resolve()
            benchmark.control.resolve()
            benchmark.reward.resolve()
        except ConfigError as error:
            raise ConfigError(f"benchmarks.{name}: {error}") from error
