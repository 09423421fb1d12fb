"""1,000,000 prompts x 4 sources x 5 samples on 128 replicas: what the driver costs, and whether replicas wait for it.

The driver's code is the program's; engines are simulated in virtual time (`simulated.py` says how fast they are), with
answers as long as real ones. Sources run in turn, each on all replicas; the writers of all stay, as in a run. Before
that, real Ray actors that sleep instead of computing do 10^4 prompts in real time: that says what Ray adds to a task,
which the simulation then charges, and whether the simulation foretells the time.

    overhead     CPU seconds of the driver / simulated seconds, from declaring rows to the seal. Goal: at most 0.02
    idle         share of replica-seconds without any answer in work, until 98% of a source's rows. Goal: at most 0.05
    empty slots  the same of the slots of all batches: an engine that is half full counts half
    memory       peak RSS of the process that holds driver and simulation. Goal: below 2 GiB
    cost         CPU seconds of the driver a row, at growing sizes. Goal: the same

    python tests/benchmarks/bench_scale.py                          10^4 and 10^5 prompts, 2 minutes
    python tests/benchmarks/bench_scale.py 10000 100000 1000000     what the goals are about
"""

from __future__ import annotations

import gc
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))  # the tests are no installed package

from fusion.artifact import open_artifact
from fusion.schema import PROMPT
from fusion.stages.generate_tasks import GenerateTasks
from fusion.step import Placement
from tests.benchmarks.lengths import answer_lengths
from tests.benchmarks.responses_work import prompt_table, responses_work
from tests.benchmarks.simulated import Cluster, Lengths, Speed

REPLICAS, SAMPLES = 128, 5
PLACEMENT = Placement(replicas=REPLICAS, part_rows=64, in_flight=64, max_sequences=256)  # as cluster=one_gpu_node
ACTORS, REAL_PROMPTS, TOKEN_S = 16, 10_000, 0.0274 / 4
"""Of the real runs: a token takes a fourth of what it takes an engine of 70 billion weights."""


@dataclass
class Figures:
    """Of one run over all sources."""

    rows: int = 0
    tasks: int = 0
    wall_s: float = 0.0
    driver_s: float = 0.0
    declare_s: float = 0.0
    seal_s: float = 0.0
    ray_s: float = 0.0
    idle: float = 0.0
    empty: float = 0.0
    tail_s: float = 0.0
    manifest_bytes: int = 0
    rss_gib: float = 0.0


def drawing(lengths: np.ndarray, seed: int) -> Lengths:  # type: ignore[type-arg]
    rng = np.random.default_rng(seed)
    return lambda number: rng.choice(lengths, number).tolist()


def simulate(folder: str, transport_s: float) -> Figures:
    """All sources over the prompts in `folder`, in this process."""
    prompts = open_artifact(f"{folder}/prompts", PROMPT)
    assert prompts is not None
    lengths = {name: np.array(values) for name, values in json.loads(Path(folder, "lengths.json").read_text()).items()}
    found, kept = Figures(), []
    for seed, (source, some) in enumerate(lengths.items()):
        work = responses_work(f"{folder}/{source}", prompts, source, SAMPLES)
        kept.append(work)  # a run keeps the writers of all its steps
        cluster = Cluster([Speed()] * REPLICAS, drawing(some, seed), charges_driver=True, transport_s=transport_s)
        started = time.thread_time()
        tasks = GenerateTasks([work], PLACEMENT)
        declared = time.thread_time()
        cluster.clock.now = declared - started  # nothing is asked before all is declared
        cluster.clock.leave()
        for done in cluster.run(tasks, PLACEMENT):
            for path, receipt in done.receipts.items():
                tasks.accept(path, receipt)
            found.tasks += 1
        cluster.clock.enter()
        before = time.thread_time()
        work.rows_out.seal({"inputs": {}})
        add(found, cluster, declared - started, time.thread_time() - before)
        found.manifest_bytes += Path(folder, source, "manifest.json").stat().st_size
        del tasks
        gc.collect()
    found.ray_s = found.tasks * transport_s
    found.idle, found.empty, found.tail_s = (each / len(lengths) for each in (found.idle, found.empty, found.tail_s))
    found.rss_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return found


def add(found: Figures, cluster: Cluster, declare_s: float, seal_s: float) -> None:
    """One source's; shares are summed, to be divided by the number of sources."""
    rows, end = cluster.rows_at[-1][1], cluster.clock.now
    until = next(at for at, done in cluster.rows_at if done >= 0.98 * rows)
    busy = [replica.engine.in_use(until) for replica in cluster.replicas]
    found.rows += rows
    found.wall_s += end + seal_s
    found.declare_s += declare_s
    found.seal_s += seal_s
    found.driver_s += cluster.clock.driver_s + declare_s + seal_s
    found.idle += 1 - sum(seconds for seconds, _ in busy) / (until * REPLICAS)
    found.empty += 1 - sum(slots for _, slots in busy) / (until * REPLICAS * Speed().slots)
    found.tail_s += end - until


def in_earnest(folder: str) -> dict[str, float]:
    """The first source over real actors, and what the simulation says of the same; CPU of the whole driver process."""
    from actors.runtime import RayRuntime
    from fusion.cluster_config import RayConfig
    from tests.benchmarks.paced import PacedWorker

    prompts = open_artifact(f"{folder}/prompts", PROMPT)
    assert prompts is not None
    source, lengths = next(iter(json.loads(Path(folder, "lengths.json").read_text()).items()))
    placement = replace(PLACEMENT, replicas=ACTORS, cpus=0.01)
    runtime = RayRuntime(RayConfig(temp_dir=tempfile.mkdtemp(prefix="fs", dir="/tmp")))
    try:
        tasks = GenerateTasks([responses_work(f"{folder}/real", prompts, source, SAMPLES)], placement)
        spent, number, began, threads = 0.0, 0, 0.0, 0.0
        for done in runtime.map(PacedWorker(tuple(lengths), TOKEN_S), tasks, placement, "paced"):
            if not number:  # from here on the actors are there
                began, spent, threads = time.monotonic(), time.process_time(), time.thread_time()
            for path, receipt in done.receipts.items():
                tasks.accept(path, receipt)
            number += 1
            last, cpu, own = time.monotonic(), time.process_time(), time.thread_time()
    finally:
        runtime.close()
    endless = Speed(slots=10**9, base_s=TOKEN_S, per_answer_s=0.0)
    cluster = Cluster([endless] * ACTORS, drawing(np.array(lengths), 0), charges_driver=True, transport_s=0.0)
    same = GenerateTasks([responses_work(f"{folder}/same", prompts, source, SAMPLES)], placement)
    first = 0.0
    for done in cluster.run(same, placement):
        first = first or cluster.clock.now
        for path, receipt in done.receipts.items():
            same.accept(path, receipt)
    return {
        "tasks": number, "wall_s": last - began, "simulated_s": cluster.clock.now - first,
        "process_s": (cpu - spent) / (number - 1), "thread_s": (own - threads) / (number - 1),
        "simulated_thread_s": cluster.clock.driver_s / number,
    }  # fmt: skip


def child(*arguments: str) -> dict[str, float]:
    """A part of the benchmark in a process of its own: memory is a process's."""
    command = [sys.executable, __file__, "--child", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def show(prompts: int, found: Figures) -> None:
    share = found.driver_s / found.wall_s
    print(
        f"{prompts:>9,} prompts, {found.rows:,} rows in {found.tasks:,} tasks: {found.wall_s / 3600:.2f} h simulated\n"
        f"    driver {found.driver_s:.1f} s CPU = {1e6 * found.driver_s / found.rows:.2f} us a row (declare "
        f"{found.declare_s:.1f}, Ray {found.ray_s:.1f}, seal {found.seal_s:.1f})\n"
        f"    overhead {share:.4f}  (goal 0.02)   idle {found.idle:.4f}  (goal 0.05)   empty slots {found.empty:.3f}\n"
        f"    last 2% of rows {found.tail_s:.0f} s a source   manifests {found.manifest_bytes / 2**20:.1f} MiB   "
        f"peak memory {found.rss_gib:.2f} GiB  (goal 2)",
        flush=True,
    )


def prepare(folder: str, prompts: int, lengths: dict[str, list[int]]) -> None:
    prompt_table(f"{folder}/prompts", prompts)
    Path(folder, "lengths.json").write_text(json.dumps(lengths))


def main(sizes: list[int]) -> None:
    found, said = answer_lengths()
    lengths = {name: values.tolist() for name, values in found.items()}
    speed = Speed()
    rate = speed.slots / speed.step_s(speed.slots)
    print(f"lengths {said}\nreplicas {REPLICAS}, {speed.slots} answers at a time each, {rate:.0f} tokens/s", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        prepare(folder, REAL_PROMPTS, lengths)
        real = child("in_earnest", folder)
    transport_s = max(0.0, real["process_s"] - real["simulated_thread_s"])
    print(
        f"{ACTORS} real actors, {REAL_PROMPTS:,} prompts, {real['tasks']:.0f} tasks: {real['wall_s']:.0f} s, simulated "
        f"{real['simulated_s']:.0f} s\n    driver, a task: {1e3 * real['process_s']:.2f} ms CPU of the process, "
        f"{1e3 * real['thread_s']:.2f} of its thread; simulated {1e3 * real['simulated_thread_s']:.2f}, so Ray takes "
        f"{1e3 * transport_s:.2f}, which is charged below",
        flush=True,
    )
    costs = []
    for prompts in sizes:
        with tempfile.TemporaryDirectory() as folder:
            prepare(folder, prompts, lengths)
            figures = Figures(**child("simulate", folder, str(transport_s)))  # type: ignore[arg-type]
        show(prompts, figures)
        costs.append(figures.driver_s / figures.rows)
    print(f"cost a row, {sizes[-1]:,} / {sizes[0]:,} prompts = {costs[-1] / costs[0]:.2f}  (goal: at most 1.1)")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        what, folder, *rest = sys.argv[2:]
        print(json.dumps(in_earnest(folder) if what == "in_earnest" else asdict(simulate(folder, float(rest[0])))))
    else:
        main([int(size) for size in sys.argv[1:]] or [10_000, 100_000])
