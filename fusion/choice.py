"""The enum of config fields: yaml and the command line may write a member's name in lower case."""

from __future__ import annotations

from enum import Enum, EnumMeta
from typing import Any


class _AnyCase(EnumMeta):
    def __getitem__(cls, name: str) -> Any:
        return super().__getitem__(name.upper())


class Choice(Enum, metaclass=_AnyCase):
    """Base of enums in configs: `selection.pair_policy=same_source` and `SAME_SOURCE` are one value."""
