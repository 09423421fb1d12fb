"""Which harm is done when: a list of faults by stage, with moments drawn by a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

SEED = 20250310


@dataclass(frozen=True)
class Point:
    """One harm to one run. Example: Point("kill RewardActor", "score", 0.31, joins=True)."""

    fault: str
    """`kill TITLE`, `stall TITLE`, `lose the node of TITLE`, `preempt the node of TITLE`: of the Ray worker with this
    title; `kill driver`, `interrupt driver`, `kill head`."""
    stage: str
    """Of `stages.STAGES`."""
    moment: float
    """How far the stage is, as a share in [0, 1): 0 is when its worker is there and nothing is committed."""
    joins: bool = False
    """The run joins a Ray that is there and outlives it, instead of starting its own."""
    is_further: bool = False
    """Another moment of a fault that an earlier point does already; CI leaves it to `make chaos`."""

    @property
    def name(self) -> str:
        where = "-joined" if self.joins else ""
        return f"{self.fault}-{self.stage}-{self.moment:.2f}{where}".replace(" ", "_").lower()


TIMES: tuple[tuple[str, str, int], ...] = (
    ("kill SourceActor", "generate", 3),
    ("kill SourceActor", "reference", 2),
    ("kill SourceActor", "evaluate", 2),
    ("kill RewardActor", "generate", 2),
    ("kill RewardActor", "score", 2),
    ("kill RayTrainWorker", "sft", 3),
    ("kill RayTrainWorker", "final", 2),
    ("kill driver", "ingest", 1),
    ("kill driver", "generate", 3),
    ("kill driver", "score", 2),
    ("kill driver", "select", 1),
    ("kill driver", "sft", 2),
    ("kill driver", "reference", 1),
    ("kill driver", "final", 2),
    ("kill driver", "evaluate", 1),
    ("interrupt driver", "generate", 1),
    ("interrupt driver", "score", 1),
    ("interrupt driver", "sft", 1),
    ("stall SourceActor", "generate", 1),
    ("stall RewardActor", "score", 1),
    ("lose the node of SourceActor", "generate", 1),
    ("lose the node of RewardActor", "score", 1),
    ("lose the node of RayTrainWorker", "sft", 1),
    ("preempt the node of SourceActor", "generate", 1),
    ("kill head", "generate", 1),
    ("kill head", "sft", 1),
)
"""Fault, stage, how many moments."""
LATEST = 0.7
"""Later than at this share of a stage, a run may end before it is hit."""


def points(seed: int = SEED) -> list[Point]:
    """The plan; every second moment of a fault is on a Ray that the run joins, as are those that hurt its nodes."""
    rng = random.Random(seed)
    made = []
    for fault, stage, times in TIMES:
        for number in range(times):
            moment = LATEST * (number + rng.random()) / times
            joins = "node" in fault or (number % 2 == 1 and fault != "kill head")
            made.append(Point(fault, stage, round(moment, 2), joins, is_further=number > 0))
    return made
