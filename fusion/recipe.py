"""The verbs a pipeline is written in: each makes one step, or one step a source, from the config.

A `Recipe` collects the steps that a run is to make by name, so that the run folder and the report find them again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from fusion import registry
from fusion.fingerprint import fingerprint
from fusion.generators.base import Sampling
from fusion.prompts.base import Prompts
from fusion.recipe_base import More, Steps
from fusion.rewards.base import Reward
from fusion.schema import COMPARISON, EVALUATION, LOGPROB, PREFERENCE_PAIR, PROMPT, RESPONSE, REWARD, SFT_EXAMPLE, TRUST
from fusion.stages import (
    choose,
    compare,
    evaluate,
    existing,
    generate,
    ingest,
    reference,
    replay,
    score,
    select,
    train_preference,
    train_sft,
    trust,
)
from fusion.step import CHECKPOINT, Placement, Step

PROMPTS_BY_CONTENT = frozenset({"prompts"})
PREFERENCE_VERSION = 2
"""Of reference log-probabilities and preference training. 2: a prompt that is cut keeps its beginning of sequence."""


@dataclass
class Recipe(Steps):
    """One verb a kind of step; names are `responses/gemma3_270m`, `pairs/train`, ..."""

    # -- prompts -------------------------------------------------------------------------------------------------

    def ingest(self, label: str, prompts: Prompts, apart_from: Step | None = None) -> Step:
        """Read prompts without duplicates; those that train also without the questions of benchmarks, and without what
        is (nearly) a prompt of `apart_from`.
        """
        config = ingest.IngestConfig(
            prompts=prompts,
            near_duplicates=self.config.near_duplicates,
            decontaminate=None if label == "evaluation" else self.config.decontaminate,
        )
        inputs = {} if apart_from is None else {"exclude": apart_from}
        return self._step("prompts", label, ingest.run, config, PROMPT, inputs, early=True)

    # -- answers -------------------------------------------------------------------------------------------------

    def source_answers(self, name: str, prompts: Step) -> Step:
        """Responses of a configured source: its engine's, or those that it gave before."""
        source, inputs = self.config.sources[name], {"prompts": prompts}
        if source.stored is not None:
            stored = replay.ReplayConfig(source=name, stored=source.stored)
            gang = f"stored {source.stored.digest}"
            return self._step("responses", name, replay.run, stored, RESPONSE, inputs, gang=gang)
        if source.existing is not None:
            found = existing.ExistingConfig(source=name, existing=source.existing, sampling=source.sampling)
            return self._step("responses", name, existing.run, found, RESPONSE, inputs)
        return self.answer(name, name, prompts, source.sampling)

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
            max_failed_frac=self.config.max_failed_frac,
        )
        inputs = {"prompts": prompts} if checkpoint is None else {"prompts": prompts, "model": checkpoint}
        weights = config.model if checkpoint is None else checkpoint.fingerprint
        # The uri too: of revisions that a plan cannot resolve, many are called `main`.
        told = {"uri": model.uri, "model": weights, "chat": model.chat, "generator": generator}
        engine = "engine " + fingerprint(told)
        place = self._placement("responses", name)
        more = More(row_local=True, by_content=PROMPTS_BY_CONTENT, placement=place, gang=engine)
        return self._step("responses", label, generate.run, config, RESPONSE, inputs, **more)

    # -- rewards -------------------------------------------------------------------------------------------------

    def trust(self, prompts: Step, responses: Mapping[str, Step]) -> dict[str, Step]:
        """Gates that rewards by which rows are ranked pass on a sample of answers before they score them all."""
        inputs = {"prompts": prompts} | {f"responses:{source}": step for source, step in responses.items()}
        streams = frozenset(inputs) - {"prompts"}
        ranking = {rule.rank_by for rule in self.selection.by_key().values()}
        made = {}
        for name, reward in self.config.rewards.items():
            if reward.is_gated and name in ranking:
                config = trust.TrustStepConfig(
                    reward=reward,
                    name=name,
                    trust=self.config.trust,
                    sources=list(responses),
                    verdicts=self.selection.verdicts(),
                    verifiers=self._verifiers(),
                )
                more = More(streams=streams, placement=self._scoring(name, reward))
                made[name] = self._step("trust", name, trust.run, config, TRUST, inputs, **more)
        return made

    def _scoring(self, name: str, reward: Reward) -> Placement:
        return self._placement("rewards" if reward.uses_model else "verifiers", name)

    def _verifiers(self) -> dict[str, Reward]:
        """Those by which the selection rule tells right from wrong; a model that judges is no measure of another."""
        names = sorted({name for found in self.selection.verdicts().by.values() for name in found})
        known = {name: self.config.rewards[name] for name in names if name in self.config.rewards}
        return {name: reward for name, reward in known.items() if reward.is_verifier and not reward.uses_model}

    def judge(
        self,
        label: str,
        prompts: Step,
        responses: Step,
        rewards: Sequence[str],
        gang: str,
        gates: Mapping[str, Step] = MappingProxyType({}),
    ) -> dict[str, Step]:
        """Rewards of one model's responses, streamed while they are generated. Steps of one gang share the stream.

        Args:
            rewards: names of rewards, or of benchmarks for their scorers.
            gates: reward -> the step that it waits for (`trust`).
        """
        inputs = {"prompts": prompts, "responses": responses}
        made = {}
        for name in rewards:
            reward = self.config.rewards.get(name) or self.config.benchmarks[name].reward
            more = More(
                row_local=True,
                by_content=PROMPTS_BY_CONTENT,
                streams=frozenset({"responses"}),
                after=(gates[name],) if name in gates else (),
                gang=f"judge {gang}",
                placement=self._scoring(name, reward),
            )
            config = score.ScoreConfig(reward=reward, name=name, max_failed_frac=self.config.max_failed_frac)
            made[name] = self._step("rewards", f"{label}-{name}", score.run, config, REWARD, inputs, **more)
        return made

    # -- training data -------------------------------------------------------------------------------------------

    def select(
        self, prompts: Step, responses: Mapping[str, Step], rewards: Mapping[str, Mapping[str, Step]]
    ) -> tuple[Step, Step]:
        """SFT rows and preference pairs, by the configured rule."""
        inputs = select.scored_inputs(prompts, responses, rewards)
        made = []
        for kind, table in (("sft", SFT_EXAMPLE), ("pairs", PREFERENCE_PAIR)):
            config = select.SelectConfig(
                makes=kind,
                rule=registry.name_of("selection", self.selection),
                selection=self.selection,
                sources=list(responses),
                rewards=sorted(self.config.rewards),
            )
            select.check(config)
            made.append(self._step(kind, "train", select.run, config, table, inputs, gang="select"))
        return made[0], made[1]

    # -- training ------------------------------------------------------------------------------------------------

    def train_sft(self, rows: Step) -> Step:
        config = train_sft.TrainSftConfig(model=self.target.model, train=self.config.train.sft)
        placement = self._placement("checkpoint", "sft")
        return self._step("checkpoint", "sft", train_sft.run, config, CHECKPOINT, {"sft": rows}, placement=placement)

    def reference_logprobs(self, pairs: Step, model: Step) -> Step | None:
        """Log-probabilities of all answers of each pair under the model that preference training starts from; None: the
        objective needs no reference."""
        if not self.objective.needs_reference:
            return None
        config = reference.ReferenceConfig(
            chat=self.target.model.chat, train=self.config.train.preference, roles=list(self.objective.roles)
        )
        inputs, place = {"pairs": pairs, "model": model}, self._placement("logprobs", "reference")
        more = More(row_local=True, by_content=frozenset({"pairs"}), placement=place, version=PREFERENCE_VERSION)
        return self._step("logprobs", "reference", reference.run, config, LOGPROB, inputs, **more)

    def train_preference(
        self, pairs: Step, model: Step, reference_logprobs: Step | None, sources: Mapping[str, Step] | None = None
    ) -> Step:
        """Preference training; `sources` are log-probabilities of the answers under each source, by its name."""
        train_preference.check(self.objective, pairs.produces, bool(sources), self.config.recipe)
        config = train_preference.TrainPreferenceConfig(
            chat=self.target.model.chat, objective=self.objective, train=self.config.train.preference
        )
        inputs = {"pairs": pairs, "model": model} | {f"source:{name}": one for name, one in (sources or {}).items()}
        if reference_logprobs is not None:
            inputs["reference"] = reference_logprobs
        label = "final" if config.train.choice.of_last == 1 else "candidates"
        more = More(placement=self._placement("checkpoint", "final"), version=PREFERENCE_VERSION)
        return self._step("checkpoint", label, train_preference.run, config, CHECKPOINT, inputs, **more)

    def candidate(self, trained: Step, from_last: int) -> Step:
        """One of the last checkpoints that preference training kept, as a model of its own."""
        config = choose.TakeConfig(from_last=from_last)
        return self._step(
            "checkpoint", f"candidate{from_last}", choose.take, config, CHECKPOINT, {"candidates": trained}
        )

    def choose(self, prompts: Step, candidates: Mapping[int, tuple[Step, Step, Step]]) -> Step:
        """The best of the last checkpoints; `candidates`: from_last -> model, its responses, their rewards."""
        inputs = {"prompts": prompts}
        for i, (model, responses, rewards) in candidates.items():
            inputs |= {f"candidate:{i}": model, f"responses:{i}": responses, f"rewards:{i}": rewards}
        config = choose.ChooseConfig(choice=self.config.train.preference.choice, reward=self.evaluation.reward)
        return self._step("checkpoint", "final", choose.run, config, CHECKPOINT, inputs)

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
        scores = self._step("evaluation", "scores", evaluate.run, config, EVALUATION, inputs)
        return scores, self._step("comparison", "scores", compare.run, config, COMPARISON, inputs)
