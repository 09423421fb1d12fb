"""Each method against values worked out by hand, and the identities that the papers' equations imply."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from fusion.errors import ConfigError
from fusion.merging import base as contract
from fusion.merging.base import MergeMethod
from fusion.merging.dare import Dare, Rescale
from fusion.merging.linear import Linear
from fusion.merging.model_stock import ModelStock
from fusion.merging.sce import Sce, SceVariant
from fusion.merging.slerp import Slerp
from fusion.merging.task_arithmetic import TaskArithmetic
from fusion.merging.ties import Ties
from fusion.merging.varm import Granularity, Varm

PAPER, FUSEAI, MERGEKIT = SceVariant


def merged(method: MergeMethod, base: Sequence[float], *models: Sequence[float]) -> list[float]:
    return [round(float(x), 6) for x in method.merge(torch.tensor(base), [torch.tensor(m) for m in models])]


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# -- SCE ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("variant", "expected"), [(PAPER, 2.7), (FUSEAI, 3.0), (MERGEKIT, 3.0)])
def test_sce_of_plus_three_and_minus_one(variant: SceVariant, expected: float) -> None:
    """eta = 9/10 and 1/10, the vote +2 erases -1: the paper adds 0.9 * 3, the programs divide by the 0.9 left."""
    assert merged(Sce(tau=1.0, variant=variant), [0.0], [3.0], [-1.0]) == [expected]


@pytest.mark.parametrize("variant", SceVariant)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_sce_of_one_model_is_that_model(variant: SceVariant, dtype: torch.dtype) -> None:
    """Exactly, also where the base is so much larger that base + delta would round it away."""
    base, model = draw(64, 33, seed=1).to(dtype), draw(64, 33, seed=2).to(dtype)
    base[0, 0], model[0, 0] = 1.0, 1e-9
    assert Sce(tau=1.0, variant=variant).merge(base, [model]).to(dtype).equal(model)


@pytest.mark.parametrize("variant", SceVariant)
@pytest.mark.parametrize("num_models", [2, 3, 5])
def test_sce_of_equal_models_is_that_model(variant: SceVariant, num_models: int) -> None:
    base, model = draw(50, seed=1).bfloat16(), draw(50, seed=2).bfloat16()
    assert Sce(tau=1.0, variant=variant).merge(base, [model] * num_models).bfloat16().equal(model)


@pytest.mark.parametrize(("variant", "gives_base"), [(PAPER, True), (FUSEAI, False), (MERGEKIT, True)])
def test_sce_of_equal_models_when_some_are_selected(variant: SceVariant, gives_base: bool) -> None:
    """No element varies, so k = 0: PAPER and MERGEKIT merge nothing, FUSEAI merges all with equal weights."""
    base, model = draw(50, seed=1).bfloat16(), draw(50, seed=2).bfloat16()
    found = Sce(tau=0.5, variant=variant).merge(base, [model] * 3).bfloat16()
    assert found.equal(base if gives_base else model)


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        # Variances 4, 1, 0.25, 0; k = int(0.5 * 3) = 1: the first element is selected, eta = 16/16 and 0.
        (PAPER, [4.0, 0.0, 0.0, 0.0]),
        (MERGEKIT, [4.0, 0.0, 0.0, 0.0]),
        # The full deltas vote and are merged; where the first model is erased or 0 its eta of 1 is not there: 0 / 1.
        (FUSEAI, [4.0, 2.0, 1.0, 5.0]),
    ],
)
def test_sce_selects_the_elements_that_vary_most(variant: SceVariant, expected: list[float]) -> None:
    models = [4.0, 2.0, 1.0, 5.0], [0.0, 0.0, 0.0, 5.0]
    assert merged(Sce(tau=0.5, variant=variant), [0.0] * 4, *models) == expected


@pytest.mark.parametrize(("variant", "expected"), [(PAPER, 0.0), (FUSEAI, 1.0), (MERGEKIT, 1.0)])
def test_sce_of_a_vote_of_zero(variant: SceVariant, expected: float) -> None:
    assert merged(Sce(tau=1.0, variant=variant), [0.0], [1.0], [-1.0]) == [expected]


@pytest.mark.parametrize(("variant", "expected"), [(FUSEAI, 4e-4 * 16 / 17 + 1e-4 / 17), (MERGEKIT, 2.5e-4)])
def test_sce_of_small_deltas(variant: SceVariant, expected: float) -> None:
    """mergekit takes a sum of mean squares below 1e-6 for none, so small deltas weigh equally there."""
    found = Sce(tau=1.0, variant=variant).merge(torch.zeros(1), [torch.tensor([4e-4]), torch.tensor([1e-4])])
    assert float(found) == pytest.approx(expected)


# -- VaRM --------------------------------------------------------------------------------------------------------------


def test_varm_weighs_by_squared_change() -> None:
    """Deltas (2, 0) and (1, 0): 4/5 and 1/5; an element that only the second changed is its alone under ELEMENT."""
    assert merged(Varm(), [0.0, 1.0], [2.0, 1.0], [1.0, 1.0]) == [1.8, 1.0]
    assert merged(Varm(granularity=Granularity.ELEMENT), [0.0, 1.0], [2.0, 1.0], [0.0, 4.0]) == [2.0, 4.0]


@pytest.mark.parametrize(
    ("granularity", "expected"),
    [
        (Granularity.MODEL, {"layers.0.mlp.up", "layers.0.mlp.down", "layers.0.attn.q", "layers.1.mlp.up", "embed"}),
        (Granularity.LAYER, {"layers.0.mlp.up", "layers.0.mlp.down", "layers.0.attn.q"}),
        (Granularity.MODULE, {"layers.0.mlp.up", "layers.0.mlp.down"}),
        (Granularity.PARAMETER, {"layers.0.mlp.up"}),
        (Granularity.ELEMENT, {"layers.0.mlp.up"}),
    ],
)
def test_varm_parts(granularity: Granularity, expected: set[str]) -> None:
    """Which tensors share weights with layers.0.mlp.up."""
    names = ["layers.0.mlp.up", "layers.0.mlp.down", "layers.0.attn.q", "layers.1.mlp.up", "embed"]
    method = Varm(granularity=granularity)
    assert {n for n in names if method.scope(f"{n}.weight") == method.scope("layers.0.mlp.up.weight")} == expected


def test_varm_weighs_all_tensors_of_a_part_alike() -> None:
    """Over both tensors the squares sum to 4 + 0 and 0 + 1, so 0.8 and 0.2 hold in each."""
    zero = torch.zeros(1)
    parts = [
        contract.InMemory("a", zero, [torch.tensor([2.0]), zero]),
        contract.InMemory("b", zero, [zero, torch.tensor([1.0])]),
    ]
    rule = Varm(granularity=Granularity.LAYER).rule(parts)
    assert [round(float(rule(chunk)), 6) for part in parts for chunk in part.chunks()] == [1.6, 0.2]


# -- the others --------------------------------------------------------------------------------------------------------


def test_linear() -> None:
    assert merged(Linear(), [9.0], [1.0], [3.0]) == [2.0]
    assert merged(Linear(weight=[1.0, 3.0]), [9.0], [1.0], [3.0]) == [2.5]
    assert merged(Linear(weight=[0.5], normalize=False), [9.0], [1.0], [3.0]) == [2.0]


def test_task_arithmetic() -> None:
    """1 + 0.5 (1 + 2); halved by lambda; the weighted mean of deltas when normalised."""
    assert merged(TaskArithmetic(weight=[0.5]), [1.0], [2.0], [3.0]) == [2.5]
    assert merged(TaskArithmetic(weight=[0.5], lambda_=0.5), [1.0], [2.0], [3.0]) == [1.75]
    assert merged(TaskArithmetic(weight=[3.0, 1.0], normalize=True), [1.0], [2.0], [3.0]) == [2.25]


def test_ties_trims_elects_and_averages() -> None:
    """Density 0.5 keeps 3 and -2 of the first, 4 and 1 of the second; then the votes: 3 + 4, -2, 1, 0."""
    first, second = [3.0, -2.0, 1.0, 0.5], [4.0, 0.5, 1.0, 0.5]
    assert merged(Ties(density=[0.5]), [0.0] * 4, first, second) == [3.5, -2.0, 1.0, 0.0]


def test_ties_erases_the_outvoted() -> None:
    assert merged(Ties(density=[1.0]), [1.0], [4.0], [0.0]) == [4.0]
    # Weighted, -1 * 4 outvotes 3 * 1; added up rather than averaged it counts four times.
    assert merged(Ties(density=[1.0], weight=[1.0, 4.0]), [1.0], [4.0], [0.0]) == [0.0]
    assert merged(Ties(density=[1.0], weight=[1.0, 4.0], normalize=False), [1.0], [4.0], [0.0]) == [-3.0]


def test_ties_with_a_density_of_its_own_a_model() -> None:
    """One of four elements of the first, all of the second."""
    assert merged(Ties(density=[0.25, 1.0]), [0.0] * 4, [1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.0, 1.0]) == [1, 1, 1, 2.5]


def test_slerp() -> None:
    """A quarter circle half way: both coordinates sin(45 degrees); parallel vectors: a straight line."""
    half = round(math.sqrt(0.5), 6)
    assert merged(Slerp(t=0.5), [1.0, 0.0], [0.0, 1.0]) == [half, half]
    assert merged(Slerp(t=0.25), [1.0, 1.0], [3.0, 3.0]) == [1.5, 1.5]
    assert merged(Slerp(t=0.0), [1.0, 2.0], [3.0, -1.0]) == [1.0, 2.0]
    assert merged(Slerp(t=1.0), [1.0, 2.0], [3.0, -1.0]) == [3.0, -1.0]


def test_model_stock() -> None:
    """Orthogonal deltas: the base. Equal deltas: the model. At 60 degrees cos = 1/2, t = 1 / 1.5 = 2/3."""
    assert merged(ModelStock(), [1.0, 1.0], [2.0, 1.0], [1.0, 2.0]) == [1.0, 1.0]
    assert merged(ModelStock(), [1.0, 1.0], [2.0, 3.0], [2.0, 3.0]) == [2.0, 3.0]
    b = [0.5, math.sqrt(0.75)]
    assert merged(ModelStock(), [0.0, 0.0], [1.0, 0.0], b) == [0.5, round(b[1] / 3, 6)]


def test_model_stock_of_opposed_deltas_keeps_the_base() -> None:
    assert merged(ModelStock(), [1.0], [2.0], [0.0]) == [1.0]


def test_model_stock_by_row() -> None:
    """The first row's deltas are equal, the second's orthogonal."""
    base = torch.zeros(2, 2)
    models = [torch.tensor([[1.0, 1.0], [1.0, 0.0]]), torch.tensor([[1.0, 1.0], [0.0, 1.0]])]
    assert ModelStock(filter_wise=True).merge(base, models).tolist() == [[1.0, 1.0], [0.0, 0.0]]


@pytest.mark.parametrize("rescale", Rescale)
def test_dare_drops_a_share_and_makes_up_for_it(rescale: Rescale) -> None:
    base, model = torch.zeros(100_000), torch.ones(100_000)
    found = Dare(density=[0.25], rescale=rescale).merge(base, [model])
    kept = int(found.count_nonzero())
    assert kept == pytest.approx(25_000, abs=600)  # four standard deviations
    scale = {Rescale.NONE: 1.0, Rescale.DENSITY: 4.0, Rescale.L1: 100_000 / kept}[rescale]
    assert found[found != 0].unique().tolist() == [pytest.approx(scale)]


def test_dare_masks_differ_by_model_and_by_seed_and_repeat() -> None:
    base, models = torch.zeros(1000), [torch.ones(1000), torch.full((1000,), 10.0)]
    found = Dare(density=[0.5], rescale=Rescale.NONE).merge(base, models)
    assert sorted(found.unique().tolist()) == [0.0, 1.0, 10.0, 11.0]
    assert found.equal(Dare(density=[0.5], rescale=Rescale.NONE).merge(base, models))
    assert not found.equal(Dare(density=[0.5], rescale=Rescale.NONE, seed=1).merge(base, models))


def test_dare_that_keeps_all_is_task_arithmetic_or_ties() -> None:
    base, models = draw(500, seed=0), [draw(500, seed=1), draw(500, seed=2)]
    linear = TaskArithmetic(weight=[0.3, 0.6]).merge(base, models)
    assert Dare(density=[1.0], weight=[0.3, 0.6]).merge(base, models).equal(linear)
    ties = Ties(density=[1.0], weight=[0.3, 0.6], normalize=False).merge(base, models)
    assert Dare(density=[1.0], weight=[0.3, 0.6], elect=True).merge(base, models).equal(ties)


# -- all of them -------------------------------------------------------------------------------------------------------

EVERY = [
    *(Sce(tau=tau, variant=variant) for variant in SceVariant for tau in (0.1, 1.0)),
    *(Varm(granularity=granularity) for granularity in Granularity),
    Linear(weight=[0.7, 0.3]), Slerp(t=0.3), TaskArithmetic(weight=[0.3]), Ties(density=[0.3, 0.6]), ModelStock(),
    ModelStock(filter_wise=True),
]  # fmt: skip


@pytest.mark.parametrize("method", EVERY, ids=repr)
def test_chunks_do_not_show(method: MergeMethod, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers whether a tensor comes whole or in eight pieces."""
    count = 1 if isinstance(method, Slerp) else 2
    base, models = draw(30, 40, seed=0), [draw(30, 40, seed=1 + i) for i in range(count)]
    whole = method.merge(base, models)
    monkeypatch.setattr(contract, "CHUNK_ELEMENTS", 160)
    torch.testing.assert_close(method.merge(base, models), whole, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("method", [m for m in EVERY if m.needs_base], ids=repr)
def test_models_equal_to_the_base_give_the_base(method: MergeMethod) -> None:
    base = draw(40, 7, seed=0).bfloat16()
    models = [base] * (1 if isinstance(method, Slerp) else 2)
    assert method.merge(base, models).bfloat16().equal(base)


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"merge.tau must be in \[0, 1\], got 10"):
        Sce(tau=10)
    with pytest.raises(ConfigError, match=r"merge.density must be in \[0, 1\], got 60"):
        Ties(density=[60])
    with pytest.raises(ConfigError, match="merge.weight has 2 numbers for 3 models"):
        Linear(weight=[0.5, 0.5]).check(3)
    with pytest.raises(ConfigError, match="Slerp merges 1 models beside the base, got 2"):
        Slerp().check(2)
    with pytest.raises(ConfigError, match="ModelStock merges at least 2 models"):
        ModelStock().check(1)
