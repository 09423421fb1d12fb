"""The recipes of FuseLLM and FuseChat: planned without a GPU or a hub, and held against what the papers say."""

from __future__ import annotations

import pytest

from fusion.config import composed, typed
from fusion.explicit.config import Form, FuseRule
from fusion.pipeline import build
from fusion.planning.forecast import forecast
from fusion.recipe import Recipe
from fusion.revisions import pin

# recipe: learning rate, epochs, warm-up, weight decay
PAPERS = {"fusellm_llama2_7b": (1e-5, 1, 0.008, 0.1), "fusechat_openchat_7b": (5e-6, 3, 0.03, 0.0)}


pytestmark = pytest.mark.usefixtures("no_hub")


def recipe(name: str) -> Recipe:
    tree = composed([f"experiment={name}"])
    pin(tree, wait_s=5)
    return build(typed(tree))


@pytest.mark.parametrize("name", PAPERS)
def test_settings_are_the_papers(name: str) -> None:
    explicit = recipe(name).config.explicit
    train = explicit.train
    assert (train.learning_rate, train.epochs, train.warmup_frac, train.weight_decay) == PAPERS[name]
    assert (train.label_weight, train.global_batch_size, train.max_length) == (0.9, 128, 2048)
    assert (explicit.dump.top_k, explicit.fuse.rule) == (10, FuseRule.MIN_CE)


def test_fusellm_makes_one_model_of_many() -> None:
    made = recipe("fusellm_llama2_7b")
    assert made.config.explicit.texts.form is Form.DOCUMENTS
    assert {name for name in made.steps if name.startswith("checkpoint/")} == {"checkpoint/final"}
    inputs = set(made.steps["targets/all"].inputs)
    assert {"distributions:llama2_7b", "distributions:open_llama_7b_v2", "distributions:mpt_7b"} <= inputs


def test_fusechat_makes_a_model_a_pair() -> None:
    made = recipe("fusechat_openchat_7b")
    assert made.config.explicit.texts.form is Form.DIALOGS
    for source in made.config.sources:
        inputs = set(made.steps[f"targets/{source}"].inputs)
        assert inputs == {"texts", "distributions:openchat35_7b", f"distributions:{source}", f"counts:{source}"}
        assert f"checkpoint/pair-{source}" in made.steps
    merged = {f"model:{source}": made.steps[f"checkpoint/pair-{source}"] for source in made.config.sources}
    assert made.steps["checkpoint/final"].inputs == merged


@pytest.mark.parametrize("name", PAPERS)
def test_the_plan_fits_and_knows_its_costs(name: str) -> None:
    made = recipe(name)
    steps = forecast(made, made.config.planning)
    assert not [one.note for one in steps if not one.fits]
    assert not [one.name for one in steps if one.gpu_hours is None]
