"""Fetches messages, texts and rewards of selected keys: text is read for the winners only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from fusion.artifact import Artifact

if TYPE_CHECKING:
    import polars as pl

Answer = tuple[str, list[dict[str, object]]]
"""Text, and its rewards as the SCORED column holds them."""


class AnswerTexts:
    """What the selected keys stand for.

    Args:
        inputs: `prompts`, and for each source `responses:<source>` and `rewards:<source>:<reward>`.
    """

    def __init__(self, inputs: Mapping[str, Artifact], sources: Sequence[str], rewards: Sequence[str]) -> None:
        self._inputs = inputs
        self._sources = sources
        self._rewards = rewards

    def messages(self, wanted: pl.DataFrame) -> dict[str, dict[str, object]]:
        """prompt_id -> messages and domain of the prompts in `wanted`."""
        table = self._inputs["prompts"].read(["messages", "domain"])
        kept = table.filter(pc.is_in(table["prompt_id"], wanted["prompt_id"].to_arrow().cast(pa.string())))
        return {row["prompt_id"]: {"messages": row["messages"], "domain": row["domain"]} for row in kept.to_pylist()}

    def answers(
        self, wanted: pl.DataFrame, source_column: str, index_column: str
    ) -> dict[tuple[str, str, int], Answer]:
        """(prompt_id, source, sample_index) -> answer, for the keys in three columns of `wanted`."""
        import polars as pl

        keys = ["prompt_id", "source", "sample_index"]
        columns = [
            pl.col("prompt_id"),
            pl.col(source_column).alias("source"),
            pl.col(index_column).alias("sample_index"),
        ]
        asked = wanted.select(columns).unique()
        found: dict[tuple[str, str, int], Answer] = {}
        for source in self._sources:
            mine = asked.filter(pl.col("source") == source)
            frame = mine.join(pl.from_arrow(self._inputs[f"responses:{source}"].read(["text"])), on=keys)
            for reward in self._rewards:
                scores = pl.from_arrow(self._inputs[f"rewards:{source}:{reward}"].read(["outcome", "value"]))
                frame = frame.join(scores, on=keys, how="left", suffix=f":{reward}")
                frame = frame.rename({"outcome": f"outcome:{reward}", "value": f"value:{reward}"})
            for row in frame.iter_rows(named=True):
                rewards = [
                    {"reward": name, "outcome": row[f"outcome:{name}"], "value": row[f"value:{name}"]}
                    for name in self._rewards
                ]
                found[row["prompt_id"], row["source"], row["sample_index"]] = (row["text"], rewards)
        return found

    def sft_rows(self, picks: pl.DataFrame, rule: str) -> list[dict[str, object]]:
        """SFT_EXAMPLE rows, and whatever columns `picks` has beside."""
        prompts, answers = self.messages(picks), self.answers(picks, "source", "sample_index")
        rows = []
        for pick in picks.iter_rows(named=True):
            text, rewards = answers[pick["prompt_id"], pick["source"], pick["sample_index"]]
            rows.append(pick | prompts[pick["prompt_id"]] | {"response": text, "rewards": rewards, "rule": rule})
        return rows

    def pair_rows(self, pairs: pl.DataFrame, rule: str) -> list[dict[str, object]]:
        """PREFERENCE_PAIR rows, and whatever columns `pairs` has beside."""
        prompts = self.messages(pairs)
        chosen = self.answers(pairs, "chosen_source", "chosen_index")
        rejected = self.answers(pairs, "rejected_source", "rejected_index")
        rows = []
        for pair in pairs.iter_rows(named=True):
            won, won_rewards = chosen[pair["prompt_id"], pair["chosen_source"], pair["chosen_index"]]
            lost, lost_rewards = rejected[pair["prompt_id"], pair["rejected_source"], pair["rejected_index"]]
            texts = {"chosen": won, "rejected": lost, "chosen_rewards": won_rewards, "rejected_rewards": lost_rewards}
            rows.append(pair | prompts[pair["prompt_id"]] | texts | {"rule": rule})
        return rows
