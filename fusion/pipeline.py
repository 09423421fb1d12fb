"""The table of contents: each recipe reads like its paper."""

from __future__ import annotations

from fusion.config import Config
from fusion.errors import ConfigError
from fusion.recipe import Recipe


def fusechat3(config: Config) -> Recipe:
    """FuseChat-3.0 (arXiv 2503.04222): implicit fusion of several sources by SFT and preference optimisation.

    Section 3.2: every source answers every prompt several times. Section 3.3: a reward model and verifiers judge; SFT
    takes the best answer over all sources, preference pairs the best against the worst answer of the same source.
    Section 3.4: SFT, then (length-normalised) DPO with the SFT model as reference.
    """
    recipe = Recipe(config)
    held_out = recipe.ingest("evaluation", config.evaluation.prompts)
    prompts = recipe.ingest("train", config.prompts, apart_from=held_out)

    responses = {s: recipe.answer(s, s, prompts, source.sampling) for s, source in config.sources.items()}
    rewards = {s: recipe.judge(s, prompts, responses[s], sorted(config.rewards), gang="sources") for s in responses}
    sft_rows, pairs = recipe.select(prompts, responses, rewards)

    sft = recipe.train_sft(sft_rows)
    reference = recipe.reference_logprobs(pairs, sft) if config.objective.needs_reference else None
    final = recipe.train_preference(pairs, sft, reference)

    models = {"base": None, "sft": sft, "final": final} | dict.fromkeys(config.sources)
    verdicts = {}
    for role, checkpoint in models.items():
        name = config.target.name if role in ("base", "sft", "final") else role
        answers = recipe.answer(f"evaluation-{role}", name, held_out, config.evaluation.sampling, checkpoint)
        gang = role if checkpoint else "sources"
        judged = recipe.judge(f"evaluation-{role}", held_out, answers, [config.evaluation.reward], gang)
        verdicts[role] = (name, answers, judged[config.evaluation.reward])
    recipe.evaluate(held_out, verdicts)
    return recipe


RECIPES = {"fusechat3": fusechat3}


def build(config: Config) -> Recipe:
    """The configured recipe, as steps.

    Raises:
        ConfigError: there is no recipe of that name.
    """
    if config.recipe not in RECIPES:
        raise ConfigError(f"recipe is {config.recipe!r}; there are {', '.join(RECIPES)}")
    return RECIPES[config.recipe](config)
