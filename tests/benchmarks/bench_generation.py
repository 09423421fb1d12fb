"""Generation through our session, with and without commits, against bare `vllm.LLM.generate`: tokens/s, as ratios.

Same model, prompts and engine arguments; each variant runs in a process of its own, in turn, several times. Goals:
ours / bare at least 0.97; with commits / without at most 1.02 of the time.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fusion.artifact import PartFolder
from fusion.config import composed, typed
from fusion.generators.base import Sampling
from fusion.modelfiles import DEFAULT_CACHE, prepare
from fusion.step import Placement

NUM_PROMPTS, NUM_SAMPLES, NUM_TOKENS, REPEATS = 48, 2, 32, 3


def messages() -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": f"Tell me something about the number {i}."}] for i in range(NUM_PROMPTS)]


def bare() -> tuple[int, float]:
    """Tokens and seconds of vLLM by itself."""
    source = typed(composed(["experiment=quickstart"])).sources["smollm2_135m"]
    folder = prepare(source.model, Path(DEFAULT_CACHE).expanduser())
    from vllm import LLM, SamplingParams

    engine = LLM(
        str(folder), dtype="bfloat16", max_model_len=1024, enforce_eager=True, enable_chunked_prefill=False,
        kv_cache_memory_bytes=2**29, max_num_seqs=96, block_size=32, max_num_batched_tokens=2048,
        disable_log_stats=True,
    )  # fmt: skip
    sampling = SamplingParams(n=NUM_SAMPLES, temperature=0.8, top_p=0.95, max_tokens=NUM_TOKENS, seed=1)
    started = time.perf_counter()
    outputs = engine.chat(messages(), sampling, use_tqdm=False)  # type: ignore[arg-type]
    seconds = time.perf_counter() - started
    return sum(len(sample.token_ids) for output in outputs for sample in output.outputs), seconds


def ours(commit: bool) -> tuple[int, float]:
    """Tokens and seconds of our generation session; without commits, parts go to memory."""
    from fusion.chat import Renderer
    from fusion.generators.base import Request
    from fusion.generators.vllm import Vllm
    from fusion.schema import RESPONSE

    source = typed(composed(["experiment=quickstart"])).sources["smollm2_135m"]
    folder = prepare(source.model, Path(DEFAULT_CACHE).expanduser())
    renderer = Renderer.load(folder, source.model.chat)
    sampling = Sampling(temperature=0.8, top_p=0.95, max_new_tokens=NUM_TOKENS, num_samples=NUM_SAMPLES)
    placement = Placement(cpus=1, kv_cache_gib=0.5, max_sequences=96)
    tokens = 0
    with tempfile.TemporaryDirectory() as store, Vllm(max_model_len=1024).open(folder, placement) as engine:
        out = PartFolder(store, RESPONSE)
        started = time.perf_counter()
        for i, chat in enumerate(messages()):
            ids = tuple(renderer.prompt_ids(chat, "instruction"))
            stops = tuple(renderer.end_of_turn_ids)
            engine.submit(Request(str(i), ids, sampling, (0, 1), (2 * i, 2 * i + 1), stop_token_ids=stops))
        while engine.num_unfinished:
            for completion in engine.step():
                tokens += sum(sample.num_tokens for sample in completion.samples)
                if commit:
                    out.write(RESPONSE.build([_row(completion.request_id, sample) for sample in completion.samples]))
        seconds = time.perf_counter() - started
    return tokens, seconds


def _row(request_id: str, sample: object) -> dict[str, object]:
    from fusion.generators.base import Sample

    assert isinstance(sample, Sample)
    return {
        "prompt_id": request_id, "source": "s", "sample_index": sample.sample_index, "text": sample.text,
        "num_tokens": sample.num_tokens, "finish_reason": sample.finish_reason, "seed": 0, "logprob_sum": None,
    }  # fmt: skip


VARIANTS = {"bare": bare, "ours": lambda: ours(commit=True), "ours without commits": lambda: ours(commit=False)}


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(VARIANTS[sys.argv[1]]()))
        return
    rates: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(REPEATS):
        for name in VARIANTS:
            done = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True, check=True)
            tokens, seconds = json.loads(done.stdout.strip().splitlines()[-1])
            rates[name].append(tokens / seconds)
    middle = {name: statistics.median(values) for name, values in rates.items()}
    for name, rate in middle.items():
        print(f"{name:<22} {rate:7.1f} tokens/s  (of {', '.join(f'{value:.1f}' for value in rates[name])})")
    print(f"generation: ours / bare = {middle['ours'] / middle['bare']:.3f}  (goal: at least 0.97)")
    ratio = middle["ours without commits"] / middle["ours"]
    print(f"durability: time with / without commits = {ratio:.3f}  (goal: at most 1.02)")


if __name__ == "__main__":
    main()
