"""A judge behind any OpenAI-compatible endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from fusion.endpoint import Endpoint, Reply
from fusion.generators.base import TAIL_TOKENS
from fusion.judging.judge_model import TOP_LOGPROBS, Turns
from fusion.judging.verdict import Judgement
from fusion.spending import Usage

MESSAGE_TOKENS = 64
"""What a chat template puts around a message, at most. In the worst case of a prompt its tokens hold a byte each."""


class LimitName(Enum):
    """How a server calls the limit of a reply. OpenAI's newer models know the second name only."""

    MAX_TOKENS = "max_tokens"
    MAX_COMPLETION_TOKENS = "max_completion_tokens"


@dataclass(frozen=True, kw_only=True)
class EndpointReplies:
    """See `fusion.judging.judge_model.Replies`. Repetitions differ by the server's own chance: no seed is sent, which
    not every server knows."""

    endpoint: Endpoint
    identity: tuple[str, ...]
    temperature: float | None
    """None: not sent."""
    max_new_tokens: int
    limit_name: LimitName
    logprobs: bool

    def request(self, messages: Turns) -> dict[str, object]:
        body: dict[str, object] = {"messages": list(messages), self.limit_name.value: self.max_new_tokens}
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if self.logprobs:
            body |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
        return body

    def reply(self, messages: Turns, repetition: int) -> Judgement:
        size = sum(len(message["content"].encode()) + MESSAGE_TOKENS for message in messages)
        most = Usage(1, size, self.max_new_tokens)
        return _judgement(self.endpoint.complete("/chat/completions", self.request(messages), most))


def _judgement(reply: Reply) -> Judgement:
    choice = reply.choices[0]
    message: dict[str, Any] = choice.get("message") or {}
    tokens = (choice.get("logprobs") or {}).get("content") or []
    tail = tuple((str(token["token"]), _alternatives(token)) for token in tokens[-TAIL_TOKENS:])
    return Judgement(str(message.get("content") or ""), str(choice.get("finish_reason")), tail)


def _alternatives(token: dict[str, Any]) -> dict[str, float]:
    listed = [token, *(token.get("top_logprobs") or [])]
    return {str(item["token"]): float(item["logprob"]) for item in listed}
