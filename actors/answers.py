"""Answers of many actors in the order in which they arrive: hearing one costs the same however many are awaited.

`ray.wait` looks at every reference it is given, each time: with 128 replicas of 16 tasks, 2,048 for one answer.
"""

from __future__ import annotations

import queue
from concurrent.futures import Future
from typing import Generic, TypeVar

import ray

Asker = TypeVar("Asker")


class Answers(Generic[Asker]):
    """Filled by Ray's threads, emptied by the driver's."""

    def __init__(self) -> None:
        self._arrived: queue.SimpleQueue[tuple[Asker, Future[object]]] = queue.SimpleQueue()

    def of(self, asker: Asker, ref: ray.ObjectRef) -> Future[object]:
        """The answer to come; it is among what `wait` gives when it has."""
        answer: Future[object] = ref.future()
        answer.add_done_callback(lambda done: self._arrived.put((asker, done)))
        return answer

    def wait(self, timeout_s: float) -> list[tuple[Asker, Future[object]]]:
        """What has arrived, waiting for the first; nothing if it does not come in time."""
        found = []
        try:
            found.append(self._arrived.get(timeout=timeout_s))
            while True:
                found.append(self._arrived.get_nowait())
        except queue.Empty:
            return found
