"""The loss of weighted SFT (FuseRL) beside that of plain SFT, whose mean is over tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest
import torch

from fusion.train.rows import TokenRow
from fusion.train.tensors import collate
from fusion.train.trainers import SftPhase


def loss(rows: list[TokenRow]) -> float:
    """Of a global batch of one micro-batch; the tokens of each response are as likely as their ids say."""
    batch, phase = collate(rows, 1, pad_id=0), cast("SftPhase", None)
    logprobs_NK = torch.where(batch.response_mask_NK, -batch.input_ids_ST[:, -batch.response_mask_NK.size(1) :], 0)
    return float(SftPhase.total_loss(phase, logprobs_NK.float(), batch)) / SftPhase.denominator(phase, rows)


@pytest.mark.parametrize(
    ("responses", "by_token", "by_row"),
    [(((1, 2), (3, 4)), 2.5, 2.5), (((6,), (1, 2, 3)), 3.0, 4.0)],
    ids=["equal lengths", "other lengths"],
)
def test_one_source_of_weight_1_is_plain_sft_where_lengths_are_equal(
    responses: tuple[tuple[int, ...], ...], by_token: float, by_row: float
) -> None:
    plain = [TokenRow(f"p{i}", (9,), (response,)) for i, response in enumerate(responses)]
    assert loss(plain) == pytest.approx(by_token)
    assert loss([replace(row, weight=1.0) for row in plain]) == pytest.approx(by_row)
