"""Whether the head of Ray still answers. A driver that loses it hangs for a minute, then Ray ends it without a word.

A head that comes back in time (GCS fault tolerance) is forgiven; that of a Ray of our own never does.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import time

PROBE_S = 5.0
OWN_GRACE_S = 4.0
JOINED_GRACE_S = 45.0
"""Ray itself ends a process after 60 s without its head (`gcs_rpc_server_reconnect_timeout_s`)."""
FAILED = 1

log = logging.getLogger(__name__)


class HeadWatch:
    """Asks the head's port from time to time.

    Args:
        address: host:port of the head.
        grace_s: how long it may be silent.
    """

    def __init__(self, address: str, grace_s: float) -> None:
        self.address = address
        self._grace_s = grace_s
        self._heard = time.monotonic()

    def is_gone(self) -> bool:
        """Whether it has been silent for too long; a probe takes up to 5 s."""
        host, _, port = self.address.rpartition(":")
        asked = time.monotonic()
        try:
            socket.create_connection((host, int(port)), timeout=PROBE_S).close()
        except TimeoutError:
            self._heard += time.monotonic() - asked  # a busy machine, and nobody who refuses
        except OSError:
            return time.monotonic() - self._heard > self._grace_s
        else:
            self._heard = time.monotonic()
        return False


def end_without_head(address: str) -> None:
    """End this process at once: its threads wait for answers of Ray that never come, and nothing needs to be saved."""
    text = (
        f"failed: the head of Ray at {address} is gone. What is committed is kept; the same command goes on from there "
        "(joined a cluster? start its head again first: ray start --head)"
    )
    log.error(text)
    print(f"\n{text}", file=sys.stderr, flush=True)
    os._exit(FAILED)
