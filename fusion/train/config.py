"""How a model is trained: what changes the result, and beside it how the work is cut up.

Defaults are FuseChat-3.0's (arXiv 2503.04222, section 4.1): batches of 128, sequences of 2048, cosine with a tenth of
warm-up. The paper says nothing of weight decay, packing and clipping; those defaults are guesses.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fusion.choice import Choice
from fusion.errors import ConfigError


class Dtype(Choice):
    """Precision of weights and activations; the optimiser always keeps fp32 weights."""

    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"


class Schedule(Choice):
    """Learning rate after warm-up."""

    COSINE = "cosine"
    LINEAR = "linear"
    CONSTANT = "constant_with_warmup"


class Tracker(Choice):
    """Who may be told of a training."""

    MLFLOW = "mlflow"
    WANDB = "wandb"
    TENSORBOARD = "tensorboard"


@dataclass(kw_only=True)
class Lora:
    """Low-rank adapters (arXiv 2106.09685) instead of full fine-tuning; merged into the weights at export."""

    rank: int = 0
    """Rank of the update, usually 8 to 64; 0: full fine-tuning."""
    alpha: float = 32.0
    """The update is scaled by alpha / rank; twice the rank is custom."""
    target_modules: list[str] = field(default_factory=lambda: ["all-linear"])
    """Names of modules that get an adapter; `all-linear` alone: every linear layer but the output head."""

    def __post_init__(self) -> None:
        if self.rank < 0 or self.alpha <= 0 or not self.target_modules:
            raise ConfigError(
                f"lora needs rank >= 0, alpha > 0 and target modules, got {self.rank}, {self.alpha}, "
                f"{self.target_modules}; lora.target_modules=[all-linear] adapts every linear layer"
            )


@dataclass(kw_only=True)
class Execution:
    """How the same training is cut up. Two runs that differ only here differ only in rounding."""

    micro_batch_size: int = 8
    """Most rows of one forward pass in one process; the gradient is accumulated up to the global batch."""
    zero_stage: int = 2
    """DeepSpeed ZeRO: 0 nothing, 2 optimiser and gradients, 3 also weights are shared out over the processes."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: a third slower, a fraction of the memory."""
    save_every_steps: int = 100
    """Steps between checkpoints to resume from (FuseChat-3.0: 100); 0: none."""
    keep_last: int = 1
    """Checkpoints kept while training."""

    def __post_init__(self) -> None:
        if self.zero_stage not in (0, 2, 3):
            raise ConfigError(f"execution.zero_stage must be 0, 2 or 3, got {self.zero_stage}")
        for name, low in (("micro_batch_size", 1), ("save_every_steps", 0), ("keep_last", 1)):
            if getattr(self, name) < low:
                raise ConfigError(f"execution.{name} must be at least {low}, got {getattr(self, name)}")


@dataclass(kw_only=True)
class TrainingConfig:
    """What the two phases of training have in common."""

    global_batch_size: int = 128
    """Rows (SFT) or pairs (preference) of one optimiser step, over all processes and accumulation steps."""
    learning_rate: float = 5e-6
    """Peak."""
    epochs: int = 3
    max_length: int = 2048
    """Tokens of prompt and response together. Longer rows are dropped, prompts of pairs are cut from the left."""
    schedule: Schedule = Schedule.COSINE
    warmup_frac: float = 0.1
    """Share of all steps in which the learning rate rises from 0."""
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm."""
    dtype: Dtype = Dtype.BFLOAT16
    lora: Lora = field(default_factory=Lora)
    """`lora.rank=16` trains adapters alone."""
    seed: int = 42
    """Decides the order of the rows (with their keys) and the initial adapters."""
    execution: Execution = field(default_factory=Execution, metadata={"identity": False})
    report_to: list[Tracker] = field(default_factory=list, metadata={"identity": False})
    """`[mlflow,wandb,tensorboard]` or some of them; their addresses and keys come from the environment."""

    def __post_init__(self) -> None:
        for name, low in (("global_batch_size", 1), ("epochs", 1), ("max_length", 2)):
            if getattr(self, name) < low:
                raise ConfigError(f"train: {name} must be at least {low}, got {getattr(self, name)}")
        if self.learning_rate <= 0 or self.max_grad_norm <= 0 or self.weight_decay < 0:
            raise ConfigError(
                f"train: learning_rate and max_grad_norm must be above 0 and weight_decay not below, got "
                f"{self.learning_rate}, {self.max_grad_norm}, {self.weight_decay}"
            )
        if not 0 <= self.warmup_frac < 1:
            raise ConfigError(f"train: warmup_frac must be in [0, 1), got {self.warmup_frac}")

    def micro_batch(self, world_size: int) -> int:
        """Rows of one forward pass: the largest divisor of a process's share up to `execution.micro_batch_size`.

        Raises:
            ConfigError: the global batch cannot be dealt out evenly to the processes.
        """
        share, rest = divmod(self.global_batch_size, world_size)
        if rest:
            raise ConfigError(
                f"global_batch_size {self.global_batch_size} is not a multiple of the {world_size} training processes; "
                f"take {share * world_size or world_size}, or another number of replicas for the pool `checkpoint`"
            )
        return max(size for size in range(1, self.execution.micro_batch_size + 1) if share % size == 0)

    def accumulation(self, world_size: int) -> int:
        """Micro-batches that one of `world_size` processes adds up in one optimiser step."""
        return self.global_batch_size // (self.micro_batch(world_size) * world_size)


@dataclass(kw_only=True)
class SftConfig(TrainingConfig):
    """Supervised fine-tuning. FuseChat-3.0: 5e-6 for Llama-3.1-8B and 3.2, 2e-6 for Qwen-2.5-7B and Gemma-2-9B."""


class ChooseBy(Choice):
    """What the better checkpoint is better at; FuseChat-3.0 does not say."""

    EVALUATION = "evaluation"
    """`evaluation.reward` on `evaluation.prompts`, the mean over domains."""


@dataclass(kw_only=True)
class CheckpointChoice:
    """The best of the last checkpoints instead of the last (FuseChat-3.0, section 4.1: the better of the last two)."""

    every_steps: int = 100
    """A checkpoint is a candidate every so many optimiser steps (FuseChat-3.0: 100)."""
    of_last: int = 1
    """How many candidates are compared (FuseChat-3.0: 2); 1: the last checkpoint is the model."""
    by: ChooseBy = ChooseBy.EVALUATION

    def __post_init__(self) -> None:
        if self.every_steps < 1 or self.of_last < 1:
            raise ConfigError(
                f"train.preference.choice: every_steps and of_last must be at least 1, got {self.every_steps} and "
                f"{self.of_last}; of_last=1 keeps the last checkpoint"
            )

    def candidates(self, num_steps: int) -> tuple[int, ...]:
        """Steps after which the weights are kept, in order: the last multiples of `every_steps`; where there are too
        few, the last step too. None where there is nothing to choose.

        Example: every 100 of 501 steps, the last two: (400, 500)
        """
        if self.of_last == 1:
            return ()
        kept = list(range(self.every_steps, num_steps + 1, self.every_steps))[-self.of_last :]
        if len(kept) < self.of_last and num_steps not in kept:
            kept.append(num_steps)
        return tuple(kept)


@dataclass(kw_only=True)
class DistilConfig(SftConfig):
    """Training on fused targets (FuseLLM, arXiv 2401.10491, eq. 8; FuseChat, arXiv 2408.07990):

    L = label_weight CE(text) + (1 - label_weight) CE(target, model)
    """

    label_weight: float = 0.9
    """The papers' lambda."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.label_weight <= 1:
            raise ConfigError(f"label_weight must be in [0, 1], got {self.label_weight}")


@dataclass(kw_only=True)
class PreferenceConfig(TrainingConfig):
    """Preference training. FuseChat-3.0: 8e-7 for Llama-3.1-8B, 1e-6 for Llama-3.2, 3e-7 for Qwen, 5e-7 for Gemma."""

    learning_rate: float = 8e-7
    epochs: int = 1
    choice: CheckpointChoice = field(default_factory=CheckpointChoice)
