"""A recipe's forecast as far as the store knows better than the assumptions: prompts that are read, answers that are
committed, and how fast they came."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from statistics import fmean

from fusion import location
from fusion.artifact import open_artifact
from fusion.costs.account import Account
from fusion.planning.assumptions import Assumptions, Domain
from fusion.planning.forecast import forecast
from fusion.planning.measured import Measured, domains_of, measured
from fusion.planning.remaining import remaining
from fusion.planning.step_forecast import StepForecast
from fusion.planning.tokens import Domains
from fusion.recipe import Recipe
from fusion.schema import PROMPT
from fusion.stages.ingest import IngestConfig
from fusion.step import Step, topological


@dataclass(frozen=True)
class Prospect:
    """What is to come. `steps` are all of the recipe, inputs first."""

    assumed: Assumptions
    """As configured, with what is known by now in the place of what was assumed."""
    steps: list[StepForecast]
    measured: Mapping[str, Measured]
    """By fingerprint."""


def prospect(recipe: Recipe, spent: Account, done: Collection[str] = ()) -> Prospect:
    """Reads the store, changes nothing.

    Args:
        spent: by earlier runs of the experiment.
        done: fingerprints of the steps that are not to be done.
    """
    config, steps = recipe.config, topological(recipe.targets)
    found: dict[str, Measured] = {}
    for step in steps:
        paces = spent.steps[step.fingerprint].paces if step.fingerprint in spent.steps else ()
        least = config.planning.calibration_prompts
        if step.fingerprint not in done and (one := measured(config.store.path, step, paces, least)):
            found[step.fingerprint] = one
    assumed = _known(config.planning, config.store.path, steps, found)
    made = zip(steps, forecast(recipe, assumed), strict=True)
    return Prospect(assumed, [remaining(one, step, found.get(step.fingerprint)) for step, one in made], found)


def _known(assumed: Assumptions, store: str, steps: list[Step], found: Mapping[str, Measured]) -> Assumptions:
    told = {"train": assumed.prompts, "evaluation": assumed.evaluation}
    for step in steps:
        if isinstance(step.config, IngestConfig) and step.label in told:
            told[step.label] = _domains(store, step, told[step.label], _lengths(step, steps, found))
    speeds = {step.label: one.speed.value for step in steps if (one := found.get(step.fingerprint)) and one.speed}
    return replace(
        assumed, prompts=told["train"], evaluation=told["evaluation"], tokens_per_s=assumed.tokens_per_s | speeds
    )


def _domains(store: str, step: Step, told: Domains, lengths: Mapping[str, float]) -> dict[str, Domain]:
    """How many prompts there are, once they are read, and how long their answers are, once some are given."""
    prompts = open_artifact(location.join(store, step.folder), PROMPT)
    if prompts is None:
        return dict(told)
    rows = Counter(domains_of(prompts).values())
    scaled = {name: told[name].scaled(number) if name in told else Domain(rows=number) for name, number in rows.items()}
    return {
        name: replace(domain, answer_tokens=lengths.get(name, domain.answer_tokens)) for name, domain in scaled.items()
    }


def _lengths(prompts: Step, steps: list[Step], found: Mapping[str, Measured]) -> dict[str, float]:
    """Mean tokens of an answer by domain, of all who were asked these prompts: each counts alike."""
    means: dict[str, list[float]] = {}
    for step in steps:
        one = found.get(step.fingerprint)
        if one is not None and _read_from(step).fingerprint == prompts.fingerprint:
            for domain, length in one.lengths.items():
                means.setdefault(domain, []).append(length)
    return {domain: fmean(values) for domain, values in means.items()}


def _read_from(step: Step) -> Step:
    """Where the prompts of a step were read."""
    while "prompts" in step.inputs:
        step = step.inputs["prompts"]
    return step
