"""Shapes: the published number of weights of every model that the yaml files name, and what a folder says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from fusion.errors import ConfigError
from fusion.planning.folder_shape import check_shape, shape_of
from fusion.planning.shapes import Experts, Latent, Shape
from tests.tiny import make_pico_llama

CONF = Path(__file__).parents[3] / "conf"
PUBLISHED = {
    "source/gemma2_27b": 27_227_128_320,
    "source/mistral_large_2407": 122_610_069_504,
    "source/qwen25_72b": 72_706_203_648,
    "source/qwen25_math_72b": 72_706_203_648,
    "source/qwen2_72b": 72_706_203_648,
    "source/llama3_70b": 70_553_706_496,
    "source/gemma2_9b": 9_241_705_984,
    "source/internlm25_20b": 19_861_149_696,
    "source/yi15_34b": 34_388_917_248,
    "source/phi3_medium_4k": 13_960_238_080,
    "source/phi4": 14_659_507_200,
    "source/qwen25_14b": 14_770_033_664,
    "source/qwen25_coder_14b": 14_770_033_664,
    "source/qwen25_math_7b": 7_615_616_512,
    "source/mistral_small_24b": 23_572_403_200,
    "source/gemma3_12b": 11_766_034_176,
    "source/llama31_70b": 70_553_706_496,
    "source/smollm2_135m": 134_515_008,
    "source/gemma3_270m": 268_098_176,
    "source/open_llama_7b_v2": 6_738_415_616,
    "source/mpt_7b": 6_649_286_656,
    "source/starling_7b": 7_241_748_480,
    "source/nh2_solar_10b": 10_731_540_480,
    "source/internlm2_20b": 19_861_149_696,
    "source/mixtral_8x7b": 46_702_792_704,
    "source/qwen15_72b": 72_287_920_128,
    "target/llama2_7b": 6_738_415_616,
    "target/openchat35_7b": 7_241_748_480,
    "target/llama31_8b": 8_030_261_248,
    "target/qwen25_7b": 7_615_616_512,
    "target/gemma2_9b": 9_241_705_984,
    "target/llama32_3b": 3_212_749_824,
    "target/llama32_1b": 1_235_814_400,
    "target/smollm2_135m": 134_515_008,
    "target/llama3_8b": 8_030_261_248,
    "target/phi4": 14_659_507_200,
    "source/deepseek_v2_chat_0628": 235_741_434_880,
    "source/deepseek_coder_v2_0724": 235_741_434_880,
    "source/qwen25_32b": 32_763_876_352,
    "source/qwen25_coder_32b": 32_763_876_352,
    "source/qwq_32b_preview": 32_763_876_352,
    "source/r1_distill_qwen_32b": 32_763_876_352,
    "source/sky_t1_32b_flash": 32_763_876_352,
    "source/sky_t1_32b_preview": 32_763_876_352,
    "target/qwen25_32b_base": 32_763_876_352,
    "target/qwen25_coder_32b_base": 32_763_876_352,
}
"""Weights as the safetensors files on the hub count them."""


def shape_in(name: str) -> Shape:
    file = OmegaConf.load(CONF / f"{name}.yaml")
    shape = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Shape), file.model.shape))
    assert isinstance(shape, Shape)
    return shape


def test_every_model_of_the_yaml_files_has_a_published_count() -> None:
    files = sorted(path for group in ("source", "target") for path in (CONF / group).glob("*.yaml"))
    loaded = {f"{path.parent.name}/{path.stem}": OmegaConf.load(path) for path in files}
    with_model = {name for name, file in loaded.items() if "model" in file and not _is_another_place_of(file)}
    assert with_model == set(PUBLISHED)


def _is_another_place_of(file: Any) -> bool:
    """Whether a yaml names where else the model of another yaml is: it takes that one's shape."""
    return any(default != "_self_" for default in file.get("defaults", [])) and "shape" not in file.model


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_shape_has_the_published_number_of_weights(name: str) -> None:
    assert shape_in(name).parameters == PUBLISHED[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_transformers_builds_a_model_of_as_many_weights(name: str) -> None:
    """On the meta device, from a config with the same entries: nothing is allocated."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(_transformers_config(shape_in(name)))
    assert sum(weights.numel() for weights in model.parameters()) == PUBLISHED[name] - shape_in(name).extra_parameters


def _transformers_config(shape: Shape) -> object:
    from transformers import AutoConfig

    kinds = {(2, False): "llama", (2, True): "qwen2", (4, False): "gemma2"}
    kind = "gemma3_text" if shape.qk_norm else kinds[shape.norms_per_layer, shape.qkv_bias]
    more: dict[str, object] = {"head_dim": shape.head_dim}
    if shape.latent is not None:
        kind, more = "deepseek_v2", deepseek_entries(shape)
    elif shape.experts is not None:
        kind = "mixtral"
        more |= {"num_local_experts": shape.experts.routed, "num_experts_per_tok": shape.experts.active}
    return AutoConfig.for_model(
        kind,
        num_hidden_layers=shape.layers,
        hidden_size=shape.hidden,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        intermediate_size=shape.intermediate,
        vocab_size=shape.vocab,
        tie_word_embeddings=shape.tied_embeddings,
        **more,
    )


def deepseek_entries(shape: Shape) -> dict[str, object]:
    """Of its config.json, beside those that every model has."""
    experts, latent = shape.experts, shape.latent
    assert experts is not None
    assert latent is not None
    return {
        "n_routed_experts": experts.routed,
        "num_experts_per_tok": experts.active,
        "moe_intermediate_size": experts.intermediate,
        "n_shared_experts": experts.shared,
        "first_k_dense_replace": experts.dense_layers,
        "kv_lora_rank": latent.kv_rank,
        "q_lora_rank": latent.q_rank or None,
        "qk_rope_head_dim": latent.rope_dim,
        "qk_nope_head_dim": shape.head_dim,
        "v_head_dim": latent.value_dim,
    }


def test_of_a_mixture_of_experts_few_weights_work_on_a_token() -> None:
    """As published: 21B of DeepSeek-V2, 12.9B of Mixtral, embeddings included."""
    active = {}
    for name in ("deepseek_v2_chat_0628", "mixtral_8x7b"):
        shape = shape_in(f"source/{name}")
        active[name] = round((shape.active_parameters + shape.vocab * shape.hidden) / 1e9, 1)
    assert active == {"deepseek_v2_chat_0628": 21.4, "mixtral_8x7b": 12.9}


def test_latent_attention_keeps_little_of_a_token() -> None:
    """As published: 4.5 times 128 numbers a layer, where plain attention would keep 256 times."""
    shape = shape_in("source/deepseek_v2_chat_0628")
    assert shape.kv_bytes_per_token() == 60 * 4.5 * 128 * 2
    assert shape.kv_parts == 1


@pytest.mark.slow
@pytest.mark.parametrize("q_rank", [0, 24])
def test_a_small_deepseek_folder_says_its_shape_and_has_as_many_weights(tmp_path: Path, q_rank: int) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    shape = Shape(
        layers=3, hidden=64, heads=4, kv_heads=4, head_dim=16, intermediate=96, vocab=256, context=128,
        experts=Experts(routed=8, active=2, intermediate=32, shared=2, dense_layers=1),
        latent=Latent(kv_rank=20, rope_dim=8, value_dim=12, q_rank=q_rank),
    )  # fmt: skip
    config = _transformers_config(shape)
    config.max_position_embeddings = 128  # type: ignore[attr-defined]
    config.save_pretrained(tmp_path)  # type: ignore[attr-defined]
    assert shape_of(tmp_path) == shape
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert sum(weights.numel() for weights in model.parameters()) == shape.parameters


def test_an_impossible_mixture_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"shape\.experts\.active \(9\) is above"):
        Experts(routed=8, active=9, intermediate=4)
    with pytest.raises(ConfigError, match=r"shape\.latent\.kv_rank must be at least 1"):
        Latent(kv_rank=0, rope_dim=1, value_dim=1)


def test_a_folder_says_its_shape_and_holds_as_many_weights(tmp_path: Path) -> None:
    from fusion.models import model_facts

    folder = make_pico_llama(tmp_path / "pico")
    shape = shape_of(folder)
    assert (shape.layers, shape.hidden, shape.vocab, shape.tied_embeddings) == (2, 32, 262, True)
    assert shape.parameters == model_facts(folder).num_parameters
    check_shape(shape, folder)


def test_a_yaml_that_says_otherwise_is_refused_with_what_to_type(tmp_path: Path) -> None:
    folder = make_pico_llama(tmp_path / "pico")
    shape = shape_of(folder)
    shape.kv_heads, shape.context = 1, 512
    with pytest.raises(ConfigError, match=r"shape.kv_heads is 1, set it to 2; shape.context is 512, set it to 256"):
        check_shape(shape, folder)


def gemma(tmp_path: Path, **entries: object) -> Path:
    config = {"model_type": "gemma2", "num_hidden_layers": 4, "hidden_size": 8, "num_attention_heads": 2}
    config |= {"num_key_value_heads": 1, "head_dim": 4, "intermediate_size": 16, "vocab_size": 100}
    config |= {"max_position_embeddings": 64, "sliding_window": 16}
    (tmp_path / "config.json").write_text(json.dumps(config | entries))
    return tmp_path


def test_sliding_windows_bound_the_cache(tmp_path: Path) -> None:
    """Two of four layers look back 16 tokens: key and value, 1 head of 4 dimensions, 2 bytes."""
    shape = shape_of(gemma(tmp_path))
    assert (shape.tied_embeddings, shape.norms_per_layer, shape.full_attention_every) == (True, 4, 2)
    assert shape.kv_bytes_per_token() == 4 * 16
    assert shape.kv_bytes(10) == 4 * 10 * 16
    assert shape.kv_bytes(50) == (2 * 50 + 2 * 16) * 16


def test_a_window_that_is_not_used_bounds_nothing(tmp_path: Path) -> None:
    """As Qwen2's config.json has it."""
    shape = shape_of(gemma(tmp_path, model_type="qwen2", use_sliding_window=False))
    assert (shape.sliding_window, shape.qkv_bias) == (0, True)
    assert shape.kv_bytes(50) == 50 * shape.kv_bytes_per_token()


def test_layers_named_one_by_one_count(tmp_path: Path) -> None:
    kinds = ["sliding_attention"] * 3 + ["full_attention"]
    assert shape_of(gemma(tmp_path, layer_types=kinds)).full_attention_layers == 1


@pytest.mark.parametrize(
    ("entries", "words"),
    [({"model_type": "mamba"}, "'mamba' is not known"), ({"vocab_size": None}, "vocab_size")],
)
def test_what_is_not_understood_is_refused(tmp_path: Path, entries: dict[str, object], words: str) -> None:
    folder = gemma(tmp_path, **entries)
    config = {k: v for k, v in json.loads((folder / "config.json").read_text()).items() if v is not None}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=words):
        shape_of(folder)


@pytest.mark.parametrize(("name", "value"), [("layers", 0), ("kv_heads", 3), ("vocab", -1)])
def test_an_impossible_shape_is_refused(name: str, value: int) -> None:
    entries = {"layers": 2, "hidden": 8, "heads": 4, "kv_heads": 2, "head_dim": 2, "intermediate": 8, "vocab": 9}
    with pytest.raises(ConfigError, match=f"shape.*{name}"):
        Shape(**(entries | {"context": 10} | {name: value}))  # type: ignore[arg-type]
