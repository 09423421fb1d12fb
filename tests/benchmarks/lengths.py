"""How long real answers are: tokens of what four models said to the prompts of AlpacaEval."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.shared_data import ROOT

FILE, TOKENIZER = "preference/alpaca_eval_multi_source.jsonl.gz", "tokenizers/llama3_1/tokenizer.json.gz"
SOURCES = {
    "llama31_70b": "Meta-Llama-3.1-70B-Instruct-Turbo",
    "qwen2_72b": "Qwen2-72B-Instruct",
    "gemma2_9b": "gemma-2-9b-it-SimPO",
    "mistral_large": "mistral-large-2402",
}
MOST = 2048
"""Tokens at which generation is cut."""
MEDIAN, SPREAD = 400.0, 0.6
"""Of the lognormal that is taken where the files are not at hand."""


def answer_lengths() -> tuple[dict[str, NDArray[np.int64]], str]:
    """Source -> tokens of its answers, and a line that says what they are."""
    if not (ROOT / FILE).exists() or not (ROOT / TOKENIZER).exists():
        drawn = np.exp(np.random.default_rng(0).normal(np.log(MEDIAN), SPREAD, 10_000))
        lengths = np.clip(drawn, 1, MOST).astype(np.int64)
        said = f"lognormal, median {MEDIAN:g}, sigma {SPREAD:g} (real answers are not at hand: set FUSION_DATA)"
        return dict.fromkeys(SOURCES, lengths), said
    found = {source: _measured(ROOT / FILE, model) for source, model in SOURCES.items()}
    means = ", ".join(f"{source} {lengths.mean():.0f}" for source, lengths in found.items())
    return found, f"of real answers to AlpacaEval, in Llama 3 tokens, cut at {MOST}; means: {means}"


def _measured(file: Path, model: str) -> NDArray[np.int64]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(gzip.decompress((ROOT / TOKENIZER).read_bytes()).decode())
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    texts = [row["response"] for row in rows if row["source"] == model]
    counts = [len(encoded.ids) + 1 for encoded in tokenizer.encode_batch(texts, add_special_tokens=False)]
    return np.clip(np.array(counts), 1, MOST)
