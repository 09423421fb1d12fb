"""SCE of four 135M checkpoints (a base and three models) against mergekit: seconds and peak memory, as ratios.

Both run as the command a user types, one after the other, on the same YAML file and files that are in the page cache.
Peak memory is the process's largest resident set, mapped files included. CPU seconds are shown because the machine may
be busy with other things: they do not count waiting. Goals: at least 5x as fast, at most half its memory.
Without mergekit (FUSION_MERGEKIT=/path/to/mergekit-yaml) only our own figures are printed.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # the tests are no installed package

from tests.merge_models import (
    MERGEKIT,
    Measured,
    make_variants,
    merged_by_fusion,
    merged_by_mergekit,
    mergekit,
    smollm2,
    write_config,
)

SPEED_GOAL, MEMORY_GOAL = 5.0, 0.5
REPEATS = 3
"""Of ours; the best counts. mergekit runs once, between them."""
SHARES = (1.0, 0.1)
"""select_topk: FuseO1's and FuseChat's."""


def best(found: list[Measured]) -> Measured:
    return min(found, key=lambda one: one.seconds)


def show(who: str, found: Measured) -> None:
    print(f"  {who:<9} {found.seconds:7.1f} s   {found.cpu_seconds:7.1f} CPU s   {found.peak_mib:7.0f} MiB")


def compare(folder: Path, config: Path, program: Path | None) -> None:
    ours: list[Measured] = []
    theirs = None
    for turn in range(REPEATS):
        shutil.rmtree(folder / "ours", ignore_errors=True)
        ours.append(merged_by_fusion(config, folder / "ours"))
        if turn == 0 and program is not None:
            shutil.rmtree(folder / "theirs", ignore_errors=True)
            theirs = merged_by_mergekit(program, config, folder / "theirs")
    show("fusion", best(ours))
    if theirs is None:
        return
    show("mergekit", theirs)
    speed = theirs.seconds / best(ours).seconds
    cpu = theirs.cpu_seconds / min(one.cpu_seconds for one in ours)
    memory = max(one.peak_mib for one in ours) / theirs.peak_mib
    print(
        f"  fusion is {speed:.1f}x as fast (goal {SPEED_GOAL:g}x; {cpu:.1f}x in CPU time) and takes {memory:.2f} of "
        f"the memory (goal {MEMORY_GOAL:g})"
    )


def main() -> None:
    program = mergekit()
    if program is None:
        print(f"mergekit is not installed (set {MERGEKIT} to the path of mergekit-yaml): our figures only")
    folder = Path(tempfile.mkdtemp(prefix="bench_merge"))
    try:
        models = make_variants(folder, smollm2())
        for share in SHARES:
            print(f"SCE, base and three models of 134,515,008 weights, select_topk {share}")
            config = write_config(
                folder / "merge.yml", models, "sce", parameters={"select_topk": share}, dtype="bfloat16"
            )
            compare(folder, config, program)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
