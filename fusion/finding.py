"""One thing that `fusion doctor` has looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """`remedy` is what to type; empty where nothing is to be done. A finding that is ok may have one: an advice."""

    name: str
    ok: bool
    found: str
    remedy: str = ""
