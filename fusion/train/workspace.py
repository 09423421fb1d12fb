"""The folder through which a training job talks to its driver, and in which it survives being killed.

    rows.parquet                what is trained on
    targets.arrow               distributions to learn beside it (explicit fusion)
    checkpoints/checkpoint-40/  every process's shards, optimiser, schedule, random state
        complete.json           written last: every file with its size, and how many processes wrote them
    progress.json               the latest step
    stop                        made by the driver: save a checkpoint and end
    result.json                 written last of all: the job is done and its model is exported

All processes and the driver see this folder: one machine, or a network disk. Where the store is an object store they
see it through copies: each machine works in a scratch folder, sends its part of a checkpoint before `complete`, and
fetches the whole of it in `latest`.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from fusion import location
from fusion.errors import ConfigError
from fusion.transfer import fetch, scratch, send, sizes

ASK_S = 1.0
"""Least time between two messages over an object store, where each takes tens of milliseconds."""

log = logging.getLogger(__name__)


class Workspace:
    """Example: Workspace("store/checkpoint/sft-0f3c.../work")

    Args:
        place: a folder on a disk, or the URL of one on an object store.
    """

    def __init__(self, place: str | Path) -> None:
        self.place = str(place)
        self.path = scratch(self.place)
        """Where this machine has the folder."""
        self.is_shared = location.is_local(self.place)
        self._since = time.time() - 1.0  # files that are older are not this attempt's
        self._told = self._asked = 0.0

    @property
    def rows(self) -> Path:
        """On this machine; see `send_rows` and `fetch_rows`."""
        return self.path / "rows.parquet"

    @property
    def targets(self) -> Path:
        """On the driver's machine; see `send_targets` and `fetch_targets`."""
        return self.path / "targets.arrow"

    @property
    def checkpoints(self) -> Path:
        """Where this machine writes them."""
        return self.path / "checkpoints"

    def send_rows(self) -> None:
        """The driver has written `rows`."""
        if not self.is_shared:
            location.put(self._at("rows.parquet"), self.rows.read_bytes())

    def fetch_rows(self) -> Path:
        """The rows, on the machine of a training process."""
        if self.is_shared:
            return self.rows
        path = self.path / f"rows-{os.getpid()}.parquet"
        location.put(str(path), location.get(self._at("rows.parquet")))
        return path

    def send_targets(self) -> None:
        """The driver has written `targets`."""
        if not self.is_shared:
            fs, inner = location.filesystem(self._at(self.targets.name))
            fs.put_file(str(self.targets), inner)
            self.targets.unlink()

    def fetch_targets(self) -> Path:
        """The targets, on the machine of a training process; one copy a machine, which its processes map."""
        if self.is_shared:
            return self.targets
        name, folder = self.targets.name, self.path / "fetched" / "targets"
        fetch(self.place, {name: location.size(self._at(name))}, folder)
        return folder / name

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def carry(self, step: int, keep_last: int) -> None:
        """Send what this machine wrote of the checkpoint of `step`; called by one process a machine, when all wrote."""
        if self.is_shared:
            return
        name = f"checkpoints/checkpoint-{step}"
        send(self.path / name, self._at(name), self._since)
        numbers = sorted(_numbers([path.name for path in self.checkpoints.glob("checkpoint-*")]))
        for old in numbers[:-keep_last]:
            shutil.rmtree(self.checkpoints / f"checkpoint-{old}", ignore_errors=True)

    def complete(self, step: int, world_size: int, keep_last: int) -> None:
        """Mark the checkpoint of `step` as whole, then remove those that are older than the `keep_last` newest."""
        name = f"checkpoints/checkpoint-{step}"
        files = sizes(self._at(name))
        files.pop("complete.json", None)
        marker = {"step": step, "world_size": world_size, "files": files, "id": uuid.uuid4().hex}
        location.put(self._at(f"{name}/complete.json"), json.dumps(marker).encode())
        for old in self._steps()[:-keep_last]:
            location.remove(self._at(f"checkpoints/checkpoint-{old}"))

    def latest(self, world_size: int) -> Path | None:
        """The newest whole checkpoint, on this machine; None: start from the beginning.

        Raises:
            ConfigError: it was written by another number of processes, whose shards these cannot read.
        """
        for step in reversed(self._steps()):
            place = self._at(f"checkpoints/checkpoint-{step}")
            marker = _marker(place)
            if marker is None:
                log.warning("%s is torn and ignored", place)
                continue
            if marker["world_size"] != world_size:
                raise ConfigError(
                    f"{place} was written by {marker['world_size']} processes, and now there are {world_size}: set "
                    f"replicas of this step back to continue, or remove {self._at('checkpoints')} to start again"
                )
            return self.checkpoints / f"checkpoint-{step}" if self.is_shared else self._fetched(place, marker)
        return None

    def _fetched(self, place: str, marker: Mapping[str, object]) -> Path:
        files: dict[str, int] = marker["files"]  # type: ignore[assignment]
        folder = self.path / "fetched" / str(marker["id"])
        fetch(place, files, folder)
        return folder

    def _steps(self) -> list[int]:
        return sorted(_numbers(location.names(self._at("checkpoints"))))

    # -- messages ------------------------------------------------------------------------------------------------

    def report(self, step: int, steps: int, doing: str = "") -> None:
        """Tell the driver how far training is. Not durable: it is for show, and a sign of life."""
        message = json.dumps({"step": step, "steps": steps, "doing": doing})
        if self.is_shared:
            temporary = self.path / "progress.tmp"
            temporary.write_text(message)
            os.replace(temporary, self.path / "progress.json")
        elif time.monotonic() - self._told > ASK_S or step == steps or doing:
            self._told = time.monotonic()
            location.put(self._at("progress.json"), message.encode())

    def tell(self, doing: str) -> None:
        """A sign of life from work that is no step and may take as long as many: loading, saving, exporting."""
        self.report(*self.progress(), doing)

    def news(self) -> object:
        """What was reported last."""
        return _read(self._at("progress.json"))

    def progress(self) -> tuple[int, int]:
        """(steps done, all steps); zeros before the first step."""
        told = _read(self._at("progress.json"))
        return (int(str(told["step"])), int(str(told["steps"]))) if told else (0, 0)

    def ask_to_stop(self) -> None:
        location.put(self._at("stop"), b"stop\n")

    def withdraw_stop(self) -> None:
        location.remove(self._at("stop"))

    def is_asked_to_stop(self) -> bool:
        if not self.is_shared and time.monotonic() - self._asked < ASK_S:
            return False
        self._asked = time.monotonic()
        return location.exists(self._at("stop"))

    def finish(self, result: Mapping[str, object]) -> None:
        """The model is exported; `result` is what the manifest will say of its training."""
        location.put(self._at("result.json"), json.dumps(result).encode())

    def result(self) -> dict[str, object] | None:
        """What `finish` was told, None if training is not over."""
        return _read(self._at("result.json"))

    def leave(self) -> None:
        """All is done; remove this machine's copies."""
        if not self.is_shared:
            shutil.rmtree(self.path, ignore_errors=True)

    def _at(self, name: str) -> str:
        return location.join(self.place, name)


def _numbers(names: list[str]) -> list[int]:
    found = [name.removeprefix("checkpoint-") for name in names if name.startswith("checkpoint-")]
    return [int(number) for number in found if number.isdigit()]


def _marker(place: str) -> dict[str, object] | None:
    marker = _read(location.join(place, "complete.json"))
    if marker is None:
        return None
    files, there = marker["files"], sizes(place)
    assert isinstance(files, dict)
    return marker if all(there.get(name) == size for name, size in files.items()) else None


def _read(path: str) -> dict[str, object] | None:
    try:
        return dict(json.loads(location.get(path)))
    except (FileNotFoundError, ValueError):
        return None
