"""What an endpoint may do wrong, beside the contract that all engines keep (`test_contract.py`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from fusion.endpoint_config import EndpointConfig
from fusion.errors import ConfigError, EngineError
from fusion.fingerprint import fingerprint
from fusion.generators.base import Engine, Request, Sampling
from fusion.generators.openai_endpoint import OpenaiEndpoint
from fusion.generators.transformers import Transformers
from fusion.spending import Budget
from fusion.step import Placement
from tests.endpoint_server import Body, Fault, Server, completion, serving
from tests.fusion.generators.test_contract import answers
from tests.model_server import model_server
from tests.tiny import make_pico_llama

PLAIN = Sampling(temperature=1.0, max_new_tokens=8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "max_position_embeddings": 64}))
    return tmp_path


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(lambda path, body: completion(f"seed {body.get('seed')}")) as running:
        yield running


def config(server: Server, folder: Path, retry_s: float = 5.0, **settings: object) -> OpenaiEndpoint:
    settings = {"budget": Budget(ledger=str(folder / "ledger"))} | settings
    return OpenaiEndpoint(endpoint=EndpointConfig(url=server.url, model="m", retry_s=retry_s), **settings)  # type: ignore[arg-type]


@contextmanager
def opened(server: Server, folder: Path, retry_s: float = 5.0, **settings: object) -> Iterator[Engine]:
    with config(server, folder, retry_s, **settings).open(folder, Placement()) as engine:
        yield engine


def ask(name: str = "a", n: int = 1, prompt: tuple[int, ...] = (5, 6, 7)) -> Request:
    return Request(name, prompt, PLAIN, tuple(range(n)), tuple(100 + i for i in range(n)), ("END",), (2,))


def test_each_sample_is_a_request_with_its_own_seed(server: Server, folder: Path) -> None:
    with opened(server, folder) as engine:
        done = answers(engine, ask(n=3))["a"]
    assert [(s.sample_index, s.text, s.num_tokens, s.logprob_sum) for s in done.samples] == [
        (i, f"seed {100 + i}", 5, None) for i in range(3)
    ]
    assert sorted(body.pop("seed") for body in server.asked) == [100, 101, 102]
    assert server.asked[0] == {
        "model": "m", "prompt": [5, 6, 7], "n": 1, "max_tokens": 8, "temperature": 1.0, "top_p": 0.95, "stop": ["END"],
        "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "stop_token_ids": [2],
    }  # fmt: skip


def test_samples_in_one_request_are_counted_one_by_one(tmp_path: Path) -> None:
    """Against a real model: the same answers as from requests of their own with the seeds that the server derives."""
    model = make_pico_llama(tmp_path / "pico", hidden=64)
    with model_server(model, Transformers(batch_size=1), Placement(cpus=1)) as running:
        found = []
        for one_request in (True, False):
            endpoint = EndpointConfig(url=running.url, model="pico")
            budget = Budget(ledger=str(tmp_path / "ledger"))
            generator = OpenaiEndpoint(endpoint=endpoint, logprobs=True, one_request=one_request, budget=budget)
            with generator.open(model, Placement()) as engine:
                found.append(answers(engine, replace(ask(n=4, prompt=tuple(range(70, 90))), stop=()))["a"].samples)
        assert found[0] == found[1]
        assert len({sample.text for sample in found[0]}) == 4
        assert [body["n"] for body in running.asked] == [4, 1, 1, 1, 1]


def test_a_sample_that_fails_for_good_fails_its_request_alone(server: Server, folder: Path) -> None:
    server.always = lambda body: Fault(status=400, message="no") if body["prompt"] == [9] else None
    with opened(server, folder) as engine:
        done = answers(engine, ask("bad", n=2, prompt=(9,)), ask("good", n=2))
    assert done["bad"].samples == ()
    assert done["bad"].error == "HTTP 400: no"
    assert len(done["good"].samples) == 2


@pytest.mark.parametrize("reason", ["content_filter", "tool_calls", None])
def test_an_answer_that_was_cut_for_another_reason_is_no_answer(reason: str, server: Server, folder: Path) -> None:
    server.answer = lambda path, body: completion("half of", finish_reason=reason)
    with opened(server, folder) as engine:
        assert answers(engine, ask())["a"].error == f"the endpoint ended the answer: {reason}"


def no_usage(path: str, body: Body) -> Body:
    reply = completion("x")
    del reply["usage"]
    return reply


WRONG = {
    "counted 4 tokens in a prompt of 3": (lambda path, body: completion("x", prompt_tokens=4), {}),
    "reports no usage": (no_usage, {}),
    "reports no log-probabilities": (lambda path, body: completion("x"), {"logprobs": True}),
    "gave 1 of 2 samples": (lambda path, body: completion("x"), {"logprobs": True, "one_request": True}),
    "hold no text": (lambda path, body: {"model": "m", "choices": [{"finish_reason": "stop"}]}, {}),
    "answered as other": (lambda path, body: completion("x", model="other"), {}),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_would_be_wrong_for_all_is_refused_loudly(message: str, server: Server, folder: Path) -> None:
    server.answer, settings = WRONG[message]  # type: ignore[assignment]
    with opened(server, folder, **settings) as engine, pytest.raises(ConfigError, match=message):
        answers(engine, ask(n=2))


def test_an_endpoint_that_is_gone_is_an_engine_error(server: Server, folder: Path) -> None:
    with opened(server, folder, retry_s=0.3) as engine:
        server.always = lambda body: Fault(drops=True)
        with pytest.raises(EngineError, match="serves nobody"):
            answers(engine, ask(n=4))
    with serving(lambda path, body: completion("x")) as gone:
        pass
    with pytest.raises(EngineError, match="does not answer"), opened(gone, folder, retry_s=0.3):
        pass


def test_a_spent_budget_stops_the_engine_and_says_how_to_go_on(server: Server, folder: Path) -> None:
    budget = Budget(max_tokens=25, ledger=str(folder / "ledger"))  # a request: 3 and at most 8 tokens, in fact 8
    with opened(server, folder, budget=budget) as engine:
        assert len(answers(engine, ask(n=2))["a"].samples) == 2
        with pytest.raises(EngineError, match="budget spent: 2 requests, 16 tokens.*generator.budget"):
            answers(engine, ask())
    larger = replace(budget, max_tokens=30)
    with opened(server, folder, budget=larger) as engine:
        assert len(answers(engine, ask())["a"].samples) == 1


def test_the_context_is_the_servers_where_it_tells(server: Server, folder: Path) -> None:
    server.models = [{"id": "m", "max_model_len": 32}]
    for settings, length in (({}, 32), ({"max_model_len": 16}, 16)):
        with opened(server, folder, **settings) as engine:
            assert engine.max_model_len == length
    server.models = []
    with opened(server, folder) as engine:
        assert engine.max_model_len == 64


def test_a_server_without_additions_is_not_sent_any(server: Server, folder: Path) -> None:
    with opened(server, folder, extensions=False) as engine:
        answers(engine, ask())
        assert not {"top_k", "min_p", "repetition_penalty", "stop_token_ids"} & server.asked[0].keys()
        with pytest.raises(ConfigError, match="extensions=true"):
            answers(engine, replace(ask("b"), sampling=Sampling(top_k=5)))


def test_settings_that_cannot_work_are_refused(server: Server, folder: Path) -> None:
    with pytest.raises(ConfigError, match="one_request=true needs generator.logprobs=true"):
        config(server, folder, one_request=True)


def test_where_it_is_served_and_what_it_may_cost_bear_no_identity(server: Server, folder: Path) -> None:
    one = config(server, folder)
    moved = replace(one, endpoint=replace(one.endpoint, url="http://elsewhere/v1", key_env="KEY", retry_s=1))
    assert fingerprint(replace(moved, budget=Budget(max_requests=5))) == fingerprint(one)
    assert fingerprint(replace(one, endpoint=replace(one.endpoint, model="n"))) != fingerprint(one)
