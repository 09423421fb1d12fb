"""A judge behind an endpoint, with its memory: what was asked once, in the same words, is never asked again.

The memory is one small file a judgement, named by the hash of all that the reply depends on: the request as it is sent
(which holds the prompt, the answers, their order, the template's text and the sampling) and the model's name and
revision. Files appear whole, so any number of processes may write, and die, at any time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from fusion import location
from fusion.endpoint import Endpoint, Reply
from fusion.judging.verdict import Judgement, Unparsable
from fusion.schema import hash_text
from fusion.spending import Usage

TAIL_TOKENS = 16
"""Tokens at the end of a reply whose alternatives are kept: the verdict and what is around it."""
TOP_LOGPROBS = 20
"""The most that OpenAI gives, and vLLM by default."""
MESSAGE_TOKENS = 64
"""What a chat template puts around a message, at most. In the worst case of a prompt its tokens hold a byte each."""
REMINDER = (
    "Your reply did not end with exactly one verdict in the form that was asked for. "
    "Reply again with nothing but the verdict, in double square brackets."
)


class LimitName(Enum):
    """How a server calls the limit of a reply. OpenAI's newer models know the second name only."""

    MAX_TOKENS = "max_tokens"
    MAX_COMPLETION_TOKENS = "max_completion_tokens"


@dataclass(frozen=True, kw_only=True)
class Asking:
    """How a judge is asked."""

    identity: tuple[str, ...]
    """Names of the model and its revision."""
    temperature: float | None
    max_new_tokens: int
    limit_name: LimitName
    logprobs: bool
    attempts: int
    cache: str
    """Folder or URL of judgements."""


class JudgeModel:
    """An open judge, used from many threads."""

    def __init__(self, endpoint: Endpoint, asking: Asking) -> None:
        self._endpoint = endpoint
        self._asking = asking
        self._folder = os.path.expanduser(asking.cache)

    def ask(self, prompt: str, read: Callable[[Judgement], float]) -> tuple[float, Judgement]:
        """What `read` makes of the judge's reply, and the reply; one that cannot be read is answered with a reminder.

        Raises:
            Unparsable: none of `attempts` replies can be read.
            RequestFailed, EngineError, ConfigError, BudgetSpent: as `Endpoint.complete`.
        """
        messages = [{"role": "user", "content": prompt}]
        problem = ""
        for _ in range(self._asking.attempts):
            judgement = self._judgement(messages)
            try:
                return read(judgement), judgement
            except Unparsable as error:
                problem = str(error)
            said = judgement.text.strip() or "(nothing)"
            messages += [{"role": "assistant", "content": said}, {"role": "user", "content": REMINDER}]
        raise Unparsable(f"{problem} ({self._asking.attempts} replies, rewards.judge.attempts)")

    # -- private -------------------------------------------------------------------------------------------------

    def _judgement(self, messages: list[dict[str, str]]) -> Judgement:
        body: dict[str, object] = {
            "messages": messages,
            self._asking.limit_name.value: self._asking.max_new_tokens,
        }
        if self._asking.temperature is not None:
            body["temperature"] = self._asking.temperature
        if self._asking.logprobs:
            body |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
        key = hash_text(json.dumps(body, ensure_ascii=False), *self._asking.identity, length=32)
        path = location.join(self._folder, key[:2], f"{key}.json")
        known = _stored(path)
        if known is None:
            size = sum(len(message["content"].encode()) + MESSAGE_TOKENS for message in messages)
            reply = self._endpoint.complete("/chat/completions", body, Usage(1, size, self._asking.max_new_tokens))
            known = _judgement(reply)
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


def _judgement(reply: Reply) -> Judgement:
    choice = reply.choices[0]
    message: dict[str, Any] = choice.get("message") or {}
    tokens = (choice.get("logprobs") or {}).get("content") or []
    tail = tuple((str(token["token"]), _alternatives(token)) for token in tokens[-TAIL_TOKENS:])
    return Judgement(str(message.get("content") or ""), str(choice.get("finish_reason")), tail)


def _alternatives(token: dict[str, Any]) -> dict[str, float]:
    listed = [token, *(token.get("top_logprobs") or [])]
    return {str(item["token"]): float(item["logprob"]) for item in listed}
