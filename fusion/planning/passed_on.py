"""What measured answers say of the steps that read them: judges, log-probabilities, training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fusion.planning.estimate import Estimate, total
from fusion.planning.measured import Measured
from fusion.planning.step_forecast import StepForecast
from fusion.stages.score import ScoreConfig
from fusion.step import Step, topological

READERS = ("logprobs", "source_logprobs", "checkpoint", "distributions")
"""Kinds of steps that read chosen answers of all sources."""


def passed_on(
    one: StepForecast, step: Step, assumed: Mapping[str, StepForecast], known: Mapping[str, Measured]
) -> StepForecast:
    """The forecast of a step that is not answers, with an interval where the length of what it reads was measured.

    A judge reads the answers of one source, and these count as they are. What trains is chosen from the answers of all:
    its length is taken to be as uncertain as theirs, and that the chosen are as long as the others is assumed.

    Args:
        assumed: all forecasts as they were before anything was measured, by fingerprint.
        known: what was measured, by fingerprint of the step of answers.
    """
    if one.measured is not None or not one.tokens or not one.fits:
        return one
    if isinstance(step.config, ScoreConfig):
        answers = step.inputs["responses"].fingerprint
        if answers not in known:
            return one
        prompts = one.tokens - assumed[answers].written
        return _ranged(one, known[answers].tokens.plus(prompts))
    if step.kind not in READERS:
        return one
    read = [known[other.fingerprint].tokens for other in topological([step]) if other.fingerprint in known]
    answers_of_all = total(read)
    return _ranged(one, answers_of_all.scaled(one.tokens / answers_of_all.value)) if answers_of_all.value else one


def at_seen_pace(one: StepForecast, share: float, gpu_hours: float) -> StepForecast:
    """What is left of a step of which `share` took `gpu_hours`; nothing is known of a step that has not begun."""
    if one.measured is not None or not one.tokens or not gpu_hours or not 0 < share < 1:
        return one
    tokens = one.tokens_range or Estimate(one.tokens, one.tokens, one.tokens)
    left = tokens.scaled(1 - share)
    hours = left.scaled(gpu_hours / share / one.tokens)
    return replace(
        one,
        rows=None if one.rows is None else round(one.rows * (1 - share)),
        tokens=left.value,
        tokens_range=left if one.tokens_range else None,
        gpu_hours=hours.value,
        gpu_hours_range=hours if one.tokens_range else None,
        hours=hours.value / max(1, one.gpus),
        pace_seen=True,
    )


def _ranged(one: StepForecast, tokens: Estimate) -> StepForecast:
    """Time in proportion to tokens, as fast as was assumed."""
    part = tokens.scaled(1 / one.tokens)
    gpu_hours = None if one.gpu_hours is None else part.scaled(one.gpu_hours)
    return replace(
        one,
        tokens=tokens.value,
        tokens_range=tokens,
        gpu_hours=None if gpu_hours is None else gpu_hours.value,
        gpu_hours_range=gpu_hours,
        hours=None if one.hours is None else one.hours * part.value,
    )
