"""What was expected of each step against what it took: `spending` of result.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow.compute as pc

from fusion.artifact import Artifact
from fusion.costs.account import Account, StepUse, read_accounts
from fusion.costs.expected import Expected, expected
from fusion.report.accounts import trained_tokens
from fusion.schema import RESPONSE
from fusion.tree import TreeArtifact

Made = Artifact | TreeArtifact


def spending(folder: Path, artifacts: Mapping[str, Made]) -> dict[str, object]:
    """The entry `spending`, alone in a dictionary; empty where nothing was counted.

    Args:
        folder: of the run.
        artifacts: by step fingerprint. Steps that other experiments made are left out: this one paid nothing for them.
    """
    account = read_accounts(str(folder / "spent"))
    if not account.total.seconds:
        return {}
    told = expected(str(folder / "forecast.json"))
    steps = [
        _entry(artifact, account.steps[fingerprint], told.get(fingerprint, {})) | {"fingerprint": fingerprint}
        for fingerprint, artifact in artifacts.items()
        if fingerprint in account.steps
    ]
    return {"spending": {"total": _total(account), "steps": steps}}


def _total(account: Account) -> dict[str, float]:
    return {
        "seconds": round(account.total.seconds, 3),
        "gpu_hours": account.total.gpu_hours,
        "usd": account.total.usd,
        "endpoints_usd": account.endpoints_usd,
    }


def _entry(artifact: Made, use: StepUse, told: Expected) -> dict[str, object]:
    actual = {
        "tokens": _tokens(artifact) or None,
        "seconds": round(use.used.seconds, 3),
        "gpu_hours": use.used.gpu_hours,
        "disk_bytes": _disk_bytes(artifact),
        "usd": use.used.usd,
    }
    return {"step": use.name, "forecast": {name: told.get(name) for name in actual}, "actual": actual}


def _tokens(artifact: Made) -> int:
    """Written by a model, or read in training; 0: not counted."""
    if isinstance(artifact, TreeArtifact):
        return trained_tokens(artifact)
    if artifact.table is RESPONSE:  # the manifest's total leaves out what was committed before an interruption
        return int(pc.sum(artifact.read(["num_tokens"])["num_tokens"]).as_py() or 0)
    totals = artifact.manifest.get("totals")
    return int(totals.get("num_tokens", 0)) if isinstance(totals, Mapping) else 0


def _disk_bytes(artifact: Made) -> int:
    kinds = ("files",) if isinstance(artifact, TreeArtifact) else ("parts", "drops")
    return sum(entry["bytes"] for kind in kinds for entry in artifact.manifest[kind])  # type: ignore[attr-defined]
