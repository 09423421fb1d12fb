"""The form of given continuations in a reference."""

from __future__ import annotations

import json

from fusion.prompts.continuations import KEY, Context, listed, pairs_of


def test_pairs_come_back_in_their_order_and_a_context_is_written_once() -> None:
    chat: Context = [{"role": "user", "content": "1 + 1?"}]
    pairs: list[tuple[Context, str]] = [("1 + 1 =", " 2"), ("1 + 1 =", " 3"), ("", " 2"), ("", " 3"), (chat, "2")]
    reference = json.dumps({KEY: listed(pairs)})
    assert pairs_of(reference) == pairs
    assert reference.count("1 + 1 =") == 1
