"""What a forecast takes for granted, each figure with where it comes from; all of it may be set under `planning`."""

from __future__ import annotations

from dataclasses import dataclass, field

from fusion.errors import ConfigError


@dataclass(kw_only=True)
class Gpu:
    """One accelerator, and how much of its data sheet is reached. Defaults: NVIDIA H100 SXM with 80 GB."""

    name: str = "H100 80GB"
    memory_gib: float = 79.6
    """What the driver reports (81,559 MiB)."""
    bf16_tflops: float = 989.0
    """Dense matrix products a second, data sheet."""
    fp32_tflops: float = 67.0
    """The same in fp32, data sheet; torch does not use TF32 unless it is told to."""
    bandwidth_gb_s: float = 3350.0
    """Memory, data sheet."""
    compute_frac: float = 0.4
    """Share of the products that training, scoring and prefill reach. A guess: 0.35 to 0.45 is usual for models of
    8 billion weights on one node."""
    bandwidth_frac: float = 0.6
    """Share of the bandwidth that decoding reaches. A guess: one request at a time was seen to reach 0.77 (8 billion
    weights on an A100), several GPUs that wait for each other reach less."""
    step_ms: float = 10.0
    """What a decoding step takes beside memory and products: scheduling, sampling, messages between GPUs. A guess, and
    with it 70 billion weights in bf16 give 4,800 tokens/s on four GPUs, 256 answers at a time."""

    def __post_init__(self) -> None:
        for name in ("memory_gib", "bf16_tflops", "fp32_tflops", "bandwidth_gb_s"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"planning.gpu.{name} must be above 0, got {getattr(self, name)}")
        for name in ("compute_frac", "bandwidth_frac"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(f"planning.gpu.{name} is a share, above 0 and at most 1, got {getattr(self, name)}")
        if self.step_ms < 0:
            raise ConfigError(f"planning.gpu.step_ms must be at least 0, got {self.step_ms}")

    def flops(self, dtype: str) -> float:
        """Products and sums a second that are reached in this dtype."""
        return (self.fp32_tflops if dtype == "float32" else self.bf16_tflops) * 1e12 * self.compute_frac

    @property
    def bytes_per_s(self) -> float:
        """Memory read a second in decoding."""
        return self.bandwidth_gb_s * 1e9 * self.bandwidth_frac


@dataclass(kw_only=True)
class Domain:
    """The prompts of one domain: how many, what becomes of them, and how long they and their answers are."""

    rows: int = 0
    """Prompts after filters and removal of duplicates."""
    sft_rows: int = 0
    """Prompts of these that train SFT."""
    pair_rows: int = 0
    """Preference pairs that they give. With sft_rows also 0: not known, then as many as there are prompts in both."""
    prompt_tokens: float = 200.0
    """Mean. A guess; questions of AlpacaEval have 36 tokens, of competitions 100 to 200, code with its tests 300."""
    answer_tokens: float = 500.0
    """Mean. 350 to 500 on AlpacaEval for models of 8 to 72 billion weights (Llama 3 tokens), 700 on hard sums."""

    def __post_init__(self) -> None:
        for name in ("rows", "sft_rows", "pair_rows", "prompt_tokens", "answer_tokens"):
            if getattr(self, name) < 0:
                raise ConfigError(f"planning: {name} of a domain must be at least 0, got {getattr(self, name)}")

    def scaled(self, rows: int) -> Domain:
        """The same domain with so many prompts."""
        share = rows / self.rows if self.rows else 0.0
        return Domain(
            rows=rows,
            sft_rows=round(self.sft_rows * share),
            pair_rows=round(self.pair_rows * share),
            prompt_tokens=self.prompt_tokens,
            answer_tokens=self.answer_tokens,
        )


@dataclass(kw_only=True)
class Assumptions:
    """What is known of a run before it is made. Bears no identity."""

    gpu: Gpu = field(default_factory=Gpu)
    gpus_per_node: int = 8
    """GPUs with fast links among them: an engine's tensor parallel GPUs lie in one node."""
    load_gb_s: float = 2.0
    """Weights that one engine reads a second, in GB, from disk to GPUs. A guess: local NVMe disks give 3 to 7, network
    disks 0.5 to 2."""
    engine_start_s: float = 120.0
    """From a process to the first answer, beside reading weights: imports, compilation, graphs, memory profile. A
    guess; one to three minutes were seen for 70B."""
    prompts: dict[str, Domain] = field(default_factory=dict)
    """Training prompts by domain; empty: what the prompt source says of itself."""
    evaluation: dict[str, Domain] = field(default_factory=dict)
    """Evaluation prompts by domain; empty: the same."""
    tokens_per_s: dict[str, float] = field(default_factory=dict)
    """Measured tokens a second of one engine, by source; wins over the estimate."""
    calibration_prompts: int = 50
    """Prompts that a source must have answered before its own answers, and its own speed, take the place of what is
    assumed. With 50 the mean length is known to about a sixth: lengths vary by 0.6 of their mean (AlpacaEval)."""

    def __post_init__(self) -> None:
        for name, low in (("gpus_per_node", 1), ("load_gb_s", 1e-3), ("engine_start_s", 0), ("calibration_prompts", 2)):
            if getattr(self, name) < low:
                raise ConfigError(f"planning.{name} must be at least {low:g}, got {getattr(self, name)}")
        for source, speed in self.tokens_per_s.items():
            if speed <= 0:
                raise ConfigError(f"planning.tokens_per_s.{source} must be above 0, got {speed}")
