"""What a plan shows of a run on GPUs: forecast, money, the best placement of the sources; and what it refuses."""

from __future__ import annotations

from collections.abc import Collection

from rich.console import Console

from fusion.planning.forecast import forecast
from fusion.planning.generations import demand_room, placed
from fusion.planning.placement_table import placement_table
from fusion.planning.table import forecast_table, money_line
from fusion.recipe import Recipe


def outlook(recipe: Recipe, done: Collection[str], console: Console) -> None:
    """Print it.

    Raises:
        ConfigError: something does not fit on the GPUs at hand; says what would.
    """
    config = recipe.config
    forecasts = forecast(recipe, config.planning)
    console.print(forecast_table(forecasts, done))
    console.print(money_line(forecasts, config.cluster, done))
    sources = placed(recipe, config.planning, done)
    if sources.slots:
        console.print(placement_table(sources, lambda name: config.cluster.placement("responses", name)))
    demand_room(recipe, done)
