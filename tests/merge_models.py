"""Real checkpoints to merge (SmolLM2-135M-Instruct and noisy variants of it), and mergekit to compare with.

A variant is base + s * std(tensor) * N(0, 1), rounded to bf16. With s = 0.01 to 0.03 elements move as far as a
fine-tuning's few thousand steps at a small learning rate move them: a few units in the last place, many of them none.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from omegaconf import OmegaConf

MERGEKIT = "FUSION_MERGEKIT"
"""Environment variable with the path of `mergekit-yaml` (pip install mergekit==0.1.5, in an environment of its own)."""
SCALES = {"a": 0.01, "b": 0.02, "c": 0.03}
PROJECT = Path(__file__).resolve().parents[1]


def mergekit() -> Path | None:
    """The program to compare with, if there is one."""
    found = os.environ.get(MERGEKIT) or shutil.which("mergekit-yaml")
    return Path(found) if found and Path(found).is_file() else None


def needed_mergekit() -> Path:
    found = mergekit()
    if found is None:
        pytest.skip(f"mergekit is not installed (set {MERGEKIT} to the path of mergekit-yaml)")
    return found


def make_variants(
    folder: Path, base: Path, scales: Mapping[str, float] = SCALES, is_rounded: bool = True
) -> dict[str, Path]:
    """`base` and noisy variants of it under `folder`, seeded by name.

    Args:
        is_rounded: to the base's dtype; otherwise fp32, in which no two elements have moved as far.
    """
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(base / "model.safetensors")
    made = {"base": base}
    for name, scale in scales.items():
        made[name] = folder / name
        shutil.copytree(base, made[name], ignore=shutil.ignore_patterns("*.safetensors"))
        draws = torch.Generator().manual_seed(sum(name.encode()))
        moved = {
            key: (value.float() + scale * value.float().std() * torch.randn(value.shape, generator=draws)).to(
                value.dtype if is_rounded else torch.float32
            )
            for key, value in weights.items()
        }
        save_file(moved, made[name] / "model.safetensors", metadata={"format": "pt"})
    return made


def smollm2(cache: Path | None = None) -> Path:
    """SmolLM2-135M-Instruct as bf16 safetensors, converted once a machine."""
    from fusion.modelfiles import DEFAULT_CACHE, prepare
    from fusion.models import ModelRef

    source = OmegaConf.load(PROJECT / "conf/source/smollm2_135m.yaml").model
    return prepare(ModelRef(uri=source.uri, revision=source.revision), cache or Path(DEFAULT_CACHE))


def write_config(file: Path, models: Mapping[str, Path], method: str, **settings: object) -> Path:
    """mergekit's YAML for `models` (one of them called base)."""
    own = settings.pop("own", {})
    assert isinstance(own, Mapping)
    others = [name for name in models if name != "base"]
    entries = [{"model": str(models[n])} | ({"parameters": own[n]} if n in own else {}) for n in others]
    listed: dict[str, object] = {"models": entries}
    if settings.pop("sliced", False):
        layers = [0, json.loads((models["base"] / "config.json").read_text())["num_hidden_layers"]]
        sources = [{"model": str(models["base"])}, *entries]
        listed = {"slices": [{"sources": [one | {"layer_range": layers} for one in sources]}]}
    content = {"merge_method": method} | listed | settings
    if method != "linear":
        content["base_model"] = str(models["base"])
    OmegaConf.save(OmegaConf.create(content), file)
    return file


@dataclass(frozen=True)
class Measured:
    """One finished process."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    """Largest resident memory, mapped files included."""


LAUNCHER = """
import json, os, subprocess, sys
process = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(process.pid, 0)
print(json.dumps([usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Starts a command from a small process: a child's largest resident set counts what its parent held when it forked."""


def measured(command: Sequence[str]) -> Measured:
    """Run a command to its end and measure it.

    Raises:
        RuntimeError: it failed; with what it wrote.
    """
    import time

    environment = os.environ | {"PYTHONPATH": str(PROJECT), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", LAUNCHER, *command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        check=False,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    *said, usage = done.stdout.decode().splitlines()
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {' '.join(said)[-2000:]}")
    cpu_seconds, peak_kib = json.loads(usage)
    return Measured(seconds, cpu_seconds, peak_kib / 1024)


def merged_by_fusion(config: Path, out: Path, *options: str) -> Measured:
    return measured([sys.executable, "-m", "fusion", "merge", str(config), str(out), *options])


def merged_by_mergekit(program: Path, config: Path, out: Path) -> Measured:
    return measured([str(program), str(config), str(out), "--quiet"])
