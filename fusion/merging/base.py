"""The contract of a merge method: a pure function of the same tensor of several models.

A method never sees a file, a shard, a dtype or a machine. It gets tensors as runs of consecutive elements (`Chunk`),
in fp32, so that memory does not grow with the tensor. Most methods are two things: a few numbers of the whole tensor
(norms, thresholds), found by passing over its chunks, and an equation that merges any chunk once they are known.

    rule = method.rule([tensor])                        # passes over the tensor
    merged_n = rule(chunk)                              # chunks in order, each once

Shapes: K models, n elements of a chunk.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar, Protocol

from fusion.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

CHUNK_ELEMENTS = 2**17
"""Elements of a chunk: 0.5 MiB a model in fp32, so the chunks of five models stay in a core's cache. It is not a
setting, because random masks are drawn a chunk at a time."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive elements of one tensor in all models. Its tensors are the method's to overwrite."""

    base_n: Tensor
    """[n] fp32, of the base; of the first model where a method needs no base."""
    models_Kn: Tensor
    """[K, n] fp32, in the order of the config."""
    start: int
    """Place of the first element in the tensor."""
    columns: int
    """Elements of one row of the tensor; a vector is one row."""

    def deltas(self) -> Tensor:
        """[K, n]: models minus base."""
        return self.models_Kn - self.base_n


class Weights(Protocol):
    """One tensor in all models."""

    @property
    def name(self) -> str:
        """As the checkpoint calls it: `model.layers.3.mlp.up_proj.weight`."""
        ...

    @property
    def num_elements(self) -> int: ...

    @property
    def num_models(self) -> int: ...

    def chunks(self) -> Iterator[Chunk]:
        """All elements in order; each call reads them again."""
        ...


Rule = Callable[[Chunk], "Tensor"]
"""Chunk -> merged elements [n] fp32. Called once a chunk, in the order of the tensor."""


def per_model(yaml: str = "") -> Mapping[str, object]:
    """Metadata of a field that holds one number a model (or one for all, or none: the default).

    Args:
        yaml: its name in mergekit's YAML, where that differs.
    """
    return {"per_model": True, "yaml": yaml}


@dataclass(kw_only=True)
class MergeMethod(ABC):
    """Base of all merge methods. Every field bears identity."""

    needs_base: ClassVar[bool] = True
    """Whether models are merged around a base, which is not itself one of them."""
    min_models: ClassVar[int] = 1
    max_models: ClassVar[int | None] = None
    """Beside the base; None: any number."""
    mergekit: ClassVar[Mapping[str, Mapping[str, object]]] = {}
    """Names of `merge_method` in mergekit's YAML that this method computes -> the fields that make it do so."""

    @abstractmethod
    def rule(self, tensors: Sequence[Weights]) -> Rule:
        """Find what the equation needs of the tensors of one scope, and give the rule that merges their chunks."""

    def scope(self, name: str) -> str:
        """Tensors with the same scope share one rule; by default every tensor has its own."""
        return name

    @property
    def whole_rows(self) -> bool:
        """Whether chunks must hold whole rows."""
        return False

    def check(self, num_models: int) -> None:
        """Raises:
        ConfigError: the number of models, or of a field's numbers, does not fit.
        """
        low, high = self.min_models, self.max_models
        if num_models < low or (high is not None and num_models > high):
            wanted = f"{low}" if low == high else f"at least {low}" if high is None else f"{low} to {high}"
            beside = " beside the base" if self.needs_base else ""
            raise ConfigError(f"{type(self).__name__} merges {wanted} models{beside}, got {num_models}")
        for field in fields(self):
            given = getattr(self, field.name)
            if field.metadata.get("per_model") and len(given) not in (0, 1, num_models):
                raise ConfigError(
                    f"merge.{field.name} has {len(given)} numbers for {num_models} models; give one a model, or one"
                )

    def merge(self, base: Tensor, models: Sequence[Tensor]) -> Tensor:
        """Whole tensors in memory, through the same rule: what tests and notebooks call. Returns fp32.

        Example: Linear().merge(base, [first, second]) == (first + second) / 2
        """
        import torch

        self.check(len(models))
        whole = InMemory("tensor", base, models, self.whole_rows)
        rule = self.rule([whole])
        return torch.cat([rule(chunk) for chunk in whole.chunks()]).reshape(base.shape)


@dataclass(frozen=True)
class InMemory:
    """`Weights` over tensors in memory."""

    name: str
    base: Tensor
    models: Sequence[Tensor]
    whole_rows: bool = False

    @property
    def num_elements(self) -> int:
        return int(self.base.numel())

    @property
    def num_models(self) -> int:
        return len(self.models)

    def chunks(self) -> Iterator[Chunk]:
        import torch

        columns = columns_of(tuple(self.base.shape))
        base = self.base.reshape(-1).float()
        models = torch.stack([model.reshape(-1).float() for model in self.models])
        for start, stop in spans(self.num_elements, columns if self.whole_rows else 1):
            yield Chunk(base[start:stop].clone(), models[:, start:stop].clone(), start, columns)


def columns_of(shape: Sequence[int]) -> int:
    """Elements of a row: those that share the first index; a vector or a number is one row."""
    columns = 1
    for size in shape[1:] if len(shape) > 1 else shape:
        columns *= size
    return columns


def spans(num_elements: int, multiple_of: int = 1) -> Iterator[tuple[int, int]]:
    """[start, stop) of each chunk, of `CHUNK_ELEMENTS` or as near to it as whole multiples (at least one) come."""
    size = max(1, CHUNK_ELEMENTS // max(1, multiple_of)) * max(1, multiple_of)
    for start in range(0, num_elements, size):
        yield start, min(start + size, num_elements)


def each(values: Sequence[float], num_models: int, default: float) -> list[float]:
    """A per-model field as one number a model; one number stands for all, none for the default."""
    given = list(values) or [default]
    return given * num_models if len(given) == 1 else given


def column(values: Sequence[float], num_models: int, default: float) -> Tensor:
    """`each` as [K, 1] fp32, which multiplies [K, n]."""
    import torch

    return torch.tensor(each(values, num_models, default)).unsqueeze(1)
