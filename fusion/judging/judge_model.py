"""An open judge with its memory: what was asked once, in the same words, is never asked again.

The memory is one small file a judgement, named by the hash of all that the reply depends on: the request (which holds
the prompt, the answers, their order, the template's text and the sampling), the names of the model and its revision,
and which repetition it is. Files appear whole, so any number of processes may write, and die, at any time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from fusion import location
from fusion.judging.verdict import Judgement, Reading, Unparsable, pooled
from fusion.schema import hash_text

TOP_LOGPROBS = 20
"""Alternatives of a token that a judge is asked for: the most that OpenAI gives, and vLLM by default."""
REMINDER = (
    "Your reply did not end with exactly one verdict in the form that was asked for. "
    "Reply again with nothing but the verdict, in double square brackets."
)

Turns = Sequence[Mapping[str, str]]


class Replies(Protocol):
    """Where a judge's replies come from; used from many threads."""

    @property
    def identity(self) -> tuple[str, ...]:
        """Names of the model and its revision."""
        ...

    def request(self, messages: Turns) -> dict[str, object]:
        """The request, as JSON: all that the reply depends on beside `identity` and chance."""
        ...

    def reply(self, messages: Turns, repetition: int) -> Judgement:
        """Raises:
        RequestFailed, EngineError, ConfigError, BudgetSpent: there is no reply.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Asking:
    """How often a judge is asked, and where its replies are kept."""

    attempts: int
    """Replies, the first included, until one can be read."""
    repeats: int
    """Judgements of the same words; their mean counts."""
    cache: str
    """Folder or URL of judgements."""


class JudgeModel:
    """An open judge, used from many threads."""

    def __init__(self, replies: Replies, asking: Asking) -> None:
        self._replies = replies
        self._asking = asking
        self._folder = os.path.expanduser(asking.cache)

    def ask(self, prompt: str, read: Callable[[Judgement], Reading]) -> tuple[Reading, Judgement]:
        """What `read` makes of the judge's replies, pooled, and the first of them; one that cannot be read is answered
        with a reminder.

        Raises:
            Unparsable: none of `attempts` replies can be read.
            RequestFailed, EngineError, ConfigError, BudgetSpent: there is no reply.
        """
        found = [self._ask_once(prompt, read, repetition) for repetition in range(self._asking.repeats)]
        return pooled([reading for reading, _ in found]), found[0][1]

    # -- private -------------------------------------------------------------------------------------------------

    def _ask_once(
        self, prompt: str, read: Callable[[Judgement], Reading], repetition: int
    ) -> tuple[Reading, Judgement]:
        messages = [{"role": "user", "content": prompt}]
        problem = ""
        for _ in range(self._asking.attempts):
            judgement = self._judgement(messages, repetition)
            try:
                return read(judgement), judgement
            except Unparsable as error:
                problem = str(error)
            said = judgement.text.strip() or "(nothing)"
            messages += [{"role": "assistant", "content": said}, {"role": "user", "content": REMINDER}]
        raise Unparsable(f"{problem} ({self._asking.attempts} replies, rewards.judge.attempts)")

    def _judgement(self, messages: Turns, repetition: int) -> Judgement:
        request = json.dumps(self._replies.request(messages), ensure_ascii=False)
        which = (f"repetition {repetition}",) if repetition else ()
        key = hash_text(request, *self._replies.identity, *which, length=32)
        path = location.join(self._folder, key[:2], f"{key}.json")
        known = _stored(path)
        if known is None:
            known = self._replies.reply(messages, repetition)
            location.put(path, json.dumps(asdict(known), ensure_ascii=False).encode())
        return known


def _stored(path: str) -> Judgement | None:
    """The judgement at `path`; None if there is none, or a file that is no judgement (asked again, then replaced)."""
    try:
        found = json.loads(location.get(path))
        tail = tuple((str(token), dict(others)) for token, others in found["tail"])
        return Judgement(str(found["text"]), str(found["finish_reason"]), tail)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return None
