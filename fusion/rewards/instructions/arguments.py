"""What the checks of all families share: the relation of a count to its threshold, and the error of a bad argument."""

from __future__ import annotations

from fusion.errors import FusionError

RELATIONS = ("less than", "at least")
"""The two relations of the published data."""


class InstructionError(FusionError):
    """An instruction cannot be checked: its id is unknown, or its arguments do not fit. The reply is not at fault."""


def holds(count: int, relation: str, threshold: int) -> bool:
    """Whether `count` is "less than" or "at least" `threshold`.

    Raises:
        InstructionError: another relation.

    Example: holds(3, "at least", 3) is True
    """
    if relation not in RELATIONS:
        raise InstructionError(f"relation {relation!r} is not known; write {' or '.join(map(repr, RELATIONS))}")
    return count < threshold if relation == "less than" else count >= threshold
