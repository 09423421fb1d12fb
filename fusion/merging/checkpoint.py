"""A checkpoint's tensors on disk, read and written a run of elements at a time.

The safetensors library maps whole files into memory, and every page it has touched stays in the process's resident
memory until the file is closed: five 270 MB models weigh 1.3 GB. Reading the same bytes by position into one small
buffer keeps nothing. The format is simple enough for that: 8 bytes with the length of a JSON header, the header, the
tensors' bytes (https://huggingface.co/docs/safetensors). Tests read what is written here with the library.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from fusion.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

DTYPES = {"F64": ("float64", 8), "F32": ("float32", 4), "BF16": ("bfloat16", 2), "F16": ("float16", 2)}
"""Of safetensors -> torch's name, bytes of an element. Others are no weights that can be averaged."""

HEADER_LIMIT = 100 * 2**20
"""Bytes of a header, as the library limits it."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Where one tensor lies."""

    file: str
    """Name within the model folder."""
    offset: int
    """Of its first byte in the file."""
    dtype: str
    """As safetensors names it."""
    shape: tuple[int, ...]

    @property
    def num_elements(self) -> int:
        return prod(self.shape)

    @property
    def torch_dtype(self) -> str:
        return DTYPES[self.dtype][0]

    @property
    def item_bytes(self) -> int:
        return DTYPES[self.dtype][1]

    @property
    def num_bytes(self) -> int:
        return self.num_elements * self.item_bytes


def tensors_of(folder: Path) -> dict[str, Stored]:
    """Every tensor of the folder's safetensors files, in the files' order.

    Raises:
        ConfigError: there are none, a file is damaged, or a tensor is stored twice or in a dtype that is no weight.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        files = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
    else:
        files = sorted(file.name for file in folder.glob("*.safetensors"))
    if not files:
        raise ConfigError(f"{folder} holds no *.safetensors file; only these are read (unpickling others runs code)")
    found: dict[str, Stored] = {}
    for name in files:
        for tensor, stored in _header(folder, name).items():
            if tensor in found:
                raise ConfigError(f"{folder}: {tensor} lies in {found[tensor].file} and in {name}; remove one of them")
            found[tensor] = stored
    return found


def _header(folder: Path, name: str) -> dict[str, Stored]:
    path = folder / name
    if not path.is_file():
        raise ConfigError(f"{path} does not exist, though the index of its folder names it; download it again")
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(HEADER_LIMIT, max(size - 8, 0)):
            raise ConfigError(f"{path} is no safetensors file, or its beginning is damaged; download it again")
        try:
            entries = json.loads(file.read(length))
        except ValueError as error:
            raise ConfigError(f"{path} has a damaged header ({error}); download it again") from error
    entries.pop("__metadata__", None)
    found = {}
    for tensor, entry in entries.items():
        if entry["dtype"] not in DTYPES:
            raise ConfigError(
                f"{path}: {tensor} is stored as {entry['dtype']}, which is no plain weight; merge the model before it "
                f"was quantised (weights are {', '.join(DTYPES)})"
            )
        begin, end = entry["data_offsets"]
        stored = Stored(name, 8 + length + begin, entry["dtype"], tuple(entry["shape"]))
        if end - begin != stored.num_bytes or 8 + length + end > size:
            raise ConfigError(f"{path} is torn: {tensor} does not lie in it whole; download it again")
        found[tensor] = stored
    return dict(sorted(found.items(), key=lambda item: item[1].offset))


class Files:
    """Open files of one model folder, read by position: threads share them."""

    def __init__(self, descriptors: Mapping[str, int], folder: Path) -> None:
        self._descriptors = descriptors
        self._folder = folder

    def read(self, stored: Stored, start: int, buffer: bytearray, out_n: Tensor) -> None:
        """Elements from `start` on into `out_n` ([n] fp32), by way of `buffer` (at least n elements' bytes).

        Raises:
            ConfigError: the file ends early.
        """
        import torch

        num_bytes = len(out_n) * stored.item_bytes
        view, at = memoryview(buffer)[:num_bytes], stored.offset + start * stored.item_bytes
        done = 0
        while done < num_bytes:
            got = os.preadv(self._descriptors[stored.file], [view[done:]], at + done)
            if not got:
                raise ConfigError(f"{self._folder / stored.file} became shorter while it was read")
            done += got
        out_n.copy_(torch.frombuffer(buffer, dtype=getattr(torch, stored.torch_dtype), count=len(out_n)))

    def write(self, stored: Stored, start: int, values_n: Tensor) -> None:
        """Elements from `start` on, of the dtype of `stored`."""
        import torch

        view = memoryview(values_n.view(torch.uint8).numpy())
        at, done = stored.offset + start * stored.item_bytes, 0
        while done < len(view):
            done += os.pwrite(self._descriptors[stored.file], view[done:], at + done)

    def sync(self) -> None:
        for descriptor in self._descriptors.values():
            os.fsync(descriptor)


@contextmanager
def opened(folder: Path, names: Sequence[str], flags: int = os.O_RDONLY) -> Iterator[Files]:
    """Files of a folder, opened by name."""
    with ExitStack() as stack:
        descriptors = {}
        for name in sorted(set(names)):
            descriptors[name] = os.open(folder / name, flags)
            stack.callback(os.close, descriptors[name])
        yield Files(descriptors, folder)
