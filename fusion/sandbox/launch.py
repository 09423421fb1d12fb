"""How a process is put into a bubblewrap sandbox, and what to type where that cannot be done."""

from __future__ import annotations

import compileall
import json
import math
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from fusion.errors import ConfigError, EngineError

HERE = str(Path(__file__).parent)
CODE = "/harness/fusion/sandbox"
WORK = "/tmp"  # noqa: S108 inside, where it is the program's own and empty
ENVIRONMENT = {"HOME": WORK, "PATH": "/usr/bin", "PYTHONPATH": "/harness", "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}
NOBODY = "65534"
MIB = 2**20
PROBE_S = 60
INSTALL = "apt-get install bubblewrap"
ALLOW = (
    "sysctl kernel.apparmor_restrict_unprivileged_userns=0 kernel.unprivileged_userns_clone=1 (those that exist); in a "
    "container, start it with --security-opt seccomp=unconfined --security-opt apparmor=unconfined"
)


@dataclass(kw_only=True)
class Limits:
    """What one program may use. A process or thread of it counts twice: in `processes`, and with its own memory."""

    cpu_s: float = 10.0
    """CPU time of each process, so that a busy machine turns no right answer into a timeout."""
    deadline_s: float = 30.0
    """Time on the clock for the program and its tests together; then everything is killed."""
    memory_mib: int = 1024
    """Address space of each process."""
    processes: int = 16
    """Processes and threads, two of which are the sandbox's own."""
    files_mib: int = 32
    """All files together; they lie in memory."""

    def __post_init__(self) -> None:
        for name in ("cpu_s", "deadline_s", "memory_mib", "processes", "files_mib"):
            if getattr(self, name) <= 0:
                raise ConfigError(
                    f"limits.{name} of a sandbox must be above 0, got {getattr(self, name)}; type {name}=10"
                )
        if self.memory_mib < 64 or self.processes < 3:
            raise ConfigError(
                f"a sandbox needs limits.memory_mib=64 and limits.processes=3 for Python itself, got {self.memory_mib} "
                f"and {self.processes}"
            )

    def rlimits(self) -> dict[str, int]:
        """As `resource.setrlimit` takes them."""
        return {
            "RLIMIT_CPU": math.ceil(self.cpu_s),
            "RLIMIT_AS": self.memory_mib * MIB,
            "RLIMIT_NPROC": self.processes,
            "RLIMIT_FSIZE": self.files_mib * MIB,
            "RLIMIT_NOFILE": 64,
            "RLIMIT_CORE": 0,
        }


JUDGE_RLIMITS = {"RLIMIT_AS": 4096 * MIB, "RLIMIT_NPROC": 64, "RLIMIT_FSIZE": 32 * MIB, "RLIMIT_CORE": 0}


class Boxed:
    """A process in a sandbox of its own, and our end of a socket to it.

    Args:
        module: `guest` or `judge`.
    """

    def __init__(self, module: str, rlimits: dict[str, int], files_mib: int) -> None:
        self.socket, theirs = socket.socketpair()
        start = f"from fusion.sandbox.{module} import main; main()"
        command = [*box(files_mib), *python(), "-c", start, str(theirs.fileno()), json.dumps(rlimits)]
        with theirs:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # endless output costs the program its own time and us nothing
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={},
                start_new_session=True,
            )

    def end(self) -> None:
        """Kill it; with the first process of its namespace die all others, whatever signals they ignore."""
        self._process.kill()
        self._process.wait()
        self.socket.close()

    def status(self, limit_s: float) -> int | None:
        """Its exit status, 128 + n for signal n; None: it still runs."""
        try:
            return self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return None


def python() -> list[str]:
    """This interpreter without its environment's packages: the program may import the standard library."""
    return [str(Path(sys.executable).resolve()), "-s", "-S", "-P", "-B"]


def box(files_mib: int) -> list[str]:
    """The command line that what shall run in a sandbox is appended to.

    The kernel does not count the processes of root, and root's Python may lie where nobody else can read: for root, an
    outer layer shows Python to an ordinary user, who then builds the sandbox.
    """
    outer: list[str] = []
    if os.geteuid() == 0:
        outer = [_bwrap(), "--unshare-pid", "--die-with-parent", *_system(HERE), "--dev", "/dev", "--proc", "/proc"]
        outer += ["--tmpfs", WORK, "--", "setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]
    isolated = ["--unshare-user", "--unshare-all", "--disable-userns", "--cap-drop", "ALL"]
    bound = ["--die-with-parent", "--new-session", "--uid", NOBODY, "--gid", NOBODY, "--hostname", "sandbox"]
    folders = [*_system(CODE if outer else HERE), "--dev", "/dev", "--remount-ro", "/dev"]
    folders += ["--size", str(files_mib * MIB), "--tmpfs", WORK, "--remount-ro", "/", "--chdir", WORK]
    cleared = ["--clearenv", *(word for name, value in ENVIRONMENT.items() for word in ("--setenv", name, value))]
    return [*outer, _bwrap(), *isolated, *bound, *folders, *cleared, "--"]


def check() -> None:
    """Refuse where no sandbox can be made; make ready what all sandboxes share.

    Raises:
        EngineError: with what to type.
    """
    compileall.compile_dir(HERE, quiet=2)  # or each guest does, which is a third of what starting its Python costs
    try:
        done = subprocess.run(
            [*box(1), *python(), "-c", "import fusion.sandbox.guest"],
            capture_output=True,
            text=True,
            env={},
            timeout=PROBE_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(f"no sandbox can be started: {error}; type: {INSTALL}") from error
    if done.returncode:
        said = done.stderr.strip()[-500:] or f"exit status {done.returncode}"
        remedy = INSTALL if "option" in said.lower() else ALLOW
        raise EngineError(
            f"bubblewrap cannot isolate programs here, and without it none is run: {said}; type: {remedy}"
        )


def _bwrap() -> str:
    path = shutil.which("bwrap")
    if path is None:
        raise EngineError(f"bwrap is not installed: without a sandbox no program of a model is run; type: {INSTALL}")
    return path


def _system(code: str) -> list[str]:
    """Read-only mounts: /usr and its links, Python where it lies, our code. Nothing of /etc, /home or /proc."""
    mounts = ["--ro-bind", "/usr", "/usr"]
    for name in ("/bin", "/lib", "/lib64", "/sbin"):
        if os.path.islink(name):
            mounts += ["--symlink", os.readlink(name), name]
        elif os.path.isdir(name):
            mounts += ["--ro-bind", name, name]
    prefix = Path(python()[0]).parents[1]
    if not prefix.is_relative_to("/usr"):
        mounts += _bound(str(prefix), prefix)
    return [*mounts, *_bound(code, Path(CODE))]


def _bound(source: str, target: Path) -> list[str]:
    """A read-only mount whose parent folders are open; bubblewrap makes them as closed as those of the source."""
    parents = (word for parent in reversed(target.parents[:-1]) for word in ("--perms", "0755", "--dir", str(parent)))
    return [*parents, "--ro-bind", source, str(target)]
