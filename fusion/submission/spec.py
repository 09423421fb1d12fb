"""A job as Ray is asked for it: pure, so that what is sent can be looked at and searched."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fusion.errors import ConfigError
from fusion.hygiene.credentials import credentials
from fusion.report.redact import mask_values
from fusion.submission.upload import OWN_CONFIG

PYTORCH_INDEX = "https://download.pytorch.org/whl/cpu"
"""Holds the CPU build of torch, which is not on PyPI."""


class Dependencies(StrEnum):
    """Where a job's packages come from."""

    IMAGE = "image"
    """The nodes have them: the image of `cluster/Dockerfile`, or `make setup` on each."""
    LOCK = "lock"
    """Each node installs the lock into an environment of its own, once a lock."""


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What is sent. `working_dir` is added by who sends it."""

    submission_id: str
    entrypoint: str
    runtime_env: dict[str, object]
    metadata: dict[str, str]


def job_spec(
    overrides: Sequence[str],
    *,
    name: str,
    stamp: str,
    digest: str,
    has_own_config: bool,
    packages: Sequence[str] | None = None,
) -> JobSpec:
    """The job that runs `fusion run OVERRIDES` on the head.

    Args:
        name: of the experiment.
        stamp: makes the id unique.
        digest: of the upload.
        packages: lines of a lock to install; None: the nodes have them.

    Raises:
        ConfigError: an override holds a credential.
    """
    for override in overrides:
        refuse_credentials(override, "it would stand in the job's description, which the dashboard shows")
    config = ["--config-dir", OWN_CONFIG] if has_own_config else []
    words = ["python", "-m", "fusion", "job", digest, *config, *overrides]
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", name)
    env: dict[str, object] = {}
    if packages is not None:
        options = ["--no-deps", "--disable-pip-version-check"]
        if any("+cpu" in line for line in packages):
            options += ["--extra-index-url", PYTORCH_INDEX]
        env["pip"] = {"packages": list(packages), "pip_check": False, "pip_install_options": options}
    return JobSpec(
        submission_id=f"fusion-{safe}-{stamp}",
        entrypoint=shlex.join(words),
        runtime_env=env,
        metadata={"experiment": name, "upload": digest},
    )


def refuse_credentials(text: str, why: str) -> None:
    """Raises:
    ConfigError: the text holds what looks like a credential; the message does not repeat it.
    """
    if credentials(text) or mask_values(text) != text:
        key = text.partition("=")[0] if "=" in text else "a setting"
        raise ConfigError(
            f"{key} holds what looks like a secret; {why}. Put it into a file or the environment of the nodes and give "
            "its name (key_file, key_env)"
        )


def locked(root: Path, gpu: bool) -> list[str]:
    """Lines of the lock that fits the cluster.

    Raises:
        ConfigError: this is no checkout, so there is no lock.
    """
    files = [root / "requirements" / name for name in ("gpu.txt" if gpu else "cpu.txt", "models.txt")]
    for file in files:
        if not file.is_file():
            raise ConfigError(f"--deps lock needs {file}, which only a checkout has; use --deps image")
    lines = [line.strip() for file in files for line in file.read_text().splitlines()]
    return [line for line in lines if line and not line.startswith("#")]
