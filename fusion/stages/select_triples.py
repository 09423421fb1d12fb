"""Select WRPO's triples: the sources' answers and the SFT model's own -> PREFERENCE_TRIPLE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusion.artifact import Artifact
from fusion.runtime import Runtime
from fusion.selection.triples import select_triples
from fusion.stages.answer_texts import AnswerTexts
from fusion.stages.select import SelectConfig, check, commit, prompt_frame, scored_frame
from fusion.training_tables import PREFERENCE_TRIPLE
from fusion.work import Work

if TYPE_CHECKING:
    import polars as pl

OWN = "on_policy"
"""Label of the target's own answers among the inputs: a source may have the target's name."""


@dataclass(kw_only=True)
class SelectTriplesConfig(SelectConfig):
    """As `SelectConfig`; `makes` is `triples`."""

    target: str
    """Name of the target in the `source` column of its own answers."""


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """Inputs: `prompts`; `responses:<source>` and `rewards:<source>:<reward>` for each, and for `on_policy`."""
    for work in works:
        config = work.step.config
        assert isinstance(config, SelectTriplesConfig)
        check(config)
        inputs = {name: work.table_in(name) for name in work.inputs}
        prompts, own = prompt_frame(inputs), _own_inputs(inputs, config.target)
        selected = select_triples(
            scored_frame(inputs, config.sources, config.rewards),
            scored_frame(own, [config.target], config.rewards),
            prompts,
            config.selection,
        )
        theirs = AnswerTexts(inputs, config.sources, config.rewards)
        rows = _rows(selected.triples, theirs, AnswerTexts(own, [config.target], config.rewards), config)
        commit(work.rows_out, PREFERENCE_TRIPLE.build(rows), selected.drops, prompts)


def _own_inputs(inputs: Mapping[str, Artifact], target: str) -> dict[str, Artifact]:
    """The target's answers and rewards under its own name."""
    named = {"prompts": inputs["prompts"]}
    for name, artifact in inputs.items():
        kind, *rest = name.split(":")
        if rest[:1] == [OWN]:
            named[":".join([kind, target, *rest[1:]])] = artifact
    return named


def _rows(
    triples: pl.DataFrame, theirs: AnswerTexts, own: AnswerTexts, config: SelectTriplesConfig
) -> list[dict[str, object]]:
    import polars as pl

    prompts = own.messages(triples)
    from_target = triples.with_columns(pl.lit(config.target).alias("target"))
    source = theirs.answers(triples, "source_chosen_source", "source_chosen_index")
    best = own.answers(from_target, "target", "target_chosen_index")
    worst = own.answers(from_target, "target", "rejected_index")
    rows = []
    for triple in triples.iter_rows(named=True):
        key = triple["prompt_id"]
        found = {
            "source_chosen": source[key, triple["source_chosen_source"], triple["source_chosen_index"]],
            "target_chosen": best[key, config.target, triple["target_chosen_index"]],
            "rejected": worst[key, config.target, triple["rejected_index"]],
        }
        texts: dict[str, object] = {role: text for role, (text, _) in found.items()}
        rewards: dict[str, object] = {f"{role}_rewards": scored for role, (_, scored) in found.items()}
        rows.append(triple | prompts[key] | texts | rewards | {"rule": config.rule})
    return rows
