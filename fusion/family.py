"""The verbs that FuseChat-3.0's relatives need beside its own: WRPO, InfiFPO, FuseRL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from fusion import registry
from fusion.recipe import Recipe
from fusion.schema import PROMPT, SFT_EXAMPLE
from fusion.selection.base import Selection
from fusion.stages import select, select_triples, select_weighted, source_logprobs, split
from fusion.stages.select_triples import OWN
from fusion.step import Step
from fusion.training_tables import PREFERENCE_TRIPLE, SOURCE_LOGPROB, WEIGHTED_PAIR, WEIGHTED_SFT

Rewards = Mapping[str, Mapping[str, Step]]
"""By source (or model) and name."""
WEIGHTED = {"weighted_sft": WEIGHTED_SFT, "weighted_pairs": WEIGHTED_PAIR}


class _Selecting(TypedDict):
    """What every selecting step is told; see `fusion.stages.select.SelectConfig`."""

    rule: str
    selection: Selection
    sources: list[str]
    rewards: list[str]


class FamilyRecipe(Recipe):
    """A recipe with further verbs."""

    def split(self, prompts: Step, phase: split.Phase) -> Step:
        """The prompts of one phase of training, where preference data needs the model that SFT makes."""
        rule = self.selection
        config = split.SplitConfig(phase=phase, sft_frac=rule.split.sft_frac, seed=rule.seed)
        return self._step("prompts", phase.value, split.run, config, PROMPT, {"prompts": prompts})

    def select_sft(self, prompts: Step, responses: Mapping[str, Step], rewards: Rewards) -> Step:
        """SFT rows of every prompt that has an answer, by the configured rule: prompts are split already."""
        rule = self.selection.for_sft_alone()
        config = select.SelectConfig(makes="sft", **self._selecting(rule, responses))
        select.check(config)
        inputs = select.scored_inputs(prompts, responses, rewards)
        return self._step("sft", "train", select.run, config, SFT_EXAMPLE, inputs)

    def select_triples(
        self,
        prompts: Step,
        responses: Mapping[str, Step],
        rewards: Rewards,
        own: Step,
        own_rewards: Mapping[str, Step],
    ) -> Step:
        """WRPO's triples from the sources' answers and the SFT model's own, by the configured rule."""
        inputs = select.scored_inputs(prompts, responses, rewards) | select.scored_inputs(
            prompts, {OWN: own}, {OWN: own_rewards}
        )
        selecting = self._selecting(self.selection, responses)
        config = select_triples.SelectTriplesConfig(makes="triples", target=self.target.name, **selecting)
        select.check(config)
        return self._step("triples", "train", select_triples.run, config, PREFERENCE_TRIPLE, inputs)

    def select_weighted(self, kind: str, prompts: Step, responses: Mapping[str, Step], rewards: Rewards) -> Step:
        """FuseRL's rows, every source's with a weight; `kind` is weighted_sft or weighted_pairs."""
        rule = select_weighted.weighing(self.selection)
        config = select.SelectConfig(makes=kind, **self._selecting(rule, responses))
        select.check(config)
        inputs = select.scored_inputs(prompts, responses, rewards)
        return self._step(kind, "train", select_weighted.run, config, WEIGHTED[kind], inputs)

    def source_logprobs(self, pairs: Step, sft: Step) -> dict[str, Step]:
        """Log-probabilities of all answers of each pair under every source that has weights of its own; the target's
        are the reference's. Empty: the objective needs none.

        They wait for SFT, which has all GPUs, and then go one source after another.
        """
        made: dict[str, Step] = {}
        if not self.objective.needs_sources:
            return made
        target = (self.target.model.uri, self.target.model.revision)
        for name, source in self.config.sources.items():
            if source.model is None or (source.model.uri, source.model.revision) == target:
                continue
            config = source_logprobs.SourceLogprobConfig(
                name=name,
                model=source.model,
                dtype=self.config.train.preference.dtype,
                roles=list(self.objective.roles),
            )
            made[name] = self._step(
                "source_logprobs",
                name,
                source_logprobs.run,
                config,
                SOURCE_LOGPROB,
                {"pairs": pairs},
                row_local=True,
                by_content=frozenset({"pairs"}),
                after=(sft,),
                gang="source logprobs",
                placement=self._placement("logprobs", f"logprobs_{name}"),
            )
        return made

    def _selecting(self, rule: Selection, responses: Mapping[str, Step]) -> _Selecting:
        return _Selecting(
            rule=registry.name_of("selection", rule),
            selection=rule,
            sources=list(responses),
            rewards=sorted(self.config.rewards),
        )
