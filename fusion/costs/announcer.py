"""Says during a run what is left of a source, as soon as it has answered enough prompts; and keeps what is expected of
each step, as soon as it is known how many prompts there are."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from fusion.artifact import Artifact
from fusion.costs.expected import expect
from fusion.costs.meter import Meter
from fusion.errors import FusionError
from fusion.plan import Planned
from fusion.planning.forecast import Forecaster
from fusion.planning.measured import measured
from fusion.planning.remaining import remaining
from fusion.planning.stage_lines import source_line
from fusion.recipe import Recipe
from fusion.runner import Listener
from fusion.stages.generate import GenerateConfig
from fusion.step import Step
from fusion.tree import TreeArtifact

LOOK_S = 1.0

log = logging.getLogger(__name__)


class Announcer:
    """A `Listener` that passes everything on, and now and then a notice of its own.

    Args:
        kept: path of the file of what is expected.
    """

    def __init__(self, listener: Listener, recipe: Recipe, meter: Meter, kept: str) -> None:
        self._listener = listener
        self._recipe = recipe
        self._meter = meter
        self._kept = kept
        self._not_before: dict[str, float] = {}

    def planned(self, steps: Sequence[Planned]) -> None:
        expect(self._recipe, self._meter.account(), self._kept)
        self._listener.planned(steps)

    def started(self, step: Step) -> None:
        self._listener.started(step)

    def progress(self, step: Step, done: int, total: int) -> None:
        self._listener.progress(step, done, total)
        if not isinstance(step.config, GenerateConfig) or done == total:
            return
        enough = self._recipe.config.planning.calibration_prompts * step.config.sampling.num_samples
        if done >= enough and time.monotonic() >= self._not_before.get(step.fingerprint, 0.0):
            self._not_before[step.fingerprint] = time.monotonic() + LOOK_S
            self._tell(step)

    def sealed(self, step: Step, artifact: Artifact | TreeArtifact) -> None:
        self._listener.sealed(step, artifact)
        if step.kind == "prompts":
            expect(self._recipe, self._meter.account(), self._kept)

    def notice(self, text: str) -> None:
        self._listener.notice(text)

    def _tell(self, step: Step) -> None:
        config = self._recipe.config
        use = self._meter.account().steps.get(step.fingerprint)
        try:
            found = measured(config.store.path, step, use.paces if use else (), config.planning.calibration_prompts)
        except (FusionError, OSError) as error:  # a forecast is not worth a run
            log.warning("what is left of %s cannot be told: %s", step.name, error)
            return
        if found is None or found.speed is None or not found.rows_left:
            return
        self._not_before[step.fingerprint] = float("inf")
        one = remaining(Forecaster(self._recipe, config.planning).step(step), step, found)
        self.notice(source_line(one, step.placement, config.cluster.price))
