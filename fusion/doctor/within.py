"""A call that may hang, such as one to a name server, with an end."""

from __future__ import annotations

import threading
from collections.abc import Callable


def within(limit_s: float, call: Callable[[], None]) -> None:
    """Raises:
    TimeoutError: it takes longer; it is left to itself.
    Exception: what it raised.
    """
    failed: list[Exception] = []

    def body() -> None:
        try:
            call()
        except Exception as error:  # raised below, where somebody waits for it
            failed.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(limit_s)
    if thread.is_alive():
        raise TimeoutError(f"no answer within {limit_s:g} s")
    if failed:
        raise failed[0]
