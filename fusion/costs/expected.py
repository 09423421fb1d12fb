"""What a run was expected to take, kept from before it began: runs/<name>/forecast.json.

The first word on a step stands, since what is forecast later knows more of it; but how many prompts a file holds may
only be known once it is read, and until then there is no word.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from fusion import location
from fusion.artifact import write_json
from fusion.cluster_config import Price
from fusion.costs.account import Account
from fusion.planning.prospect import prospect
from fusion.planning.step_forecast import StepForecast
from fusion.recipe import Recipe
from fusion.step import topological

Expected = Mapping[str, object]
"""rows, tokens, seconds, gpu_hours, disk_bytes, usd of one step; null: not forecast."""


def expect(recipe: Recipe, spent: Account, path: str) -> None:
    """Write down what is expected of each step of which nothing was written down yet."""
    known = {fingerprint: one for fingerprint, one in expected(path).items() if one["rows"] is not None}
    if all(step.fingerprint in known for step in topological(recipe.targets)):
        return
    price = recipe.config.cluster.price
    fresh = {one.fingerprint: _entry(one, price) for one in prospect(recipe, spent).steps}
    write_json(path, {**fresh, **known})


def expected(path: str) -> dict[str, Expected]:
    """By fingerprint; empty where nothing was written down."""
    return dict(json.loads(location.get(path))) if location.exists(path) else {}


def _entry(one: StepForecast, price: Price) -> Expected:
    hours, gpu_hours = one.hours or None, one.gpu_hours or None
    return {
        "step": one.name,
        "rows": one.rows,
        "tokens": None if one.rows is None else round(one.written or one.tokens) or None,
        "seconds": None if hours is None else round(hours * 3600, 3),
        "gpu_hours": gpu_hours,
        "disk_bytes": None if one.rows is None else round(one.disk_gib * 2**30) or None,
        "usd": (one.usd(price) or None) if hours is not None else None,
    }
