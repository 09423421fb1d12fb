"""The table of contents: each recipe reads like its paper."""

from __future__ import annotations

from fusion.config import Config
from fusion.errors import ConfigError
from fusion.merge_recipe import MergeRecipe
from fusion.recipe import Recipe
from fusion.step import Step


def fusechat3(config: Config) -> Recipe:
    """FuseChat-3.0 (arXiv 2503.04222): implicit fusion of several sources by SFT and preference optimisation.

    Section 3.2: every source answers every prompt several times. Section 3.3: a reward model and verifiers judge; SFT
    takes the best answer over all sources, preference pairs the best against the worst answer of the same source.
    Section 3.4: SFT, then (length-normalised) DPO with the SFT model as reference. Section 4.1: the better of the last
    two checkpoints.
    """
    recipe = Recipe(config)
    held_out = recipe.ingest("evaluation", recipe.evaluation.prompts)
    prompts = recipe.ingest("train", recipe.prompts, apart_from=held_out)
    sft_rows, pairs = data_sets(recipe, prompts)

    sft = recipe.train_sft(sft_rows)
    reference = recipe.reference_logprobs(pairs, sft) if recipe.objective.needs_reference else None
    final = recipe.better_of(recipe.train_preference(pairs, sft, reference), held_out)

    engines = [name for name, source in config.sources.items() if source.model]
    models = {"base": None, "sft": sft, "final": final} | dict.fromkeys(engines)
    verdicts = {}
    for role, checkpoint in models.items():
        name = recipe.target.name if role in ("base", "sft", "final") else role
        answers = recipe.answer(f"evaluation-{role}", name, held_out, recipe.evaluation.sampling, checkpoint)
        gang = role if checkpoint else "sources"
        judged = recipe.judge(f"evaluation-{role}", held_out, answers, [recipe.evaluation.reward], gang)
        verdicts[role] = (name, answers, judged[recipe.evaluation.reward])
    recipe.evaluate(held_out, verdicts)
    return recipe


def replay(config: Config) -> Recipe:
    """The data sets of FuseChat-3.0 from answers that exist: sections 3.2 and 3.3 without an engine."""
    recipe = Recipe(config)
    data_sets(recipe, recipe.ingest("train", recipe.prompts))
    return recipe


def merge(config: Config) -> Recipe:
    """Merging alone (FuseChat, arXiv 2408.07990, section 3.3): the sources' weights, around the target's."""
    recipe = MergeRecipe(config)
    recipe.merge("final", dict.fromkeys(config.sources))
    return recipe


def fuseo1(config: Config) -> Recipe:
    """FuseO1-Preview: reasoning models merged by SCE; then base, merged model and every source are evaluated."""
    recipe = MergeRecipe(config)
    merged = recipe.merge("final", dict.fromkeys(config.sources))

    held_out = recipe.ingest("evaluation", recipe.evaluation.prompts)
    verdicts = {}
    for role, checkpoint in {"base": None, "final": merged, **dict.fromkeys(config.sources)}.items():
        name = recipe.target.name if role in ("base", "final") else role
        answers = recipe.answer(f"evaluation-{role}", name, held_out, recipe.evaluation.sampling, checkpoint)
        gang = role if checkpoint else "sources"
        judged = recipe.judge(f"evaluation-{role}", held_out, answers, [recipe.evaluation.reward], gang)
        verdicts[role] = (name, answers, judged[recipe.evaluation.reward])
    recipe.evaluate(held_out, verdicts)
    return recipe


def data_sets(recipe: Recipe, prompts: Step) -> tuple[Step, Step]:
    """Answers, rewards, and what the selection rule makes of them: SFT rows and preference pairs."""
    config = recipe.config
    responses = {source: recipe.source_answers(source, prompts) for source in config.sources}
    gates = recipe.trust(prompts, responses)
    names = sorted(config.rewards)
    rewards = {s: recipe.judge(s, prompts, responses[s], names, "sources", gates) for s in responses}
    return recipe.select(prompts, responses, rewards)


RECIPES = {"fusechat3": fusechat3, "replay": replay, "merge": merge, "fuseo1": fuseo1}


def build(config: Config) -> Recipe:
    """The configured recipe, as steps.

    Raises:
        ConfigError: there is no recipe of that name.
    """
    if config.recipe not in RECIPES:
        raise ConfigError(f"recipe is {config.recipe!r}; there are {', '.join(RECIPES)}")
    return RECIPES[config.recipe](config)
