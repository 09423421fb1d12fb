"""Which token each row of an embedding stands for, read from tokenizer.json without loading a tokenizer."""

from __future__ import annotations

import filecmp
import json
from pathlib import Path

Disagreement = tuple[int, str | None, str | None]
"""Token id, the base's token, the model's; None: it has none."""


def disagreements(base: Path, model: Path) -> tuple[list[Disagreement], list[Disagreement]]:
    """Ids that stand for other tokens in `model` than in `base`: (learned tokens, added tokens), by id.

    An id that only one of them has counts as added: such rows come from padding or from added tokens. A folder without
    tokenizer.json (or both without) is compared with nothing: its rows are taken at their word.
    """
    files = base / "tokenizer.json", model / "tokenizer.json"
    if not all(file.is_file() for file in files) or filecmp.cmp(*files, shallow=False):
        return [], []
    (ours, our_added), (theirs, their_added) = _tokens(files[0]), _tokens(files[1])
    learned: list[Disagreement] = []
    added: list[Disagreement] = []
    for id_ in sorted(ours.keys() | theirs.keys()):
        pair = ours.get(id_), theirs.get(id_)
        if pair[0] != pair[1]:
            is_added = id_ in our_added or id_ in their_added or None in pair
            (added if is_added else learned).append((id_, *pair))
    return learned, added


def _tokens(file: Path) -> tuple[dict[int, str], set[int]]:
    """Tokens by id, and which of them were added."""
    content = json.loads(file.read_text("utf-8"))
    vocab = content["model"]["vocab"]
    if isinstance(vocab, dict):
        tokens = {int(id_): str(token) for token, id_ in vocab.items()}
    else:  # Unigram: [[token, score], ...] in order
        tokens = {id_: str(entry[0]) for id_, entry in enumerate(vocab)}
    added = {int(entry["id"]): str(entry["content"]) for entry in content.get("added_tokens", ())}
    return tokens | added, set(added)
