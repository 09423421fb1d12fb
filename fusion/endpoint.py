"""A client of one OpenAI-compatible server: vLLM, SGLang, a hosted service.

What goes wrong is sorted:

    RequestFailed  this request cannot be served, others are: a fault of the row
    EngineError    nobody is served: the endpoint is gone, or still refuses when the time for retries is over
    ConfigError    no request can ever be served: the key, the name of the model, a parameter
    BudgetSpent    the next request might pass a limit of the budget

Rate limits (429), errors of the server (5xx), lost connections, timeouts and replies that are no completion are tried
again, with growing pauses, for `retry_s`. What the server asks for in Retry-After holds for all threads.
"""

from __future__ import annotations

import itertools
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from fusion.endpoint_config import EndpointConfig, api_key
from fusion.endpoint_fault import Fault, Refused, RequestFailed, lost_connection, retry_after_s
from fusion.errors import ConfigError, EngineError
from fusion.spending import Budget, Spending, Usage

if TYPE_CHECKING:
    from openai import APIStatusError

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
MAX_REFUSALS = 8
"""Requests refused as malformed (4xx) before any was served, from which it is the parameters and not the rows."""
PASSING = (408, 409, 425, 429)
"""Client errors that may pass; all from 500 on may, too."""
SETTINGS = (401, 402, 403, 404)
"""Key, credit, rights, and the name of the model or the path."""
MESSAGE_CHARS = 300


@dataclass(frozen=True, slots=True)
class Reply:
    """A completion in the server's own words; there is at least one choice."""

    choices: list[dict[str, Any]]
    usage: Usage | None
    """None: the server does not report it."""


class Endpoint:
    """An open client, used from many threads.

    Raises:
        ConfigError: the API key is not where the config says.
    """

    def __init__(self, config: EndpointConfig, budget: Budget) -> None:
        from openai import OpenAI

        self._config = config
        self._key = api_key(config)
        self._spending = Spending(budget, config.model)
        # Retries are ours: they count against the budget, end after a time, and hold back all threads. Without a key of
        # its own the library would send whatever OPENAI_API_KEY or OPENAI_ADMIN_KEY holds.
        logging.getLogger("httpx2").setLevel(logging.WARNING)  # it logs a line a request
        self._client = OpenAI(api_key=self._key or "none", base_url=config.url, timeout=config.timeout_s, max_retries=0)
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._not_before = 0.0
        self._num_served = 0
        self._num_refused = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._client.close()
        self._spending.close()

    @property
    def spent(self) -> Usage:
        """By all who share the ledger."""
        return self._spending.total

    def complete(self, path: str, body: Mapping[str, object], most: Usage) -> Reply:
        """POST `body`, with the model's name added, to `/completions` or `/chat/completions`.

        Args:
            most: the worst case of one attempt.

        Raises:
            RequestFailed, EngineError, ConfigError, BudgetSpent: see the module.
        """
        served_before = self._num_served
        try:
            found = self._retried(lambda: self._paid(path, body, most))
        except Refused as refused:
            with self._lock:
                self._num_refused += 1
                is_hopeless = not self._num_served and self._num_refused >= MAX_REFUSALS
            if is_hopeless:
                raise ConfigError(f"{self._name} refused the first {MAX_REFUSALS} requests: {refused}") from None
            raise RequestFailed(str(refused)) from None
        except Fault as fault:
            if not fault.is_everybodys and (self._num_served > served_before or self._serves_others(path, body, most)):
                raise RequestFailed(str(fault), fault.is_timeout) from None
            raise EngineError(
                f"{self._name} serves nobody: {fault} (tried for endpoint.retry_s={self._config.retry_s:g})"
            ) from None
        with self._lock:
            self._num_served += 1
        self._check_model(found)
        return Reply(found["choices"], _usage(found))

    def max_model_len(self) -> int | None:
        """The longest sequence that the server says it takes (vLLM does), or None.

        Raises:
            EngineError: it does not answer for `retry_s`.
            ConfigError: the key is refused.
        """
        try:
            listed = self._retried(lambda: self._exchange("/models", None))
        except (Refused, ConfigError):
            return None  # not every server lists its models
        except Fault as fault:
            raise EngineError(f"{self._name} does not answer: {fault}") from None
        models = listed.get("data")
        for model in models if isinstance(models, list) else []:
            if isinstance(model, dict) and model.get("id") == self._config.model:
                length = model.get("max_model_len")
                return length if isinstance(length, int) else None
        return None

    # -- private -------------------------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return f"endpoint {self._config.url}, model {self._config.model}"

    def _retried(self, attempt: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        end = time.monotonic() + self._config.retry_s
        last: Fault | None = None
        for number in itertools.count():
            pause_s = self._not_before - time.monotonic()
            if time.monotonic() + pause_s > end:
                raise last or Fault(f"it asks everybody to wait for {pause_s:.0f} s", is_everybodys=True)
            self._wait(pause_s)
            try:
                return attempt()
            except Fault as fault:
                last = fault
            pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**number) * random.uniform(0.75, 1.0)  # noqa: S311
            if last.asked_pause_s is not None:
                pause_s = max(pause_s, last.asked_pause_s)
                self._not_before = max(self._not_before, time.monotonic() + pause_s)
            if time.monotonic() + pause_s > end:
                raise last
            self._wait(pause_s)
        raise AssertionError("count ends")

    def _wait(self, seconds: float) -> None:
        if seconds > 0:
            self._closing.wait(seconds)
        if self._closing.is_set():
            raise EngineError(f"{self._name} was closed")

    def _paid(self, path: str, body: Mapping[str, object], most: Usage) -> dict[str, Any]:
        """One attempt, with its cost accounted for."""
        self._spending.reserve(most)
        actual = Usage(requests=1)
        try:
            found = self._exchange(path, {"model": self._config.model, **body})
            actual = _usage(found) or most
            if not isinstance(found.get("choices"), list) or not found["choices"]:
                raise Fault(f"the reply holds no choices: {self._clean(json.dumps(found.get('error') or found))}")
            return found
        except Fault as fault:
            actual = most if fault.may_be_billed else actual
            raise
        finally:
            self._spending.settle(most, actual)

    def _exchange(self, path: str, body: Mapping[str, object] | None) -> dict[str, Any]:
        """One HTTP request; the library gives the text, because it takes any JSON for a completion."""
        import openai

        try:
            if body is None:
                text = self._client.get(path, cast_to=str)
            else:
                text = self._client.post(path, cast_to=str, body=dict(body))
        except openai.APIStatusError as error:
            raise self._status(error) from None
        except openai.APIConnectionError as error:
            raise lost_connection(error) from None
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Fault(f"the reply is no JSON object: {self._clean(text)}", may_be_billed=True)
        return found

    def _status(self, error: APIStatusError) -> Exception:
        status = error.status_code
        told = error.body.get("message") if isinstance(error.body, dict) else None
        message = f"HTTP {status}: {self._clean(str(told or error.response.text))}"
        if status in PASSING or status >= 500:
            return Fault(message, retry_after_s(error.response.headers.get("retry-after")), status == 429)
        if status in SETTINGS and not (status == 403 and self._num_served):  # some services refuse an unsafe prompt so
            remedy = "check endpoint.url, endpoint.model, and the key in endpoint.key_env or endpoint.key_file"
            return ConfigError(f"{self._name} refuses: {message}; {remedy}")
        return Refused(message)

    def _serves_others(self, path: str, body: Mapping[str, object], most: Usage) -> bool:
        """Whether the same request gets an answer if it asks next to nothing."""
        least: dict[str, object] = {"prompt": "1"}
        if path.startswith("/chat"):
            least = {"messages": [{"role": "user", "content": "1"}]}
        try:
            self._paid(path, {**body, **least}, most)
        except (Fault, Refused):
            return False
        return True

    def _check_model(self, found: Mapping[str, object]) -> None:
        wanted = self._config.answers_as or self._config.model
        if (name := found.get("model")) and name != wanted:
            raise ConfigError(
                f"endpoint {self._config.url} was asked for {self._config.model} and answered as {name}: it serves "
                f"another model. Set endpoint.model to the name that is meant, or, if {name} is, endpoint.answers_as"
            )

    def _clean(self, text: str) -> str:
        """The server's words, cut, and without the key, which servers repeat."""
        shown = text.replace(self._key, "********") if self._key else text
        return " ".join(shown.split())[:MESSAGE_CHARS]


def _usage(found: Mapping[str, Any]) -> Usage | None:
    usage = found.get("usage")
    if not isinstance(usage, dict) or not isinstance(usage.get("completion_tokens"), int):
        return None
    return Usage(1, int(usage.get("prompt_tokens") or 0), usage["completion_tokens"])
