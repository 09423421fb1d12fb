"""Preference optimisation of a model on pairs (triples) of answers: a table with a text column for each role of the
objective, a checkpoint, LOGPROB and SOURCE_LOGPROB where the objective needs them -> checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fusion import registry
from fusion.chat import Renderer
from fusion.errors import ConfigError
from fusion.modelfiles import DEFAULT_CACHE, prepare
from fusion.models import ChatConfig, ModelRef
from fusion.objectives.base import Objective
from fusion.runtime import Runtime
from fusion.schema import PREFERENCE_PAIR, key_string
from fusion.step import Tree
from fusion.table import Table
from fusion.train.config import PreferenceConfig
from fusion.train.driving import train
from fusion.train.job import TrainJob
from fusion.train.rows import TokenRow, pair_rows, with_references, with_sources
from fusion.work import Work


@dataclass(kw_only=True)
class TrainPreferenceConfig:
    """The step's config."""

    chat: ChatConfig
    objective: Objective
    train: PreferenceConfig
    model: ModelRef | None = None
    """Where training starts when there is no input `model` (SFT was left out); null: at that input."""
    cache: str = field(default=DEFAULT_CACHE, metadata={"identity": False})
    """Folder of prepared models on each machine."""


def check(objective: Objective, table: Table | Tree, has_sources: bool, recipe: str) -> None:
    """Raises:
    ConfigError: the objective reads what this recipe does not make.
    """
    assert isinstance(table, Table)
    lacking = [f"a column {role}" for role in objective.roles if role not in table.schema.names]
    if objective.needs_sources and not has_sources:
        lacking.append("log-probabilities of sources other than the target")
    if lacking:
        raise ConfigError(
            f"objective={registry.name_of('objective', objective)} needs {lacking[0]}, which recipe={recipe} does not "
            f"make (it makes a {table.name}); choose another objective or recipe"
        )


def starting_model(work: Work, model: ModelRef | None, cache: str) -> tuple[ModelRef | str, Path]:
    """What a training process is told to load, and its folder on this machine.

    Raises:
        ConfigError: the step has neither an input `model` nor a model in its config.
    """
    if "model" in work.inputs:
        model_in = work.model_in("model")
        return model_in.place, model_in.files
    if model is None:
        raise ConfigError(f"{work.step.name} has no model to start from: give it an input `model`, or config.model")
    return model, prepare(model, Path(cache))


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """Train one model a work on its inputs `pairs`, `reference` where the objective needs one, and `source:<name>` for
    each source where it needs those.

    Raises:
        StepFailed: no pair is left, training diverged, or the run was stopped.
        ArtifactError: a pair has no reference log-probability.
    """
    for work in works:
        config = work.step.config
        assert isinstance(config, TrainPreferenceConfig)
        model, folder = starting_model(work, config.model, config.cache)
        trust = config.model is not None and config.model.trust_remote_code
        renderer = Renderer.load(folder, config.chat, trust)
        table = work.table_in("pairs").read().to_pylist()
        rows, dropped = pair_rows(table, renderer, config.objective.roles, config.train.max_length)
        job = TrainJob(
            model=model,
            cache=config.cache,
            work=work.files_out.work_place,
            files=work.files_out.place,
            config=config.train,
            objective=config.objective,
            chat_template=config.chat.template,
            end_of_turn_ids=renderer.end_of_turn_ids,
            use_gpu=work.step.placement.gpus > 0,
            trust_remote_code=trust,
            choice=config.train.choice,
        )
        if config.objective.needs_reference:
            rows = _with_references(work, rows, dropped)
        if config.objective.needs_sources:
            rows = _with_sources(work, rows, table, config.objective.roles)
        train(work, runtime, job, rows, dropped)


def _with_references(work: Work, rows: list[TokenRow], dropped: Counter[str]) -> list[TokenRow]:
    reference = work.table_in("reference")
    known = reference.read()
    sums = dict(zip(known["tokens_id"].to_pylist(), known["logprob_sum"].to_pylist(), strict=True))
    return with_references(rows, sums, set(reference.drops()["key"].to_pylist()), dropped)


def _with_sources(
    work: Work, rows: list[TokenRow], table: list[dict[str, object]], roles: Sequence[str]
) -> list[TokenRow]:
    means = []
    for name in sorted(name for name in work.inputs if name.startswith("source:")):
        known = work.table_in(name).read().to_pylist()
        means.append({(row["prompt_id"], row["text_hash"]): row["logprob_sum"] / row["num_tokens"] for row in known})
    key = PREFERENCE_PAIR.key
    texts = {key_string([pair[column] for column in key]): [str(pair[role]) for role in roles] for pair in table}
    return with_sources(rows, texts, means)
