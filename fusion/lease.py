"""A lease on a folder: one writer at a time, found dead by its missing heartbeat.

A run holds the lease of each artifact it writes. A holder on this host whose process is gone is replaced at once, one
on another host after `STALE_S` without a heartbeat. Losing the lease aborts the writer.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fusion import location
from fusion.errors import ArtifactError
from fusion.process import start_of

HEARTBEAT_S = 5.0
STALE_S = 60.0
ANNOUNCE_S = 60.0

log = logging.getLogger(__name__)


@contextmanager
def hold(
    folder: str, stopped: Callable[[], bool], announce: Callable[[str], None], heartbeat_s: float = HEARTBEAT_S
) -> Iterator[Callable[[], None]]:
    """Hold `folder`/lease.json for the block; yields a check that raises when the lease was lost.

    `announce` gets one line at once and then every minute while another run holds it; `stopped` ends the waiting.

    Raises:
        ArtifactError: `stopped` became true while waiting, or (from the check) the lease was taken away.
    """
    path = location.join(folder, "lease.json")
    nonce = uuid.uuid4().hex
    _acquire(path, nonce, stopped, announce)
    end = threading.Event()
    lost = threading.Event()
    beat = threading.Thread(
        target=_beat, args=(path, nonce, end, lost, heartbeat_s), name=f"lease {folder}", daemon=True
    )
    beat.start()

    def check() -> None:
        if lost.is_set():
            raise ArtifactError(f"{folder}: another run took the lease of this folder; this run stops writing to it")

    try:
        yield check
    finally:
        end.set()
        beat.join()
        if not lost.is_set() and _read(path).get("nonce") == nonce:
            location.remove(path)


def _content(nonce: str) -> bytes:
    holder = {"nonce": nonce, "host": socket.gethostname(), "pid": os.getpid(), "start": start_of(os.getpid())}
    return json.dumps(holder | {"beat": time.time()}).encode()


def _acquire(path: str, nonce: str, stopped: Callable[[], bool], announce: Callable[[str], None]) -> None:
    announced = 0.0
    while not location.put_new(path, _content(nonce)):
        try:
            content = location.get(path)
        except FileNotFoundError:
            continue
        holder = _parsed(content)
        if holder.get("nonce") == nonce:  # an object store took it, its answer was lost, and the client asked again
            return
        if not holder or _is_dead(holder):
            log.info("lease %s: removing what a dead holder left: %s", path, holder)
            location.remove_if(path, content)
            continue
        if stopped():
            raise ArtifactError(f"{path}: stopped while waiting for {holder['host']} (pid {holder['pid']})")
        if time.monotonic() - announced > ANNOUNCE_S or not announced:
            announced = time.monotonic()
            announce(f"waiting: {holder['host']} (pid {holder['pid']}) is writing {os.path.dirname(path)}")
        time.sleep(0.5)


def _beat(path: str, nonce: str, end: threading.Event, lost: threading.Event, heartbeat_s: float) -> None:
    beaten = time.monotonic()
    while not end.wait(heartbeat_s):
        try:
            if _read(path).get("nonce") != nonce:
                lost.set()
                return
            location.put(path, _content(nonce))
            beaten = time.monotonic()
        except (ArtifactError, OSError) as error:  # a full disk, a network disk that is away: it may come back
            log.warning("lease %s: no heartbeat: %s", path, error)
            if time.monotonic() - beaten > STALE_S - heartbeat_s:
                lost.set()  # others may take it from now on
                return


def _read(path: str) -> dict[str, object]:
    try:
        return _parsed(location.get(path))
    except FileNotFoundError:
        return {}


def _parsed(content: bytes) -> dict[str, object]:
    try:
        return dict(json.loads(content))
    except ValueError:
        return {}


def _is_dead(holder: dict[str, object]) -> bool:
    if holder.get("host") == socket.gethostname():
        return start_of(int(str(holder["pid"]))) != holder.get("start")
    return time.time() - float(str(holder["beat"])) > STALE_S
