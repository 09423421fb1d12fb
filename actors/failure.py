"""What a failed Ray call means: a death (infrastructure: do it elsewhere) or an error (the caller's to know)."""

from __future__ import annotations

import logging

from ray.exceptions import RayError, RayTaskError

from fusion.errors import EngineError, FusionError
from fusion.runtime import surfaced

log = logging.getLogger(__name__)


def cause_of(error: BaseException) -> BaseException:
    """The exception that a worker raised, out of Ray's wrapping; a death of the worker stays Ray's own exception."""
    while isinstance(error, RayTaskError) and error.cause is not None:
        error = error.cause
    return error


def is_death(error: BaseException) -> bool:
    """Whether the worker cannot go on: its process or node is gone, or its engine says so."""
    return isinstance(cause_of(error), EngineError | RayError)


def to_raise(name: str, error: BaseException) -> FusionError:
    """The error for the caller; the worker's traceback goes to the log."""
    log.error("%s: %s", name, error)
    return surfaced(name, cause_of(error))
