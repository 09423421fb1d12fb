"""Preference training here against plain TRL DPOTrainer on the same pairs: tokens/s as a ratio, at one loss curve.

The pairs are 64 real ones (conversations of one to nine turns, answers of 1 to 190 tokens; a byte of every sixteenth
character is a token). The model is a random Llama: what is compared is padding, the reference's forward pass, and how
often a prompt is read, not the model. Both train in fp32 on the same batches of 16 pairs in the same order, in
micro-batches of 8, on one thread, without gradient checkpointing, and take turns in one process; the best time of each
counts. Beside the time on the wall stands the processor's, which other work on the machine hardly moves. Ours uses
stored reference log-probabilities; what computing them costs, once for all runs with this reference and these tokens,
is printed beside. Goal: 1.5.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # the tests are no installed package

from transformers import TrainerCallback

from fusion.chat import Renderer
from fusion.models import ChatConfig
from fusion.objectives.dpo import Dpo
from fusion.train.batches import BatchPlan, plan_batches
from fusion.train.config import Dtype, Execution, PreferenceConfig
from fusion.train.job import TrainJob
from fusion.train.rows import TokenRow, pair_rows, write_rows
from fusion.train.trainers import PlannedTrainer
from fusion.train.workspace import Workspace
from tests.shared_data import ROOT
from tests.tiny import make_tokenizer

DATA = ROOT / "preference" / "dpo_en_demo.json"
NUM_PAIRS, REPEATS, TOLERANCE = 64, 3, 1e-3
OBJECTIVE = Dpo(beta=0.1)
CONFIG = PreferenceConfig(
    global_batch_size=16,
    learning_rate=1e-3,
    max_length=2048,
    dtype=Dtype.FLOAT32,
    execution=Execution(micro_batch_size=8, save_every_steps=0, zero_stage=0),
)
Seconds = tuple[float, float]
"""On the wall, and of the processor."""
ROLES = {"human": "user", "gpt": "assistant", "system": "system"}


def table() -> list[dict[str, object]]:
    """Pairs as the PREFERENCE_PAIR table has them, texts thinned out."""
    rows = []
    for number, pair in enumerate(json.loads(DATA.read_text())[:NUM_PAIRS]):
        turns = [{"role": ROLES[turn["from"]], "content": turn["value"][::16]} for turn in pair["conversations"]]
        texts = {role: pair[role]["value"][::16] + role[0] for role in ("chosen", "rejected")}  # never equal
        rows.append({"prompt_id": f"p{number}", "pair_index": 0, "domain": "", "messages": turns, **texts})
    return rows


def make_model(folder: Path) -> Path:
    """A random Llama of 0.8 million weights with a context of 2,048."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    make_tokenizer(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=262, hidden_size=128, intermediate_size=384, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=2048, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def reference(model: Path, rows: list[TokenRow]) -> tuple[list[TokenRow], Seconds]:
    """Rows with reference log-probabilities, and seconds."""
    import torch
    from transformers import AutoModelForCausalLM

    from fusion.rewards.logprobs import response_logprobs
    from fusion.train.forward import TOKEN_BUDGET

    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    began, began_cpu = time.perf_counter(), time.process_time()
    prompts = [row.prompt_ids for row in rows for _ in row.responses]
    found = response_logprobs(loaded, prompts, [r for row in rows for r in row.responses], TOKEN_BUDGET)
    seconds = (time.perf_counter() - began, time.process_time() - began_cpu)
    return [replace(row, references=(found[2 * i][0], found[2 * i + 1][0])) for i, row in enumerate(rows)], seconds


class Clock(TrainerCallback):  # type: ignore[misc]
    """Seconds of all optimiser steps, their forward passes included: on the wall, and of the processor."""

    def __init__(self) -> None:
        self.took = (0.0, 0.0)
        self._began = (0.0, 0.0)

    def on_step_begin(self, *args: object, **kwargs: object) -> None:
        self._began = (time.perf_counter(), time.process_time())

    def on_step_end(self, *args: object, **kwargs: object) -> None:
        now = (time.perf_counter(), time.process_time())
        self.took = (self.took[0] + now[0] - self._began[0], self.took[1] + now[1] - self._began[1])


@dataclass(frozen=True)
class TimedJob(TrainJob):
    clock: Clock = field(default_factory=Clock)

    def _trainer(self, model: str, workspace: Workspace, world_size: int) -> tuple[PlannedTrainer, BatchPlan]:
        trainer, plan = super()._trainer(model, workspace, world_size)
        trainer.add_callback(self.clock)
        return trainer, plan


def ours(model: Path, rows: list[TokenRow], folder: Path) -> tuple[list[float], Seconds]:
    """Loss of each step, and what the steps took."""
    work = folder / "work"
    work.mkdir(parents=True)
    write_rows(work / "rows.parquet", rows)
    job = TimedJob(
        model=str(model), cache="", work=str(work), files=str(folder / "files"), config=CONFIG, objective=OBJECTIVE,
        chat_template=None, end_of_turn_ids=(2,), use_gpu=False, clock=Clock(),
    )  # fmt: skip
    job.run(0, 1)
    result = Workspace(work).result()
    assert result is not None
    return [point["loss"] for point in result["curve"]], job.clock.took  # type: ignore[attr-defined]


def plain(model: Path, pairs: list[dict[str, object]], folder: Path) -> tuple[list[float], Seconds]:
    """The same of TRL's trainer as it comes, but for the order of the pairs."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    arguments = DPOConfig(
        str(folder), beta=OBJECTIVE.beta, per_device_train_batch_size=8, gradient_accumulation_steps=2,
        num_train_epochs=1, learning_rate=CONFIG.learning_rate, lr_scheduler_type="cosine", warmup_steps=0.1,
        max_length=CONFIG.max_length, train_sampling_strategy="sequential", bf16=False, use_cpu=True,
        gradient_checkpointing=False, logging_steps=1, save_strategy="no", report_to="none", disable_tqdm=True,
        weight_decay=0.0, seed=CONFIG.seed,
    )  # fmt: skip
    data = [
        {"prompt": pair["messages"]} | {r: [{"role": "assistant", "content": pair[r]}] for r in ("chosen", "rejected")}
        for pair in pairs
    ]
    trainer, clock = DPOTrainer(str(model), args=arguments, train_dataset=Dataset.from_list(data)), Clock()
    trainer.add_callback(clock)
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry], clock.took


def main() -> None:
    if not DATA.exists():
        print(f"preference training: not measured, {DATA} is not at hand (set FUSION_DATA)")
        return
    import datasets
    import torch

    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, pairs = make_model(folder / "model"), table()
        rows, _ = pair_rows(pairs, Renderer.load(model, ChatConfig()), ("chosen", "rejected"), CONFIG.max_length)
        assert len(rows) == len(pairs)
        rows, reference_s = reference(model, rows)
        plan = plan_batches([row.key for row in rows], [row.num_tokens for row in rows], CONFIG, 1)
        ordered = [pairs[number] for step in plan.steps for number in sorted(step)]  # no longer by length
        seconds: dict[str, list[Seconds]] = {"ours": [], "trl": []}
        for repeat in range(REPEATS):
            curve, took = ours(model, rows, folder / f"ours{repeat}")
            seconds["ours"].append(took)
            expected, took = plain(model, ordered, folder / f"trl{repeat}")
            seconds["trl"].append(took)
    apart = max(abs(a - b) for a, b in zip(curve, expected, strict=True))
    if apart > TOLERANCE:
        raise SystemExit(f"preference training: losses differ by {apart:.1e}, more than {TOLERANCE:g}")
    tokens = sum(row.num_tokens for row in rows)
    print(
        f"preference training: {tokens:,} tokens in {len(rows)} pairs, {len(curve)} losses from {curve[0]:.3f} to "
        f"{curve[-1]:.3f}, within {apart:.0e} of TRL's"
    )
    for which, what in enumerate(("on the wall", "of the processor")):
        best = {name: min(took[which] for took in all_of) for name, all_of in seconds.items()}
        rates = ", ".join(f"{name} {tokens / one:,.0f} tokens/s" for name, one in best.items())
        first = best["trl"] / (best["ours"] + reference_s[which])
        print(f"  seconds {what:<16}: {rates}; ours / trl = {best['trl'] / best['ours']:.2f}  (goal: at least 1.5)")
        print(f"    the first run, which computes the reference ({reference_s[which]:.1f} s), by itself: {first:.2f}")


if __name__ == "__main__":
    main()
