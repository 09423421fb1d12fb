"""IPO, SimPO, WRPO, InfiFPO and the SFT term: closed forms, gradients, limits, and what they refuse."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from fusion.errors import ConfigError
from fusion.objectives.base import Objective, RoleLogProbs
from fusion.objectives.dpo import Dpo
from fusion.objectives.infifpo import Form, Fusion, Infifpo, WeightsFrom, WeightsOf, fusion_weights
from fusion.objectives.ipo import Ipo
from fusion.objectives.ln_dpo import LnDpo
from fusion.objectives.ln_wrpo import LnWrpo
from fusion.objectives.simpo import Simpo
from fusion.objectives.wrpo import AlphaSchedule, Variant, Wrpo

POLICY = [[-12.0, -30.0, -7.5], [-14.0, -20.0, -9.0]]
REFERENCE = [[-13.0, -28.0, -7.5], [-12.0, -21.0, -9.5]]
LENGTHS = [[10, 20, 5], [8, 40, 5]]
TRIPLE_POLICY = [[-16.0, -25.0, -8.0], *POLICY]
TRIPLE_REFERENCE = [[-18.0, -24.0, -8.5], *REFERENCE]
TRIPLE_LENGTHS = [[12, 18, 6], *LENGTHS]
SOURCES = [  # mean log-probability of a token under two sources, by role and example
    [[-1.0, -2.0, -0.5], [-2.5, -0.3, -4.0]],
    [[-1.6, -1.2, -3.0], [-1.0, -0.9, -1.0]],
]


def logprobs(sums: list[list[float]], lengths: list[list[int]] = LENGTHS) -> RoleLogProbs:
    return RoleLogProbs(torch.tensor(sums, requires_grad=True), torch.tensor(lengths))


def reference(sources: list[list[list[float]]] = SOURCES) -> RoleLogProbs:
    return RoleLogProbs(torch.tensor(REFERENCE), torch.tensor(LENGTHS), torch.tensor(sources))


def triple(sums: list[list[float]]) -> RoleLogProbs:
    return logprobs(sums, TRIPLE_LENGTHS)


def softplus(values: list[float]) -> list[float]:
    """-log sigmoid of each margin."""
    return [math.log(1 + math.exp(-value)) for value in values]


# -- IPO and SimPO -----------------------------------------------------------------------------------------------------


def test_ipo_is_the_squared_distance_of_the_margin_from_1_over_2_beta() -> None:
    by_token = Ipo(beta=0.5).loss(logprobs(POLICY), logprobs(REFERENCE), 0.0).per_example_B
    # log-ratios: chosen 1, -2, 0; rejected -2, 1, 0.5
    assert by_token.tolist() == pytest.approx(
        [(1 / 10 + 2 / 8 - 1) ** 2, (-2 / 20 - 1 / 40 - 1) ** 2, (-0.5 / 5 - 1) ** 2]
    )
    summed = Ipo(beta=0.5, per_token=False).loss(logprobs(POLICY), logprobs(REFERENCE), 0.0).per_example_B
    assert summed.tolist() == pytest.approx([(3 - 1) ** 2, (-3 - 1) ** 2, (-0.5 - 1) ** 2])


def test_ipo_pushes_a_margin_that_is_too_wide_back() -> None:
    policy = logprobs(POLICY)
    Ipo(beta=0.5, per_token=False).loss(policy, logprobs(REFERENCE), 0.0).per_example_B.sum().backward()
    assert policy.logprob_sum_RB.grad is not None
    assert [sign > 0 for sign in policy.logprob_sum_RB.grad[0]] == [True, False, False]  # margins 3, -3, -0.5; wanted 1


def test_simpo_equals_its_formula_by_hand_and_reads_no_reference() -> None:
    loss = Simpo(beta=2.0, gamma=0.5).loss(logprobs(POLICY), None, 0.0).per_example_B
    margins = [2 * (-12 / 10 + 14 / 8) - 0.5, 2 * (-30 / 20 + 20 / 40) - 0.5, 2 * (-7.5 / 5 + 9 / 5) - 0.5]
    assert loss.tolist() == pytest.approx(softplus(margins))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_simpo_is_trls(label_smoothing: float) -> None:
    """The very method of TRL's CPO trainer, on a namespace that holds what it reads."""
    from types import SimpleNamespace

    from trl.experimental.cpo import CPOTrainer

    settings = SimpleNamespace(
        alpha=0.0, beta=2.0, loss_type="simpo", simpo_gamma=0.5, label_smoothing=label_smoothing,
        accelerator=SimpleNamespace(device="cpu"),
    )  # fmt: skip
    chosen, rejected = torch.tensor(POLICY) / torch.tensor(LENGTHS)
    theirs = CPOTrainer.cpo_loss(settings, chosen, rejected)[0]
    ours = Simpo(beta=2.0, gamma=0.5, label_smoothing=label_smoothing).loss(logprobs(POLICY), None, 0.0)
    assert torch.allclose(ours.per_example_B, theirs)


# -- WRPO --------------------------------------------------------------------------------------------------------------


def test_wrpo_without_the_source_is_dpo_on_the_targets_own_answers() -> None:
    loss = Wrpo(beta=0.1, alpha_max=0.1).loss(triple(TRIPLE_POLICY), triple(TRIPLE_REFERENCE), 0.0).per_example_B
    own = Dpo(beta=0.1).loss(logprobs(POLICY), logprobs(REFERENCE), 0.0).per_example_B
    assert torch.allclose(loss, own)


def test_wrpo_with_the_source_alone_is_dpo_on_its_answer() -> None:
    objective = Wrpo(beta=0.1, alpha_max=1.0, alpha_schedule=AlphaSchedule.STATIC)
    loss = objective.loss(triple(TRIPLE_POLICY), triple(TRIPLE_REFERENCE), 0.0).per_example_B
    theirs = [TRIPLE_POLICY[0], TRIPLE_POLICY[2]], [TRIPLE_REFERENCE[0], TRIPLE_REFERENCE[2]]
    assert torch.allclose(loss, Dpo(beta=0.1).loss(logprobs(theirs[0]), logprobs(theirs[1]), 0.0).per_example_B)


def test_wrpo_equals_its_formula_by_hand_in_the_middle() -> None:
    objective = Wrpo(beta=0.1, alpha_max=0.4)
    loss = objective.loss(triple(TRIPLE_POLICY), triple(TRIPLE_REFERENCE), 0.5).per_example_B
    # log-ratios: source 2, -1, 0.5; target 1, -2, 0; rejected -2, 1, 0.5; alpha 0.2
    margins = [0.1 * (0.2 * s + 0.8 * t - r) for s, t, r in ((2, 1, -2), (-1, -2, 1), (0.5, 0, 0.5))]
    assert loss.tolist() == pytest.approx(softplus(margins))


def test_alpha_rises_linearly_from_nothing_to_its_maximum() -> None:
    objective = Wrpo(alpha_max=0.1)
    assert [objective.alpha(progress) for progress in (0.0, 0.5, 1.0)] == [0.0, 0.05, 0.1]
    fixed = replace(objective, alpha_schedule=AlphaSchedule.STATIC)
    assert [fixed.alpha(progress) for progress in (0.0, 0.5, 1.0)] == [0.1, 0.1, 0.1]


def test_the_fallback_of_wrpo_is_the_mean_of_two_dpo_losses() -> None:
    objective = Wrpo(beta=0.1, variant=Variant.SEPARATE)
    loss = objective.loss(triple(TRIPLE_POLICY), triple(TRIPLE_REFERENCE), 0.7).per_example_B
    margins = [
        [0.1 * (c - r) for c, r in pairs] for pairs in ([(2, -2), (-1, 1), (0.5, 0.5)], [(1, -2), (-2, 1), (0, 0.5)])
    ]
    expected = [(a + b) / 2 for a, b in zip(softplus(margins[0]), softplus(margins[1]), strict=True)]
    assert loss.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("variant", list(Variant))
def test_length_normalised_wrpo_is_wrpo_of_a_token(variant: Variant) -> None:
    """At equal lengths that of beta / length; at others each role has its own."""
    settings = {"alpha_max": 0.4, "variant": variant}
    plain, normalised = Wrpo(beta=0.1, **settings), LnWrpo(beta=2.0, **settings)  # type: ignore[arg-type]
    equal = [[20] * 3] * 3
    both = logprobs(TRIPLE_POLICY, equal), logprobs(TRIPLE_REFERENCE, equal)
    assert torch.allclose(normalised.loss(*both, 0.5).per_example_B, plain.loss(*both, 0.5).per_example_B)
    # the first example: log-ratios 2, 1, -2 over 12, 10, 8 tokens; alpha 0.2
    loss = normalised.loss(triple(TRIPLE_POLICY), triple(TRIPLE_REFERENCE), 0.5).per_example_B[0]
    source, target, rejected = 2 * 2 / 12, 2 * 1 / 10, 2 * -2 / 8
    margins = [0.2 * source + 0.8 * target - rejected]
    if variant is Variant.SEPARATE:
        margins = [source - rejected, target - rejected]
    assert loss.item() == pytest.approx(sum(softplus(margins)) / len(margins))
    with pytest.raises(ConfigError, match="belongs to objective=wrpo"):
        LnWrpo(beta=0.01)


def test_swapping_the_two_chosen_answers_of_wrpo_is_another_loss() -> None:
    objective = Wrpo(beta=0.1, alpha_max=0.1, alpha_schedule=AlphaSchedule.STATIC)
    swapped = [TRIPLE_POLICY[1], TRIPLE_POLICY[0], TRIPLE_POLICY[2]]
    swapped_reference = [TRIPLE_REFERENCE[1], TRIPLE_REFERENCE[0], TRIPLE_REFERENCE[2]]
    plain = objective.loss(triple(TRIPLE_POLICY), triple(TRIPLE_REFERENCE), 0.0).per_example_B
    other = objective.loss(triple(swapped), triple(swapped_reference), 0.0).per_example_B
    assert not torch.allclose(plain, other)


# -- InfiFPO -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fusion", list(Fusion))
@pytest.mark.parametrize("clip", [True, False])
def test_infifpo_with_the_starting_model_as_its_only_source_is_ln_dpo(fusion: Fusion, clip: bool) -> None:
    pivot = [
        [[s / n for s, n in zip(sums, counts, strict=True)] for sums, counts in zip(REFERENCE, LENGTHS, strict=True)]
    ]
    loss = Infifpo(beta=2.5, fusion=fusion, clip=clip).loss(logprobs(POLICY), reference(pivot), 0.0)
    plain = LnDpo(beta=2.5).loss(logprobs(POLICY), logprobs(REFERENCE), 0.0)
    assert torch.allclose(loss.per_example_B, plain.per_example_B, atol=1e-6)


# pivot means: chosen -1.3, -1.4, -1.5; rejected -1.5, -0.525, -1.9
CLIPPED = {
    # farthest from the pivot after clipping: chosen raised only, rejected lowered only
    Fusion.MAX_MARGIN: [[-1.0, -1.2, -0.5], [-2.5, -0.9, -4.0]],
    # mean of pivot and both clipped sources
    Fusion.AVERAGE: [
        [(-1.3 - 1.0 - 1.3) / 3, (-1.4 - 1.4 - 1.2) / 3, (-1.5 - 0.5 - 1.5) / 3],
        [(-1.5 - 2.5 - 1.5) / 3, (-0.525 - 0.525 - 0.9) / 3, (-1.9 - 4.0 - 1.9) / 3],
    ],
    # weights 1 / -m: their sum of m is -3 over the sum of 1 / -m
    Fusion.CONFIDENCE: [
        [-3 / (1 / 1.3 + 1 / 1.0 + 1 / 1.3), -3 / (1 / 1.4 + 1 / 1.4 + 1 / 1.2), -3 / (1 / 1.5 + 1 / 0.5 + 1 / 1.5)],
        [-3 / (1 / 1.5 + 1 / 2.5 + 1 / 1.5), -3 / (2 / 0.525 + 1 / 0.9), -3 / (2 / 1.9 + 1 / 4.0)],
    ],
}


@pytest.mark.parametrize("fusion", list(Fusion))
def test_the_fused_reference_equals_its_formula_by_hand(fusion: Fusion) -> None:
    pivot_RB = torch.tensor(REFERENCE) / torch.tensor(LENGTHS)
    fused = Infifpo(fusion=fusion).fused_reference(pivot_RB, torch.tensor(SOURCES))
    for role in (0, 1):
        assert fused[role].tolist() == pytest.approx(CLIPPED[fusion][role], abs=1e-5)


def test_infifpo_equals_ln_dpo_against_the_fused_reference() -> None:
    loss = Infifpo(beta=2.5).loss(logprobs(POLICY), reference(), 0.0).per_example_B
    fused = [
        [m * n for m, n in zip(means, counts, strict=True)]
        for means, counts in zip(CLIPPED[Fusion.MAX_MARGIN], LENGTHS, strict=True)
    ]
    assert torch.allclose(loss, LnDpo(beta=2.5).loss(logprobs(POLICY), logprobs(fused), 0.0).per_example_B, atol=1e-5)


def test_unclipped_max_margin_takes_the_farthest_source_in_either_direction() -> None:
    pivot_RB = torch.tensor(REFERENCE) / torch.tensor(LENGTHS)
    fused = Infifpo(clip=False).fused_reference(pivot_RB, torch.tensor(SOURCES))
    # chosen: differences 0.3 | 0.3 (a tie but for rounding), 0.6 | 0.2, 1.0 | 1.5
    assert fused[0, 1:].tolist() == pytest.approx([-2.0, -3.0])
    # rejected: 1.0 | 0.5, 0.225 | 0.375, 2.1 | 0.9
    assert fused[1].tolist() == pytest.approx([-2.5, -0.9, -4.0])


@pytest.mark.parametrize("fusion", list(Fusion))
def test_weights_of_models_sum_to_1_and_an_absent_one_has_none(fusion: Fusion) -> None:
    models = torch.tensor([REFERENCE, *SOURCES]).clone()
    models[1, 0, 0] = math.nan
    weights = fusion_weights(models, fusion)
    assert torch.allclose(weights.sum(0), torch.ones(2, 3))
    assert weights[1, 0, 0] == 0


@pytest.mark.parametrize("fusion", list(Fusion))
def test_a_source_that_could_not_read_a_response_takes_no_part_in_it(fusion: Fusion) -> None:
    pivot_RB = torch.tensor(REFERENCE) / torch.tensor(LENGTHS)
    absent, objective = torch.full((1, 2, 3), math.nan), Infifpo(fusion=fusion)
    alone = objective.fused_reference(pivot_RB, torch.tensor(SOURCES[:1]))
    with_absent = objective.fused_reference(pivot_RB, torch.cat([torch.tensor(SOURCES[:1]), absent]))
    assert torch.allclose(alone, with_absent)
    assert torch.allclose(objective.fused_reference(pivot_RB, absent), pivot_RB)


# One pair. Starting model -1.0, -2.0. First source: chosen 0.3 up, rejected 0.9 up (clipped away). Second: 0.4 up, 0.1
# down. Third: 0.1 up, 0.5 down.
PIVOT = torch.tensor([[-1.0], [-2.0]])
THREE = torch.tensor([[[-0.7], [-1.1]], [[-0.6], [-2.1]], [[-0.9], [-2.5]]])


@pytest.mark.parametrize(
    ("weights_from", "weights_of", "expected"),
    [
        (WeightsFrom.CLIPPED, WeightsOf.RESPONSE, [-0.6, -2.5]),  # the second, the third
        (WeightsFrom.CLIPPED, WeightsOf.PAIR, [-0.9, -2.5]),  # distances 0.3, 0.5, 0.6
        (WeightsFrom.RAW, WeightsOf.RESPONSE, [-0.6, -2.0]),  # of the rejected the first, which is clipped
        (WeightsFrom.RAW, WeightsOf.PAIR, [-0.7, -2.0]),  # distances 1.2, 0.5, 0.6
    ],
)
def test_whose_margin_is_largest_depends_on_what_is_looked_at(
    weights_from: WeightsFrom, weights_of: WeightsOf, expected: list[float]
) -> None:
    objective = Infifpo(weights_from=weights_from, weights_of=weights_of)
    assert objective.fused_reference(PIVOT, THREE)[:, 0].tolist() == pytest.approx(expected)


def test_confidence_of_a_pair_is_that_of_its_mean() -> None:
    objective = Infifpo(fusion=Fusion.CONFIDENCE, weights_of=WeightsOf.PAIR)
    # clipped: -0.7, -2.0 | -0.6, -2.1 | -0.9, -2.5; means of each -1.5, -1.35, -1.35, -1.7
    weights = [1 / 1.5, 1 / 1.35, 1 / 1.35, 1 / 1.7]
    chosen, rejected = (-1.0, -0.7, -0.6, -0.9), (-2.0, -2.0, -2.1, -2.5)
    fused = [sum(w * m for w, m in zip(weights, role, strict=True)) / sum(weights) for role in (chosen, rejected)]
    assert objective.fused_reference(PIVOT, THREE)[:, 0].tolist() == pytest.approx(fused, abs=1e-5)


def test_of_a_pair_a_source_takes_no_part_that_could_read_one_response_only() -> None:
    half = THREE.clone()
    half[2, 0] = math.nan
    for fusion in Fusion:
        objective = Infifpo(fusion=fusion, weights_of=WeightsOf.PAIR)
        assert torch.allclose(objective.fused_reference(PIVOT, half), objective.fused_reference(PIVOT, THREE[:2]))


def test_infifpo_s_ipo_draws_the_margin_over_the_fused_reference_to_1_over_2_beta() -> None:
    loss = Infifpo(beta=2.5, form=Form.IPO).loss(logprobs(POLICY), reference(), 0.0).per_example_B
    fused = CLIPPED[Fusion.MAX_MARGIN]
    means = [[s / n for s, n in zip(*both, strict=True)] for both in zip(POLICY, LENGTHS, strict=True)]
    margins = [means[0][i] - fused[0][i] - (means[1][i] - fused[1][i]) for i in range(3)]
    assert loss.tolist() == pytest.approx([(margin - 0.2) ** 2 for margin in margins], abs=1e-5)
    with pytest.raises(ConfigError, match="label_smoothing has no meaning with form=ipo"):
        Infifpo(form=Form.IPO, label_smoothing=0.1)


# -- what all keep -----------------------------------------------------------------------------------------------------

PAIRS: list[tuple[Objective, RoleLogProbs | None]] = [
    (Simpo(), None),
    (Infifpo(), reference()),
    (Ipo(beta=0.05), logprobs(REFERENCE)),  # 10 nats a token: no margin here is too wide
]


@pytest.mark.parametrize(("objective", "against"), PAIRS)
def test_descending_raises_the_chosen_and_lowers_the_rejected(
    objective: Objective, against: RoleLogProbs | None
) -> None:
    policy = logprobs(POLICY)
    objective.loss(policy, against, 0.0).per_example_B.sum().backward()
    gradient = policy.logprob_sum_RB.grad
    assert gradient is not None
    assert (gradient[0] < 0).all()
    assert (gradient[1] > 0).all()


def test_descending_wrpo_raises_both_chosen_by_their_weights_and_lowers_the_rejected() -> None:
    policy = triple(TRIPLE_POLICY)
    Wrpo(beta=0.1, alpha_max=0.2).loss(policy, triple(TRIPLE_REFERENCE), 0.5).per_example_B.sum().backward()
    gradient = policy.logprob_sum_RB.grad
    assert gradient is not None
    assert torch.allclose(gradient[0], gradient[2] * -0.1)
    assert torch.allclose(gradient[1], gradient[2] * -0.9)
    assert (gradient[2] > 0).all()


def permuted(given: RoleLogProbs, order: list[int]) -> RoleLogProbs:
    sources = given.source_logprob_mean_SRB
    return RoleLogProbs(
        given.logprob_sum_RB[:, order], given.num_tokens_RB[:, order], None if sources is None else sources[..., order]
    )


@pytest.mark.parametrize(("objective", "against"), [*PAIRS, (Wrpo(beta=0.1), triple(TRIPLE_REFERENCE))])
def test_the_order_of_a_batch_changes_nothing(objective: Objective, against: RoleLogProbs | None) -> None:
    order = [2, 0, 1]
    policy = triple(TRIPLE_POLICY) if len(objective.roles) == 3 else logprobs(POLICY)
    plain = objective.loss(policy, against, 0.3)
    moved = objective.loss(permuted(policy, order), None if against is None else permuted(against, order), 0.3)
    assert moved.per_example_B.tolist() == pytest.approx([plain.per_example_B.tolist()[i] for i in order])
    for name, (total, count) in plain.metrics.items():
        assert (moved.metrics[name][0].item(), moved.metrics[name][1]) == (pytest.approx(total.item()), count)


@pytest.mark.parametrize("objective", [Dpo(beta=0.1), Simpo(), Infifpo(), Ipo()])
def test_the_sft_term_adds_the_mean_nll_of_the_chosen(objective: Objective) -> None:
    plain = objective.training_loss(logprobs(POLICY), reference(), 0.0).per_example_B
    found = replace(objective, sft_weight=0.5).training_loss(logprobs(POLICY), reference(), 0.0)
    nll = [12 / 10, 30 / 20, 7.5 / 5]
    assert (found.per_example_B - plain).tolist() == pytest.approx([0.5 * one for one in nll], abs=1e-5)
    assert found.metrics["nll"][0].item() == pytest.approx(sum(nll))


@pytest.mark.parametrize(("lengths", "is_same"), [([8, 8, 8], True), ([10, 20, 5], False)])
def test_the_sft_term_is_trl_s_where_the_chosen_are_equally_long(lengths: list[int], is_same: bool) -> None:
    policy = logprobs(POLICY, [lengths, LENGTHS[1]])
    plain, with_term = (Simpo(sft_weight=w).training_loss(policy, None, 0.0).per_example_B.mean() for w in (0.0, 1.0))
    trl = -sum(POLICY[0]) / sum(lengths)  # the mean over all chosen tokens of the batch
    assert ((with_term - plain).item() == pytest.approx(trl)) is is_same


def test_an_sft_term_of_no_weight_moves_no_artifact() -> None:
    from fusion.fingerprint import canonical

    assert "sft_weight" not in canonical(Dpo())  # type: ignore[operator]
    assert "sft_weight" in canonical(Dpo(sft_weight=0.1))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Wrpo(beta=10), "ln_dpo"),
        (lambda: Wrpo(alpha_max=1.1), "alpha_max is a weight"),
        (lambda: Infifpo(beta=0.01), "objective=dpo"),
        (lambda: Simpo(beta=0.1), "objective=dpo"),
        (lambda: Simpo(gamma=-1), "gamma"),
        (lambda: Ipo(beta=10), "ln_dpo"),
        (lambda: Infifpo(label_smoothing=0.5), "label_smoothing"),
        (lambda: Dpo(sft_weight=-1), "sft_weight"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_with_the_reason(make, told: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=told):
        make()
