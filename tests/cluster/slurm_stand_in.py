"""A Slurm of one machine, for `cluster/slurm.sh`: `python -m tests.cluster.slurm_stand_in sbatch|srun|...`.

Steps run here and now, as many as are asked for. What matters of the real one is kept: steps are numbered; a step's
task is another process than its srun; a lone SIGINT to srun shows the state of its tasks and is not passed on; a signal
by scancel reaches the task; sbatch runs a copy of the script. SLURM_STAND_IN names a folder for the pids of tasks.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

from tests.end_to_end.ray_head import free_ports

NODES = ("node1", "node2")


def sbatch(options: dict[str, str], words: list[str]) -> int:
    """Runs the job to its end, where the real one queues it."""
    script = _state() / "slurm_script"
    shutil.copy(words[0], script)
    given = {
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_CPUS_PER_TASK": "2",
        "SLURM_SUBMIT_DIR": os.getcwd(),
        "SLURM_JOB_ID": os.environ["SLURM_STAND_IN_JOB"],
    }
    assert options["nodes"] == str(len(NODES))
    os.execve("/bin/bash", ["bash", str(script), *words[1:]], {**os.environ, **given})  # noqa: S606


def scontrol(options: dict[str, str], words: list[str]) -> int:
    assert words == ["show", "hostnames", "node[1-2]"]
    print("\n".join(NODES))
    return 0


def srun(options: dict[str, str], words: list[str]) -> int:
    assert options["nodelist"] in NODES
    if words[1:2] == ["start"]:  # two nodes of one machine would meet at Ray's fixed ports
        agent, client, dashboard = free_ports(3)
        words = [*words, f"--dashboard-agent-listen-port={agent}", "--min-worker-port=0", "--max-worker-port=0"]
        if "--head" in words:
            words += [f"--ray-client-server-port={client}", f"--dashboard-port={dashboard}"]
    step = _next_step()
    signal.signal(signal.SIGINT, lambda *_: print("srun: interrupt (one more within 1 sec to abort)", file=sys.stderr))
    task = subprocess.Popen(
        words, cwd=options.get("chdir"), env=os.environ | {"SLURM_STEP_ID": str(step)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    signal.signal(signal.SIGTERM, lambda *_: task.terminate())
    (_state() / f"step-{step}").write_text(str(task.pid))
    code = task.wait()
    return code if code >= 0 else 128 - code


def scancel(options: dict[str, str], words: list[str]) -> int:
    job, _, step = words[0].partition(".")
    assert job == os.environ["SLURM_JOB_ID"]
    pid = int((_state() / f"step-{step}").read_text())
    os.kill(pid, signal.Signals[f"SIG{options['signal']}"])
    return 0


def _state() -> Path:
    return Path(os.environ["SLURM_STAND_IN"])


def _next_step() -> int:
    for number in range(100):
        try:
            (_state() / f"number-{number}").touch(exist_ok=False)
        except FileExistsError:
            continue
        return number
    raise AssertionError("a hundred steps")


def main(kind: str, arguments: list[str]) -> int:
    told = list(takewhile(lambda word: word.startswith("--"), arguments))
    options = {match[1]: match[2] or "" for word in told if (match := re.fullmatch(r"--([a-z-]+)(?:=(.*))?", word))}
    return {"sbatch": sbatch, "scontrol": scontrol, "srun": srun, "scancel": scancel}[kind](
        options, arguments[len(told) :]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
