"""A real model behind `/v1/completions`, as vLLM serves one: token ids in, n samples out, with its additions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fusion.engine_loop import EngineLoop
from fusion.generators.base import Generator, Request, Sample, Sampling
from fusion.step import Placement
from tests.endpoint_server import Body, Server, serving

MODEL = "pico"


@contextmanager
def model_server(model: Path, generator: Generator, placement: Placement) -> Iterator[Server]:
    """`generator`'s engine behind a server; `token_logprobs` share a sample's sum evenly."""
    numbers = itertools.count()

    def answer(path: str, body: Body) -> Body:
        assert path == "/v1/completions"
        (done,) = loop.generate([_request(str(next(numbers)), body)])
        assert done.error is None, done.error
        return {
            "model": MODEL,
            "choices": [_choice(place, sample, "logprobs" in body) for place, sample in enumerate(done.samples)],
            "usage": {
                "prompt_tokens": len(body["prompt"]),
                "completion_tokens": sum(sample.num_tokens for sample in done.samples),
            },
        }

    with EngineLoop(generator, model, placement) as loop, serving(answer) as server:
        yield server


def _request(name: str, body: Body) -> Request:
    """vLLM gives sample i of a request the seed `seed + i`."""
    sampling = Sampling(
        temperature=body["temperature"],
        top_p=body["top_p"],
        top_k=max(0, body["top_k"]),
        repetition_penalty=body["repetition_penalty"],
        max_new_tokens=body["max_tokens"],
    )
    indices = tuple(range(body["n"]))
    seeds = tuple(body.get("seed", 0) + index for index in indices)
    stops = (tuple(body.get("stop", ())), tuple(body["stop_token_ids"]))
    return Request(name, tuple(body["prompt"]), sampling, indices, seeds, *stops)


def _choice(place: int, sample: Sample, logprobs: bool) -> Body:
    choice: Body = {"index": place, "text": sample.text, "finish_reason": sample.finish_reason}
    if logprobs:
        assert sample.logprob_sum is not None
        choice["logprobs"] = {"token_logprobs": [sample.logprob_sum / sample.num_tokens] * sample.num_tokens}
    return choice
