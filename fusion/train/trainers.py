"""TRL's trainers with our rows, our batches and our losses.

`SftTrainer` and `PreferenceTrainer` keep TRL's and transformers' loop, DeepSpeed, PEFT and checkpoint code. They put in
rows that are token ids already, the batches of a `BatchPlan`, and a loss that is summed over the whole global batch and
divided once, so that neither accumulation nor the number of processes changes it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from fusion.errors import StepFailed
from fusion.objectives.base import Objective, RoleLogProbs
from fusion.train.batches import BatchPlan
from fusion.train.config import DistilConfig, Execution, TrainingConfig
from fusion.train.rows import TokenRow
from fusion.train.tensors import TokenBatch, collate, response_token_logprobs, takes_shared_prompts
from fusion.train.workspace import Workspace

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import Tensor, nn
    from torch.utils.data import DataLoader
    from transformers import Trainer
else:
    Trainer = object


class PlannedTrainer(Trainer):  # type: ignore[misc]  # transformers is imported by the process that trains only
    """What both phases share; stands before a TRL trainer in the order of bases."""

    loss_is_scaled_for_ga = True

    def follow(self, rows: list[TokenRow], plan: BatchPlan, workspace: Workspace, execution: Execution) -> None:
        """Train on `rows` as `plan` says. Called once, before `train`."""
        self.rows, self.plan, self.workspace, self.execution = rows, plan, workspace, execution
        self._num_roles = len(rows[0].responses)
        self._shares = self._num_roles > 1 and takes_shared_prompts(self.model, max(row.num_tokens for row in rows))
        self._totals: dict[str, Tensor | float] = {}
        self._counts: Counter[str] = Counter()
        self._names: list[str] = []
        self._saved_step = 0
        self._step_began: float | None = None
        self.is_stopped = False
        self.keep: Callable[[int], None] = lambda step: None
        """Called in every process after each step, before the step may be one to resume from."""

    # -- data ----------------------------------------------------------------------------------------------------

    def get_train_dataloader(self) -> DataLoader:
        """One (step, rows) a forward pass: the plan has shuffled, grouped and shared them out already."""
        from torch.utils.data import DataLoader

        batches = self.plan.micro_batches(self.args.process_index)
        return DataLoader(batches, batch_size=1, collate_fn=self._collated)

    def _collated(self, batch: list[tuple[int, list[int]]]) -> dict[str, object]:
        ((step, numbers),) = batch
        rows = [self.rows[number] for number in numbers if number >= 0]
        tensors = collate(rows, self._num_roles, self.processing_class.pad_token_id, self._shares)
        whole = [self.rows[number] for number in self.plan.steps[step] if number >= 0]
        return {**vars(tensors), "denominator": float(self.denominator(whole))}

    def denominator(self, rows: list[TokenRow]) -> float:
        """What the loss of a global batch is divided by."""
        raise NotImplementedError

    def _prepare_dataset(self, dataset: Dataset, *args: object, **kwargs: object) -> Dataset:
        return dataset  # rendered by fusion.chat

    # -- loss ----------------------------------------------------------------------------------------------------

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, object],
        return_outputs: bool = False,
        num_items_in_batch: object = None,
    ) -> Tensor:
        """Share of this micro-batch in the loss of its global batch, times the number of processes: DeepSpeed averages
        gradients over them."""
        self._step_began = self._step_began or time.monotonic()
        denominator = float(str(inputs.pop("denominator")))
        batch = TokenBatch(**inputs)  # type: ignore[arg-type]
        logprobs_NK = response_token_logprobs(model, batch)
        self.count("tokens", batch.num_tokens, 0)
        if not batch.num_rows:
            return logprobs_NK.sum() * 0.0
        total = self.total_loss(logprobs_NK, batch)
        self.count("loss", total.detach() / denominator, 0)
        return total / denominator * self.args.world_size

    def total_loss(self, logprobs_NK: Tensor, batch: TokenBatch) -> Tensor:
        """Loss of a micro-batch, summed over what `denominator` counts."""
        raise NotImplementedError

    # -- what is told --------------------------------------------------------------------------------------------

    def count(self, name: str, total: Tensor | float, count: int) -> None:
        """Add to a metric of this step: a mean where counts are given, a sum where they are 0."""
        self._totals[name] = self._totals.get(name, 0.0) + total
        self._counts[name] += count

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Called by every process after each step.

        Raises:
            StepFailed: the loss is not a finite number.
        """
        if "loss" in logs:
            logs.update(self._step_metrics())
            if not abs(logs["loss"]) < float("inf"):
                raise StepFailed(f"the loss of step {self.state.global_step} is {logs['loss']}; lower learning_rate")
            if self.args.process_index == 0:
                self.workspace.report(self.state.global_step, self.state.max_steps)
        super().log(logs, start_time)

    def _step_metrics(self) -> dict[str, float]:
        """Metrics of the step, over all processes. The wish to stop travels with them, so that all see it at once."""
        import torch

        names = self._names = self._names or self._names_of_all()
        asked = self.args.process_index == 0 and self.workspace.is_asked_to_stop()
        sums = torch.tensor(
            [float(self._totals.get(n, 0.0)) for n in names] + [float(self._counts[n]) for n in names] + [float(asked)],
            dtype=torch.float64,
            device=self.args.device,
        )
        if self.args.world_size > 1:
            torch.distributed.all_reduce(sums)
        *numbers, stop = sums.tolist()
        totals, counts = numbers[: len(names)], numbers[len(names) :]
        self.is_stopped = self.is_stopped or stop > 0
        metrics = {n: total / (count or 1.0) for n, total, count in zip(names, totals, counts, strict=True)}
        metrics["seconds"], self._step_began = time.monotonic() - (self._step_began or 0.0), None
        self._totals.clear()
        self._counts.clear()
        return metrics

    def _names_of_all(self) -> list[str]:
        """Names of metrics, the same in each step. A process that has no row in it counts less than the others."""
        from accelerate.utils import gather_object

        return sorted(set(gather_object(list(self._totals))))

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def _maybe_log_save_evaluate(self, *args: object, **kwargs: object) -> None:
        super()._maybe_log_save_evaluate(*args, **kwargs)
        self.keep(self.state.global_step)
        every, step = self.execution.save_every_steps, self.state.global_step
        is_due = self.is_stopped or (every > 0 and step % every == 0)
        if is_due and self._saved_step < step < self.state.max_steps:
            self._save_checkpoint(self.model, None)
        self.control.should_training_stop = self.control.should_training_stop or self.is_stopped

    def _save_checkpoint(self, model: nn.Module, trial: object) -> None:
        from accelerate.utils import gather_object

        if self.args.process_index == 0:
            self.workspace.tell(f"saves step {self.state.global_step}")
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        args, step, keep = self.args, self.state.global_step, self.execution.keep_last
        carried = self.workspace.carry(step, keep, args.process_index, args.world_size, args.local_process_index)
        all_carried = gather_object(carried)
        if args.process_index == 0:
            self.workspace.complete(step, args.world_size, keep, all_carried)
        self._saved_step = self.state.global_step

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """DeepSpeed's shards hold the weights; a second copy beside each checkpoint would cost as much again."""

    def create_model_card(self, *args: object, **kwargs: object) -> None:
        """Ours is written with the run."""

    def _send_telemetry(self) -> None:
        """Nothing leaves the machine."""


class SftPhase(PlannedTrainer):
    """Mean negative log-likelihood of the response tokens of a global batch. Of weighted rows (FuseRL, arXiv
    2504.06562): the weighted mean over rows of each row's mean over tokens, so that a prompt's rows share one vote."""

    def denominator(self, rows: list[TokenRow]) -> float:
        if rows[0].weight is not None:
            return sum(row.weight or 0.0 for row in rows)
        return sum(len(response) for row in rows for response in row.responses)

    def total_loss(self, logprobs_NK: Tensor, batch: TokenBatch) -> Tensor:
        if batch.weights_B is None:
            return -logprobs_NK.sum()
        return -(batch.weights_B * logprobs_NK.sum(1) / batch.response_mask_NK.sum(1)).sum()


class PreferencePhase(PlannedTrainer):
    """Mean of an objective over the rows of a global batch, by their weights; the reference comes with the rows."""

    objective: Objective

    def denominator(self, rows: list[TokenRow]) -> float:
        return sum(1.0 if row.weight is None else row.weight for row in rows)

    def total_loss(self, logprobs_NK: Tensor, batch: TokenBatch) -> Tensor:
        shape = (len(self.objective.roles), batch.num_rows)
        num_tokens_RB = batch.response_mask_NK.sum(1).view(shape)
        policy = RoleLogProbs(logprobs_NK.sum(1).view(shape), num_tokens_RB)
        reference = None
        if batch.references_RB is not None:
            reference = RoleLogProbs(batch.references_RB, num_tokens_RB, batch.sources_ZRB)
        loss = self.objective.training_loss(policy, reference, self.state.global_step / self.state.max_steps)
        for name, (total, count) in loss.metrics.items():
            self.count(name, total, count)
        return (loss.per_example_B if batch.weights_B is None else batch.weights_B * loss.per_example_B).sum()

    def _precompute_ref_logps(self, dataset: Dataset, name: str, batch_size: int) -> Dataset:
        return dataset  # they are in our store, keyed by tokens


def trainer_class(objective: Objective | None, config: TrainingConfig) -> type[PlannedTrainer]:
    """The trainer of a phase: SFT without an objective, on fused targets where the config says so; preference training
    with one."""
    from trl import DPOTrainer, SFTTrainer

    if isinstance(config, DistilConfig):
        from fusion.train.distil import DistilPhase

        class DistilTrainer(DistilPhase, SFTTrainer):  # type: ignore[misc]
            pass

        DistilTrainer.label_weight = config.label_weight
        return DistilTrainer

    if objective is None:

        class SftTrainer(SftPhase, SFTTrainer):  # type: ignore[misc]
            pass

        return SftTrainer

    class PreferenceTrainer(PreferencePhase, DPOTrainer):  # type: ignore[misc]
        pass

    PreferenceTrainer.objective = objective
    return PreferenceTrainer
