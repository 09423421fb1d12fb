"""What is left of a step of answers, by what it has shown so far."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fusion.cluster_config import Price
from fusion.planning.estimate import Estimate
from fusion.planning.measured import Measured
from fusion.planning.step_forecast import StepForecast
from fusion.step import Placement, Step


@dataclass(frozen=True, slots=True)
class Costs:
    """Of what is left of one step. None: not known."""

    hours: Estimate | None
    gpu_hours: Estimate | None
    gpus: int = 0
    """That are held."""

    def usd(self, price: Price) -> Estimate | None:
        """GPUs (whole nodes where those are billed), and the head for as long as this step alone takes."""
        if self.hours is None or self.gpu_hours is None:
            return None
        paid = price.paid(self.gpus)
        ends = [
            price.usd(paid * getattr(self.gpu_hours, end), getattr(self.hours, end)) for end in ("value", "low", "high")
        ]
        return Estimate(*ends)


def remaining(assumed: StepForecast, step: Step, found: Measured | None) -> StepForecast:
    """The forecast of a step with what was measured in place of what was assumed."""
    if found is None or not assumed.fits:
        return assumed
    cost = costs(assumed, step.placement, found)
    read = (assumed.tokens - assumed.written) * (found.rows_left / assumed.rows if assumed.rows else 0.0)
    pace = f"{found.speed.value:,.0f} tokens/s an engine" if found.speed else "speed assumed"
    return replace(
        assumed,
        rows=found.rows_left,
        tokens=read + found.left.value,
        tokens_range=found.left.plus(read),
        written=found.left.value,
        hours=None if cost.hours is None else cost.hours.value,
        gpu_hours=None if cost.gpu_hours is None else cost.gpu_hours.value,
        gpu_hours_range=cost.gpu_hours,
        note=f"left, as measured on {found.prompts} prompts: {pace}",
        measured=found,
    )


def costs(assumed: StepForecast, placement: Placement, found: Measured) -> Costs:
    """Time of what is left: tokens by the measured speed, or in proportion to what was assumed for all of it.

    `assumed` may be a forecast that `remaining` made of it: the proportion is then one.
    """
    gpus = placement.replicas * placement.gpus
    if found.speed is not None:
        hours = found.left.over(found.speed).scaled(1 / 3600 / placement.replicas)
        return Costs(hours, hours.scaled(gpus), gpus)
    if not assumed.written or assumed.hours is None or assumed.gpu_hours is None:
        return Costs(None, None)
    part = found.left.scaled(1 / assumed.written)
    return Costs(part.scaled(assumed.hours), part.scaled(assumed.gpu_hours), gpus)
