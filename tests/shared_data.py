"""Where the public data sets lie that some tests read in place: real answers of many models, with gold and verdicts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("FUSION_DATA", Path(__file__).parents[2] / "shared" / "data"))


def shared_data(name: str) -> Path:
    """The file `name` of that folder; the test is skipped where it is absent."""
    path = ROOT / name
    if not path.exists():
        pytest.skip(f"{name} is not at hand (set FUSION_DATA to the folder that holds it)")
    return path
