"""The settings of a `TrainingConfig` in the words of TRL, DeepSpeed and PEFT."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fusion.train.config import Dtype, Lora, TrainingConfig

if TYPE_CHECKING:
    from peft import LoraConfig
    from trl import DPOConfig, SFTConfig

BUCKET_ELEMENTS = 50_000_000
"""Gradients reduced at a time. DeepSpeed's default of 500 million would take 1 GB beside a model of 0.3."""

EAGER_TOKENS = 256
"""Up to this max_length a CPU computes attention in plain steps. torch's fused kernel has a slow backward there: 148
tokens/s of a core against 220 (SmolLM2-135M, bf16, 16 x 80 tokens); plain steps hold all scores, too much if long."""


def training_arguments(
    config: TrainingConfig,
    *,
    is_sft: bool,
    folder: Path,
    name: str,
    num_steps: int,
    world_size: int,
    use_gpu: bool,
    trust_remote_code: bool,
) -> SFTConfig | DPOConfig:
    """Arguments of the TRL trainer of a phase. `name`: what trackers call it."""
    from trl import DPOConfig, SFTConfig

    common = {
        "output_dir": str(folder),
        "per_device_train_batch_size": config.micro_batch(world_size),
        "gradient_accumulation_steps": config.accumulation(world_size),
        "max_steps": num_steps,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.schedule.value,
        "warmup_steps": config.warmup_frac,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "optim": "adamw_torch_fused",
        "bf16": config.dtype is Dtype.BFLOAT16,
        "gradient_checkpointing": config.execution.gradient_checkpointing,
        "deepspeed": deepspeed_config(config, world_size),
        "seed": config.seed,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "no",  # PlannedTrainer saves
        "report_to": [tracker.value for tracker in config.report_to] or "none",
        "run_name": name,
        "disable_tqdm": True,
        "log_level": "error",
        "remove_unused_columns": False,
        "use_cpu": not use_gpu,
        "model_init_kwargs": model_arguments(config, use_gpu),
        "trust_remote_code": trust_remote_code,
        "max_length": None,  # rows are cut already
    }
    if is_sft:
        return SFTConfig(**common, dataset_kwargs={"skip_prepare_dataset": True})
    return DPOConfig(**common, precompute_ref_log_probs=True)


def model_arguments(config: TrainingConfig, use_gpu: bool) -> dict[str, str]:
    """How the model is loaded."""
    is_short = not use_gpu and config.max_length <= EAGER_TOKENS
    return {"dtype": config.dtype.value} | ({"attn_implementation": "eager"} if is_short else {})


def deepspeed_config(config: TrainingConfig, world_size: int) -> dict[str, object]:
    """DeepSpeed's own file. torch's AdamW does the steps: DeepSpeed's CPU Adam has to be compiled first."""
    return {
        "train_micro_batch_size_per_gpu": config.micro_batch(world_size),
        "gradient_accumulation_steps": config.accumulation(world_size),
        "gradient_clipping": config.max_grad_norm,
        "bf16": {"enabled": config.dtype is Dtype.BFLOAT16},
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {
            "stage": config.execution.zero_stage,
            "reduce_bucket_size": BUCKET_ELEMENTS,
            "stage3_prefetch_bucket_size": BUCKET_ELEMENTS,
            "stage3_gather_16bit_weights_on_model_save": True,
        },
        "steps_per_print": 10**9,
    }


def lora_config(lora: Lora) -> LoraConfig:
    """PEFT's settings for our adapters."""
    from peft import LoraConfig

    targets = lora.target_modules
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=targets[0] if targets == ["all-linear"] else targets,
        task_type="CAUSAL_LM",
    )
