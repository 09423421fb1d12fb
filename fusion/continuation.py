"""A context and its continuation as token ids, cut as lm-evaluation-harness cuts them for models of transformers.

Log-probabilities can be compared with published ones only where the same tokens are counted. Both texts are tokenised
together, and what the context alone takes is taken off; spaces at the end of the context belong to the continuation;
there is one beginning of sequence where the tokenizer adds one; and before a continuation without a context stands the
beginning of sequence, or the end of it where the family has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Pair = tuple[tuple[int, ...], tuple[int, ...]]
"""Ids of the context, one or more, and of the continuation."""


def pair_ids(tokenizer: PreTrainedTokenizerBase, context: str, continuation: str) -> Pair:
    """The continuation may have no ids of its own, where its letters make one token with the context's last ones.

    Example: ("Q: 1 + 1\\nA:", " 2") is tokenised as "Q: 1 + 1\\nA: 2", and " 2" is what "Q: 1 + 1\\nA:" leaves of it
    """
    kept = context.rstrip()
    before = _encoded(tokenizer, kept) if kept else ()
    if before:
        return before, _encoded(tokenizer, context + continuation)[len(before) :]
    start = _start(tokenizer)
    after = tuple(tokenizer.encode(context + continuation, add_special_tokens=False))
    return ((start,), after) if after[:1] != (start,) else (after[:1], after[1:])


def within(pair: Pair, longest: int) -> Pair | None:
    """The pair without the beginning of a context that is too long, or None where the continuation itself is.

    Args:
        longest: tokens that the model reads; the last one of the continuation is predicted only.
    """
    context, continuation = pair
    if len(continuation) > longest:
        return None
    return context[-(longest + 1 - len(continuation)) :], continuation


def _encoded(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[int, ...]:
    begins = text.startswith(tokenizer.decode(_start(tokenizer)))  # as texts of chat templates do
    return tuple(tokenizer.encode(text, add_special_tokens=not begins))


def _start(tokenizer: PreTrainedTokenizerBase) -> int:
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    return int(eos if bos is None else bos)
