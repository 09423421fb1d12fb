"""Select: from scored responses to SFT rows and preference pairs.

Keys and rewards go through the rule as columns; text is fetched for the winners only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from fusion.artifact import Artifact, Receipt
from fusion.errors import ConfigError
from fusion.runtime import Runtime
from fusion.schema import PREFERENCE_PAIR, SFT_EXAMPLE, Reason
from fusion.selection.base import Selection
from fusion.selection.pairs import select
from fusion.selection.unused import unused
from fusion.selection.why import DETAIL
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
    texts = _Texts(inputs, config)
    for work in works:
        work.rows_out.totals.update(unused(frame, config.selection))
        if work.step.produces is SFT_EXAMPLE:
            _commit(work.rows_out, texts.sft_rows(selected.sft), selected.sft_drops, prompts)
        else:
            _commit(work.rows_out, texts.pair_rows(selected.pairs), selected.pair_drops, prompts)


def check(config: SelectConfig) -> None:
    """Raises:
    ConfigError: the rule reads a reward that is not computed.
    """
    if missing := sorted(config.selection.rewards() - set(config.rewards)):
        raise ConfigError(
            f"selection={config.rule} reads reward {missing[0]!r}, which this recipe does not compute (it has "
            f"{', '.join(config.rewards) or 'none'}); add it to reward=[...] or set selection.rank_by / correct_by"
        )


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
    import polars as pl

    frame = pl.from_arrow(inputs["prompts"].read(["dataset", "domain"]))
    assert isinstance(frame, pl.DataFrame)
    return frame


def _commit(out: ArtifactWriter, rows: pa.Table, drops: pl.DataFrame, prompts: pl.DataFrame) -> None:
    out.expect(prompts["prompt_id"].to_list())
    reasons = [(row["prompt_id"], Reason(row["reason"])) for row in drops.iter_rows(named=True)]
    dropped = [((prompt,), reason, DETAIL.get(reason, "")) for prompt, reason in reasons]
    # Committed before an interruption? The selection is a pure function, so the parts have the same content and name.
    out.accept(Receipt(parts=out.folder.write(rows), drops=out.folder.write_drops(dropped)))


class _Texts:
    """Fetches messages, texts and rewards of selected keys."""

    def __init__(self, inputs: Mapping[str, Artifact], config: SelectConfig) -> None:
        self._inputs = inputs
        self._config = config

    def sft_rows(self, picks: pl.DataFrame) -> pa.Table:
        prompts, answers = self._messages(picks), self._answers(picks, "source", "sample_index")
        rows = []
        for pick in picks.iter_rows(named=True):
            text, rewards = answers[pick["prompt_id"], pick["source"], pick["sample_index"]]
            rows.append(
                pick | prompts[pick["prompt_id"]] | {"response": text, "rewards": rewards, "rule": self._config.rule}
            )
        return SFT_EXAMPLE.build(rows)

    def pair_rows(self, pairs: pl.DataFrame) -> pa.Table:
        prompts = self._messages(pairs)
        chosen = self._answers(pairs, "chosen_source", "chosen_index")
        rejected = self._answers(pairs, "rejected_source", "rejected_index")
        rows = []
        for pair in pairs.iter_rows(named=True):
            won, won_rewards = chosen[pair["prompt_id"], pair["chosen_source"], pair["chosen_index"]]
            lost, lost_rewards = rejected[pair["prompt_id"], pair["rejected_source"], pair["rejected_index"]]
            texts = {"chosen": won, "rejected": lost, "chosen_rewards": won_rewards, "rejected_rewards": lost_rewards}
            rows.append(pair | prompts[pair["prompt_id"]] | texts | {"rule": self._config.rule})
        return PREFERENCE_PAIR.build(rows)

    def _messages(self, wanted: pl.DataFrame) -> dict[str, dict[str, object]]:
        table = self._inputs["prompts"].read(["messages", "domain"])
        kept = table.filter(pc.is_in(table["prompt_id"], wanted["prompt_id"].to_arrow().cast(pa.string())))
        return {row["prompt_id"]: {"messages": row["messages"], "domain": row["domain"]} for row in kept.to_pylist()}

    def _answers(
        self, wanted: pl.DataFrame, source_column: str, index_column: str
    ) -> dict[tuple[str, str, int], tuple[str, list[dict[str, object]]]]:
        import polars as pl

        keys = ["prompt_id", "source", "sample_index"]
        columns = [
            pl.col("prompt_id"),
            pl.col(source_column).alias("source"),
            pl.col(index_column).alias("sample_index"),
        ]
        asked = wanted.select(columns).unique()
        found: dict[tuple[str, str, int], tuple[str, list[dict[str, object]]]] = {}
        for source in self._config.sources:
            mine = asked.filter(pl.col("source") == source)
            frame = mine.join(pl.from_arrow(self._inputs[f"responses:{source}"].read(["text"])), on=keys)
            for reward in self._config.rewards:
                scores = pl.from_arrow(self._inputs[f"rewards:{source}:{reward}"].read(["outcome", "value"]))
                frame = frame.join(scores, on=keys, how="left", suffix=f":{reward}")
                frame = frame.rename({"outcome": f"outcome:{reward}", "value": f"value:{reward}"})
            for row in frame.iter_rows(named=True):
                rewards = [
                    {"reward": name, "outcome": row[f"outcome:{name}"], "value": row[f"value:{name}"]}
                    for name in self._config.rewards
                ]
                found[row["prompt_id"], row["source"], row["sample_index"]] = (row["text"], rewards)
        return found
