"""What each step of a recipe will read, write and cost, before anything is spent.

Needs no data set, no model files, no GPU and no hub: prompt counts come from `planning.prompts`, sizes from the shapes
in the models' yaml. An estimate; what it takes for granted is in `fusion.planning.assumptions`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from fusion.errors import ConfigError
from fusion.generators.base import Sampling
from fusion.models import ModelRef, model_folder
from fusion.planning import disk, gpu_time, memory, tokens
from fusion.planning.assumptions import Assumptions
from fusion.planning.folder_shape import shape_of
from fusion.planning.memory import GIB, Serving
from fusion.planning.options import load_s
from fusion.planning.shapes import BYTES, Shape
from fusion.planning.step_forecast import StepForecast
from fusion.planning.tokens import Domains, Load
from fusion.recipe import Recipe
from fusion.stages.distributions import DistributionsConfig
from fusion.stages.generate import GenerateConfig
from fusion.stages.ingest import IngestConfig
from fusion.stages.merge import MergeConfig
from fusion.stages.reference import ReferenceConfig
from fusion.stages.score import ScoreConfig
from fusion.stages.source_logprobs import SourceLogprobConfig
from fusion.stages.split import Phase, SplitConfig
from fusion.stages.train_distil import TrainDistilConfig
from fusion.stages.train_preference import TrainPreferenceConfig
from fusion.stages.train_sft import TrainSftConfig
from fusion.step import Step, topological
from fusion.train.config import TrainingConfig

SCORER_TOKENS = 8192
"""Tokens of a batch of a reward model that has no such setting."""


def forecast(recipe: Recipe, assumptions: Assumptions) -> list[StepForecast]:
    """Every step of the recipe, inputs first.

    Raises:
        ConfigError: a dtype of unknown size.
    """
    maker = Forecaster(recipe, assumptions)
    return [maker.step(step) for step in topological(recipe.targets)]


class Forecaster:
    """Forecasts steps one by one; inputs before the steps that need them."""

    def __init__(self, recipe: Recipe, assumptions: Assumptions) -> None:
        self._config = recipe.config
        self._assumed = assumptions
        self._gpu = assumptions.gpu
        self._downloaded: set[str] = set()
        models = [config.model for config in (*self._config.sources.values(), self._config.target) if config]
        self._shapes = {model.uri: model.shape for model in models if model}
        self._kinds: Mapping[str, Callable[[Step], StepForecast]] = {
            "prompts": self._prompts,
            "responses": self._responses,
            "rewards": self._rewards,
            "sft": self._selected,
            "pairs": self._selected,
            "weighted_sft": self._selected,
            "weighted_pairs": self._selected,
            "triples": self._selected,
            "logprobs": self._logprobs,
            "source_logprobs": self._source_logprobs,
            "checkpoint": self._checkpoint,
            "distributions": self._distributions,
        }

    def step(self, step: Step) -> StepForecast:
        made = self._kinds.get(step.kind, self._start)(step)
        source = next((one for one in reversed(topological([step])) if isinstance(one.config, IngestConfig)), None)
        if source is not None and not self._domains(source):
            key = "planning.evaluation" if source.label == "evaluation" else "planning.prompts"
            unknown = f"how many {source.label} prompts there are is not known; type {key}.DOMAIN.rows=N"
            return replace(made, rows=None, gpu_hours=None, hours=None, note=unknown if made.fits else made.note)
        return made

    # -- kinds of step -------------------------------------------------------------------------------------------

    def _prompts(self, step: Step) -> StepForecast:
        load = tokens.prompts_load(self._domains(step))
        return self._start(step, load, disk.table_bytes(load.rows, load.read))

    def _responses(self, step: Step) -> StepForecast:
        domains, config = self._domains(step.inputs["prompts"]), step.config
        sampling = config.sampling if isinstance(config, GenerateConfig) else self._given(step.label)
        load = tokens.responses_load(domains, sampling)
        made = self._start(step, load, disk.table_bytes(load.rows, load.written))
        if not isinstance(config, GenerateConfig) or not step.placement.gpus:
            return made
        shape = self._shape(config.model)
        if shape is None:
            return self._shapeless(made, config.model)
        made = self._downloads(made, config.model, shape)
        return self._generation(made, step, config, shape, load)

    def _generation(
        self, made: StepForecast, step: Step, config: GenerateConfig, shape: Shape, load: Load
    ) -> StepForecast:
        serving = self._serving(step, config, shape)
        need = memory.engine_memory(shape, step.placement, self._gpu, serving)
        if not need.fits:
            limit = step.placement.gpu_memory_frac * self._gpu.memory_gib
            least = (need.weights + need.margin + need.kv_longest) / GIB
            tp = memory.smallest_tensor_parallel(shape, self._gpu, serving)
            remedy = f"tensor_parallel {tp} does" if tp else "quantise it, or spread it over nodes"
            note = f"{least:.0f} GiB a GPU do not fit in {limit:.0f}; {remedy}"
            return replace(made, memory_gib=least, gpu_hours=None, hours=None, note=note, fits=False)
        speed = self._assumed.tokens_per_s.get(config.source) or gpu_time.decode_tokens_per_s(
            shape, need, step.placement, self._gpu, serving
        )
        seconds = gpu_time.generation_s(load, shape, step.placement, self._gpu, dtype=serving.dtype, tokens_per_s=speed)
        note = f"{need.sequences} answers at a time, {speed:,.0f} tokens/s an engine"
        made = replace(made, load_hours=load_s(shape, serving, self._assumed) / 3600)
        return self._costs(made, step, seconds, need.used, note)

    def _serving(self, step: Step, config: GenerateConfig, shape: Shape) -> Serving:
        dtype = str(getattr(config.generator, "dtype", "bfloat16"))
        quantised = str(getattr(config.generator, "quantization", None))
        context = int(getattr(config.generator, "max_model_len", 0)) or shape.context
        load = tokens.rewards_load(self._domains(step.inputs["prompts"]), config.sampling)
        length = load.mean_length or config.sampling.max_new_tokens
        return Serving(dtype, quantised if quantised in BYTES else dtype, context, min(length, context))

    def _rewards(self, step: Step) -> StepForecast:
        assert isinstance(step.config, ScoreConfig)
        responses, reward = step.inputs["responses"], step.config.reward
        domains = self._domains(step.inputs["prompts"])
        sampling = getattr(responses.config, "sampling", None) or self._given(responses.label)
        load = tokens.rewards_load(domains, sampling)
        ref = getattr(reward, "model", None)
        made = self._start(step, load if ref else Load(load.rows), disk.table_bytes(load.rows))
        if not isinstance(ref, ModelRef) or not step.placement.gpus:
            return made
        shape = self._shape(ref)
        if shape is None:
            return self._shapeless(made, ref)
        # Likelihood has no such setting: it reads in fp32.
        dtype = str(getattr(getattr(reward, "precision", None), "value", "float32"))
        seconds = gpu_time.forward_s(load.read + load.written, shape, self._gpu, dtype)
        used = memory.scorer_memory(shape, dtype, int(getattr(reward, "token_budget", SCORER_TOKENS)))
        return self._costs(self._downloads(made, ref, shape), step, seconds, used, f"in {dtype}")

    def _selected(self, step: Step) -> StepForecast:
        load = self._training_load(step, step, max_length=10**9)
        return self._start(step, Load(load.rows), disk.table_bytes(load.rows, load.read))

    def _logprobs(self, step: Step) -> StepForecast:
        assert isinstance(step.config, ReferenceConfig)
        return self._read_by(step, None, step.config.dtype.value, step.config.max_length)

    def _source_logprobs(self, step: Step) -> StepForecast:
        assert isinstance(step.config, SourceLogprobConfig)
        return self._read_by(step, step.config.model, step.config.dtype.value, max_length=10**9)

    def _read_by(self, step: Step, model: ModelRef | None, dtype: str, max_length: int) -> StepForecast:
        """All answers of the training rows, read once by a model (None: the target)."""
        load = self._training_load(step, step.inputs["pairs"], max_length)
        made = self._start(step, load, disk.table_bytes(2 * load.rows))
        shape = self._shape(model)
        if not step.placement.gpus:
            return made
        if shape is None:
            return self._shapeless(made, model)
        seconds = gpu_time.forward_s(load.read, shape, self._gpu, dtype)
        return self._costs(made, step, seconds, memory.scorer_memory(shape, dtype, SCORER_TOKENS), "")

    def _distributions(self, step: Step) -> StepForecast:
        assert isinstance(step.config, DistributionsConfig)
        dump = step.config.dump
        load = self._training_load(step, step.inputs["texts"], dump.max_length)
        made = self._start(step, load, load.read * disk.distribution_bytes(dump.top_k))
        shape = self._shape(step.config.model)
        if not step.placement.gpus:
            return made
        if shape is None:
            return self._shapeless(made, step.config.model)
        dtype, gpus = dump.dtype.value, step.placement.gpus
        seconds = gpus * gpu_time.forward_s(load.read, shape, self._gpu, dtype)  # one of its GPUs works at a time
        used = memory.scorer_memory(shape, dtype, SCORER_TOKENS) / gpus
        return self._costs(self._downloads(made, step.config.model, shape), step, seconds, used, f"in {dtype}")

    def _checkpoint(self, step: Step) -> StepForecast:
        config = step.config
        if isinstance(config, MergeConfig):
            return self._merged(step, config)
        if not isinstance(config, TrainSftConfig | TrainDistilConfig | TrainPreferenceConfig):
            return self._start(step)
        train: TrainingConfig = config.train
        kind = "pairs" if isinstance(config, TrainPreferenceConfig) else "sft"
        table = step.inputs["texts" if isinstance(config, TrainDistilConfig) else kind]
        epoch = self._training_load(step, table, train.max_length)
        load = Load(epoch.rows, epoch.read * train.epochs)
        shape = self._shape(None)
        if shape is None:
            return self._shapeless(self._start(step, load), None)
        made = self._start(step, load, disk.checkpoint_bytes(shape, train))
        if kind == "sft":
            made = self._downloads(made, self._config.target.model if self._config.target else None, shape)
        if not step.placement.gpus:
            return made
        seconds = gpu_time.training_s(
            load.read, shape, self._gpu, dtype=train.dtype.value, checkpointing=train.execution.gradient_checkpointing
        )
        used = memory.training_memory(shape, train, step.placement.replicas, 1 if kind == "sft" else 2)
        steps = -(-epoch.rows * train.epochs // train.global_batch_size)
        return self._costs(made, step, seconds, used, f"about {steps:,} steps of {train.global_batch_size}")

    def _merged(self, step: Step, config: MergeConfig) -> StepForecast:
        shape = self._shape(config.base)
        if shape is None:
            return self._shapeless(self._start(step), config.base)
        made = self._start(step, left=disk.download_bytes(shape))
        fetched = 0.0
        for ref in (config.base, *config.models.values()):
            fetched += self._downloads(StepForecast(step.name, ""), ref, shape).download_gib
        return replace(made, download_gib=fetched, note=f"{len(config.models)} models around their base")

    # -- what they share -----------------------------------------------------------------------------------------

    def _start(self, step: Step, load: Load | None = None, left: float = 0.0) -> StepForecast:
        load = load or Load()
        return StepForecast(step.name, step.fingerprint, load.rows, load.tokens, load.written, disk_gib=left / GIB)

    def _costs(self, made: StepForecast, step: Step, seconds: float, used: float, note: str) -> StepForecast:
        hours, limit = seconds / 3600, self._gpu.memory_gib
        fits = used / GIB <= limit
        if not fits:
            note = f"{used / GIB:.0f} GiB a GPU do not fit in {limit:.0f}; {_remedy(step)}"
        return replace(
            made,
            gpu_hours=hours,
            hours=hours / max(1, step.placement.replicas * step.placement.gpus),
            gpus=step.placement.replicas * step.placement.gpus,
            memory_gib=used / GIB,
            note=note,
            fits=fits,
        )

    def _downloads(self, made: StepForecast, ref: ModelRef | None, shape: Shape) -> StepForecast:
        if ref is None or not ref.uri.startswith("hf://") or ref.uri in self._downloaded:
            return made
        self._downloaded.add(ref.uri)
        return replace(made, download_gib=disk.download_bytes(shape) / GIB)

    def _shapeless(self, made: StepForecast, ref: ModelRef | None) -> StepForecast:
        where = f"of {ref.uri}" if ref is not None else "of the target"
        return replace(made, gpu_hours=None, hours=None, note=f"the shape {where} is not known; add it to its yaml")

    def _shape(self, ref: ModelRef | None) -> Shape | None:
        """Of a model, or of the target where None."""
        ref = ref or (self._config.target.model if self._config.target else None)
        if ref is None:
            return None
        if known := ref.shape or self._shapes.get(ref.uri):
            return known
        if "://" in ref.uri and not ref.uri.startswith("file://"):
            return None
        try:
            return shape_of(model_folder(ref.uri))
        except ConfigError:  # of a family whose shape is not known: the forecast says so
            return None

    def _domains(self, prompts: Step) -> Domains:
        if isinstance(prompts.config, SplitConfig):
            is_sft, share = prompts.config.phase is Phase.SFT, prompts.config.sft_frac
            whole = self._domains(prompts.inputs["prompts"])
            return {n: d.scaled(round(d.rows * (share if is_sft else 1 - share))) for n, d in whole.items()}
        if not isinstance(prompts.config, IngestConfig):  # a benchmark's, of as many items as its file has
            return {}
        told = self._assumed.evaluation if prompts.label == "evaluation" else self._assumed.prompts
        return tokens.expected(prompts.config.prompts, told)

    def _given(self, source: str) -> Sampling:
        """Of answers that exist: at most one a prompt is taken to be there."""
        configured = self._config.sources.get(source)
        return Sampling(num_samples=1) if configured is None else replace(configured.sampling, num_samples=1)

    def _training_load(self, step: Step, table: Step, max_length: int) -> Load:
        """One epoch over the rows that `table` makes: weighted ones are taken to be there for every source."""
        prompts = next(one for one in reversed(topological([step])) if one.label == "train" and one.kind == "prompts")
        phase = "sft" if table.kind in ("sft", "weighted_sft", "texts") else "pairs"
        load = tokens.training_load(self._domains(prompts), phase, max_length)
        times = len(self._config.sources) if table.kind.startswith("weighted") else 1
        return Load(load.rows * times, load.read * times * (1.5 if table.kind == "triples" else 1))


def _remedy(step: Step) -> str:
    if step.kind != "checkpoint":
        return "a smaller dtype or batch may"
    phase = "sft" if step.label == "sft" else "preference"
    return f"train.{phase}.execution: gradient_checkpointing: true, then a smaller micro_batch_size, then zero_stage: 3"
