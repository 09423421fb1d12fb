"""What may be merged with what, and the reason where it may not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fusion.errors import ConfigError
from fusion.merging.matching import Checkpoint, Matched, Rows, match
from tests.tiny import make_pico_llama


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("base", "other")):
        make_pico_llama(folder / name, seed=seed)
    make_pico_llama(folder / "deeper", layers=3)
    make_pico_llama(folder / "wider", hidden=64)
    return folder


def changed(models: Path, folder: Path, name: str = "other", **config: object) -> Path:
    """A copy of a model with other settings; `rows` more or fewer rows of its embedding where given."""
    import shutil

    shutil.copytree(models / name, folder / "changed")
    edit(folder / "changed" / "config.json", config)
    return folder / "changed"


def edit(file: Path, changes: Mapping[str, object]) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | dict(changes)))


def matched(base: Path, other: Path, rows: Rows = Rows.REFUSE) -> Matched:
    return match(Checkpoint("base", base), [Checkpoint("other", other)], rows)


def test_equal_models_match_without_a_notice(models: Path) -> None:
    found = matched(models / "base", models / "other")
    assert not found.notices
    assert found.models[0].keys() == found.base.keys()
    assert "lm_head.weight" not in found.base  # tied


def test_another_architecture_is_refused(models: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="other is a qwen2 model and base a llama model"):
        matched(models / "base", changed(models, tmp_path, model_type="qwen2"))


def test_another_depth_is_refused(models: Path) -> None:
    with pytest.raises(ConfigError, match=r"other has 9 that base lacks \(e.g. model.layers.2"):
        matched(models / "base", models / "deeper")
    with pytest.raises(ConfigError, match=r"other lacks 9 tensors of base \(e.g. model.layers.2"):
        matched(models / "deeper", models / "base")


def test_another_width_is_refused(models: Path) -> None:
    with pytest.raises(ConfigError, match=r"is \[262, 64\] in other and \[262, 32\] in base: only models of one size"):
        matched(models / "base", changed(models, models.parent / "w", "wider", head_dim=16))


def test_other_heads_of_equal_total_width_are_refused(models: Path, tmp_path: Path) -> None:
    """The matrices have equal shapes, but their rows belong to other heads."""
    with pytest.raises(ConfigError, match="num_attention_heads is 4 in other and 2 in base"):
        matched(models / "base", changed(models, tmp_path, num_attention_heads=4))


def test_another_context_is_a_notice(models: Path, tmp_path: Path) -> None:
    found = matched(models / "base", changed(models, tmp_path, max_position_embeddings=512))
    assert found.notices == ("max_position_embeddings is 512 in other; the output has base's, 256",)


def test_computed_buffers_are_left_out(models: Path, tmp_path: Path) -> None:
    other = changed(models, tmp_path)
    weights = load_file(other / "model.safetensors")
    weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    save_file(weights, other / "model.safetensors")
    assert matched(models / "base", other).models[0].keys() == matched(models / "base", models / "other").base.keys()


# -- tied weights ------------------------------------------------------------------------------------------------------


def untied(models: Path, folder: Path, name: str) -> Path:
    other = changed(models, folder, name, tie_word_embeddings=False)
    weights = load_file(other / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"] + 1
    save_file(weights, other / "model.safetensors")
    return other


def test_a_tied_model_gives_its_embedding_to_an_untied_base(models: Path, tmp_path: Path) -> None:
    found = matched(untied(models, tmp_path, "base"), models / "other")
    theirs = found.models[0]
    assert theirs["lm_head.weight"] == theirs["model.embed_tokens.weight"]
    assert found.base["lm_head.weight"] != found.base["model.embed_tokens.weight"]


def test_an_untied_model_has_no_place_in_a_tied_base(models: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"other has an output matrix of its own \(lm_head.weight\), which base ties"):
        matched(models / "base", untied(models, tmp_path, "other"))


def test_a_tied_matrix_that_is_stored_twice_is_merged_once(models: Path, tmp_path: Path) -> None:
    other = untied(models, tmp_path, "other")
    edit(other / "config.json", {"tie_word_embeddings": True})
    assert "lm_head.weight" not in matched(models / "base", other).models[0]
    assert "lm_head.weight" not in matched(other, models / "base").base


# -- vocabularies ------------------------------------------------------------------------------------------------------


def resized(models: Path, folder: Path, rows: int) -> Path:
    other = changed(models, folder, vocab_size=rows)
    weights = load_file(other / "model.safetensors")
    embedding = weights["model.embed_tokens.weight"]
    weights["model.embed_tokens.weight"] = torch.cat([embedding, torch.ones(50, embedding.shape[1])])[:rows].clone()
    save_file(weights, other / "model.safetensors")
    return other


@pytest.mark.parametrize("rows", [270, 250])
def test_another_number_of_rows_is_refused_unless_told(models: Path, tmp_path: Path, rows: int) -> None:
    other = resized(models, tmp_path, rows)
    with pytest.raises(ConfigError, match=rf"\[{rows}, 32\] in other .* their vocabularies have different sizes"):
        matched(models / "base", other)
    found = matched(models / "base", other, Rows.BASE)
    assert found.models[0]["model.embed_tokens.weight"].shape == (rows, 32)


def tokens_swapped(models: Path, folder: Path, first: str, second: str) -> Path:
    """A model whose tokenizer numbers two tokens the other way round."""
    other = changed(models, folder)
    content = json.loads((other / "tokenizer.json").read_text())
    vocab = content["model"]["vocab"]
    vocab[first], vocab[second] = vocab[second], vocab[first]
    for entry in content["added_tokens"]:
        entry["id"] = vocab.get(entry["content"], entry["id"])
    (other / "tokenizer.json").write_text(json.dumps(content))
    return other


def test_rows_that_stand_for_other_tokens_are_refused(models: Path, tmp_path: Path) -> None:
    other = tokens_swapped(models, tmp_path, "A", "B")
    with pytest.raises(ConfigError, match=r"2 rows of the embedding stand for other tokens in other .*'B', not 'A'"):
        matched(models / "base", other)


def test_other_special_tokens_are_a_notice(models: Path, tmp_path: Path) -> None:
    """DeepSeek's distillations rename Qwen's special tokens; their merges are published."""
    other = tokens_swapped(models, tmp_path, "<|system|>", "<|user|>")
    [notice] = matched(models / "base", other).notices
    assert notice.startswith("other has 2 other special tokens (3: '<|user|>', base has '<|system|>'")
