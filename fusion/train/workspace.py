"""The folder through which a training job talks to its driver, and in which it survives being killed.

    rows.parquet                what is trained on
    targets.arrow               distributions to learn beside it (explicit fusion)
    checkpoints/checkpoint-40/  every process's shards, optimiser, schedule, random state
        complete.json           written last: every file with its size, and how many processes wrote them
    progress.json               the latest step
    stop                        made by the driver: save a checkpoint and end
    result.json                 written last of all: the job is done and its model is exported

All processes and the driver see this folder: one machine, or a network disk. A cluster without one would have to carry
each process's files to an object store after `complete` and back before `latest`; nothing else looks at them.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fusion import location
from fusion.errors import ConfigError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Workspace:
    """Example: Workspace(Path("store/checkpoint/sft-0f3c.../work"))"""

    path: Path

    @property
    def rows(self) -> Path:
        return self.path / "rows.parquet"

    @property
    def targets(self) -> Path:
        return self.path / "targets.arrow"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def complete(self, step: int, world_size: int, keep_last: int) -> None:
        """Mark the checkpoint of `step` as whole, then remove those that are older than the `keep_last` newest."""
        folder = self.checkpoints / f"checkpoint-{step}"
        sizes = {str(p.relative_to(folder)): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}
        sizes.pop("complete.json", None)
        marker = {"step": step, "world_size": world_size, "files": sizes}
        location.put(str(folder / "complete.json"), json.dumps(marker).encode())
        for old in self._folders()[:-keep_last]:
            shutil.rmtree(old)

    def latest(self, world_size: int) -> Path | None:
        """The newest whole checkpoint; None: start from the beginning.

        Raises:
            ConfigError: it was written by another number of processes, whose shards these cannot read.
        """
        for folder in reversed(self._folders()):
            marker = _marker(folder)
            if marker is None:
                log.warning("%s is torn and ignored", folder)
                continue
            if marker["world_size"] != world_size:
                raise ConfigError(
                    f"{folder} was written by {marker['world_size']} processes, and now there are {world_size}: set "
                    f"replicas of this step back to continue, or remove {self.checkpoints} to start again"
                )
            return folder
        return None

    def _folders(self) -> list[Path]:
        found = [p for p in self.checkpoints.glob("checkpoint-*") if p.name.removeprefix("checkpoint-").isdigit()]
        return sorted(found, key=lambda p: int(p.name.removeprefix("checkpoint-")))

    # -- messages ------------------------------------------------------------------------------------------------

    def report(self, step: int, steps: int) -> None:
        """Tell the driver how far training is. Not durable: it is only for show."""
        temporary = self.path / "progress.tmp"
        temporary.write_text(json.dumps({"step": step, "steps": steps}))
        os.replace(temporary, self.path / "progress.json")

    def progress(self) -> tuple[int, int]:
        """(steps done, all steps); zeros before the first step."""
        told = _read(self.path / "progress.json")
        return (int(str(told["step"])), int(str(told["steps"]))) if told else (0, 0)

    def ask_to_stop(self) -> None:
        (self.path / "stop").touch()

    def withdraw_stop(self) -> None:
        (self.path / "stop").unlink(missing_ok=True)

    def is_asked_to_stop(self) -> bool:
        return (self.path / "stop").exists()

    def finish(self, result: Mapping[str, object]) -> None:
        """The model is exported; `result` is what the manifest will say of its training."""
        location.put(str(self.path / "result.json"), json.dumps(result).encode())

    def result(self) -> dict[str, object] | None:
        """What `finish` was told, None if training is not over."""
        return _read(self.path / "result.json")


def _marker(folder: Path) -> dict[str, object] | None:
    marker = _read(folder / "complete.json")
    if marker is None:
        return None
    files = marker["files"]
    assert isinstance(files, dict)
    whole = all((folder / name).is_file() and (folder / name).stat().st_size == size for name, size in files.items())
    return marker if whole else None


def _read(path: Path) -> dict[str, object] | None:
    try:
        return dict(json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError):
        return None
