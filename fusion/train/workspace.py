"""The folder through which a training job talks to its driver, and in which it survives being killed.

    rows.parquet                what is trained on
    targets.arrow               distributions to learn beside it (explicit fusion)
    checkpoints/checkpoint-40/  every process's shards, optimiser, schedule, random state
        complete.json           written last: every file with size and sha256, and how many processes wrote them
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
from collections.abc import Mapping, Sequence
from pathlib import Path

from fusion import location
from fusion.errors import ArtifactError, ConfigError
from fusion.schema import hash_text
from fusion.transfer import Listed, altered, corrupt, fetch, listed, scratch, send, sizes

MARKER = "complete.json"
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
            name = self.targets.name
            entries = listed(str(self.path), {name: self.targets.stat().st_size})
            fs, inner = location.filesystem(self._at(name))
            fs.put_file(str(self.targets), inner)
            location.put(self._at("targets.json"), json.dumps(entries).encode())
            self.targets.unlink()

    def fetch_targets(self) -> Path:
        """The targets, on the machine of a training process; one copy a machine, which its processes map."""
        if self.is_shared:
            return self.targets
        folder = self.path / "fetched" / "targets"
        fetch(self.place, json.loads(location.get(self._at("targets.json"))), folder)
        return folder / self.targets.name

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def carry(self, step: int, keep_last: int, rank: int, world_size: int, local_rank: int) -> list[Listed]:
        """Called by every process when all wrote the checkpoint of `step`: hash a share of it, each file once.

        On an object store the first process of a machine hashes what this machine wrote, and sends it.
        """
        name = f"checkpoints/checkpoint-{step}"
        if self.is_shared:
            return listed(self._at(name), dict(list(_shards(self._at(name)).items())[rank::world_size]))
        if local_rank:
            return []
        sent = send(self.path / name, self._at(name), self._since)
        numbers = sorted(_numbers([path.name for path in self.checkpoints.glob("checkpoint-*")]))
        for old in numbers[:-keep_last]:
            shutil.rmtree(self.checkpoints / f"checkpoint-{old}", ignore_errors=True)
        return listed(str(self.path / name), sent)

    def complete(self, step: int, world_size: int, keep_last: int, carried: Sequence[Listed]) -> None:
        """Mark the checkpoint of `step` as whole, then remove those that are older than the `keep_last` newest.

        `carried`: what `carry` said in every process.
        """
        place = self._at(f"checkpoints/checkpoint-{step}")
        known = {entry["name"] for entry in carried}
        others = {name: size for name, size in _shards(place).items() if name not in known}
        files = [*carried, *listed(place, others)]  # a network disk may show some late, and to this process only
        marker = {"step": step, "world_size": world_size, "files": files, "id": uuid.uuid4().hex}
        location.put(location.join(place, MARKER), json.dumps(marker).encode())
        for old in self._steps()[:-keep_last]:
            location.remove(self._at(f"checkpoints/checkpoint-{old}"))

    def latest(self, rank: int, world_size: int) -> Path | None:
        """The newest whole checkpoint, on this machine; None: start from the beginning.

        Each process hashes a share of what all processes see, the first of a machine what it fetches.

        Raises:
            ConfigError: it was written by another number of processes, whose shards these cannot read.
            ArtifactError: a file is not what was written.
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
            files: list[Listed] = marker["files"]  # type: ignore[assignment]
            if not self.is_shared:
                return self._fetched(place, files, str(marker["id"]))
            for name in altered(place, files[rank::world_size]):
                raise ArtifactError(f"{corrupt(place, name)}; {_remedy(place)}")
            return self.checkpoints / f"checkpoint-{step}"
        return None

    def _fetched(self, place: str, files: Sequence[Listed], name: str) -> Path:
        folder = self.path / "fetched" / hash_text(name)
        try:
            fetch(place, files, folder)
        except ArtifactError as error:
            raise ArtifactError(f"{error}; {_remedy(place)}") from error
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


def _shards(place: str) -> dict[str, int]:
    """Name -> bytes of all files of a checkpoint but its marker."""
    files = sizes(place)
    files.pop(MARKER, None)
    return files


def _marker(place: str) -> dict[str, object] | None:
    marker = _read(location.join(place, MARKER))
    if marker is None:
        return None
    files, there = marker["files"], sizes(place)
    if not isinstance(files, list):
        return None
    return marker if all(there.get(entry["name"]) == entry["bytes"] for entry in files) else None


def _remedy(place: str) -> str:
    return f"remove {place} to go on from the checkpoint before it"


def _read(path: str) -> dict[str, object] | None:
    try:
        return dict(json.loads(location.get(path)))
    except (FileNotFoundError, ValueError):
        return None
