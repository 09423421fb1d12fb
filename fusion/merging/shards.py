"""The merged checkpoint's files: laid out from the base's headers before anything is merged, then filled in any order.

Sizes are known beforehand, so the headers and the index are written first, disk space is reserved, and every tensor has
its place: who merges which tensor when, and how many do it, does not change a byte.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fusion.errors import ConfigError
from fusion.merging.checkpoint import DTYPES, Stored

SHARD_BYTES = 5 * 10**9
"""Size of an output file, as transformers splits checkpoints by default."""

ALIGNMENT = 8
"""The data of a safetensors file begins at a multiple of this."""


def layout(
    base: Mapping[str, Stored], dtype: str | None, shard_bytes: int
) -> tuple[dict[str, Stored], dict[str, bytes]]:
    """Where every tensor of the output will lie.

    Args:
        base: tensors of the base; the output has the same names and shapes, in the same order.
        dtype: torch's name of the output's dtype; None: each tensor keeps the base's.
        shard_bytes: a file that would become larger is followed by another; a larger tensor has a file of its own.

    Returns:
        Tensors of the output by name, and the header of each file by its name.
    """
    codes = {name: code for code, (name, _) in DTYPES.items()}
    if dtype is not None and dtype not in codes:
        raise ConfigError(f"the output's dtype is {dtype!r}; it is one of {', '.join(codes)}, or the base's")
    shards: list[dict[str, Stored]] = [{}]
    filled = 0
    for name, stored in base.items():
        wanted = stored if dtype is None else replace(stored, dtype=codes[dtype])
        if shards[-1] and filled + wanted.num_bytes > shard_bytes:
            shards.append({})
            filled = 0
        shards[-1][name] = wanted
        filled += wanted.num_bytes
    tensors: dict[str, Stored] = {}
    headers: dict[str, bytes] = {}
    for number, shard in enumerate(shards, start=1):
        file = "model.safetensors" if len(shards) == 1 else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        placed, headers[file] = _placed(file, shard)
        tensors |= placed
    return tensors, headers


def create(folder: Path, tensors: Mapping[str, Stored], headers: Mapping[str, bytes]) -> None:
    """Write headers and index, and reserve the space of all tensors.

    Raises:
        ConfigError: the disk has not that much space.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file, header in headers.items():
        size = len(header) + sum(one.num_bytes for one in tensors.values() if one.file == file)
        with open(folder / file, "wb") as out:
            try:
                os.posix_fallocate(out.fileno(), 0, size)
            except OSError as error:
                raise ConfigError(f"{folder / file} needs {size / 2**30:.2f} GiB: {error.strerror}") from error
            out.write(header)
    if len(headers) > 1:
        total = sum(one.num_bytes for one in tensors.values())
        index = {"metadata": {"total_size": total}, "weight_map": {name: one.file for name, one in tensors.items()}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def _placed(file: str, shard: Mapping[str, Stored]) -> tuple[dict[str, Stored], bytes]:
    # Wider elements first, so that each tensor begins at a multiple of its element's size.
    order: Sequence[str] = sorted(shard, key=lambda name: -shard[name].item_bytes)
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name in order:
        stored = shard[name]
        end = offset + stored.num_bytes
        entries[name] = {"dtype": stored.dtype, "shape": list(stored.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    header = len(text).to_bytes(8, "little") + text
    offset = len(header)
    placed = {}
    for name in order:
        placed[name] = replace(shard[name], file=file, offset=offset)
        offset += shard[name].num_bytes
    return placed, header
