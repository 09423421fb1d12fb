"""The trained models of several finished runs, with their scores on the same prompts and what they stand on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fusion import location
from fusion.costs.account import Account, Used, read_accounts
from fusion.errors import ConfigError
from fusion.evaluation.compare import ROLES, ModelScores
from fusion.ledger.tables import RunTables
from fusion.stages.evaluate import scored

PROMPTS = "prompts/evaluation"


@dataclass(frozen=True)
class Contender:
    """One model of one run.

    `stands_on` holds the fingerprints of all steps that led to it: none for the target as it is published.
    """

    name: str
    scores: ModelScores
    stands_on: frozenset[str]


def contenders(runs: Sequence[RunTables]) -> list[Contender]:
    """The target as it is published, then what each run trained; a model that several runs share stands there once.

    Raises:
        ConfigError: a run evaluated nothing, or other prompts, another target or by another verifier than the first.
    """
    found: dict[str, Contender] = {}
    first: dict[str, str] = {}
    for run in runs:
        made = fingerprints(run)
        marks = _marks(run, made)
        first = first or marks
        for what, mark in marks.items():
            if first.get(what) != mark:
                raise ConfigError(
                    f"{run.run.path.name} and {runs[0].run.path.name} have no common {what}, so their scores cannot be "
                    "paired by prompt; compare runs of one target, one evaluation and one seed"
                )
        for role in ROLES:
            model = "base" if role == "base" else made.get(f"checkpoint/{role}", "")
            if model and model not in found and _verdicts(run, role) is not None:
                name = role if role == "base" else f"{run.run.path.name} {role}"
                steps = frozenset[str]() if role == "base" else _ancestors(run, model)
                found[model] = Contender(name, _scores(run, role), steps)
    return list(found.values())


def fingerprints(run: RunTables) -> dict[str, str]:
    """Step name -> fingerprint, further names of a step included."""
    steps: Sequence[Mapping[str, str]] = run.run.result["steps"]  # type: ignore[assignment]
    return {
        name: step["fingerprint"]
        for step in steps
        for name in (f"{step['kind']}/{step['label']}", *step.get("also", []))
    }


def spent(runs: Sequence[RunTables]) -> Account:
    """What the runs used together, by step."""
    total = Account()
    for run in runs:
        total += read_accounts(str(run.run.path / "spent"))
    return total


def used(steps: frozenset[str], account: Account) -> Used:
    """What these steps used; one that an unnamed run made counts as nothing."""
    total = Used()
    for fingerprint in steps:
        if fingerprint in account.steps:
            total += account.steps[fingerprint].used
    return total


# -- private -----------------------------------------------------------------------------------------------------------


def _marks(run: RunTables, made: Mapping[str, str]) -> dict[str, str]:
    verdicts = _verdicts(run, "base")
    if PROMPTS not in made or verdicts is None:
        raise ConfigError(f"{run.run.path.name} evaluated no trained model, so there is nothing to compare")
    return {"evaluation prompts": made[PROMPTS], "target's answers and verdicts": made[verdicts]}


def _verdicts(run: RunTables, role: str) -> str | None:
    """Name of the step that judged a role's answers."""
    prefix = f"rewards/evaluation-{role}-"
    return next((name for name in run.artifacts if name.startswith(prefix)), None)


def _scores(run: RunTables, role: str) -> ModelScores:
    verdicts = _verdicts(run, role)
    assert verdicts is not None
    return scored(*(run.tables[name] for name in (PROMPTS, f"responses/evaluation-{role}", verdicts)))


def _ancestors(run: RunTables, fingerprint: str) -> frozenset[str]:
    """A step and all that it was made from, as the store's recipes say."""
    where = {known: run.artifacts[name].path for name, known in fingerprints(run).items()}
    met: set[str] = set()
    waiting = [fingerprint]
    while waiting:
        one = waiting.pop()
        if one not in met:
            met.add(one)
            waiting += json.loads(location.get(location.join(where[one], "recipe.json")))["recipe"]["inputs"].values()
    return frozenset(met)
