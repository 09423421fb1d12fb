"""What a plan shows beside its steps: forecast, money, the best placement of the sources; and what it refuses."""

from __future__ import annotations

from collections.abc import Collection

from rich.console import Console

from fusion.costs.account import Account
from fusion.costs.budget import RunBudget
from fusion.planning.generations import demand_room, placed, shapeless
from fusion.planning.placement_table import placement_table
from fusion.planning.prospect import prospect
from fusion.planning.stage_lines import stage_lines
from fusion.planning.table import forecast_table, money_line
from fusion.planning.wall_time import wall_hours
from fusion.recipe import Recipe
from fusion.report.number_text import duration
from fusion.step import topological


def outlook(recipe: Recipe, done: Collection[str], spent: Account, console: Console) -> None:
    """Print it: on GPUs all of it, elsewhere what can be measured or has a price.

    Args:
        spent: by earlier runs of the experiment.

    Raises:
        ConfigError: something does not fit on the GPUs at hand; says what would.
    """
    config = recipe.config
    gpus, price = config.cluster.capacity.gpus, config.cluster.price
    seen = prospect(recipe, spent, done)
    if gpus:
        console.print(forecast_table(seen.steps, done, price))
        forecasts = {one.fingerprint: one for one in seen.steps}
        hours = wall_hours(topological(recipe.targets), forecasts, config.cluster.capacity, done)
        if hours:
            console.print(
                f"About {duration(3600 * hours)} from start to end on {gpus} GPUs, beside waiting for nodes.",
                highlight=False,
            )
        console.print(money_line(seen.steps, config.cluster, done, hours))
    if gpus or price.usd_per_hour or seen.measured:
        left = [step for step in topological(recipe.targets) if step.fingerprint not in done]
        for line in stage_lines(seen, left, config.cluster):
            console.print(line, soft_wrap=True, highlight=False, markup=False)
    if line := spent_line(spent, config.budget):
        console.print(line, soft_wrap=True, highlight=False)
    if not gpus:
        return
    if unknown := shapeless(recipe, config.planning, done):
        console.print(f"Not placed below, for want of a shape in their models' yaml: {', '.join(unknown)}.")
    sources = placed(recipe, seen.assumed, done)
    if sources.slots:
        console.print(placement_table(sources, lambda name: config.cluster.placement("responses", name)))
    demand_room(recipe, done)


def spent_line(spent: Account, budget: RunBudget) -> str:
    """`Used so far: 3.1 USD, 2 GPU-hours, 42 min 00 s, of budget.max_usd=12.`; empty: nothing is limited, or used."""
    limits = [f"budget.{name}={value:g}" for name, value in vars(budget).items() if value is not None]
    if not limits and not spent.total.seconds:
        return ""
    return f"Used so far: {spent.total}{', of ' if limits else ''}{' and '.join(limits)}."
