"""One contract for all engines, run against each with the same random model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fusion.endpoint_config import EndpointConfig
from fusion.errors import ConfigError
from fusion.generators.base import Completion, Engine, Generator, Request, Sampling
from fusion.generators.openai_endpoint import EndpointEngine, OpenaiEndpoint
from fusion.generators.transformers import Transformers
from fusion.generators.vllm import Vllm
from fusion.spending import Budget
from fusion.step import Placement
from tests.model_server import model_server
from tests.tiny import make_pico_llama

GENERATORS: dict[str, Generator] = {
    "transformers": Transformers(dtype="float32", batch_size=4),
    "vllm": Vllm(dtype="float32", logprobs=True),
}
GREEDY = Sampling(temperature=0.0, top_p=1.0, max_new_tokens=12)
RANDOM = Sampling(temperature=1.0, top_p=0.95, max_new_tokens=12)
PROMPT = tuple(range(70, 90))
PLACEMENT = Placement(cpus=1, kv_cache_gib=0.1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pico_llama(tmp_path_factory.mktemp("pico"), hidden=64)


@pytest.fixture(
    scope="module", params=["transformers", "openai_endpoint", pytest.param("vllm", marks=pytest.mark.slow)]
)
def engine(request: pytest.FixtureRequest, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if request.param != "openai_endpoint":
        with GENERATORS[request.param].open(model, PLACEMENT) as opened:
            yield opened
        return
    budget = Budget(ledger=str(tmp_path_factory.mktemp("ledger")))
    with model_server(model, GENERATORS["transformers"], PLACEMENT) as server:
        config = EndpointConfig(url=server.url, model="pico", retry_s=5)
        with OpenaiEndpoint(endpoint=config, logprobs=True, budget=budget).open(model, PLACEMENT) as opened:
            yield opened


def ask(name: str = "a", prompt: tuple[int, ...] = PROMPT, sampling: Sampling = RANDOM, n: int = 1) -> Request:
    return Request(name, prompt, sampling, tuple(range(n)), tuple(100 + i for i in range(n)), (), (2,))


def answers(engine: Engine, *requests: Request) -> dict[str, Completion]:
    for request in requests:
        engine.submit(request)
    done: dict[str, Completion] = {}
    while engine.num_unfinished:
        for completion in engine.step():
            assert completion.request_id not in done
            done[completion.request_id] = completion
    return done


def texts(completion: Completion) -> list[str]:
    return [sample.text for sample in completion.samples]


def test_every_sample_of_every_prompt_arrives(engine: Engine) -> None:
    """Sizes beyond one batch, of unequal length, with equal request sizes nowhere."""
    requests = [ask(f"r{i}", tuple(range(60, 70 + 3 * i)), n=1 + i % 4) for i in range(9)]
    done = answers(engine, *requests)
    assert {name: [s.sample_index for s in one.samples] for name, one in done.items()} == {
        f"r{i}": list(range(1 + i % 4)) for i in range(9)
    }


def test_a_sample_depends_on_its_own_seed_only(engine: Engine) -> None:
    four = answers(engine, ask(n=4))["a"]
    third = Request("b", PROMPT, RANDOM, (2,), (102,), (), (2,))
    assert texts(answers(engine, third)["b"]) == [four.samples[2].text]
    assert answers(engine, third)["b"].samples[0].sample_index == 2


def test_samples_of_one_prompt_differ(engine: Engine) -> None:
    assert len(set(texts(answers(engine, ask(n=4))["a"]))) == 4


def test_greedy_ignores_the_seed(engine: Engine) -> None:
    assert len(set(texts(answers(engine, ask(sampling=GREEDY, n=3))["a"]))) == 1


def test_length_ends_an_answer_at_max_new_tokens(engine: Engine) -> None:
    sample = answers(engine, replace(ask(sampling=GREEDY), stop_token_ids=()))["a"].samples[0]
    assert (sample.finish_reason, sample.num_tokens) == ("length", 12)


def test_a_stop_string_ends_an_answer_and_is_not_part_of_it(engine: Engine) -> None:
    whole = answers(engine, ask(sampling=GREEDY))["a"].samples[0]
    stop = whole.text[3:5]
    cut = answers(engine, replace(ask("b", sampling=GREEDY), stop=(stop,)))["b"].samples[0]
    assert (cut.text, cut.finish_reason) == (whole.text[: whole.text.index(stop)], "stop")


def test_a_stop_token_ends_an_answer_and_is_counted(engine: Engine) -> None:
    """Every token a random model may choose first is made a stop token: the answer is empty, one token long."""
    sample = answers(engine, replace(ask(sampling=GREEDY), stop_token_ids=tuple(range(262))))["a"].samples[0]
    assert (sample.text, sample.num_tokens, sample.finish_reason) == ("", 1, "stop")


def test_a_prompt_that_fills_the_context_is_an_error_of_its_request_alone(engine: Engine) -> None:
    done = answers(engine, ask("long", tuple([70] * 256)), ask("short"))
    assert done["long"].samples == ()
    assert done["long"].is_too_long
    assert "256 tokens" in str(done["long"].error)
    assert len(done["short"].samples) == 1


def test_an_answer_ends_where_the_context_does(engine: Engine) -> None:
    long = Sampling(temperature=0.0, max_new_tokens=100)
    sample = answers(engine, replace(ask("a", tuple([70] * 250), long), stop_token_ids=()))["a"].samples[0]
    assert (sample.num_tokens, sample.finish_reason) == (6, "length")


def test_requests_of_different_sampling_share_an_engine(engine: Engine) -> None:
    alone = texts(answers(engine, ask(sampling=GREEDY))["a"])
    mixed = answers(engine, ask("r", n=3), ask("g", sampling=GREEDY), ask("k", sampling=Sampling(top_k=1)))
    assert texts(mixed["g"]) == alone
    assert texts(mixed["k"])[0][:6] == alone[0][:6]


def test_logprob_sum_is_that_of_the_answer(engine: Engine, model: Path) -> None:
    """Greedy answers of a random model: each token is likelier than chance (1 of 262), the sum is negative."""
    sample = answers(engine, replace(ask(sampling=GREEDY), stop_token_ids=()))["a"].samples[0]
    assert sample.logprob_sum is not None
    assert 12 * -5.57 < sample.logprob_sum < 0


@pytest.mark.slow
def test_alternatives_of_the_last_tokens_hold_what_was_chosen(engine: Engine) -> None:
    """All 12 tokens are within the tail, and the likeliest of each place was taken, so their log-probabilities add up
    to the answer's."""
    request = replace(ask(sampling=GREEDY), num_alternatives=5, stop_token_ids=())
    if isinstance(engine, EndpointEngine):
        with pytest.raises(ConfigError, match="reward judge"):
            answers(engine, request)
        return
    (sample,) = answers(engine, request)["a"].samples
    assert len(sample.tail) == sample.num_tokens == 12
    assert all(places[token] == max(places.values()) for token, places in sample.tail)
    assert all(len(places) >= 2 for _, places in sample.tail)  # bytes that are no text are spelled alike
    assert sum(places[token] for token, places in sample.tail) == pytest.approx(sample.logprob_sum, abs=1e-3)
    assert answers(engine, replace(request, num_alternatives=0))["a"].samples[0].tail == ()


@pytest.mark.parametrize("penalty", [1.0, 1.5])
def test_engines_agree_on_greedy_answers_in_float32(model: Path, penalty: float) -> None:
    sampling = replace(GREEDY, repetition_penalty=penalty)
    requests = [ask(f"r{i}", tuple(range(60 + i, 75 + 2 * i)), sampling) for i in range(6)]
    found = []
    for generator in GENERATORS.values():
        with generator.open(model, PLACEMENT) as opened:
            done = answers(opened, *requests)
            found.append({name: texts(one) for name, one in done.items()})
    assert found[0] == found[1]


def test_alone_a_sample_does_not_depend_on_what_else_is_asked(model: Path) -> None:
    """The batch-invariant mode: float32 and batch_size 1."""
    requests = [ask(f"r{i}", tuple(range(60, 70 + 5 * i)), n=2) for i in range(5)]
    with Transformers(dtype="float32", batch_size=1).open(model, PLACEMENT) as opened:
        together = answers(opened, *requests)
        for request in reversed(requests):
            assert answers(opened, request)[request.request_id] == together[request.request_id]


def test_the_nucleus_is_the_smallest_that_reaches_top_p() -> None:
    import torch

    from fusion.generators.transformers import restrict

    logits = torch.tensor([0.5, 0.1, 0.3, 0.1]).log()
    cases = [
        (0, 0.5, [0]),  # the first token reaches it alone
        (0, 0.51, [0, 2]),  # one more is needed
        (0, 0.01, [0]),  # one always stays
        (2, 1.0, [0, 2]),  # top-k alone
        (1, 0.9, [0]),  # top-k first, the nucleus within it
        (0, 1.0, [0, 1, 2, 3]),  # no limit
    ]
    for top_k, top_p, kept in cases:
        assert restrict(logits, top_k, top_p).isfinite().nonzero().flatten().tolist() == kept, (top_k, top_p)
