"""The table of contents: each recipe reads like its paper."""

from __future__ import annotations

from collections.abc import Mapping

from fusion.benchmark_recipe import BenchmarkRecipe
from fusion.config import Config
from fusion.errors import ConfigError
from fusion.evaluation.compare import ROLES
from fusion.explicit.config import Form
from fusion.explicit_recipe import ExplicitRecipe
from fusion.family import FamilyRecipe
from fusion.merge_recipe import MergeRecipe
from fusion.recipe import Recipe
from fusion.stages.split import Phase
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
    final = recipe.train_preference(pairs, sft, recipe.reference_logprobs(pairs, sft))
    evaluate(recipe, held_out, sft, final)
    return recipe


def wrpo(config: Config) -> Recipe:
    """WRPO (arXiv 2412.03187): the target's own answers are moved towards the sources', step by step.

    Section 3: a third of the prompts trains SFT on the best answer over all sources. The SFT model answers the others
    itself; its best and worst, and the sources' best, make a triple. Preference training weighs the two chosen answers
    with a coefficient that rises; the SFT model is the reference.
    """
    recipe = FamilyRecipe(config)
    held_out = recipe.ingest("evaluation", recipe.evaluation.prompts)
    prompts = recipe.ingest("train", recipe.prompts, apart_from=held_out)
    responses, rewards, gates = answers(recipe, prompts)

    sft = recipe.train_sft(recipe.select_sft(recipe.split(prompts, Phase.SFT), responses, rewards))
    asked = recipe.split(prompts, Phase.PREFERENCE)
    own = recipe.answer("on_policy", recipe.target.name, asked, config.on_policy, sft)
    own_rewards = recipe.judge("on_policy", asked, own, sorted(config.rewards), "on_policy", gates)
    triples = recipe.select_triples(asked, responses, rewards, own, own_rewards)

    final = recipe.train_preference(triples, sft, recipe.reference_logprobs(triples, sft))
    evaluate(recipe, held_out, sft, final)
    return recipe


def infifpo(config: Config) -> Recipe:
    """InfiFPO (arXiv 2505.13878): sources also say how likely each answer is, and the reference is fused from that.

    Half of the prompts train SFT on the best answer over all sources; of the others, the best and the worst answer of
    all make a pair. Each source's log-probability of both answers, in its own tokens, joins them by prompt and text.
    """
    recipe = FamilyRecipe(config)
    held_out = recipe.ingest("evaluation", recipe.evaluation.prompts)
    prompts = recipe.ingest("train", recipe.prompts, apart_from=held_out)
    sft_rows, pairs = data_sets(recipe, prompts)

    sft = recipe.train_sft(sft_rows)
    final = recipe.train_preference(
        pairs, sft, recipe.reference_logprobs(pairs, sft), recipe.source_logprobs(pairs, sft)
    )
    evaluate(recipe, held_out, sft, final)
    return recipe


def fuserl(config: Config) -> Recipe:
    """FuseRL (arXiv 2504.06562): not the best source's answer but every source's, by weight, in both phases.

    FuseSFT: each source's best answer, weighted by a softmax over rewards. FusePO: each source's best against its
    worst, with the same weights, under DPO (or SimPO: objective=simpo).
    """
    recipe = FamilyRecipe(config)
    held_out = recipe.ingest("evaluation", recipe.evaluation.prompts)
    prompts = recipe.ingest("train", recipe.prompts, apart_from=held_out)
    responses, rewards, _ = answers(recipe, prompts)

    for_sft, for_preference = recipe.split(prompts, Phase.SFT), recipe.split(prompts, Phase.PREFERENCE)
    sft = recipe.train_sft(recipe.select_weighted("weighted_sft", for_sft, responses, rewards))
    pairs = recipe.select_weighted("weighted_pairs", for_preference, responses, rewards)
    final = recipe.train_preference(pairs, sft, recipe.reference_logprobs(pairs, sft))
    evaluate(recipe, held_out, sft, final)
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
    measure(recipe, held_out, {"base": None, "final": merged} | dict.fromkeys(config.sources))
    return recipe


def benchmarks(config: Config) -> Recipe:
    """Models on benchmarks: they answer (or have answered) the items, scorers judge, one table holds the scores.

    Who is measured: the target as `base`, every source, `models`, and whoever wrote a benchmark's `outputs`.
    """
    recipe = BenchmarkRecipe(config)
    verdicts = {}
    for name in config.benchmarks:
        items = recipe.items(name)
        for model, first in recipe.answers(name, items).items():
            for turn, (prompts, answers) in recipe.turns(name, model, items, first).items():
                judged = recipe.judge(f"{name}-{model}{turn}", prompts, answers, [name], recipe.gang(name, model))
                verdicts[name, model, turn] = prompts, answers, judged[name]
    recipe.scores(verdicts)
    return recipe


def data_sets(recipe: Recipe, prompts: Step) -> tuple[Step, Step]:
    """Answers, rewards, and what the selection rule makes of them: SFT rows and preference pairs."""
    responses, rewards, _ = answers(recipe, prompts)
    return recipe.select(prompts, responses, rewards)


def answers(recipe: Recipe, prompts: Step) -> tuple[dict[str, Step], dict[str, dict[str, Step]], dict[str, Step]]:
    """Every source's answers, their rewards by source and name, and the gates that those rewards passed."""
    config = recipe.config
    responses = {source: recipe.source_answers(source, prompts) for source in config.sources}
    gates = recipe.trust(prompts, responses)
    names = sorted(config.rewards)
    rewards = {s: recipe.judge(s, prompts, responses[s], names, "sources", gates) for s in responses}
    return responses, rewards, gates


def evaluate(recipe: Recipe, held_out: Step, sft: Step, trained: Step) -> None:
    """The target before and after, and every source with an engine, on prompts that trained nothing."""
    roles: dict[str, Step | None] = {"base": None, "sft": sft, "final": better_of(recipe, trained, held_out)}
    engines = [name for name, source in recipe.config.sources.items() if source.model]
    measure(recipe, held_out, roles | dict.fromkeys(engines))


def better_of(recipe: Recipe, trained: Step, held_out: Step) -> Step:
    """What preference training made, or the best of the last checkpoints that it kept."""
    choice, reward = recipe.config.train.preference.choice, recipe.evaluation.reward
    if choice.of_last == 1:
        return trained
    candidates = {}
    for i in range(1, choice.of_last + 1):
        label, model = f"evaluation-candidate{i}", recipe.candidate(trained, i)
        answers = recipe.answer(label, recipe.target.name, held_out, recipe.evaluation.sampling, model)
        judged = recipe.judge(label, held_out, answers, [reward], f"candidate{i}")
        candidates[i] = model, answers, judged[reward]
    return recipe.choose(held_out, candidates)


def measure(recipe: Recipe, held_out: Step, models: Mapping[str, Step | None]) -> None:
    """Models by role or source answer, a verifier judges, and tables say who scores what; None: as it is published."""
    verdicts = {}
    for role, checkpoint in models.items():
        name = recipe.target.name if role in ROLES else role
        answers = recipe.answer(f"evaluation-{role}", name, held_out, recipe.evaluation.sampling, checkpoint)
        gang = role if checkpoint else "sources"
        judged = recipe.judge(f"evaluation-{role}", held_out, answers, [recipe.evaluation.reward], gang)
        verdicts[role] = (name, answers, judged[recipe.evaluation.reward])
    recipe.evaluate(held_out, verdicts)


def fusellm(config: Config) -> Recipe:
    """FuseLLM (arXiv 2401.10491): explicit fusion of several base models into one, by their token distributions.

    Section 3.1: every model says what it expects at each token of a corpus. 3.2: the sources' tokens are aligned with
    the target's and their distributions carried over. 3.3: of the fused distributions (MinCE: the one of the model that
    reads the text best) and the text itself, continued training learns both.
    """
    recipe = ExplicitRecipe(config)
    texts, dumped, counts = explicit_sources(recipe)
    targets = recipe.fused_targets("all", texts, dumped, counts)
    trained = {"final": recipe.train_distil("final", texts, targets)}
    if config.explicit.texts.held_out_frac:
        trained["plain"] = recipe.train_distil("plain", texts, targets, label_weight=1.0)
        unseen_losses(recipe, trained)
    return recipe


def fusechat(config: Config) -> Recipe:
    """FuseChat (arXiv 2408.07990): pairwise explicit fusion of a pivot with each source, then merging.

    Section 3.1: for each source, a model of the pivot's architecture learns from the two of them; where the pivot is a
    source itself, from the text alone. Section 3.2: these models become one in weight space.
    """
    recipe = ExplicitRecipe(config)
    held_out = recipe.ingest("evaluation", config.evaluation.prompts) if config.evaluation else None
    texts, dumped, counts = explicit_sources(recipe, held_out)
    fused = {source: recipe.fused_targets(source, texts, dumped, {source: one}) for source, one in counts.items()}
    pairs = {source: recipe.train_distil(f"pair-{source}", texts, targets) for source, targets in fused.items()}
    if recipe.target.name in config.sources and fused:
        targets = next(iter(fused.values()))  # which of them says only what is too long for both models
        pairs[recipe.target.name] = recipe.train_distil("pair-pivot", texts, targets, label_weight=1.0)
    if config.merge is not None or held_out is not None:
        merged = recipe.merge("final", pairs)
        if held_out is not None:
            measure(recipe, held_out, {"base": None, "final": merged})
    return recipe


def explicit_sources(
    recipe: ExplicitRecipe, held_out: Step | None = None
) -> tuple[Step, dict[str, Step], dict[str, Step]]:
    """Texts, every model's distributions over them, and every source's link counts with the target."""
    config, target = recipe.config, recipe.target.name
    prompts = recipe.ingest("train", recipe.prompts, apart_from=held_out)
    is_answered = config.explicit.texts.form is Form.ANSWERS
    texts = data_sets(recipe, prompts)[0] if is_answered else recipe.texts(prompts)
    sources = [name for name in config.sources if name != target]
    dumped = {name: recipe.distributions(name, name, texts) for name in (target, *sources)}
    return texts, dumped, {name: recipe.link_counts(name, texts) for name in sources}


def unseen_losses(recipe: ExplicitRecipe, trained: Mapping[str, Step]) -> None:
    """Losses of the untrained target, the sources and the trained models on texts that were kept apart."""
    target = recipe.target.name
    unseen = recipe.texts(recipe.ingest("train", recipe.prompts), held_out=True)
    roles: dict[str, tuple[str, Step | None]] = {"base": (target, None)}
    roles |= {role: (target, checkpoint) for role, checkpoint in trained.items()}
    roles |= {name: (name, None) for name in recipe.config.sources if name != target}
    read = {
        role: recipe.distributions(f"evaluation-{role}", name, unseen, checkpoint, top_k=1)
        for role, (name, checkpoint) in roles.items()
    }
    recipe.text_losses("plain", read)


RECIPES = {
    "fusechat3": fusechat3,
    "wrpo": wrpo,
    "infifpo": infifpo,
    "fuserl": fuserl,
    "replay": replay,
    "merge": merge,
    "fuseo1": fuseo1,
    "fusellm": fusellm,
    "fusechat": fusechat,
    "benchmarks": benchmarks,
}


def build(config: Config) -> Recipe:
    """The configured recipe, as steps.

    Raises:
        ConfigError: there is no recipe of that name.
    """
    if config.recipe not in RECIPES:
        raise ConfigError(f"recipe is {config.recipe!r}; there are {', '.join(RECIPES)}")
    return RECIPES[config.recipe](config)
