"""The verbs of an evaluation on benchmarks, beside those of `fusion.recipe`."""

from __future__ import annotations

from collections.abc import Mapping

from fusion.errors import ConfigError
from fusion.evaluation.compare import ROLES
from fusion.evaluation.table import BENCHMARK
from fusion.generators.base import Sampling
from fusion.recipe import Recipe
from fusion.schema import COMPARISON, PROMPT, RESPONSE
from fusion.stages import benchmark, benchmark_compare, items, next_turn, outputs
from fusion.stages.benchmark import SECOND, BenchmarkConfig
from fusion.step import Step

BASE = ROLES[0]


class BenchmarkRecipe(Recipe):
    """Steps of benchmarks are called `prompts/gsm8k`, `responses/gsm8k-base`, `rewards/gsm8k-base-gsm8k`."""

    def items(self, name: str) -> Step:
        """The items of a benchmark, as published."""
        config = items.ItemsConfig(data=self.config.benchmarks[name].data)
        return self._step("prompts", name, items.run, config, PROMPT, {}, early=True)

    def answers(self, name: str, prompts: Step) -> dict[str, Step]:
        """Responses by model: of engines, and of whoever wrote the benchmark's `outputs`."""
        chosen = self.config.benchmarks[name]
        made = {}
        for role, source in self._engines().items():
            made[role] = self.answer(f"{name}-{role}", source, prompts, self._sampling(name, source))
        for source in chosen.outputs.sources():
            if source in made:
                raise ConfigError(
                    f"benchmarks.{name}.outputs.path has answers of {source!r}, which is a model of this run too; "
                    "leave one of them out"
                )
            config = outputs.OutputsConfig(source=source, outputs=chosen.outputs, data=chosen.data)
            gang = f"outputs {name}"
            made[source] = self._step(
                "responses", f"{name}-{source}", outputs.run, config, RESPONSE, {"prompts": prompts}, gang=gang
            )
        return made

    def gang(self, name: str, model: str) -> str:
        """Verdicts on one engine's answers are one stream, and so are those on one file of answers."""
        return model if model in self._engines() else f"outputs {name}"

    def turns(self, name: str, model: str, prompts: Step, first: Step) -> dict[str, tuple[Step, Step]]:
        """Turn ("" or SECOND) -> prompts and responses; stored answers have one turn."""
        made = {"": (prompts, first)}
        chosen = self.config.benchmarks[name]
        source = self._engines().get(model)
        if chosen.data.followup and source is not None:
            label = f"{name}-{model}{SECOND}"
            config = next_turn.NextTurnConfig(data=chosen.data)
            inputs = {"prompts": prompts, "responses": first}
            second = self._step("prompts", label, next_turn.run, config, PROMPT, inputs)
            made[SECOND] = second, self.answer(label, source, second, self._sampling(name, source))
        return made

    def scores(self, verdicts: Mapping[tuple[str, str, str], tuple[Step, Step, Step]]) -> tuple[Step, Step]:
        """One table of scores and one of paired differences.

        Args:
            verdicts: (benchmark, model, turn) -> prompts, responses, rewards.
        """
        inputs = {}
        for (name, model, turn), (prompts, responses, rewards) in verdicts.items():
            inputs[f"prompts:{name}:{model}{turn}" if turn else f"prompts:{name}"] = prompts
            inputs |= {f"responses:{name}:{model}{turn}": responses, f"rewards:{name}:{model}{turn}": rewards}
        models = list(dict.fromkeys(model for _, model, _ in verdicts))
        against = models[0] if BASE not in models else BASE
        config = BenchmarkConfig(benchmarks=self.config.benchmarks, models=models, against=against)
        scores = self._step("benchmark", "scores", benchmark.run, config, BENCHMARK, inputs)
        return scores, self._step("comparison", "benchmarks", benchmark_compare.run, config, COMPARISON, inputs)

    def _sampling(self, name: str, source: str) -> Sampling:
        chosen = self.config.benchmarks[name]
        return chosen.sampling_of.get(source, chosen.sampling)

    def _engines(self) -> dict[str, str]:
        """Role or name in the table -> name of the target or source."""
        base = {BASE: self.config.target.name} if self.config.target is not None else {}
        return base | {name: name for name, source in self.config.sources.items() if source.model is not None}
