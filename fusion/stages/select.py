"""Select: from scored responses to SFT rows and preference pairs.

Keys and rewards go through the rule as columns; text is fetched for the winners only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from fusion.artifact import Artifact, Receipt
from fusion.errors import ConfigError
from fusion.runtime import Runtime
from fusion.schema import PREFERENCE_PAIR, SFT_EXAMPLE, Reason
from fusion.selection.base import Selection
from fusion.selection.pairs import select
from fusion.selection.unused import unused
from fusion.selection.why import DETAIL
from fusion.stages.answer_texts import AnswerTexts
from fusion.step import Step
from fusion.work import Work
from fusion.writer import ArtifactWriter

if TYPE_CHECKING:
    import polars as pl


@dataclass(kw_only=True)
class SelectConfig:
    """What is selected from what. `makes` tells the two steps of one selection apart."""

    makes: str
    """sft or pairs"""
    rule: str
    """Name of the rule, stored in each row."""
    selection: Selection
    sources: list[str]
    """In the order that breaks ties."""
    rewards: list[str]


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """Inputs: `prompts`; `responses:<source>` and `rewards:<source>:<reward>` for each."""
    config: SelectConfig = works[0].step.config  # type: ignore[assignment]
    check(config)
    inputs = {name: works[0].table_in(name) for name in works[0].inputs}
    prompts = prompt_frame(inputs)
    frame = scored_frame(inputs, config.sources, config.rewards)
    selected = select(frame, prompts, config.selection)
    texts = AnswerTexts(inputs, config.sources, config.rewards)
    for work in works:
        work.rows_out.totals.update(unused(frame, config.selection))
        if work.step.produces is SFT_EXAMPLE:
            rows = SFT_EXAMPLE.build(texts.sft_rows(selected.sft, config.rule))
            commit(work.rows_out, rows, selected.sft_drops, prompts)
        else:
            rows = PREFERENCE_PAIR.build(texts.pair_rows(selected.pairs, config.rule))
            commit(work.rows_out, rows, selected.pair_drops, prompts)


def check(config: SelectConfig) -> None:
    """Raises:
    ConfigError: a rule reads a reward that is not computed.
    """
    for key, rule in config.selection.by_key().items():
        if missing := sorted(rule.rewards() - set(config.rewards)):
            raise ConfigError(
                f"{key} reads {', '.join(missing)}, which this recipe does not compute (it has "
                f"{', '.join(config.rewards) or 'none'}); add to reward=[...], or leave out of selection.rank_by "
                f"(selection.rank_by=recorded: what came with stored answers), selection.clean_by or {key}.correct_by"
            )


def scored_inputs(
    prompts: Step, responses: Mapping[str, Step], rewards: Mapping[str, Mapping[str, Step]]
) -> dict[str, Step]:
    """Inputs of a step that selects."""
    inputs = {"prompts": prompts}
    for source, step in responses.items():
        inputs[f"responses:{source}"] = step
        inputs |= {f"rewards:{source}:{name}": judged for name, judged in rewards[source].items()}
    return inputs


def scored_frame(inputs: Mapping[str, Artifact], sources: Sequence[str], rewards: Sequence[str]) -> pl.DataFrame:
    """One row a response, as `fusion.selection.base` describes, without its text."""
    import polars as pl

    keys = ["prompt_id", "source", "sample_index"]
    frames = []
    for order, source in enumerate(sources):
        responses = pl.from_arrow(inputs[f"responses:{source}"].read(["text", "num_tokens", "finish_reason"]))
        assert isinstance(responses, pl.DataFrame)
        folded = pl.col("text").str.replace_all(r"\s+", " ").str.strip_chars()
        frame = responses.with_columns(
            pl.lit(order).alias("source_order"),
            folded.str.len_chars().alias("length"),
            folded.hash().alias("folded"),
        ).drop("text")
        for reward in rewards:
            scores = pl.from_arrow(inputs[f"rewards:{source}:{reward}"].read(["outcome", "value"]))
            assert isinstance(scores, pl.DataFrame)
            named = scores.rename({"outcome": f"outcome:{reward}", "value": f"value:{reward}"})
            frame = frame.join(named, on=keys, how="left")
        frames.append(frame)
    return pl.concat(frames).join(prompt_frame(inputs), on="prompt_id")


def prompt_frame(inputs: Mapping[str, Artifact]) -> pl.DataFrame:
    """prompt_id, dataset, domain of every prompt that came in."""
    import polars as pl

    frame = pl.from_arrow(inputs["prompts"].read(["dataset", "domain"]))
    assert isinstance(frame, pl.DataFrame)
    return frame


def commit(out: ArtifactWriter, rows: pa.Table, drops: pl.DataFrame, prompts: pl.DataFrame) -> None:
    """Account for every prompt: its rows, or why there are none."""
    out.expect(prompts["prompt_id"].to_list())
    reasons = [(row["prompt_id"], Reason(row["reason"])) for row in drops.iter_rows(named=True)]
    dropped = [((prompt,), reason, DETAIL.get(reason, "")) for prompt, reason in reasons]
    # Committed before an interruption? The selection is a pure function, so the parts have the same content and name.
    out.accept(Receipt(parts=out.folder.write(rows), drops=out.folder.write_drops(dropped)))
