"""Checkpoints read and written without mapping them, against the safetensors library."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from fusion.errors import ConfigError
from fusion.merging.checkpoint import opened, tensors_of
from fusion.merging.shards import create, layout

DTYPES = {"a": torch.bfloat16, "b": torch.float32, "c": torch.float16, "d": torch.float64}


def make(folder: Path, name: str = "model.safetensors") -> dict[str, Tensor]:
    folder.mkdir(exist_ok=True)
    draws = torch.Generator().manual_seed(0)
    tensors = {key: torch.randn(5, 7, generator=draws).to(dtype) for key, dtype in DTYPES.items()}
    tensors["norm.weight"] = torch.ones(3, dtype=torch.bfloat16)
    save_file(tensors, folder / name)
    return tensors


def test_any_run_of_elements_of_any_dtype_is_read_as_fp32(tmp_path: Path) -> None:
    tensors, stored = make(tmp_path), tensors_of(tmp_path)
    assert stored.keys() == tensors.keys()
    with opened(tmp_path, ["model.safetensors"]) as files:
        for name in DTYPES:
            out = torch.empty(11)
            files.read(stored[name], 9, bytearray(8 * 11), out)
            assert out.equal(tensors[name].reshape(-1)[9:20].float())


@pytest.mark.parametrize(
    ("shard_bytes", "dtype", "num_files"),
    [
        (10**9, None, 1),
        (300, None, 2),  # 280 bytes in fp64, then 140 + 70 + 70 + 6
        (1, None, 5),
        (10**9, "bfloat16", 1),
        (150, "bfloat16", 2),  # twice 70 + 70, the last with 6 more
    ],
)
def test_what_is_laid_out_and_filled_in_any_order_the_library_reads(
    tmp_path: Path, shard_bytes: int, dtype: str | None, num_files: int
) -> None:
    tensors = make(tmp_path / "in")
    stored = tensors_of(tmp_path / "in")
    places, headers = layout(stored, dtype, shard_bytes)
    out = tmp_path / "out"
    create(out, places, headers)
    with opened(out, list(headers), os.O_RDWR) as files:
        for name in reversed(list(places)):
            values = tensors[name].reshape(-1).to(getattr(torch, places[name].torch_dtype))
            files.write(places[name], 2, values[2:])
            files.write(places[name], 0, values[:2])
    assert len(headers) == num_files
    found = {key: value for file in sorted(out.glob("*.safetensors")) for key, value in load_file(file).items()}
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        assert found[name].equal(value if dtype is None else value.bfloat16())
    index = out / "model.safetensors.index.json"
    assert index.exists() == (len(headers) > 1)
    if index.exists():
        content = json.loads(index.read_text())
        assert content["metadata"]["total_size"] == sum(value.nbytes for value in found.values())
        for name, file in content["weight_map"].items():
            with safe_open(out / file, "pt") as opened_file:
                assert name in opened_file.keys()  # noqa: SIM118 it is no mapping
    assert tensors_of(out).keys() == tensors.keys()


def test_tensors_begin_where_their_elements_may(tmp_path: Path) -> None:
    """Libraries map files and need fp32 numbers at multiples of 4; an odd number of bf16 ones must not come before."""
    make(tmp_path)
    places, _ = layout(tensors_of(tmp_path), None, 10**9)
    assert all(place.offset % place.item_bytes == 0 for place in places.values())


def test_a_torn_file_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ConfigError, match="is torn: .* does not lie in it whole"):
        tensors_of(tmp_path)


def test_what_is_no_safetensors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no \\*.safetensors file"):
        tensors_of(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ConfigError, match="is no safetensors file"):
        tensors_of(tmp_path)


def test_quantised_weights_are_refused(tmp_path: Path) -> None:
    save_file({"w": torch.ones(3, dtype=torch.int8)}, tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match="w is stored as I8, which is no plain weight"):
        tensors_of(tmp_path)


def test_a_missing_shard_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "z": "model-00002-of-00002.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ConfigError, match="00002-of-00002.safetensors does not exist"):
        tensors_of(tmp_path)


def test_a_tensor_stored_twice_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "one.safetensors")
    make(tmp_path, "two.safetensors")
    with pytest.raises(ConfigError, match=r"\w lies in one.safetensors and in two.safetensors"):
        tensors_of(tmp_path)


def test_no_space_is_said_before_anything_is_merged(tmp_path: Path) -> None:
    make(tmp_path)
    places, headers = layout({"huge": tensors_of(tmp_path)["a"]}, None, 10**9)
    huge = {name: type(place)(place.file, place.offset, place.dtype, (2**60,)) for name, place in places.items()}
    with pytest.raises(ConfigError, match="needs .* GiB"):
        create(tmp_path / "out", huge, headers)
