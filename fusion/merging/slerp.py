"""SLERP: along the great circle between two models (Shoemake, SIGGRAPH 1985; no paper merges by it first).

Of each tensor, as a vector; a the base, b the other model, Omega the angle between them:

    Phi = sin((1 - t) Omega) / sin(Omega) a + sin(t Omega) / sin(Omega) b

Where |cos Omega| is above 0.9995 (fine-tuned models of one base nearly always) it is the straight line
(1 - t) a + t b, for which the formula would divide by nearly nothing; mergekit has the same limit. FuseChat compares
with it, for two models. Deviations: none from mergekit.

Example: a = (1, 0), b = (0, 1), t = 0.5: (0.7071, 0.7071)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fusion.errors import ConfigError
from fusion.merging.base import MergeMethod, Rule, Weights

PARALLEL = 0.9995
"""Cosine from which two vectors count as parallel."""
NO_LENGTH = 1e-8
"""A vector that is shorter has no direction."""


@dataclass(kw_only=True)
class Slerp(MergeMethod):
    """Example: Slerp(t=0.5)"""

    min_models: ClassVar[int] = 1
    max_models: ClassVar[int | None] = 1
    mergekit: ClassVar = {"slerp": {}}

    t: float = 0.5
    """0: the base, 1: the other model."""

    def __post_init__(self) -> None:
        if not 0 <= self.t <= 1:
            raise ConfigError(f"merge.t must be in [0, 1], got {self.t}; 0.5 is half way")

    def rule(self, tensors: Sequence[Weights]) -> Rule:
        [tensor] = tensors
        cosine = _cosine(tensor)
        if abs(cosine) > PARALLEL:
            a, b = 1 - self.t, self.t
        else:
            omega = math.acos(cosine)
            a, b = math.sin((1 - self.t) * omega) / math.sin(omega), math.sin(self.t * omega) / math.sin(omega)
        return lambda chunk: a * chunk.base_n + b * chunk.models_Kn[0]


def _cosine(tensor: Weights) -> float:
    aa = bb = ab = 0.0
    for chunk in tensor.chunks():
        a_n, b_n = chunk.base_n.double(), chunk.models_Kn[0].double()
        aa, bb, ab = aa + float(a_n.dot(a_n)), bb + float(b_n.dot(b_n)), ab + float(a_n.dot(b_n))
    lengths = [math.sqrt(square) if math.sqrt(square) > NO_LENGTH else 1.0 for square in (aa, bb)]
    return max(-1.0, min(1.0, ab / (lengths[0] * lengths[1])))
