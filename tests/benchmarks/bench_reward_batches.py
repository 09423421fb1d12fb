"""Reward scoring in length batches against fixed batches in arrival order: tokens/s as a ratio, at equal scores.

The mix of lengths is that of real answers of four models to AlpacaEval prompts, a byte of every eighth character being
a token. The model is a random Llama classifier: what is compared is padding, not the model. Both take turns in one
process; the best time of each counts, as the machine may be busy with other things. Goal: 1.5.
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # the tests are no installed package

from fusion.models import ModelRef
from fusion.rewards.base import Candidate, Scorer
from fusion.rewards.sequence_classifier import SequenceClassifier
from fusion.step import Placement
from tests.shared_data import ROOT
from tests.tiny import make_tokenizer

DATA = ROOT / "preference" / "alpaca_eval_multi_source.jsonl.gz"
ITEM_ROWS, FIXED_ROWS, REPEATS = 256, 16, 5
"""Rows that a scorer gets at once, as from the stage; rows of a fixed batch; passes of each variant."""
TOKEN_BUDGET = 4096
"""Half the default, since the answers are half as long as in tokens of four characters; the longest fixed batch has
twice as many."""
SOURCES = ("FuseChat-Llama-3.1-8B-Instruct", "gemma-7b-it", "Mixtral-8x7B-Instruct-v0.1", "gpt4_1106_preview")
TOLERANCE = 1e-3


def candidates() -> list[Candidate]:
    """One item: the answers of four models to 64 prompts, a prompt's together, as they are committed."""
    with gzip.open(DATA, "rt") as file:
        rows = [row for row in map(json.loads, file) if row["source"] in SOURCES]
    rows.sort(key=lambda row: (row["prompt_id"], SOURCES.index(row["source"])))
    return [
        Candidate(
            prompt_id=row["prompt_id"],
            messages=({"role": "user", "content": row["instruction"][::8]},),
            domain="instruction",
            dataset=row["dataset"],
            reference=None,
            source=row["source"],
            sample_index=0,
            text=row["response"][::8],
            finish_reason="stop",
        )
        for row in rows[:ITEM_ROWS]
    ]


def make_classifier(folder: Path) -> Path:
    """A random Llama classifier of about a million weights with a context of 2,048."""
    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    make_tokenizer(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=262, hidden_size=128, intermediate_size=384, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=2048, pad_token_id=0, num_labels=1,
    )  # fmt: skip
    LlamaForSequenceClassification(config).save_pretrained(folder)
    return folder


def scored(scorer: Scorer, rows: Sequence[Candidate], batch_rows: int) -> tuple[list[float], float]:
    """Values and seconds; the scorer gets `batch_rows` at a time."""
    started = time.perf_counter()
    found = [score for i in range(0, len(rows), batch_rows) for score in scorer.score(rows[i : i + batch_rows])]
    seconds = time.perf_counter() - started
    return [score.value for score in found if score.value is not None], seconds


def main() -> None:
    if not DATA.exists():
        print(f"reward batches: not measured, {DATA} is not at hand (set FUSION_DATA)")
        return
    rows = candidates()
    tokens = sum(len(row.text) + len(row.messages[0]["content"]) for row in rows)
    with tempfile.TemporaryDirectory() as folder:
        ref = ModelRef(uri=str(make_classifier(Path(folder))))
        ours = SequenceClassifier(model=ref, token_budget=TOKEN_BUDGET)
        # A budget without end keeps each call in one batch, whatever its padding.
        fixed = SequenceClassifier(model=ref, token_budget=10**9)
        with ours.open("", Placement()) as in_length_batches, fixed.open("", Placement()) as in_fixed_batches:
            seconds: dict[str, list[float]] = {"length": [], "fixed": []}
            scored(in_length_batches, rows[:FIXED_ROWS], FIXED_ROWS)  # the first call of a process is slower
            for _ in range(REPEATS):
                values, took = scored(in_length_batches, rows, ITEM_ROWS)
                seconds["length"].append(took)
                expected, took = scored(in_fixed_batches, rows, FIXED_ROWS)
                seconds["fixed"].append(took)
    apart = max(abs(a - b) for a, b in zip(values, expected, strict=True))
    if len(values) != len(rows) or apart > TOLERANCE:
        raise SystemExit(f"reward batches: scores differ by {apart:.1e}, more than {TOLERANCE:g}")
    rates = {name: tokens / min(times) for name, times in seconds.items()}
    print(f"reward batches: {tokens:,} tokens in {len(rows)} answers, scores within {apart:.0e} of each other")
    for name, rate in rates.items():
        print(f"  {name:<6} {rate:8,.0f} tokens/s  (seconds: {', '.join(f'{s:.1f}' for s in seconds[name])})")
    print(f"  length / fixed = {rates['length'] / rates['fixed']:.2f}  (goal: at least 1.5)")


if __name__ == "__main__":
    main()
