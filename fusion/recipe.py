"""The verbs a pipeline is written in: each makes one step, or one step a source, from the config.

A `Recipe` collects the steps that a run is to make, by name, so that the run folder and the report find them again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from fusion import registry
from fusion.config import Config, EvaluationConfig, TargetConfig
from fusion.errors import ConfigError
from fusion.fingerprint import fingerprint
from fusion.generators.base import Generator, Sampling
from fusion.models import ModelRef
from fusion.objectives.base import Objective
from fusion.prompts.base import Prompts
from fusion.schema import COMPARISON, EVALUATION, LOGPROB, PREFERENCE_PAIR, PROMPT, RESPONSE, REWARD, SFT_EXAMPLE
from fusion.stages import (
    compare,
    evaluate,
    generate,
    ingest,
    reference,
    replay,
    score,
    select,
    train_preference,
    train_sft,
)
from fusion.step import CHECKPOINT, Placement, Step
from fusion.stored import StoredResponses

T = TypeVar("T")


@dataclass
class Recipe:
    """Steps by name, in the order they were written down. Names are `responses/gemma3_270m`, `pairs/train`, ..."""

    config: Config
    steps: dict[str, Step] = field(default_factory=dict)

    def add(self, step: Step) -> Step:
        self.steps[step.name] = step
        return step

    @property
    def targets(self) -> list[Step]:
        return list(self.steps.values())

    # What a recipe needs and a config may lack: each refused by name before anything starts.

    @property
    def target(self) -> TargetConfig:
        return _needed(self.config.target, "target", "target=smollm2_135m (conf/target/ lists them)")

    @property
    def objective(self) -> Objective:
        return _needed(self.config.objective, "objective", "objective=ln_dpo")

    @property
    def evaluation(self) -> EvaluationConfig:
        return _needed(self.config.evaluation, "evaluation", "prompts@evaluation.prompts=... evaluation.reward=...")

    # -- prompts -------------------------------------------------------------------------------------------------

    def ingest(self, label: str, prompts: Prompts, apart_from: Step | None = None) -> Step:
        """Read prompts, without duplicates, and without what is (nearly) a prompt of `apart_from`."""
        config = ingest.IngestConfig(prompts=prompts, near_duplicates=self.config.near_duplicates)
        inputs = {} if apart_from is None else {"exclude": apart_from}
        return self.add(
            Step(
                kind="prompts",
                label=label,
                run=ingest.run,
                config=config,
                produces=PROMPT,
                inputs=inputs,
                early=True,
            )
        )

    # -- answers -------------------------------------------------------------------------------------------------

    def stored(self, name: str, stored: StoredResponses, prompts: Step) -> Step:
        """Responses that a source gave before, from a file."""
        return self.add(
            Step(
                kind="responses",
                label=name,
                run=replay.run,
                config=replay.ReplayConfig(source=name, stored=stored),
                produces=RESPONSE,
                inputs={"prompts": prompts},
                gang=f"stored {stored.digest}",
            )
        )

    def answer(self, label: str, name: str, prompts: Step, sampling: Sampling, checkpoint: Step | None = None) -> Step:
        """Responses of one model: a source, the target (`checkpoint` None), or a trained checkpoint.

        Steps that need the same engine form a gang and share it.
        """
        model, generator = self._model(name)
        config = generate.GenerateConfig(
            source=name,
            model=model if checkpoint is None else None,
            chat=model.chat,
            sampling=sampling,
            generator=generator,
            run_seed=self.config.seed,
        )
        inputs = {"prompts": prompts} if checkpoint is None else {"prompts": prompts, "model": checkpoint}
        weights = config.model if checkpoint is None else checkpoint.fingerprint
        return self.add(
            Step(
                kind="responses",
                label=label,
                run=generate.run,
                config=config,
                produces=RESPONSE,
                inputs=inputs,
                row_local=True,
                by_content=frozenset({"prompts"}),
                gang="engine " + fingerprint({"model": weights, "chat": model.chat, "generator": generator}),
                placement=self._placement("responses", name),
            )
        )

    def judge(self, label: str, prompts: Step, responses: Step, rewards: Sequence[str], gang: str) -> dict[str, Step]:
        """Rewards of one model's responses, streamed while they are generated. Steps of one gang share the stream."""
        made = {}
        for name in rewards:
            reward = self.config.rewards[name]
            made[name] = self.add(
                Step(
                    kind="rewards",
                    label=f"{label}-{name}",
                    run=score.run,
                    config=score.ScoreConfig(reward=reward, name=name),
                    produces=REWARD,
                    inputs={"prompts": prompts, "responses": responses},
                    row_local=True,
                    by_content=frozenset({"prompts"}),
                    streams=frozenset({"responses"}),
                    gang=f"judge {gang}",
                    placement=self._placement("rewards" if reward.uses_model else "verifiers", name),
                )
            )
        return made

    # -- training data -------------------------------------------------------------------------------------------

    def select(
        self, prompts: Step, responses: Mapping[str, Step], rewards: Mapping[str, Mapping[str, Step]]
    ) -> tuple[Step, Step]:
        """SFT rows and preference pairs, by the configured rule."""
        inputs = {"prompts": prompts}
        for source, step in responses.items():
            inputs[f"responses:{source}"] = step
            inputs |= {f"rewards:{source}:{name}": judged for name, judged in rewards[source].items()}
        made = []
        for kind, table in (("sft", SFT_EXAMPLE), ("pairs", PREFERENCE_PAIR)):
            config = select.SelectConfig(
                makes=kind,
                rule=registry.name_of("selection", self.config.selection),
                selection=self.config.selection,
                sources=list(responses),
                rewards=sorted(self.config.rewards),
            )
            select.check(config)
            made.append(
                Step(
                    kind=kind,
                    label="train",
                    run=select.run,
                    config=config,
                    produces=table,
                    inputs=inputs,
                    gang="select",
                )
            )
        return self.add(made[0]), self.add(made[1])

    # -- training ------------------------------------------------------------------------------------------------

    def train_sft(self, rows: Step) -> Step:
        config = train_sft.TrainSftConfig(model=self.target.model, train=self.config.train.sft)
        return self.add(
            Step(
                kind="checkpoint",
                label="sft",
                run=train_sft.run,
                config=config,
                produces=CHECKPOINT,
                inputs={"sft": rows},
                placement=self._placement("checkpoint", "sft"),
            )
        )

    def reference_logprobs(self, pairs: Step, model: Step) -> Step:
        """Log-probabilities of both answers of each pair under the model that preference training starts from."""
        config = reference.ReferenceConfig(chat=self.target.model.chat, train=self.config.train.preference)
        return self.add(
            Step(
                kind="logprobs",
                label="reference",
                run=reference.run,
                config=config,
                produces=LOGPROB,
                inputs={"pairs": pairs, "model": model},
                row_local=True,
                by_content=frozenset({"pairs"}),
                placement=self._placement("logprobs", "reference"),
            )
        )

    def train_preference(self, pairs: Step, model: Step, reference_logprobs: Step | None) -> Step:
        config = train_preference.TrainPreferenceConfig(
            chat=self.target.model.chat, objective=self.objective, train=self.config.train.preference
        )
        inputs = {"pairs": pairs, "model": model}
        if reference_logprobs is not None:
            inputs["reference"] = reference_logprobs
        return self.add(
            Step(
                kind="checkpoint",
                label="final",
                run=train_preference.run,
                config=config,
                produces=CHECKPOINT,
                inputs=inputs,
                placement=self._placement("checkpoint", "final"),
            )
        )

    # -- evaluation ----------------------------------------------------------------------------------------------

    def evaluate(self, prompts: Step, roles: Mapping[str, tuple[str, Step, Step]]) -> tuple[Step, Step]:
        """One table of scores with intervals and one of paired differences.

        Args:
            roles: role (base, sft, final, or a source's name) -> (name in the `source` column, responses, rewards).
        """
        inputs = {"prompts": prompts}
        for role, (_, responses, rewards) in roles.items():
            inputs |= {f"responses:{role}": responses, f"rewards:{role}": rewards}
        config = evaluate.EvaluateConfig(models=list(roles), reward=self.evaluation.reward)
        scores = self.add(
            Step(
                kind="evaluation",
                label="scores",
                run=evaluate.run,
                config=config,
                produces=EVALUATION,
                inputs=inputs,
            )
        )
        differences = self.add(
            Step(
                kind="comparison",
                label="scores",
                run=compare.run,
                config=config,
                produces=COMPARISON,
                inputs=inputs,
            )
        )
        return scores, differences

    def _model(self, name: str) -> tuple[ModelRef, Generator]:
        source = self.config.sources.get(name)
        if source is None or source.model is None:
            return self.target.model, self.config.generator
        return source.model, source.generator or self.config.generator

    def _placement(self, kind: str, label: str) -> Placement:
        return self.config.cluster.placement(kind, label)


def _needed(value: T | None, key: str, example: str) -> T:
    if value is None:
        raise ConfigError(f"this recipe needs {key}, which is not set; type e.g. {example}")
    return value
