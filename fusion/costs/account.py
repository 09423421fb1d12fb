"""What runs of one experiment have used: runs/<name>/spent/, one small file a process.

Each process writes its own file and reads the others', so that a run counts on from earlier ones, and two that run at
the same time see each other. Deleting the folder forgets what was spent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from fusion import location
from fusion.errors import ArtifactError
from fusion.report.number_text import duration

Window = tuple[float, float]
"""A stretch of time in seconds, and the tokens that were committed in it."""


@dataclass(frozen=True, slots=True)
class Used:
    """What was used. `usd` is at the prices of the day, endpoints included."""

    seconds: float = 0.0
    gpu_seconds: float = 0.0
    usd: float = 0.0

    def __add__(self, other: Used) -> Used:
        return Used(self.seconds + other.seconds, self.gpu_seconds + other.gpu_seconds, self.usd + other.usd)

    def share(self, part: float) -> Used:
        return Used(self.seconds * part, self.gpu_seconds * part, self.usd * part)

    @property
    def gpu_hours(self) -> float:
        return self.gpu_seconds / 3600

    def __str__(self) -> str:
        amounts = ((self.usd, f"{self.usd:.4g} USD"), (self.gpu_seconds, f"{self.gpu_hours:.3g} GPU-hours"))
        return ", ".join([text for amount, text in amounts if amount] + [duration(self.seconds)])


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a step went, in windows of time from its first committed tokens on.

    `replicas` engines of `gpus` GPUs each made all tokens of a window together.
    """

    replicas: int
    gpus: int
    windows: tuple[Window, ...]


@dataclass(frozen=True, slots=True)
class StepUse:
    """One step's part. Steps that share an engine have its time split between them by the rows that each got."""

    name: str
    used: Used = Used()
    paces: tuple[Pace, ...] = ()

    def __add__(self, other: StepUse) -> StepUse:
        return StepUse(self.name, self.used + other.used, self.paces + other.paces)


@dataclass(frozen=True, slots=True)
class Account:
    """Of one process, or of several together.

    `total.seconds` is wall time; the steps' seconds overlap where steps run side by side. `endpoints_usd` is the part
    of `total.usd` that endpoints got, by their ledgers.
    """

    total: Used = Used()
    endpoints_usd: float = 0.0
    steps: Mapping[str, StepUse] = field(default_factory=dict)
    """By fingerprint."""

    def __add__(self, other: Account) -> Account:
        steps = dict(self.steps)
        for fingerprint, use in other.steps.items():
            steps[fingerprint] = steps[fingerprint] + use if fingerprint in steps else use
        return Account(self.total + other.total, self.endpoints_usd + other.endpoints_usd, steps)


def read_accounts(folder: str, but: str = "") -> Account:
    """All files of a folder together; an empty account if there is none.

    Args:
        but: name of a file to leave out.

    Raises:
        ArtifactError: a file cannot be read; what it counted would be spent again.
    """
    total = Account()
    for name in location.names(folder):
        if name != but and name.endswith(".json"):
            path = location.join(folder, name)
            try:
                total += _account(json.loads(location.get(path)))
            except (ValueError, KeyError, TypeError) as error:
                raise ArtifactError(
                    f"{path} does not say what an earlier run used ({type(error).__name__}: {error}); mend it, or "
                    "remove it to forget what it counted"
                ) from error
    return total


def write_account(path: str, account: Account) -> None:
    location.put(path, json.dumps(asdict(account)).encode())


def _account(told: Mapping[str, object]) -> Account:
    steps: Mapping[str, Mapping[str, object]] = told["steps"]  # type: ignore[assignment]
    return Account(
        Used(**told["total"]),  # type: ignore[arg-type]
        float(str(told["endpoints_usd"])),
        {fingerprint: _use(use) for fingerprint, use in steps.items()},
    )


def _use(told: Mapping[str, object]) -> StepUse:
    paces = [
        Pace(one["replicas"], one["gpus"], tuple((float(s), float(t)) for s, t in one["windows"]))
        for one in told["paces"]  # type: ignore[attr-defined]
    ]
    return StepUse(str(told["name"]), Used(**told["used"]), tuple(paces))  # type: ignore[arg-type]
