"""Shell completion: Hydra's own, made to understand that `fusion` has commands.

Hydra's scripts call `fusion -sc query=bash` with COMP_LINE set. The command word is completed here; what follows it is
handed to Hydra with the word taken out of the line.
"""

from __future__ import annotations

import os
import sys


def complete(arguments: list[str], commands: list[str]) -> int:
    """Answer `-sc install=bash`, `-sc query=bash`, and so on."""
    line = os.environ.get("COMP_LINE", "")
    words = line.split()
    if arguments and arguments[0].startswith("query") and line:
        typing_command = len(words) <= 1 or (len(words) == 2 and not line.endswith(" "))
        if typing_command:
            start = words[1] if len(words) == 2 else ""
            print(" ".join(command for command in commands if command.startswith(start)))
            return 0
        if words[1] not in ("run", "plan", "submit"):
            return 0
        shorter = line.replace(f" {words[1]}", "", 1)
        os.environ["COMP_LINE"] = shorter
        os.environ["COMP_POINT"] = str(int(os.environ.get("COMP_POINT", len(line))) - len(line) + len(shorter))
    import hydra

    from fusion.config import register

    register()

    @hydra.main(version_base="1.3", config_path="pkg://conf", config_name="config")
    def task(_: object) -> None:
        """Never reached: Hydra answers and returns."""

    sys.argv = ["fusion", "-sc", *arguments]
    task()
    return 0
