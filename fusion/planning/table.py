"""A forecast as a table for a terminal."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.table import Table
from rich.text import Text

from fusion.cluster_config import ClusterConfig, Price
from fusion.planning.step_forecast import StepForecast
from fusion.report.number_text import count

UNITS = ((1e9, "B"), (1e6, "M"), (1e3, "k"))


def forecast_table(steps: Sequence[StepForecast], done: Collection[str] = (), price: Price | None = None) -> Table:
    """Rows, tokens, GPU-hours, hours, memory, disk and money of each step, and the sum over what is left to do.

    Args:
        done: fingerprints of the steps that cost nothing any more.
    """
    table = Table(box=None, pad_edge=False, show_footer=True, caption_justify="left", caption_style="")
    left = [step for step in steps if step.fingerprint not in done]
    sums = {name: sum(getattr(step, name) or 0 for step in left) for name in ("tokens", "gpu_hours", "disk_gib")}
    table.add_column("step", footer="left to do", overflow="fold")
    table.add_column("rows", justify="right")
    table.add_column("tokens", justify="right", footer=short(sums["tokens"]))
    table.add_column("GPU-hours", justify="right", footer=short(sums["gpu_hours"]))
    table.add_column("hours", justify="right")
    table.add_column("GiB a GPU", justify="right")
    table.add_column("disk GiB", justify="right", footer=short(sums["disk_gib"]))
    if price is not None and price.usd_per_gpu_hour:
        table.add_column("USD", justify="right")
    table.add_column("")
    for step in steps:
        style = "dim" if step.fingerprint in done else "red" if not step.fits else ""
        table.add_row(
            Text(step.name),
            "?" if step.rows is None else count(step.rows) if step.rows else "",
            short(step.tokens),
            "?" if step.gpu_hours is None else short(step.gpu_hours),
            "?" if step.hours is None else short(step.hours),
            short(step.memory_gib or 0),
            short(step.disk_gib),
            *([short(step.usd(price) or 0)] if price is not None and price.usd_per_gpu_hour else []),
            Text(step.note),
            style=style,
        )
    downloads = sum(step.download_gib for step in left)
    table.caption = f"Estimates. Models to fetch: {short(downloads) or 0} GiB." if downloads else "Estimates."
    return table


def money_line(
    steps: Sequence[StepForecast], cluster: ClusterConfig, done: Collection[str] = (), wall_hours: float | None = None
) -> str:
    """`About 2,330 USD: 336 GPU-hours at 6.88 (cluster.price), and the head for 42 hours.`"""
    price = cluster.price
    left = [step for step in steps if step.fingerprint not in done]
    gpu_hours = sum(step.gpu_hours or 0 for step in left)
    hours = wall_hours or gpu_hours / max(1, cluster.capacity.gpus)
    if not price.usd_per_gpu_hour:
        return "No money is forecast: set cluster.price.usd_per_gpu_hour to what a GPU costs you."
    # Steps that run at the same time share nodes, so each alone with whole nodes is the most.
    least, most = (
        price.usd(gpu_hours, hours),
        price.usd(sum(price.paid(step.gpus) * (step.gpu_hours or 0) for step in left), hours),
    )
    nodes = f", up to {count(round(most))} where no step shares its nodes" if most > 1.01 * least else ""
    return (
        f"About {count(round(least))} USD{nodes}: {short(gpu_hours)} GPU-hours at {price.usd_per_gpu_hour:.4g} "
        f"(cluster.price), and the head for {short(hours)} hours{'' if wall_hours else ' at least'}."
    )


def short(value: float) -> str:
    """1_234_000_000 -> `1.23B`, 45.6 -> `46`, 0.034 -> `0.034`, 0 -> ``"""
    if not value:
        return ""
    for size, unit in UNITS:
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.2g}"
