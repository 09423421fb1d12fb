"""Generation through our actor, with and without commits, against bare `vllm.LLM.chat` and against `ray.data.llm`.

Same model, prompts, sampling, engine arguments and threads; all but ours throw away what they make. Goals, in tokens/s:
ours / bare at least 0.97, ours / ray.data.llm at least 1.0; time with commits / without at most 1.02. Engines start
before anything is measured; ray.data.llm starts one a data set, so all rounds are one data set whose prompts wait for
their turn. One answer a prompt, since it keeps one.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's workers otherwise yield to whatever else the machine does
sys.path.insert(0, str(Path(__file__).parents[2]))  # the tests are no installed package

from fusion.artifact import Part, PartFolder, Receipt
from fusion.config import composed, typed
from fusion.generators.base import Sampling
from fusion.modelfiles import DEFAULT_CACHE, prepare
from fusion.schema import PROMPT, RESPONSE, prompt_id
from fusion.source_config import SourceConfig
from fusion.stages.generate import GenerateWorker
from fusion.stages.generate_tasks import Asked
from fusion.step import Placement
from fusion.writer import ArtifactWriter
from tests.benchmarks.turns import Round, rates, ratio, show, take_turns

if TYPE_CHECKING:
    from actors.answers import Answers
    from actors.replica import Replica

NUM_PROMPTS, NUM_TOKENS, ROUNDS, PART_ROWS = 192, 32, 8, 16
SAMPLING = Sampling(temperature=0.8, top_p=1.0, top_k=40, max_new_tokens=NUM_TOKENS, num_samples=1)
PLACEMENT = Placement(cpus=1, kv_cache_gib=0.5, max_sequences=96, part_rows=PART_ROWS, in_flight=48)

ENGINE: dict[str, object] = {
    "dtype": "bfloat16", "max_model_len": 1024, "enforce_eager": True, "enable_chunked_prefill": False,
    "kv_cache_memory_bytes": 2**29, "max_num_seqs": 96, "block_size": 32, "max_num_batched_tokens": 2048,
    "enable_prefix_caching": True, "disable_log_stats": True, "generation_config": "vllm",
}  # fmt: skip


def questions(number: int) -> list[str]:
    return [f"Tell me something about the number {number * NUM_PROMPTS + i}." for i in range(NUM_PROMPTS)]


def source() -> SourceConfig:
    return typed(composed(["experiment=quickstart"])).sources["smollm2_135m"]


@contextmanager
def bare() -> Iterator[Round]:
    """vLLM by itself."""
    folder = prepare(source().model, Path(DEFAULT_CACHE).expanduser())
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    from vllm import LLM, SamplingParams

    engine = LLM(str(folder), **ENGINE)  # type: ignore[arg-type]

    def one_round(number: int) -> tuple[float, float]:
        sampling = SamplingParams(temperature=0.8, top_k=40, max_tokens=NUM_TOKENS, seed=number)
        chats = [[{"role": "user", "content": text}] for text in questions(number)]
        started = time.perf_counter()
        outputs = engine.chat(chats, sampling, use_tqdm=False)  # type: ignore[arg-type]
        seconds = time.perf_counter() - started
        return sum(len(sample.token_ids) for output in outputs for sample in output.outputs), seconds

    yield one_round


@contextmanager
def ours(commits: bool) -> Iterator[Round]:
    """Our actor on a Ray of its own, asked as the driver asks it."""
    from actors.answers import Answers
    from actors.cluster import connect
    from actors.replica import Replica
    from fusion.cluster_config import RayConfig

    chosen, config = source(), RayConfig()
    worker = GenerateWorker(
        chosen.model, "", chosen.model.chat, typed(composed(["experiment=quickstart"])).generator, DEFAULT_CACHE
    )
    connection = connect(config)
    answers: Answers[Replica] = Answers()
    replica = Replica(worker, PLACEMENT, "bench", config, answers)
    try:
        replica.start()
        answers.wait(600)
        replica.opened()
        with tempfile.TemporaryDirectory() as store:
            yield lambda number: _ask(replica, answers, Path(store) / str(number), number, commits)
    finally:
        replica.stop(graceful=True)
        connection.disconnect()


def _ask(replica: Replica, answers: Answers[Replica], store: Path, number: int, commits: bool) -> tuple[float, float]:
    """One round; parts of prompts lie in the store, as always."""
    tasks = _tasks(store, number, commits)
    started = time.perf_counter()
    for task_id, task in enumerate(tasks):
        replica.submit(task_id, task)
    receipts: list[Receipt] = []
    while replica.outstanding:
        for _, answer in answers.wait(600):
            receipts += replica.receive(answer).receipts.values()
    seconds = time.perf_counter() - started
    return sum(receipt.num_tokens for receipt in receipts), seconds


class Forgetful(PartFolder):
    """Takes rows and drops them."""

    def _write(self, folder: str, rows: object) -> tuple[Part, ...]:
        return ()


def _tasks(store: Path, number: int, commits: bool) -> list[Asked]:
    prompts = ArtifactWriter(str(store / "prompts"), PROMPT)
    rows: list[dict[str, object]] = []
    for text in questions(number):
        chat = [{"role": "user", "content": text}]
        rows.append(
            {
                "prompt_id": prompt_id(chat, None),
                "messages": chat,
                "domain": "chat",
                "dataset": "bench",
                "reference": None,
            }
        )
    (part,) = prompts.folder.write(PROMPT.build(rows))
    out = (PartFolder if commits else Forgetful)(str(store / "responses"), RESPONSE)
    samples = [(str(row["prompt_id"]), (0,)) for row in rows]
    cuts = [tuple(samples[start : start + PART_ROWS]) for start in range(0, NUM_PROMPTS, PART_ROWS)]
    return [Asked(prompts.folder, part.name, cut, out, "smollm2", SAMPLING, 42) for cut in cuts]


@contextmanager
def ray_data_llm() -> Iterator[Round]:
    """Ray's own batch inference."""
    import ray
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    from actors.cluster import connect
    from actors.feed import Feed
    from fusion.cluster_config import RayConfig

    connection = connect(RayConfig(num_cpus=12))  # one for each of its stages, and some
    config = vLLMEngineProcessorConfig(
        model_source=str(prepare(source().model, Path(DEFAULT_CACHE).expanduser())),
        engine_kwargs=ENGINE, batch_size=PART_ROWS, concurrency=1, log_engine_metrics=False,
        placement_group_config={"bundles": [{"CPU": 1}]},  # it asks for a GPU otherwise, and waits for it silently
    )  # fmt: skip
    sampling = {"temperature": 0.8, "top_k": 40, "max_tokens": NUM_TOKENS, "seed": 1}
    processor = build_processor(
        config,
        preprocess=lambda row: {
            "messages": [{"role": "user", "content": row["text"]}], "sampling_params": sampling,
        },
        postprocess=lambda row: {"tokens": row["num_generated_tokens"]},
    )  # fmt: skip
    turns = ray.remote(Feed).options(num_cpus=0).remote(1, 0)

    def in_its_turn(row: dict[str, object]) -> dict[str, object]:
        ray.get(turns.after.remote(row["round"]))
        return row

    prompts = [{"round": number, "text": text} for number in range(ROUNDS) for text in questions(number)]
    waiting = ray.data.from_items(prompts, override_num_blocks=len(prompts) // PART_ROWS)
    # CPUs of its own keep it a stage of its own: one with the first stage, it would hold up what went before.
    made = processor(waiting.map(in_its_turn, num_cpus=0.001, concurrency=8))
    # Fetching ahead would hold a round's last answer back until the next round's first is there.
    rows = chain.from_iterable(batch["tokens"] for batch in made.iter_batches(batch_size=None, prefetch_batches=0))

    def one_round(number: int) -> tuple[float, float]:
        started = time.perf_counter()
        ray.get(turns.append.remote(b""))
        tokens = sum(int(next(rows)) for _ in range(NUM_PROMPTS))
        return tokens, time.perf_counter() - started

    yield one_round
    connection.disconnect()


VARIANTS = {
    "ray.data.llm": ray_data_llm,
    "bare": bare,
    "ours": lambda: ours(commits=True),
    "ours without commits": lambda: ours(commits=False),
}


def main() -> None:
    found = take_turns(__file__, VARIANTS, ROUNDS)
    if found is None:
        return
    speed = {name: rates(rounds[1:]) for name, rounds in found.items()}  # the first round warms up
    for name, values in speed.items():
        show(name, values, "tokens/s")
    print(f"generation: ours / bare = {ratio(speed['ours'], speed['bare']):.3f}  (goal: at least 0.97)")
    print(f"generation: ours / ray.data.llm = {ratio(speed['ours'], speed['ray.data.llm']):.3f}  (goal: at least 1.0)")
    lost = ratio(speed["ours without commits"], speed["ours"])
    print(f"durability: time with / without commits = {lost:.3f}  (goal: at most 1.02)")


if __name__ == "__main__":
    main()
