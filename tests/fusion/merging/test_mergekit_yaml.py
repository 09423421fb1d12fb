"""mergekit's YAML: what is understood, what of it depends on the tensor, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fusion.errors import ConfigError
from fusion.merging.dare import Dare, Rescale
from fusion.merging.linear import Linear
from fusion.merging.mergekit_yaml import MergekitConfig, methods, model_ref, read
from fusion.merging.sce import Sce, SceVariant
from fusion.merging.slerp import Slerp
from fusion.merging.slices import check_layers
from fusion.merging.ties import Ties
from fusion.merging.varm import Granularity, Varm

HEAD = "base_model: base\nmodels: [{model: a}, {model: b}]\n"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def parsed(tmp_path: Path, text: str) -> MergekitConfig:
    file = tmp_path / "merge.yml"
    file.write_text(text)
    return read(file)


def test_every_method_that_both_have_is_known_by_its_name_there() -> None:
    theirs = {"sce", "linear", "slerp", "task_arithmetic", "ties", "dare_ties", "dare_linear", "model_stock"}
    assert theirs <= methods().keys()
    assert methods().keys() - theirs == {"varm", "dare"}


def test_sce_is_theirs_by_default(tmp_path: Path) -> None:
    """select_topk is 1 there when it is not set, and the variant is mergekit's; ours may be asked for."""
    assert parsed(tmp_path, f"merge_method: sce\n{HEAD}").method("w", 2) == Sce(tau=1.0, variant=SceVariant.MERGEKIT)
    config = parsed(tmp_path, f"merge_method: sce\n{HEAD}parameters: {{select_topk: 0.1, variant: fuseai}}")
    assert config.method("w", 2) == Sce(tau=0.1, variant=SceVariant.FUSEAI)


def test_numbers_of_single_models_and_of_all(tmp_path: Path) -> None:
    """FuseChat's TIES: what a model sets wins, what it does not comes from the file's parameters or the default."""
    config = parsed(
        tmp_path,
        "merge_method: ties\nbase_model: base\nmodels:\n"
        "- {model: base}\n"
        "- {model: a, parameters: {density: 0.6, weight: 0.2}}\n"
        "- {model: b, parameters: {weight: 0.4}}\n"
        "parameters: {normalize: true, int8_mask: true, lambda: 0.5}\n",
    )
    assert config.models == ("a", "b")
    assert config.method("w", 2) == Ties(weight=[0.2, 0.4], density=[0.6, 1.0], normalize=True, lambda_=0.5)


def test_gradients_and_filters(tmp_path: Path) -> None:
    """The usual SLERP file: attention from 0 to 1 over five layers, the rest half way."""
    config = parsed(
        tmp_path,
        "merge_method: slerp\nbase_model: base\nmodels: [{model: base}, {model: a}]\n"
        "parameters:\n  t:\n  - {filter: self_attn, value: [0, 0.5, 1]}\n  - {value: 0.25}\n",
    )
    name = "model.layers.{}.self_attn.q_proj.weight"
    assert [config.method(name.format(layer), 5) for layer in range(5)] == [
        Slerp(t=t) for t in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    assert config.method("model.layers.4.mlp.up_proj.weight", 5) == Slerp(t=0.25)
    assert config.method("lm_head.weight", 5) == Slerp(t=0.25)
    assert config.method(name.format(0), 1) == Slerp(t=1.0)


def test_dare_rescales_as_there(tmp_path: Path) -> None:
    config = parsed(tmp_path, f"merge_method: dare_ties\n{HEAD}")
    assert config.method("w", 2) == Dare(density=[1.0], rescale=Rescale.L1, elect=True)
    off = parsed(tmp_path, f"merge_method: dare_linear\n{HEAD}parameters: {{rescale: false}}")
    assert off.method("w", 2) == Dare(density=[1.0], rescale=Rescale.NONE)


def test_a_method_that_they_lack_goes_by_its_name_here(tmp_path: Path) -> None:
    config = parsed(tmp_path, f"merge_method: varm\n{HEAD}parameters: {{granularity: layer}}")
    assert config.method("w", 2) == Varm(granularity=Granularity.LAYER)


BOTH = "[{model: base, layer_range: [0, 32]}, {model: a, layer_range: [0, 32]}]"


def test_one_slice_of_whole_models_is_a_list_of_models(tmp_path: Path) -> None:
    """As the usual SLERP file is written."""
    tail = "base_model: base\nparameters: {t: 0.3}\ndtype: bfloat16\n"
    sliced = parsed(tmp_path, f"merge_method: slerp\nslices: [{{sources: {BOTH}}}]\n{tail}")
    listed = parsed(tmp_path, f"merge_method: slerp\nmodels: [{{model: base}}, {{model: a}}]\n{tail}")
    assert sliced == replace(listed, num_layers=32)
    own = "[{model: a, layer_range: [0, 2], parameters: {weight: 0.3}}, {model: b, layer_range: [0, 2]}]"
    config = parsed(tmp_path, f"merge_method: linear\nslices: [{{sources: {own}}}]")
    assert config.method("w", 2) == Linear(weight=[0.3, 1.0])


@pytest.mark.parametrize(
    ("slices", "message"),
    [
        (f"[{{sources: {BOTH}}}, {{sources: {BOTH}}}]", "slices: layers of different models are not stacked here"),
        (f"[{{sources: {BOTH.replace('[0, 32]', '[8, 32]', 1)}}}]", r"is not of whole layers, \[0, number of layers\]"),
        (f"[{{sources: {BOTH.replace('32', '24', 1)}}}]", r"layer_range ends at \[24, 32\]"),
        ("[{sources: [{model: a}]}]", "is not of whole layers"),
        (f"[{{sources: {BOTH}, parameters: {{t: 1}}}}]", r"here a slice is \{sources: \[...\]\}"),
    ],
)
def test_slices_of_anything_else_are_refused(tmp_path: Path, slices: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parsed(tmp_path, f"merge_method: slerp\nbase_model: base\nslices: {slices}")


def test_slices_beside_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="slices and models are both given"):
        parsed(tmp_path, f"merge_method: slerp\n{HEAD}slices: [{{sources: {BOTH}}}]")


def test_a_model_of_more_layers_than_the_slice_takes_is_refused() -> None:
    check_layers(None, {"a": 32})
    check_layers(32, {"a": 32, "b": 32})
    with pytest.raises(ConfigError, match="layer_range ends at 24, and b has 32 layers"):
        check_layers(24, {"a": 24, "b": 32})


def test_dtype_and_tokenizer(tmp_path: Path) -> None:
    config = parsed(tmp_path, f"merge_method: sce\n{HEAD}dtype: float32\nout_dtype: float16\ntokenizer_source: a")
    assert (config.dtype, config.tokenizer_source) == ("float16", "a")
    config = parsed(tmp_path, f"merge_method: sce\n{HEAD}dtype: float32\ntokenizer: {{source: base}}")
    assert (config.dtype, config.tokenizer_source) == ("float32", "")


def test_linear_needs_no_base(tmp_path: Path) -> None:
    config = parsed(tmp_path, "merge_method: linear\nmodels: [{model: a}, {model: b}]")
    assert (config.base, config.models) == ("a", ("a", "b"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"merge_method: della\n{HEAD}", r"merge_method 'della' is not known here.* Known are .*dare_ties.*sce"),
        (f"merge_method: tie\n{HEAD}", "Did you mean ties"),
        (f"merge_method: sce\n{HEAD}basemodel: x", "field 'basemodel' is not known here. Did you mean base_model"),
        ("merge_method: passthrough\nslices: []", "slices: layers of different models are not stacked here"),
        (f"merge_method: sce\n{HEAD}parameters: {{select_topq: 1}}", "'select_topq' .* Did you mean select_topk"),
        (
            "merge_method: sce\nbase_model: base\nmodels: [{model: a, parameters: {weight: 1}}]",
            "parameter of a model 'weight' is not known here. Known are none",
        ),
        ("merge_method: ties\nmodels: [{model: a}]", "ties needs base_model"),
        ("merge_method: sce\nbase_model: base", "models is empty"),
        (f"merge_method: sce\n{HEAD}tokenizer_source: union", "Tokenizers are not united here"),
        ("- a\n- b", "holds list; it must hold fields"),
        ("a: [", "is no YAML"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parsed(tmp_path, text)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("{select_topk: much}", "parameters of Sce: .*much"),
        ("{select_topk: 10}", r"merge.tau must be in \[0, 1\], got 10"),
        ("{variant: theirs}", "parameters of Sce: .*theirs"),
        ("{select_topk: [{fil: a}]}", r"parameters.select_topk is \[\{'fil': 'a'\}\]; it is a value, a list"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, parameters: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parsed(tmp_path, f"merge_method: sce\n{HEAD}parameters: {parameters}").method("w", 2)


def test_models_are_folders_or_pinned(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert model_ref("mine", tmp_path).uri == str(tmp_path / "mine")
    pinned = model_ref(f"org/name@{COMMIT}", tmp_path)
    assert (pinned.uri, pinned.revision) == ("hf://org/name", COMMIT)
    for text, message in {
        "org/name": "org/name is not pinned; write org/name@COMMIT",
        "org/name@main": "is not pinned",
        "org/name+org/adapter": "adapters are not applied here",
        "./nowhere": "there is no such folder, and it is no org/name@commit",
    }.items():
        with pytest.raises(ConfigError, match=message):
            model_ref(text, tmp_path)
