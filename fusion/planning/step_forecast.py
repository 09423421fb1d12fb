"""What is expected of one step."""

from __future__ import annotations

from dataclasses import dataclass

from fusion.cluster_config import Price
from fusion.planning.estimate import Estimate
from fusion.planning.measured import Measured


@dataclass(frozen=True, slots=True)
class StepForecast:
    """One step; of one that was measured, what is left of it. None: not known, and `note` says what to type."""

    name: str
    fingerprint: str
    rows: int | None = 0
    tokens: float = 0.0
    written: float = 0.0
    """Those of `tokens` that a model writes."""
    gpu_hours: float | None = 0.0
    hours: float | None = 0.0
    """Of this step alone, on all the GPUs of its placement."""
    load_hours: float = 0.0
    """Until its engines answer, beside `hours`."""
    gpus: int = 0
    """That it holds while it runs."""
    memory_gib: float | None = None
    """Of each of its GPUs; None: it uses none, or its model's shape is not known."""
    disk_gib: float = 0.0
    """What it leaves in the store."""
    download_gib: float = 0.0
    """Weights to fetch, once a model."""
    tokens_range: Estimate | None = None
    """`tokens` with their interval; None: they are assumed."""
    gpu_hours_range: Estimate | None = None
    pace_seen: bool = False
    """Whether GPU time is what the step itself took so far, in proportion; else it is assumed, or `measured`."""
    note: str = ""
    fits: bool = True
    measured: Measured | None = None
    """What the figures rest on, where they rest on answers that are committed."""

    def usd(self, price: Price) -> float | None:
        """Of this step alone: whole nodes where those are billed, and the head."""
        if self.hours is None or self.gpu_hours is None:
            return None
        return price.usd(price.paid(self.gpus) * self.gpu_hours, self.hours)
