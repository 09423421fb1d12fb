"""The typed config of a run, and its composition by Hydra.

Python owns types and neutral defaults, yaml owns choices. Composition returns objects: `config.objective.loss(...)` is
called directly. Everything that can be refused is refused here, before anything starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fusion import registry
from fusion.cluster_config import ClusterConfig, NodeType
from fusion.composition import composition, demand_values
from fusion.context import check_context
from fusion.costs.budget import RunBudget
from fusion.costs.endpoints import Ledger, ledgers
from fusion.errors import ConfigError
from fusion.evaluation.benchmark import Benchmark
from fusion.evaluation.gate import GateConfig
from fusion.evaluation.subjects import as_sources, resolve_all
from fusion.explicit.config import ExplicitConfig
from fusion.folders import check_folder
from fusion.generators.base import Generator, Sampling
from fusion.judging.labelled import LabelledSet
from fusion.location import is_local, local_path
from fusion.merging.base import MergeMethod
from fusion.merging.folder import MergeOutput
from fusion.models import ModelRef, resolve_as
from fusion.objectives.base import Objective
from fusion.planning.assumptions import Assumptions
from fusion.prompts.base import Prompts
from fusion.prompts.decontaminate import Decontamination
from fusion.prompts.stored import Stored
from fusion.rewards.base import Reward
from fusion.rewards.fits_target import FitsTarget
from fusion.rewards.recorded import Recorded
from fusion.selection.base import Selection
from fusion.source_config import SourceConfig
from fusion.step import Placement
from fusion.stored import StoredResponses
from fusion.taking_in import fit
from fusion.train.config import PreferenceConfig, SftConfig
from fusion.trust import TrustConfig
from fusion.unknown_names import explained


@dataclass(kw_only=True)
class TargetConfig:
    """The model that is trained."""

    name: str = MISSING
    """Its name in tables and reports; a source of the same name and settings shares its answers."""
    objective: str = ""
    """What FuseChat-3.0 trains a model of its kind with: ln_dpo for Llama's, dpo for others; empty: not said."""
    model: ModelRef = field(default_factory=ModelRef)


@dataclass(kw_only=True)
class TrainConfig:
    """Both phases of training."""

    sft: SftConfig = field(default_factory=SftConfig)
    preference: PreferenceConfig = field(default_factory=PreferenceConfig)


@dataclass(kw_only=True)
class EvaluationConfig:
    """What is measured before and after."""

    prompts: Prompts = MISSING
    """Disjoint from the training prompts: those that are equal or nearly equal to one of these are dropped there."""
    reward: str = MISSING
    """Name of the verifier that counts."""
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.0, top_p=1.0, num_samples=1))
    gate: GateConfig = field(default_factory=GateConfig)


@dataclass(kw_only=True)
class StoreConfig:
    """Where artifacts live; shared by all runs that name it."""

    path: str = "store"
    """Folder or URL."""

    def __post_init__(self) -> None:
        # Workers run in other folders.
        self.path = str(local_path(self.path).absolute()) if is_local(self.path) else self.path


@dataclass(kw_only=True)
class Config:
    """One run."""

    name: str = MISSING
    """Name of the run; its results stand in runs/<name>/."""
    recipe: str = "fusechat3"
    """A function of `fusion.pipeline`."""
    compare: list[str] = field(default_factory=list)
    """Experiments to run one after another with the same overrides, and to show in one table; empty: this one alone."""
    runs: str = "runs"
    """Folder of runs."""
    seed: int = 42
    near_duplicates: float = 0.9
    """Jaccard similarity of word shingles from which two prompts count as one; 1: exact only."""
    decontaminate: Decontamination | None = None
    """Benchmarks whose questions train nothing; null: none are named."""
    sources: dict[str, SourceConfig] = field(default_factory=dict)
    target: TargetConfig | None = None
    """null: nothing is trained."""
    models: list[str] = field(default_factory=list)
    """Evaluated beside target and sources: folders, `hf://org/name@commit`; named after the last part of their path."""
    prompts: Prompts | None = None
    """null: nothing is trained, nor are data sets made."""
    generator: Generator = MISSING
    replay: StoredResponses | None = None
    """A file of answers: every source in it becomes one of `sources`, every reward in it one of `rewards`."""
    rewards: dict[str, Reward] = field(default_factory=dict)
    on_policy: Sampling = field(default_factory=Sampling)
    """How the target, after SFT, answers the prompts of preference training itself (WRPO)."""
    selection: Selection | None = None
    objective: Objective | None = None
    train: TrainConfig = field(default_factory=TrainConfig)
    merge: MergeMethod | None = None
    """How checkpoints of one architecture become one; null: none are merged."""
    merge_output: MergeOutput = field(default_factory=MergeOutput)
    explicit: ExplicitConfig = field(default_factory=ExplicitConfig)
    """Explicit fusion (recipes fusellm and fusechat)."""
    evaluation: EvaluationConfig | None = None
    benchmarks: dict[str, Benchmark] = field(default_factory=dict)
    """What `recipe: benchmarks` measures."""
    labelled: dict[str, LabelledSet] = field(default_factory=dict)
    """Pairs of answers with labels, by which `fusion agree` measures judges."""
    gate: GateConfig = field(default_factory=GateConfig)
    """What benchmarks must show before a model may be promoted."""
    limit: int = 0
    """Items of each benchmark, taken evenly from its groups, or pairs of each labelled set; 0: what its yaml says."""
    data: str = ""
    """Folder of copies of benchmark data sets, searched by file name; empty: they come from the hub."""
    trust: TrustConfig = field(default_factory=TrustConfig)
    """What a reward model must show before it scores."""
    planning: Assumptions = field(default_factory=Assumptions)
    """What a forecast takes for granted; no identity."""
    budget: RunBudget = field(default_factory=RunBudget)
    """What all runs of this name may use together; no identity."""
    max_failed_frac: float = 0.05
    """Share of a step's answers or scores that may fail; above it the step fails; a rerun tries those. No identity."""
    prices: dict[str, NodeType] = field(default_factory=dict)
    """Types of nodes by name, for `cluster.price`; no identity."""
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    store: StoreConfig = field(default_factory=StoreConfig)

    def __post_init__(self) -> None:
        if self.name in ("", ".", "..") or "/" in self.name or len(self.name.encode()) > 255:
            raise ConfigError(f"name is {self.name!r}, which names no folder in {self.runs}/; type e.g. name=mine")


def register() -> None:
    """Make the schema and all plug-ins known to Hydra."""
    store = ConfigStore.instance()
    store.store(name="fusion_config", node=Config)
    store.store(name="own", node=Placement, group="pool")  # for a pool that no yaml has: +pool@cluster.pools.NAME=own
    registry.register()


def composed(overrides: Sequence[str], config_dir: str | None = None) -> DictConfig:
    """Compose `conf/` with command-line overrides.

    Args:
        config_dir: a further folder of groups and experiments, searched after `conf/`.

    Raises:
        ConfigError: an unknown key or option (with the closest ones), a value of the wrong type.
    """
    register()
    return composition(overrides, config_dir).tree


def typed(tree: DictConfig) -> Config:
    """The config as objects, checked and with identities completed.

    Raises:
        ConfigError: a missing or unusable value, naming its dotted key and the remedy.
    """
    config = objects(tree)
    check(config)
    return config


def objects(tree: DictConfig) -> Config:
    """The config as objects, each checked by itself only.

    Raises:
        ConfigError: a value is missing, or of the wrong kind.
    """
    try:
        demand_values(tree)
        config = OmegaConf.to_object(tree)
    except OmegaConfBaseException as error:
        raise ConfigError(explained(error)) from error
    assert isinstance(config, Config)
    return config


def priced_endpoints(config: Config) -> list[Ledger]:
    """Whom the run pays by the token."""
    return ledgers([config.generator, *(one.generator for one in config.sources.values()), *config.rewards.values()])


def check(config: Config) -> None:
    """Cross-field checks, each with its remedy; completes model and file identities."""
    check_folder("runs", config.runs)
    check_folder("store.path", config.store.path)
    _name_prompts(config)
    if config.selection is not None:
        config.selection.check()
    if config.replay is not None:
        _take_in(config.replay, config)
    resolve_all(config.benchmarks, config.limit)
    taken = [*config.sources, *(["base"] if config.target is not None else [])]
    config.sources |= {n: SourceConfig(model=m) for n, m in as_sources(config.models, taken).items()}
    if not config.sources and not config.benchmarks:
        raise ConfigError("no source is chosen; type source=[smollm2_135m,gemma3_270m] (conf/source/ lists them)")
    is_chat = config.recipe != "benchmarks" or any(one.data.is_chat for one in config.benchmarks.values())
    for name, source in config.sources.items():
        source.check(name, is_chat=is_chat)
        if source.model is not None:
            check_context(f"sources.{name}.model", source.model, source.generator or config.generator)
    counted = {name: one.area for name, one in config.benchmarks.items() if one.compared}
    config.gate.check_names("gate", counted, counted.values())
    if config.evaluation is not None:
        _check_evaluation(config.evaluation, config.rewards)
    if config.target is not None:
        for phase, train in (("sft", config.train.sft), ("final", config.train.preference)):
            train.micro_batch(config.cluster.placement("checkpoint", phase).replicas)
        resolve_as(config.target.model, "target.model", is_chat=is_chat)
        check_context("target.model", config.target.model, config.generator)
    for reward in config.rewards.values():
        if isinstance(reward, FitsTarget) and reward.model is None and config.target is not None:
            reward.model = config.target.model
        reward.resolve()
    config.cluster.price.look_up(config.prices)
    config.budget.check(config.cluster.price, [budget for budget, _ in priced_endpoints(config)])
    config.trust.resolve(config.rewards)
    for questions in (config.prompts, config.decontaminate):
        if questions is not None:
            questions.resolve()


def _name_prompts(config: Config) -> None:
    """A file's own prompt ids hold where all prompts and answers come from it; elsewhere prompts go by content, as what
    an engine answers is found again by content, whatever a file calls it."""
    sources = [source.stored for source in config.sources.values()]
    if isinstance(config.prompts, Stored) and all(stored is not None for stored in sources):
        return
    for stored in (config.replay, *sources):
        if stored is not None:
            stored.columns.prompt_id = ""


def _take_in(stored: StoredResponses, config: Config) -> None:
    """What a file of answers holds becomes sources and rewards; settings that exist under a name win."""
    stored.resolve()
    summary = stored.summary()
    for name in summary.sources:
        config.sources.setdefault(name, SourceConfig(stored=stored))
    for name in summary.rewards:
        config.rewards.setdefault(name, Recorded(stored=stored, name=name))
    fit(config, stored)


def _check_evaluation(evaluation: EvaluationConfig, rewards: Mapping[str, Reward]) -> None:
    if evaluation.reward not in rewards:
        raise ConfigError(
            f"evaluation.reward is {evaluation.reward!r}, which is not computed; add it to reward=[...] "
            f"(now: {', '.join(rewards)})"
        )
    if not rewards[evaluation.reward].is_verifier:
        raise ConfigError(f"evaluation.reward={evaluation.reward} does not say pass or fail; name a verifier")
    evaluation.prompts.resolve()
    named = evaluation.gate.max_regression_of or evaluation.gate.max_regression_in
    if named and (domains := evaluation.prompts.domains()) is not None:
        evaluation.gate.check_names("evaluation.gate", domains)
