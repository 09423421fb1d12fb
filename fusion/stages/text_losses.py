"""Losses on unseen texts, side by side: TOKEN_DISTRIBUTION of several models -> TEXT_LOSS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusion.artifact import Artifact, Receipt
from fusion.errors import StepFailed
from fusion.explicit.tables import TEXT_LOSS
from fusion.runtime import Runtime
from fusion.work import Work

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 2000
"""Of the bootstrap over texts."""


@dataclass(kw_only=True)
class TextLossesConfig:
    """Inputs are `distributions:<model>` of each model."""

    models: list[str]
    baseline: str
    seed: int = 42


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """Compare models on the texts that all of them could read.

    Raises:
        StepFailed: there is no such text.
    """
    for work in works:
        config, out = work.step.config, work.rows_out
        assert isinstance(config, TextLossesConfig)
        found = {name: _losses(work.table_in(f"distributions:{name}")) for name in config.models}
        keys = sorted(set.intersection(*(set(losses) for losses in found.values())))
        if not keys:
            raise StepFailed(f"{work.step.name}: no text was read by all of {', '.join(config.models)}")
        out.expect(config.models)
        rows = [row for row in compared(found, keys, config) if not out.is_done(str(row["model"]))]
        out.accept(Receipt(out.folder.write(TEXT_LOSS.build(rows))))


Losses = dict[str, tuple[float, int, int]]
"""prompt_id -> nats of the whole response, tokens, bytes."""


def _losses(table: Artifact) -> Losses:
    rows = table.read(["logprobs", "num_bytes"])
    sides = (rows[name].to_pylist() for name in ("prompt_id", "logprobs", "num_bytes"))
    return {key: (-math.fsum(logprobs), len(logprobs), size) for key, logprobs, size in zip(*sides, strict=True)}


def compared(found: dict[str, Losses], keys: Sequence[str], config: TextLossesConfig) -> list[dict[str, object]]:
    """TEXT_LOSS rows. Intervals are the 2.5% and 97.5% quantiles of a bootstrap over texts, paired for differences."""
    import numpy as np

    num_bytes = np.array([found[config.baseline][key][2] for key in keys], dtype=np.float64)
    nats = {name: np.array([losses[key][0] for key in keys]) for name, losses in found.items()}
    draws = np.random.default_rng(config.seed).integers(0, len(keys), (RESAMPLES, len(keys)))
    resampled_bytes = num_bytes[draws].sum(axis=1)
    per_byte = 1 / (math.log(2) * float(num_bytes.sum()))
    rows = []
    for name in config.models:
        num_tokens = sum(found[name][key][1] for key in keys)
        bits = _bits(nats[name], draws, resampled_bytes)
        less = _bits(nats[name] - nats[config.baseline], draws, resampled_bytes)
        is_baseline = name == config.baseline
        total = float(nats[name].sum())
        rows.append(
            {
                "model": name,
                "nats_per_token": total / num_tokens,
                "bits_per_byte": total * per_byte,
                "low": float(np.quantile(bits, 0.025)),
                "high": float(np.quantile(bits, 0.975)),
                "difference": None if is_baseline else (total - float(nats[config.baseline].sum())) * per_byte,
                "difference_low": None if is_baseline else float(np.quantile(less, 0.025)),
                "difference_high": None if is_baseline else float(np.quantile(less, 0.975)),
                "baseline": config.baseline,
                "n": len(keys),
                "num_tokens": num_tokens,
                "num_bytes": int(num_bytes.sum()),
            }
        )
    return rows


def _bits(nats: np.ndarray, draws: np.ndarray, num_bytes: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.asarray(nats[draws].sum(axis=1) / num_bytes / math.log(2))
