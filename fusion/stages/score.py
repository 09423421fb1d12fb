"""Score: rewards judge responses, while these are still being written.

All steps of a gang go through one stream: CPU verifiers share a pool of workers, each reward with a model has a pool of
its own, and an item (some responses of one part) passes through all of them. A worker reads texts from the store,
commits one part a step, and reports receipts; a score is bound to the hash of the text that was scored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice

from fusion.artifact import Receipt
from fusion.modelfiles import DEFAULT_CACHE
from fusion.rewards.base import Reward
from fusion.runtime import Done, Runtime
from fusion.stages.failure_budget import FailureBudget, demand_frac
from fusion.stages.score_feed import ScoreFeed, ScoreItem, reward_key
from fusion.stages.score_session import ScorePool
from fusion.step import Placement
from fusion.work import Work


@dataclass(kw_only=True)
class ScoreConfig:
    """One reward over the responses of one model."""

    reward: Reward
    name: str = field(metadata={"identity": False})
    """Its name in the config; for messages."""
    max_failed_frac: float = field(default=0.05, metadata={"identity": False})
    """Share of responses that the reward may fail to score (exceptions, NaN); above it the step fails."""
    cache: str = field(default=DEFAULT_CACHE, metadata={"identity": False})
    """Folder of prepared models on the machine that scores."""

    def __post_init__(self) -> None:
        demand_frac(self.max_failed_frac)


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """Inputs of each work: `responses` (streamed) and `prompts`. Output: REWARD.

    Raises:
        StepFailed: too many responses could not be scored, or the run is being ended.
        ArtifactError: a step that writes responses failed.
        EngineError: workers died more often than the placement allows.
    """
    feed = ScoreFeed(works)
    tallies = {work.rows_out.folder.path: _Tally(work, feed) for work in works}
    for done in _stream(works, feed, runtime):
        for path, receipt in done.receipts.items():
            tallies[path].accept(receipt)
        feed.check_stopped()
    for tally in tallies.values():
        tally.check()


def _stream(works: Sequence[Work], feed: ScoreFeed, runtime: Runtime) -> Iterator[Done]:
    """With all responses there, finding nothing to do must not cost the loading of a reward model."""
    items = iter(feed)
    ready: list[ScoreItem] = [] if feed.is_live else list(islice(items, 1))
    if ready or feed.is_live:
        yield from runtime.stream(pools(works), chain(ready, items), "score")


def pools(works: Sequence[Work]) -> list[tuple[ScorePool, Placement]]:
    """One pool for all verifiers, one for each reward with a model; as wide as the widest of its works asks."""
    shared: dict[str, dict[str, Reward]] = {}
    placements: dict[str, list[Placement]] = {}
    for work in works:
        config = _config(work)
        key = reward_key(config.reward)
        pool = key if config.reward.uses_model else ""
        shared.setdefault(pool, {})[key] = config.reward
        placements.setdefault(pool, []).append(work.step.placement)
    cache = _config(works[0]).cache
    return [(ScorePool(shared[pool], cache), _widest(placements[pool])) for pool in sorted(shared)]


def _widest(placements: Sequence[Placement]) -> Placement:
    return replace(
        placements[0],
        replicas=max(p.replicas for p in placements),
        cpus=max(p.cpus for p in placements),
        gpus=max(p.gpus for p in placements),
        max_restarts=max(p.max_restarts for p in placements),
        stall_s=max(p.stall_s for p in placements),
    )


class _Tally:
    """How far one step is, and how many of its rows failed."""

    def __init__(self, work: Work, feed: ScoreFeed) -> None:
        self._work = work
        self._path = work.rows_out.folder.path
        self._feed = feed
        config = _config(work)
        self._budget = FailureBudget(
            f"reward {config.name} failed on {{}} responses", self._path, config.max_failed_frac
        )
        self.check = self._budget.check

    def accept(self, receipt: Receipt) -> None:
        self._work.rows_out.accept(receipt)
        scored, failed = sum(part.rows for part in receipt.parts), sum(part.rows for part in receipt.drops)
        self._budget.count(scored + failed, failed)
        wanted = self._feed.wanted[self._path]
        done = wanted - self._feed.left[self._path] + self._budget.tried
        self._work.progress(done, wanted if self._feed.has_ended else 0)


def _config(work: Work) -> ScoreConfig:
    config = work.step.config
    assert isinstance(config, ScoreConfig)
    return config
