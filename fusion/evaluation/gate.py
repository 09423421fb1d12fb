"""The gate: whether the final model may be promoted, and why, in words.

It reads the comparison table and nothing else, so another gate never repeats an evaluation.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

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
    max_regression_in: dict[str, float] = field(default_factory=dict)
    """The same of each benchmark of an area that has none of its own: `{code: 0.05}`."""
    needs_interval: bool = True
    """The whole 95% interval of the gain must be above `min_gain`, and only a loss whose interval excludes zero counts.
    False: point estimates decide (for evaluations too small to say more)."""

    def __post_init__(self) -> None:
        if not -1.0 <= self.min_gain < 1.0:
            raise ConfigError(f"evaluation.gate.min_gain must be in [-1, 1), got {self.min_gain}; scores are in [0, 1]")
        limits = {"max_regression": self.max_regression}
        limits |= {f"max_regression_of.{name}": allowed for name, allowed in self.max_regression_of.items()}
        limits |= {f"max_regression_in.{area}": allowed for area, allowed in self.max_regression_in.items()}
        for key, allowed in limits.items():
            if not 0.0 <= allowed <= 1.0:
                raise ConfigError(f"evaluation.gate.{key} must be in [0, 1], got {allowed}; 0.05 allows 5 points")

    def check_names(self, key: str, known: Collection[str], areas: Collection[str] = ()) -> None:
        """Raises:
        ConfigError: `max_regression_of` or `max_regression_in` names what is not measured.
        """
        _demand_known(f"{key}.max_regression_of", self.max_regression_of, known)
        _demand_known(f"{key}.max_regression_in", self.max_regression_in, areas)


@dataclass(frozen=True, slots=True)
class Decision:
    """Example: Decision(False, ("overall gained 0.04 [-0.01, 0.09], not surely above 0.00",))"""

    promoted: bool
    reasons: tuple[str, ...]


def decide(
    gate: GateConfig, comparison: pa.Table, model: str = "final", areas: Mapping[str, str] = MappingProxyType({})
) -> Decision:
    """Weigh the COMPARISON rows of `model` minus `gate.against`.

    Args:
        areas: benchmark -> area; domains of held-out prompts have none.

    Raises:
        ConfigError: the two were not compared, or a named domain or area was not.
    """
    rows = {r["domain"]: r for r in comparison.to_pylist() if (r["model"], r["against"]) == (model, gate.against)}
    if OVERALL not in rows:
        compared = sorted({f"{r['model']} against {r['against']}" for r in comparison.to_pylist()})
        raise ConfigError(
            f"evaluation.gate.against is {gate.against!r}, but {model} was not compared with it; have: {compared}"
        )
    gained, reason = _gain(gate, rows.pop(OVERALL))
    gate.check_names("gate", rows, [areas[name] for name in rows if name in areas])
    lost = [_words(domain, row) for domain, row in rows.items() if _is_lost(gate, row, _allowed(gate, domain, areas))]
    kept = [] if lost else [f"none of {len(rows)} domains is lost"]
    return Decision(gained and not lost, (reason, *lost, *kept))


def _gain(gate: GateConfig, row: dict[str, float]) -> tuple[bool, str]:
    measured = row["low"] if gate.needs_interval else row["difference"]
    gained = measured > gate.min_gain
    surely = "surely " if gate.needs_interval else ""
    verdict = f"{surely}above" if gained else f"not {surely}above"
    return gained, f"{_words(OVERALL, row)}, {verdict} {gate.min_gain:.2f}"


def _allowed(gate: GateConfig, domain: str, areas: Mapping[str, str]) -> float:
    in_area = gate.max_regression_in.get(areas.get(domain, ""), gate.max_regression)
    return gate.max_regression_of.get(domain, in_area)


def _is_lost(gate: GateConfig, row: dict[str, float], allowed: float) -> bool:
    certain = row["high"] < 0.0 or not gate.needs_interval
    return certain and row["difference"] < -allowed


def _demand_known(key: str, names: Collection[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            hint = f"did you mean {close[0]}? There are {', '.join(sorted(set(known)))}" if close else "there are none"
            raise ConfigError(f"{key} names {name!r}, which is not measured; {hint}")


def _words(domain: str, row: dict[str, float]) -> str:
    value, low, high = row["difference"], row["low"], row["high"]
    if value < 0:
        return f"{domain} lost {-value:.2f} [{-high:.2f}, {-low:.2f}]"
    return f"{domain} gained {value:.2f} [{low:.2f}, {high:.2f}]"
