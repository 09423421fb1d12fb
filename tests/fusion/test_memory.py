"""What loading left behind goes back to the system."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HOLES = """
import os
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
from fusion.memory import give_back
rows = [bytes(1000) for _ in range(200_000)]
kept = rows[::200]
del rows
before = resident()
give_back()
print(before, resident())
"""


def test_holes_between_what_is_still_used_are_given_back() -> None:
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", HOLES], capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": root}
    )
    before, after = map(float, done.stdout.split())
    assert after < before - 100, (before, after)
