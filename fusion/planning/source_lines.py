"""A line for each step of answers: tokens, GPU-hours, time, money, each with its interval, and what they rest on."""

from __future__ import annotations

from collections.abc import Collection

from fusion.cluster_config import ClusterConfig, Price
from fusion.planning.prospect import Prospect
from fusion.planning.remaining import costs
from fusion.planning.step_forecast import StepForecast
from fusion.planning.table import short
from fusion.report.number_text import duration, significant
from fusion.stages.generate import GenerateConfig
from fusion.step import Placement, Step


def source_lines(prospect: Prospect, steps: Collection[Step], cluster: ClusterConfig) -> list[str]:
    """Of those of `steps` at which a model answers."""
    placed = {step.fingerprint: step.placement for step in steps if isinstance(step.config, GenerateConfig)}
    return [
        source_line(one, placed[one.fingerprint], cluster.price) for one in prospect.steps if one.fingerprint in placed
    ]


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
