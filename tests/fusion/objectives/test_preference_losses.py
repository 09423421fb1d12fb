"""DPO and length-normalised DPO: closed forms, gradients, limits, and agreement with TRL."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from fusion.errors import ConfigError
from fusion.objectives.base import Objective, RoleLogProbs
from fusion.objectives.dpo import Dpo
from fusion.objectives.ipo import Ipo
from fusion.objectives.ln_dpo import LnDpo
from fusion.train.tensors import collate, response_token_logprobs
from tests.fusion.train.jobs import random_rows
from tests.tiny import make_pico_llama

POLICY = [[-12.0, -30.0, -7.5], [-14.0, -20.0, -9.0]]
REFERENCE = [[-13.0, -28.0, -7.5], [-12.0, -21.0, -9.5]]
LENGTHS = [[10, 20, 5], [8, 40, 5]]


def logprobs(sums: list[list[float]], lengths: list[list[int]] = LENGTHS) -> RoleLogProbs:
    return RoleLogProbs(torch.tensor(sums, requires_grad=True), torch.tensor(lengths))


@pytest.mark.parametrize("objective", [Dpo(), LnDpo()])
def test_loss_is_log_2_where_the_policy_is_the_reference(objective: Objective) -> None:
    loss = objective.loss(logprobs(POLICY), logprobs(POLICY), 0.0)
    assert loss.per_example_B.tolist() == pytest.approx([math.log(2)] * 3)


def test_dpo_equals_its_formula_by_hand() -> None:
    loss = Dpo(beta=0.1).loss(logprobs(POLICY), logprobs(REFERENCE), 0.0).per_example_B
    # log-ratios: chosen 1, -2, 0; rejected -2, 1, 0.5
    margins = [0.1 * (1 - -2), 0.1 * (-2 - 1), 0.1 * (0 - 0.5)]
    assert loss.tolist() == pytest.approx([math.log(1 + math.exp(-m)) for m in margins])


def test_ln_dpo_equals_its_formula_by_hand() -> None:
    loss = LnDpo(beta=10).loss(logprobs(POLICY), logprobs(REFERENCE), 0.0).per_example_B
    margins = [10 * (1 / 10 - -2 / 8), 10 * (-2 / 20 - 1 / 40), 10 * (0 / 5 - 0.5 / 5)]
    assert loss.tolist() == pytest.approx([math.log(1 + math.exp(-m)) for m in margins])


def test_ln_dpo_at_equal_lengths_is_dpo_with_beta_over_length() -> None:
    equal = [[25, 25, 25], [25, 25, 25]]
    normalised = LnDpo(beta=10).loss(logprobs(POLICY, equal), logprobs(REFERENCE, equal), 0.0)
    plain = Dpo(beta=10 / 25).loss(logprobs(POLICY, equal), logprobs(REFERENCE, equal), 0.0)
    assert torch.allclose(normalised.per_example_B, plain.per_example_B, atol=1e-6)


@pytest.mark.parametrize("objective", [Dpo(), LnDpo()])
def test_descending_raises_the_chosen_and_lowers_the_rejected(objective: Objective) -> None:
    policy = logprobs(POLICY)
    objective.loss(policy, logprobs(REFERENCE), 0.0).per_example_B.sum().backward()
    gradient = policy.logprob_sum_RB.grad
    assert gradient is not None
    assert (gradient[0] < 0).all()
    assert (gradient[1] > 0).all()


def test_smoothing_mixes_both_orders_of_the_pair() -> None:
    swapped_policy, swapped_reference = POLICY[::-1], REFERENCE[::-1]
    plain = Dpo(beta=0.1).loss(logprobs(POLICY), logprobs(REFERENCE), 0.0).per_example_B
    swapped = Dpo(beta=0.1).loss(logprobs(swapped_policy), logprobs(swapped_reference), 0.0).per_example_B
    smoothed = Dpo(beta=0.1, label_smoothing=0.2).loss(logprobs(POLICY), logprobs(REFERENCE), 0.0).per_example_B
    assert torch.allclose(smoothed, 0.8 * plain + 0.2 * swapped)


@pytest.mark.parametrize("objective", [Dpo(beta=0.1), LnDpo()])
def test_the_order_of_a_batch_changes_nothing(objective: Objective) -> None:
    order = [2, 0, 1]

    def permuted(values: list[list[float]]) -> list[list[float]]:
        return [[row[i] for i in order] for row in values]

    plain = objective.loss(logprobs(POLICY), logprobs(REFERENCE), 0.0)
    lengths = [[row[i] for i in order] for row in LENGTHS]
    moved = objective.loss(logprobs(permuted(POLICY), lengths), logprobs(permuted(REFERENCE), lengths), 0.0)
    assert moved.per_example_B.tolist() == [plain.per_example_B.tolist()[i] for i in order]
    for name, (total, count) in plain.metrics.items():
        assert (moved.metrics[name][0].item(), moved.metrics[name][1]) == (pytest.approx(total.item()), count)


def test_metrics_are_totals_with_counts() -> None:
    metrics = Dpo(beta=0.1).loss(logprobs(POLICY), logprobs(REFERENCE), 0.0).metrics
    found = {name: (round(total.item(), 4), count) for name, (total, count) in metrics.items()}
    assert found == {
        "accuracy": (1, 3),  # only the first margin is above 0
        "margin": (-0.05, 3),
        "reward_chosen": (-0.1, 3),
        "reward_rejected": (-0.05, 3),
    }


@pytest.mark.parametrize("make", [lambda: Dpo(beta=10), lambda: LnDpo(beta=0.01), lambda: Dpo(beta=0)])
def test_a_beta_of_the_other_variant_is_refused_with_the_reason(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=r"objective\.beta.*papers use"):
        make()


def test_an_odd_beta_is_accepted_on_request_and_is_the_same_experiment() -> None:
    from fusion.fingerprint import fingerprint

    assert Dpo(beta=10, any_beta=True).beta == 10
    assert fingerprint(Dpo(beta=0.1, any_beta=True)) == fingerprint(Dpo(beta=0.1))


@pytest.mark.parametrize("value", [-0.1, 0.5])
def test_a_label_smoothing_that_swaps_most_pairs_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match="label_smoothing"):
        LnDpo(label_smoothing=value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "name"),
    [(Dpo(beta=0.3), "sigmoid"), (LnDpo(beta=10), "sigmoid_norm"), (Ipo(beta=0.2), "ipo")],
)
def test_loss_and_gradient_are_those_of_trl_on_the_same_model_and_tokens(
    tmp_path: Path, objective: Objective, name: str
) -> None:
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    class Trl(DPOTrainer):  # type: ignore[misc]
        def _precompute_ref_logps(self, dataset: Dataset, name: str, batch_size: int) -> Dataset:
            return dataset  # the rows below carry them

    rows = random_rows(6, 2)
    arguments = DPOConfig(
        str(tmp_path), loss_type=[name], beta=objective.beta, precompute_ref_log_probs=True, use_cpu=True, bf16=False
    )
    one = Dataset.from_dict({"prompt": ["a"], "chosen": ["b"], "rejected": ["c"]})
    trainer = Trl(str(make_pico_llama(tmp_path / "pico")), args=arguments, train_dataset=one)
    sequences = [(row.prompt_ids, row.responses[role]) for role in (0, 1) for row in rows]
    width = max(len(prompt) + len(response) for prompt, response in sequences)
    gaps = [width - len(prompt) - len(response) for prompt, response in sequences]
    inputs = {
        "input_ids": torch.tensor([[*p, *r] + [0] * gap for (p, r), gap in zip(sequences, gaps, strict=True)]),
        "attention_mask": torch.tensor([[1] * (width - gap) + [0] * gap for gap in gaps]),
        "completion_mask": torch.tensor(
            [[0] * len(p) + [1] * len(r) + [0] * gap for (p, r), gap in zip(sequences, gaps, strict=True)]
        ),
        "ref_chosen_logps": torch.tensor([row.references[0] for row in rows]),
        "ref_rejected_logps": torch.tensor([row.references[1] for row in rows]),
    }
    trainer.model.train()
    theirs = trainer.compute_loss(trainer.model, inputs)
    theirs.backward()
    gradients = [p.grad.clone() for p in trainer.model.parameters()]
    trainer.model.zero_grad()
    batch = collate(rows, 2, pad_id=0)
    lengths_RB = batch.response_mask_NK.sum(1).view(2, -1)
    policy = RoleLogProbs(response_token_logprobs(trainer.model, batch).sum(1).view(2, -1), lengths_RB)
    assert batch.references_RB is not None
    ours = objective.loss(policy, RoleLogProbs(batch.references_RB, lengths_RB), 0.0).per_example_B.mean()
    ours.backward()
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)
    for gradient, parameter in zip(gradients, trainer.model.parameters(), strict=True):
        assert torch.allclose(gradient, parameter.grad, atol=1e-4)
