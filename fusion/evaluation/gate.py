"""The gate: whether the final model may be promoted, and why, in words.

It reads the comparison table and nothing else, so another gate never repeats an evaluation.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass, field

import pyarrow as pa

from fusion.errors import ConfigError
from fusion.evaluation.compare import OVERALL


@dataclass(kw_only=True)
class GateConfig:
    """What a model must show before it may be promoted."""

    against: str = "base"
    """The model it must beat."""
    min_gain: float = 0.0
    """The gain, mean over domains, must be above this."""
    max_regression: float = 0.0
    """A domain may lose this much, even when the loss is certain."""
    max_regression_of: dict[str, float] = field(default_factory=dict)
    """The same of single domains or benchmarks, in place of `max_regression`: `{amc23: 0.1}`."""
    needs_interval: bool = True
    """The whole 95% interval of the gain must be above `min_gain`, and only a loss whose interval excludes zero counts.
    False: point estimates decide (for evaluations too small to say more)."""

    def __post_init__(self) -> None:
        if not -1.0 <= self.min_gain < 1.0:
            raise ConfigError(f"evaluation.gate.min_gain must be in [-1, 1), got {self.min_gain}; scores are in [0, 1]")
        for name, allowed in {"": self.max_regression, **self.max_regression_of}.items():
            if not 0.0 <= allowed <= 1.0:
                key = f"max_regression_of.{name}" if name else "max_regression"
                raise ConfigError(f"evaluation.gate.{key} must be in [0, 1], got {allowed}; 0.05 allows 5 points")

    def check_names(self, key: str, known: Collection[str]) -> None:
        """Raises:
        ConfigError: `max_regression_of` names what is not measured.
        """
        for name in self.max_regression_of:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
                hint = f"did you mean {close[0]}? There are {', '.join(sorted(known))}" if close else "there are none"
                raise ConfigError(f"{key}.max_regression_of names {name!r}, which is not measured; {hint}")


@dataclass(frozen=True, slots=True)
class Decision:
    """Example: Decision(False, ("overall gained 0.04 [-0.01, 0.09], not surely above 0.00",))"""

    promoted: bool
    reasons: tuple[str, ...]


def decide(gate: GateConfig, comparison: pa.Table, model: str = "final") -> Decision:
    """Weigh the COMPARISON rows of `model` minus `gate.against`.

    Raises:
        ConfigError: the two were not compared, or a named domain was not.
    """
    rows = {r["domain"]: r for r in comparison.to_pylist() if (r["model"], r["against"]) == (model, gate.against)}
    if OVERALL not in rows:
        compared = sorted({f"{r['model']} against {r['against']}" for r in comparison.to_pylist()})
        raise ConfigError(
            f"evaluation.gate.against is {gate.against!r}, but {model} was not compared with it; have: {compared}"
        )
    gained, reason = _gain(gate, rows.pop(OVERALL))
    if unknown := sorted(set(gate.max_regression_of) - set(rows)):
        raise ConfigError(
            f"gate.max_regression_of names {unknown[0]!r}, which was not compared; there are {', '.join(sorted(rows))}"
        )
    lost = [_words(domain, row) for domain, row in rows.items() if _is_lost(gate, domain, row)]
    kept = [] if lost else [f"none of {len(rows)} domains is lost"]
    return Decision(gained and not lost, (reason, *lost, *kept))


def _gain(gate: GateConfig, row: dict[str, float]) -> tuple[bool, str]:
    measured = row["low"] if gate.needs_interval else row["difference"]
    gained = measured > gate.min_gain
    surely = "surely " if gate.needs_interval else ""
    verdict = f"{surely}above" if gained else f"not {surely}above"
    return gained, f"{_words(OVERALL, row)}, {verdict} {gate.min_gain:.2f}"


def _is_lost(gate: GateConfig, domain: str, row: dict[str, float]) -> bool:
    certain = row["high"] < 0.0 or not gate.needs_interval
    return certain and row["difference"] < -gate.max_regression_of.get(domain, gate.max_regression)


def _words(domain: str, row: dict[str, float]) -> str:
    value, low, high = row["difference"], row["low"], row["high"]
    if value < 0:
        return f"{domain} lost {-value:.2f} [{-high:.2f}, {-low:.2f}]"
    return f"{domain} gained {value:.2f} [{low:.2f}, {high:.2f}]"
