"""The undisturbed run that all others are compared with."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.end_to_end.chaos.ride import Ride
from tests.end_to_end.chaos.verdict import picture

NAME = "calm"


@dataclass(frozen=True)
class Calm:
    """Its workspace, and everything that it made."""

    workspace: Path
    picture: dict[str, Any]
    seconds: float

    @property
    def store(self) -> Path:
        return self.workspace / f"{NAME}_store"


def run_calmly(workspace: Path) -> Calm:
    started = time.monotonic()
    with Ride(workspace, NAME, workspace / f"{NAME}_store") as ride:
        assert ride.ended() == 0, ride.tail()
    return Calm(workspace, picture(workspace, NAME), time.monotonic() - started)
