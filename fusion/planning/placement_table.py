"""A placement plan as a table for a terminal, with what to type where the configured pools are others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from rich.table import Table
from rich.text import Text

from fusion.planning.placement import PlacementPlan
from fusion.step import Placement

TO_TAKE_IT = (
    "This is the estimate's best; the pools are set otherwise. To take it, type cluster.layout=PLANNED (what has a "
    "pool of its own name keeps it), or put this into DIR/cluster/mine.yaml below `defaults: [one_gpu_node, _self_]` "
    "(or what you have now), and type --config-dir DIR cluster=mine:"
)


def placement_table(plan: PlacementPlan, configured: Callable[[str], Placement]) -> Table:
    """When each source runs, on how many GPUs, and why.

    Args:
        configured: name of a source -> its placement as it is set.
    """
    table = Table(box=None, pad_edge=False, caption_justify="left", caption_style="")
    for column, justify in (
        ("source", "left"),
        ("hours", "left"),
        ("GPUs", "right"),
        ("engines", "left"),
        ("why", "left"),
    ):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for slot in plan.slots:
        option = slot.option
        engines = f"{option.replicas} x tp {option.tensor_parallel}"
        engines += f" pp {option.pipeline_parallel}" if option.pipeline_parallel > 1 else ""
        table.add_row(
            Text(slot.name),
            f"{slot.start_s / 3600:.1f} - {slot.end_s / 3600:.1f}",
            str(option.gpus),
            engines,
            Text(f"{slot.reason}; loads in {option.load_s / 60:.0f} min"),
        )
    lines = [f"{plan.reason}. GPUs idle or loading: {plan.idle_frac:.0%}."]
    changes = [
        _entry(slot.name, slot.settings, configured(slot.name))
        for slot in plan.slots
        if any(getattr(configured(slot.name), key) != value for key, value in slot.settings.items())
    ]
    if changes:
        lines += [TO_TAKE_IT, "pools:", *changes]
    table.caption = Text("\n".join(lines))
    return table


def _entry(name: str, settings: Mapping[str, int], now: Placement) -> str:
    """`  qwen25_72b: {cpus: 8, gpus: 4, replicas: 2}`: the placement as it is set, with new values."""
    neutral = Placement()
    values = {field.name: getattr(now, field.name) for field in dataclasses.fields(Placement)} | dict(settings)
    told = [f"{key}: {value:g}" for key, value in sorted(values.items()) if value != getattr(neutral, key)]
    return f"  {name}: {{{', '.join(told)}}}"
