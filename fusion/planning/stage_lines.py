"""A line for each step of answers and for each that takes GPUs: tokens, GPU-hours, time, money, each with its interval
where there is one, and what they rest on; and a line for all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from fusion.cluster_config import ClusterConfig, Price
from fusion.planning.estimate import Estimate, total
from fusion.planning.prospect import Prospect
from fusion.planning.remaining import costs
from fusion.planning.step_forecast import StepForecast
from fusion.planning.table import short
from fusion.report.number_text import duration, significant
from fusion.stages.generate import GenerateConfig
from fusion.step import Placement, Step

RESTS_ON = {
    (False, False): "assumed",
    (True, False): "lengths measured, pace assumed",
    (False, True): "pace measured, lengths assumed",
    (True, True): "lengths and pace measured",
}


def stage_lines(prospect: Prospect, steps: Collection[Step], cluster: ClusterConfig) -> list[str]:
    """Of `steps`, in the order of the recipe; the last is of all of them."""
    wanted = {step.fingerprint: step for step in steps}
    lines, left = [], [one for one in prospect.steps if one.fingerprint in wanted]
    for one in left:
        step = wanted[one.fingerprint]
        if isinstance(step.config, GenerateConfig):
            lines.append(source_line(one, step.placement, cluster.price))
        elif one.gpu_hours:
            lines.append(stage_line(one, cluster.price))
    return [*lines, total_line(left)] if any(one.gpu_hours for one in left) else lines


def stage_line(one: StepForecast, price: Price) -> str:
    """`rewards/qwen-armorm: 380M tokens [371M, 389M], 3.9 GPU-hours [3.8, 4], 1 h 57 min, 27 USD, 0.03 GiB (lengths
    measured, pace assumed)`"""
    hours, usd = one.gpu_hours or 0.0, one.usd(price)
    parts = [
        _with_range(one.tokens, one.tokens_range, short, " tokens"),
        _with_range(hours, one.gpu_hours_range, significant, " GPU-hours"),
        duration(3600 * (one.hours or 0.0)),
        *([f"{significant(usd)} USD"] if usd else []),
        *([f"{short(one.disk_gib)} GiB"] if one.disk_gib else []),
    ]
    return f"{one.name}: {', '.join(parts)} ({RESTS_ON[one.tokens_range is not None, one.pace_seen]})"


def total_line(left: Sequence[StepForecast]) -> str:
    """`all that is left: 5.17B tokens [5.1B, 5.24B], 336 GPU-hours [330, 342], 243 GiB (of 21 steps that take GPUs 5
    are measured; the others' part has no interval)`"""
    tokens = total([_known(one.tokens, one.tokens_range) for one in left])
    hours = total([_known(one.gpu_hours or 0.0, one.gpu_hours_range) for one in left])
    on_gpus = [one for one in left if one.gpu_hours]
    seen = sum(one.gpu_hours_range is not None for one in on_gpus)
    rest = f"of {len(on_gpus)} steps that take GPUs {seen} are measured; the others' part has no interval"
    return (
        f"all that is left: {_with_range(tokens.value, tokens if seen else None, short, ' tokens')}, "
        f"{_with_range(hours.value, hours if seen else None, significant, ' GPU-hours')}, "
        f"{short(sum(one.disk_gib for one in left)) or 0} GiB ({rest if seen else 'assumed'})"
    )


def _known(value: float, found: Estimate | None) -> Estimate:
    return found or Estimate(value, value, value)


def _with_range(value: float, found: Estimate | None, text: Callable[[float], str], unit: str = "") -> str:
    interval = f" [{text(found.low)}, {text(found.high)}]" if found is not None else ""
    return f"{text(value)}{unit}{interval}"


def source_line(one: StepForecast, placement: Placement, price: Price) -> str:
    """`responses/qwen: 12.3M tokens [11.8M, 12.9M], 0.4M of them written; left: 4.1 GPU-hours [3.9, 4.3], 31 min 00 s
    [29 min 00 s, 32 min 00 s], 28 USD [27, 30] (measured on 61 prompts, 4,800 tokens/s an engine)`"""
    found = one.measured
    if found is None:
        rest = [f"{significant(one.gpu_hours)} GPU-hours"] if one.gpu_hours else []
        rest += [duration(3600 * one.hours)] if one.hours else []
        if usd := one.usd(price):
            rest.append(f"{significant(usd)} USD")
        written = short(one.written) if one.rows else "unknown"
        return f"{one.name}: {', '.join([f'{written} tokens', *rest])} (assumed)"
    cost = costs(one, placement, found)
    amounts = (
        (cost.gpu_hours, significant, " GPU-hours"),
        (cost.hours, lambda hours: duration(3600 * hours), ""),
        (cost.usd(price), significant, " USD"),
    )
    parts = [
        f"{text(estimate.value)}{unit} [{text(estimate.low)}, {text(estimate.high)}]"
        for estimate, text, unit in amounts
        if estimate is not None and estimate.value
    ]
    total = f"{short(found.tokens.value)} tokens [{short(found.tokens.low)}, {short(found.tokens.high)}]"
    pace = f"{found.speed.value:,.0f} tokens/s an engine" if found.speed else "speed assumed"
    left = f"; left: {', '.join(parts)}" if parts else ""
    return (
        f"{one.name}: {total}, {short(found.written)} of them written{left} "
        f"(measured on {found.prompts} prompts, {pace})"
    )
