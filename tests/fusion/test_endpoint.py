"""The client of an OpenAI-compatible server, against a real server on the loopback that misbehaves."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from fusion.endpoint import MAX_REFUSALS, Endpoint
from fusion.endpoint_config import EndpointConfig
from fusion.endpoint_fault import RequestFailed
from fusion.errors import ConfigError, EngineError
from fusion.spending import Budget, BudgetSpent, Usage
from tests.endpoint_server import Fault, Server, completion, serving

MOST = Usage(1, 3, 8)
SECRET = "sk-loopback-0123456789abcdef"  # noqa: S105


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(lambda path, body: completion("hello")) as running:
        yield running


def opened(
    server: Server,
    tmp_path: Path,
    retry_s: float = 5.0,
    timeout_s: float = 5.0,
    budget: Budget | None = None,
    **more: str,
) -> Endpoint:
    config = EndpointConfig(url=server.url, model="m", retry_s=retry_s, timeout_s=timeout_s, **more)
    return Endpoint(config, budget or Budget(ledger=str(tmp_path)))


def ask(endpoint: Endpoint, prompt: str = "hi") -> str:
    return str(endpoint.complete("/completions", {"prompt": prompt}, MOST).choices[0]["text"])


FAULTS = {
    "rate limit": Fault(status=429, headers={"Retry-After": "0.05"}),
    "server error": Fault(status=500),
    "overloaded": Fault(status=503),
    "dropped": Fault(drops=True),
    "malformed": Fault(text='{"choices": ['),
    "not an object": Fault(text="[]"),
    "an error with status 200": Fault(text='{"error": {"message": "provider is down"}}'),
    "no choices": Fault(text='{"model": "m", "choices": []}'),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_may_pass_is_tried_again(name: str, server: Server, tmp_path: Path) -> None:
    server.faults.append(FAULTS[name])
    with opened(server, tmp_path) as endpoint:
        assert ask(endpoint) == "hello"
        assert endpoint.spent.requests == len(server.asked) == 2


def test_a_slow_reply_is_given_up_and_tried_again(server: Server, tmp_path: Path) -> None:
    server.faults.append(Fault(wait_s=5.0))
    with opened(server, tmp_path, timeout_s=0.3) as endpoint:
        started = time.monotonic()
        assert ask(endpoint) == "hello"
        assert time.monotonic() - started < 4


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured_by_all_threads(form: str, server: Server, tmp_path: Path) -> None:
    at = datetime.now(UTC) + timedelta(seconds=3)
    value = "1.2" if form == "seconds" else format_datetime(at.replace(microsecond=0), usegmt=True)
    server.faults.append(Fault(status=429, headers={"Retry-After": value}))
    with opened(server, tmp_path, retry_s=20) as endpoint:
        first = threading.Thread(target=ask, args=(endpoint,))
        started = time.monotonic()
        first.start()
        while not server.asked or endpoint.spent.requests < 1:
            time.sleep(0.01)
        time.sleep(0.05)
        ask(endpoint, "second")
        assert time.monotonic() - started > 1.0
        first.join()
    assert len(server.asked) == 3


def test_a_request_that_is_refused_fails_alone(server: Server, tmp_path: Path) -> None:
    server.always = lambda body: Fault(status=400, message="prompt too long") if body["prompt"] == "bad" else None
    with opened(server, tmp_path) as endpoint:
        with pytest.raises(RequestFailed, match="400.*prompt too long"):
            ask(endpoint, "bad")
        assert ask(endpoint) == "hello"
    assert len(server.asked) == 2


def test_when_all_requests_are_refused_the_parameters_are_wrong(server: Server, tmp_path: Path) -> None:
    server.always = lambda body: Fault(status=400, message="unknown parameter top_k")
    with opened(server, tmp_path) as endpoint:
        for _ in range(MAX_REFUSALS - 1):
            with pytest.raises(RequestFailed):
                ask(endpoint)
        with pytest.raises(ConfigError, match="first 8 requests.*unknown parameter top_k"):
            ask(endpoint)


@pytest.mark.parametrize("fault", [Fault(status=500), Fault(wait_s=5.0)], ids=["error", "silence"])
def test_a_request_that_breaks_the_server_each_time_fails_alone(fault: Fault, server: Server, tmp_path: Path) -> None:
    server.always = lambda body: fault if body["prompt"] == "bad" else None
    with opened(server, tmp_path, retry_s=0.3, timeout_s=0.4) as endpoint:
        with pytest.raises(RequestFailed) as failed:
            ask(endpoint, "bad")
        assert failed.value.is_timeout == bool(fault.wait_s)


@pytest.mark.parametrize("status", [429, 500])
def test_an_endpoint_that_serves_nobody_is_an_engine_error(status: int, server: Server, tmp_path: Path) -> None:
    server.always = lambda body: Fault(status=status)
    with opened(server, tmp_path, retry_s=0.3) as endpoint, pytest.raises(EngineError, match=f"{status}.*retry_s"):
        ask(endpoint)
    assert len(server.asked) >= 1


def test_an_endpoint_where_nobody_listens_is_an_engine_error(tmp_path: Path) -> None:
    with serving(lambda path, body: completion("x")) as gone:
        pass
    with opened(gone, tmp_path, retry_s=0.3) as endpoint, pytest.raises(EngineError, match="ConnectError"):
        ask(endpoint)


def test_everybody_waits_as_long_as_asked_or_says_that_it_is_too_long(server: Server, tmp_path: Path) -> None:
    server.faults.append(Fault(status=429, headers={"Retry-After": "3600"}, message="daily quota"))
    with opened(server, tmp_path, retry_s=1) as endpoint:
        started = time.monotonic()
        with pytest.raises(EngineError, match="429: daily quota"):
            ask(endpoint)
        with pytest.raises(EngineError, match="wait for 3[56].. s"):
            ask(endpoint)
        assert time.monotonic() - started < 1
    assert len(server.asked) == 1


def test_a_forbidden_prompt_fails_alone_once_others_were_served(server: Server, tmp_path: Path) -> None:
    with opened(server, tmp_path) as endpoint:
        ask(endpoint)
        server.faults.append(Fault(status=403, message="flagged"))
        with pytest.raises(RequestFailed, match="403: flagged"):
            ask(endpoint)


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_key_and_name_are_not_tried_again(status: int, server: Server, tmp_path: Path) -> None:
    server.faults.append(Fault(status=status))
    with opened(server, tmp_path) as endpoint, pytest.raises(ConfigError, match="check endpoint.url"):
        ask(endpoint)
    assert len(server.asked) == 1


def test_another_model_than_was_asked_for_is_refused(server: Server, tmp_path: Path) -> None:
    server.answer = lambda path, body: completion("hello", model="m-2026-01-01")
    with opened(server, tmp_path) as endpoint, pytest.raises(ConfigError, match="asked for m and answered as m-2026"):
        ask(endpoint)
    with opened(server, tmp_path, answers_as="m-2026-01-01") as endpoint:
        assert ask(endpoint) == "hello"


def test_the_key_is_sent_and_never_shown(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LOOPBACK_KEY", SECRET)
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-admin-0123456789abcdef")  # another's, that the library would find
    (tmp_path / "key").write_text(SECRET + "\n")
    for where in ({"key_env": "LOOPBACK_KEY"}, {"key_file": str(tmp_path / "key")}):
        server.faults.append(Fault(status=401, message=f"Incorrect API key provided: {SECRET}"))
        with caplog.at_level("INFO"), opened(server, tmp_path, **where) as endpoint:
            with pytest.raises(ConfigError, match="Incorrect API key") as refused:
                ask(endpoint)
            assert ask(endpoint) == "hello"
            server.faults.append(Fault(status=400, message="x" * 290 + SECRET))
            with pytest.raises(RequestFailed) as cut:
                ask(endpoint)
        assert SECRET[:8] not in str(refused.value) + str(cut.value)
        assert refused.value.__cause__ is None
        assert server.headers[0]["authorization"] == f"Bearer {SECRET}"
    assert SECRET not in caplog.text


def test_a_key_that_is_not_there_is_named(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="environment variable NO_SUCH_KEY"):
        opened(server, tmp_path, key_env="NO_SUCH_KEY")
    with pytest.raises(ConfigError, match="the file .*absent"):
        opened(server, tmp_path, key_file=str(tmp_path / "absent"))


@pytest.mark.parametrize(
    "settings",
    [
        {"key_env": SECRET},
        {"url": f"http://user:{SECRET}@host/v1"},
        {"url": f"https://host/v1?key={SECRET}"},
        {"url": f"{SECRET}@host"},
        {"key_env": "A", "key_file": "b"},
        {"concurrency": 0},
    ],
)
def test_settings_are_checked_without_showing_a_secret(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as refused:
        EndpointConfig(**({"url": "http://host/v1", "model": "m"} | settings))  # type: ignore[arg-type]
    assert SECRET not in str(refused.value)


def test_a_spent_budget_lets_no_request_out_and_survives_the_process(server: Server, tmp_path: Path) -> None:
    budget = Budget(max_requests=3, ledger=str(tmp_path))
    with opened(server, tmp_path, budget=budget) as endpoint:
        ask(endpoint)
        ask(endpoint)
    server.faults.append(Fault(status=500))
    with opened(server, tmp_path, budget=budget) as endpoint:
        with pytest.raises(BudgetSpent, match="^budget spent: 3 requests.*max_requests=3"):
            ask(endpoint)  # the repetition would be the fourth request
        with pytest.raises(BudgetSpent):
            ask(endpoint)
    assert len(server.asked) == 3


def test_the_length_that_the_server_tells_is_read(server: Server, tmp_path: Path) -> None:
    server.models = [{"id": "other", "max_model_len": 1}, {"id": "m", "max_model_len": 128}]
    with opened(server, tmp_path) as endpoint:
        assert endpoint.max_model_len() == 128
        server.models = [{"id": "m"}]
        assert endpoint.max_model_len() is None
