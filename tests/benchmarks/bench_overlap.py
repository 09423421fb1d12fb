"""Generating and scoring at the same time against the slower of the two alone: wall time, as a ratio. Goal: 1.10.

Both are timed from an open Ray to the sealed artifact, so each holds the start of its own workers; alone, the scorer
finds all responses there. Generation and scoring have one thread each, so that on two cores neither needs the other's.
Together the scorer waits for an engine to start and its first answers, which come in a wave as wide as the batch: 13 to
20 s however many follow. With 320 answers that alone made the ratio 1.25, with 960 1.15; there are 1,920.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's workers otherwise yield to whatever else the machine does
sys.path.insert(0, str(Path(__file__).parents[2]))  # the tests are no installed package

from fusion.config import composed, typed
from fusion.pipeline import build
from fusion.runner import Runner
from fusion.runtime import Lazy
from fusion.step import Step
from tests.benchmarks.turns import Round, show, take_turns

ROUNDS = 3
OVERRIDES = (
    "experiment=quickstart", "recipe=replay", "source=[smollm2_135m]", "prompts.per_task=60",
    "sources.smollm2_135m.sampling.num_samples=8", "sources.smollm2_135m.sampling.max_new_tokens=48",
    "cluster.pools.rewards.cpus=1",
)  # fmt: skip


class Quiet:
    """Nobody listens."""

    def planned(self, steps: object) -> None: ...
    def started(self, step: object) -> None: ...
    def progress(self, step: object, done: int, total: int) -> None: ...
    def sealed(self, step: object, artifact: object) -> None: ...
    def notice(self, text: str) -> None: ...


class KeptOpen(Lazy):
    """A Ray that outlives the runs that use it."""

    def close(self) -> None: ...


@contextmanager
def variants() -> Iterator[Round]:
    """Rounds 0, 3, 6: generate alone; 1, 4, 7: score what that made; 2, 5, 8: both at once, with other answers."""
    from actors.runtime import RayRuntime

    with tempfile.TemporaryDirectory() as folder:
        config = typed(composed([*OVERRIDES, f"store.path={folder}/store"]))
        ray = RayRuntime(config.cluster.ray)
        kept = KeptOpen(lambda: ray)

        def one_round(number: int) -> tuple[float, float]:
            config.seed = number - 1 if number % 3 == 1 else number  # another seed: other answers, nothing is reused
            steps = build(config).steps
            making, judging = _named(steps, "responses/"), _named(steps, "rewards/")
            _run(config.store.path, _named(steps, "prompts/"), kept)
            started = time.perf_counter()
            _run(config.store.path, [making, judging, [*making, *judging]][number % 3], kept)
            return 1, time.perf_counter() - started

        try:
            yield one_round
        finally:
            ray.close()


def _named(steps: dict[str, Step], prefix: str) -> list[Step]:
    return [step for name, step in steps.items() if name.startswith(prefix)]


def _run(store: str, targets: list[Step], runtime: Lazy) -> None:
    from fusion.step import Capacity

    Runner(store, lambda: runtime, Capacity(), Quiet()).run(targets)


def main() -> None:
    found = take_turns(__file__, {"all": variants}, 3 * ROUNDS)
    if found is None:
        return
    seconds = [took for _, took in found["all"]]
    alone, scored, both = seconds[0::3], seconds[1::3], seconds[2::3]
    show("generate alone", alone, "s")
    show("score alone", scored, "s")
    show("both at once", both, "s")
    values = [b / max(g, s) for g, s, b in zip(alone, scored, both, strict=True)]
    print(f"overlap: both / the slower alone = {statistics.median(values):.3f}  (goal: at most 1.10)")


if __name__ == "__main__":
    main()
