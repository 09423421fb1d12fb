"""The verbs of an evaluation on benchmarks, beside those of `fusion.recipe`."""

from __future__ import annotations

from collections.abc import Mapping

from fusion.errors import ConfigError
from fusion.evaluation.compare import ROLES
from fusion.evaluation.table import BENCHMARK
from fusion.fingerprint import fingerprint
from fusion.generators.base import Sampling
from fusion.generators.openai_endpoint import OpenaiEndpoint
from fusion.recipe import PROMPTS_BY_CONTENT, Recipe
from fusion.recipe_base import More
from fusion.schema import COMPARISON, PROMPT, RESPONSE
from fusion.stages import benchmark, benchmark_compare, items, likelihoods, next_turn, outputs
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
            label = f"{name}-{role}"
            if chosen.data.is_compared:
                made[role] = self.likelihoods(label, name, source, prompts)
            else:
                made[role] = self.answer(label, source, prompts, self._sampling(name, source))
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

    def likelihoods(self, label: str, name: str, source: str, prompts: Step) -> Step:
        """What one model says of the continuations that a benchmark's items give. It reads them with its weights, so
        steps that need the same ones form a gang.
        """
        model, generator = self._model(source)
        if isinstance(generator, OpenaiEndpoint):
            raise ConfigError(
                f"benchmarks.{name} compares how likely {source} finds continuations, which takes its weights, and "
                f"{source} is behind an endpoint; leave one of them out, or choose another generator"
            )
        config = likelihoods.LikelihoodsConfig(source=source, model=model, dtype=self.config.benchmarks[name].dtype)
        reader = "reader " + fingerprint({"uri": model.uri, "model": model, "dtype": config.dtype})
        place = self._placement("responses", source)
        more = More(row_local=True, by_content=PROMPTS_BY_CONTENT, placement=place, gang=reader)
        return self._step("responses", label, likelihoods.run, config, RESPONSE, {"prompts": prompts}, **more)

    def gang(self, name: str, model: str) -> str:
        """Verdicts on one engine's answers are one stream, and so are those on one file of answers, and on what one
        model read.
        """
        if model not in self._engines():
            return f"outputs {name}"
        return f"read {model}" if self.config.benchmarks[name].data.is_compared else model

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
