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
from fusion.plan import committed
from fusion.planning.assumptions import Assumptions, Domain
from fusion.planning.forecast import forecast
from fusion.planning.measured import Measured, domains_of, measured
from fusion.planning.passed_on import at_seen_pace, passed_on
from fusion.planning.remaining import remaining
from fusion.planning.step_forecast import StepForecast
from fusion.planning.tokens import Domains
from fusion.recipe import Recipe
from fusion.schema import PROMPT
from fusion.stages.ingest import IngestConfig
from fusion.step import Step, topological
from fusion.table import Table


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
    known: dict[str, Measured] = {}
    for step in steps:
        paces = spent.steps[step.fingerprint].paces if step.fingerprint in spent.steps else ()
        if one := measured(config.store.path, step, paces, config.planning.calibration_prompts):
            known[step.fingerprint] = one
    assumed = _known(config.planning, config.store.path, steps, known)
    guesses = {one.fingerprint: one for one in forecast(recipe, assumed)}
    found = {fingerprint: one for fingerprint, one in known.items() if fingerprint not in done}
    made = []
    for step in steps:
        left = remaining(guesses[step.fingerprint], step, found.get(step.fingerprint))
        left = passed_on(left, step, guesses, known)
        if step.fingerprint not in done:
            left = at_seen_pace(left, *_so_far(config.store.path, step, spent))
        made.append(left)
    return Prospect(assumed, made, found)


def _so_far(store: str, step: Step, spent: Account) -> tuple[float, float]:
    """Share of a table that is there, and GPU-hours that it took."""
    use = spent.steps.get(step.fingerprint)
    if use is None or not use.used.gpu_seconds or not isinstance(step.produces, Table):
        return 0.0, 0.0
    rows, expected = committed(location.join(store, step.folder), step)
    return (rows / expected if expected else 0.0), use.used.gpu_hours


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
