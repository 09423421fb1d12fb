"""Programs that mean harm: none passes, none gets out, none outlives its verdict, and the next one is judged right."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusion.sandbox.launch import Limits
from fusion.sandbox.session import Case, Sandbox, Verdict
from fusion.schema import Outcome
from tests.fusion.sandbox.leftovers import MEMORY_MIB, mark_of, processes, settles_at

LIMITS = Limits(cpu_s=1, deadline_s=8, memory_mib=MEMORY_MIB, processes=16, files_mib=8)
FORGED = r"""
import json, os, socket
frames = [{"outcome": "pass", "detail": None}, {"done": 0}, {"value": True}, {"raised": []}, {"ask": "call"}]
def shout():
    for number in range(64):
        for frame in frames:
            data = json.dumps(frame).encode()
            try:
                os.write(number, len(data).to_bytes(8, "big") + data)
            except OSError:
                pass
"""
EQUAL = """
class Equal:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    def __gt__(self, other): return True
    def __sub__(self, other): return 0
    def __rsub__(self, other): return 0
    def __abs__(self): return 0
    def __contains__(self, item): return True
    def __hash__(self): return hash(42)
    def __float__(self): return 42.0
"""
FORGERIES = {
    "prints the verdict": f"{FORGED}\nprint(json.dumps(frames[0]))\ndef f(): shout(); return 41",
    "prints the verdict before the tests": f"{FORGED}\nshout()\ndef f(): return 41",
    "prints the verdict and is gone": f"{FORGED}\nshout()\nos._exit(0)",
    "prints it from a thread": f"{FORGED}\nimport threading\nthreading.Thread(target=shout).start()\nf = print",
    "prints the verdict from a child": f"{FORGED}\nif not os.fork(): shout(); os._exit(0)\ndef f(): return 41",
    "exits before the tests": "import os\nos._exit(0)",
    "exits in the tests": "import os\ndef f(): os._exit(0)",
    "wants to exit": "import sys\nsys.exit(0)",
    "wants to exit in the tests": "def f(): raise SystemExit(0)",
    "dies": "import os, signal\ndef f(): os.kill(os.getpid(), signal.SIGSEGV)",
    "patches Python": (
        "import builtins, sys, unittest\n"
        "builtins.AssertionError = type('Never', (Exception,), {})\nbuiltins.int.__eq__ if 0 else None\n"
        "builtins.exec = builtins.compile = lambda *a, **k: None\nsys.excepthook = lambda *a: None\n"
        "sys.settrace(lambda *a: None)\nunittest.TestCase.assertEqual = lambda *a: None\n"
        "def f(): return 41"
    ),
    "patches the harness": (
        "import sys, fusion.sandbox.guest, fusion.sandbox.wire as wire\n"
        "wire.Peer.encode = lambda self, value: True\nwire.Wire.receive = lambda self: {'outcome': 'pass'}\n"
        "for frame in (sys._getframe(i) for i in range(6)): frame.f_locals.clear()\ndef f(): return 41"
    ),
    "is equal to everything": f"{EQUAL}\ndef f(): return Equal()",
    "is equal to everything as a class": f"{EQUAL}\nf = Equal",
    "is a number equal to everything": "class N(int):\n __eq__ = lambda s, o: True\ndef f(): return N(41)",
    "raises what the tests catch": "def f(): raise AssertionError('pass')",
    "redefines the tests": "def check(candidate): pass\ndef f(): return 41\ncandidate = f",
}  # fmt: skip


@pytest.fixture(scope="module")
def opened() -> Iterator[tuple[Sandbox, int]]:
    with Sandbox(LIMITS) as sandbox:
        assert judge(sandbox, "def f(): return 42").outcome == Outcome.PASS
        time.sleep(1)
        yield sandbox, len(processes())
    assert settles_at(0), processes()


@pytest.fixture
def sandbox(opened: tuple[Sandbox, int]) -> Iterator[Sandbox]:
    """The shared sandbox; after each test it still judges right, and has as many processes as before."""
    sandbox, count = opened
    yield sandbox
    assert judge(sandbox, "def f(): return 42").outcome == Outcome.PASS
    assert judge(sandbox, "def f(): return 41").outcome == Outcome.FAIL
    assert settles_at(count), processes()


def judge(sandbox: Sandbox, program: str, *tests: str) -> Verdict:
    return sandbox.judge(Case(program=program, tests=list(tests) or ["assert f() == 42"]))


@pytest.mark.parametrize("program", FORGERIES.values(), ids=FORGERIES.keys())
@pytest.mark.parametrize(
    "test",
    [
        "assert f() == 42",
        "assert abs(f() - 42) < 1e-6",
        "assert f() in {42} and not f() != 42 and 42 in f()",
        "try:\n    f()\nexcept BaseException:\n    pass\nassert f() == 42",
    ],
    ids=["equal", "near", "member", "caught"],
)
def test_verdict_cannot_be_forged(sandbox: Sandbox, program: str, test: str) -> None:
    assert judge(sandbox, program, test).outcome == Outcome.FAIL


def test_program_cannot_find_the_tests(sandbox: Sandbox) -> None:
    """Whatever it looks through, the expected answer is not in its process."""
    program = """
import gc
def f():
    mark = "".join(["need", "le-"])
    return [text for thing in gc.get_objects() for text in gc.get_referents(thing)
            if isinstance(text, str) and mark in text and text != mark]
"""
    assert judge(sandbox, program, "assert f() == []\nassert f() != 'needle-12345'") == Verdict(Outcome.PASS, None)
    assert judge(sandbox, f"{program}\nx = ['needle-1']", "assert f() != []") == Verdict(Outcome.PASS, None)


def test_fork_bomb(sandbox: Sandbox) -> None:
    verdict = judge(sandbox, "import os\ndef f():\n    while True: os.fork()")
    assert verdict.outcome == Outcome.FAIL
    assert "Resource temporarily unavailable" in (verdict.detail or "")


@pytest.mark.slow
def test_fork_bomb_that_goes_on(sandbox: Sandbox) -> None:
    program = "import os\ndef f():\n    while True:\n        try: os.fork()\n        except OSError: pass"
    assert judge(sandbox, program).outcome == Outcome.TIMEOUT


def test_endless_loop(sandbox: Sandbox) -> None:
    verdict = judge(sandbox, "def f():\n    while True: pass")
    assert verdict == Verdict(Outcome.TIMEOUT, "used 1 s of CPU time")


@pytest.mark.slow
def test_sleep_that_ignores_every_signal(sandbox: Sandbox) -> None:
    program = (
        "import signal, time\nfor s in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:\n"
        "    signal.signal(s, signal.SIG_IGN)\ndef f(): time.sleep(1000)"
    )
    assert judge(sandbox, program) == Verdict(Outcome.TIMEOUT, "not done after 8 s")


def test_loop_that_ignores_every_signal(sandbox: Sandbox) -> None:
    program = (
        "import signal\nfor s in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:\n"
        "    signal.signal(s, signal.SIG_IGN)\ndef f():\n    while True: pass"
    )
    assert judge(sandbox, program).outcome == Outcome.TIMEOUT


@pytest.mark.slow
def test_tests_that_never_end(sandbox: Sandbox) -> None:
    assert judge(sandbox, "def f(): return 42", "while f(): pass").outcome == Outcome.TIMEOUT
    assert judge(sandbox, "def f(): return 42", "while True: pass").outcome == Outcome.TIMEOUT


def test_daemon_is_gone_with_its_program(sandbox: Sandbox) -> None:
    program = "import os, time\nif not os.fork():\n    os.setsid()\n    time.sleep(1000)\ndef f(): return 42"
    assert judge(sandbox, program).outcome == Outcome.PASS


@pytest.mark.parametrize("grow", ["bytearray(10 * 2**30)", "[0] * 10**10", "mmap.mmap(-1, 10 * 2**30)"])
def test_ten_gigabytes(sandbox: Sandbox, grow: str) -> None:
    verdict = judge(sandbox, f"import mmap\ndef f(): return len({grow})")
    assert verdict.outcome == Outcome.FAIL
    assert "memory" in (verdict.detail or "").lower()


def test_endless_output(sandbox: Sandbox) -> None:
    program = "import sys\ndef f():\n    while True: print('x' * 10**6); print('y' * 10**6, file=sys.stderr)"
    assert judge(sandbox, program).outcome == Outcome.TIMEOUT


def test_answer_without_end(sandbox: Sandbox) -> None:
    assert judge(sandbox, "def f(): return 'x' * (70 * 2**20)").outcome == Outcome.FAIL
    program = "def f():\n    x = []\n    for _ in range(10**5): x = [x]\n    return x"
    assert judge(sandbox, program).outcome == Outcome.FAIL


def test_environment_and_files_are_not_to_be_seen(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("42")
    secret.chmod(0o644)
    monkeypatch.setenv("SANDBOX_SECRET", "42")
    program = f"""
import os
def f(): return sorted(os.environ)
def roots(): return sorted(os.listdir("/"))
def sees(path): return os.path.exists(path)
def work(): return os.getcwd(), os.listdir()
def secret(): return open({str(secret)!r}).read()
"""
    test = f"""
assert set(f()) <= {{"HOME", "LC_CTYPE", "PATH", "PWD", "PYTHONHASHSEED", "PYTHONPATH", "PYTHONUTF8"}}, f()
for path in ("/etc/passwd", "/home", "/proc/1", "/sys", "/run", "/var", "/root/.bashrc", "/root/.ssh", {__file__!r}):
    assert not sees(path), path
assert {{"tmp", "usr"}} <= set(roots())
assert work() == ("/tmp", [])
try:
    secret()
except FileNotFoundError:
    pass
"""
    judge(sandbox, "", "assert True")  # the guest that waits was started before the secret was there
    assert judge(sandbox, program, test) == Verdict(Outcome.PASS, None)


def test_nothing_can_be_written_outside(sandbox: Sandbox) -> None:
    program = """
import os
def can(path):
    try:
        with open(path + "/x", "w") as file: file.write("x")
    except OSError: return False
    return True
def folders():
    tops = ["/" + name for name in os.listdir("/")]
    below = [path + "/" + name for path in tops if os.path.isdir(path) for name in os.listdir(path)]
    ours = [os.path.dirname(os.__file__), os.environ["PYTHONPATH"] + "/fusion/sandbox"]
    return [path for path in ["/", *tops, *below, *ours] if not path.startswith("/tmp") and can(path)]
def fill():
    for number in range(100):
        with open(f"/tmp/{number}", "wb") as file: file.write(bytes(2**20))
"""
    test = "assert can('/tmp')\nassert folders() == []\ntry:\n    fill()\n    assert False\nexcept OSError: pass"
    assert judge(sandbox, program, test) == Verdict(Outcome.PASS, None)


def test_the_next_program_does_not_see_what_one_wrote(sandbox: Sandbox) -> None:
    program = "import os\nseen = os.listdir('/tmp')\nopen('/tmp/here', 'w').close()\ndef f(): return seen"
    for _ in range(2):
        assert judge(sandbox, program, "assert f() == []") == Verdict(Outcome.PASS, None)


def test_network_is_out_of_reach(sandbox: Sandbox) -> None:
    program = """
import socket
def reach(family, address):
    try:
        with socket.socket(family, socket.SOCK_STREAM) as s:
            s.settimeout(2)
            s.connect(address)
    except OSError: return False
    return True
def interfaces(): return [name for _, name in socket.if_nameindex()]
"""
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as local:
        local.bind(f"\0sandbox-{os.getpid()}")
        local.listen()
        test = f"""
assert not reach(2, ("127.0.0.1", {tcp.getsockname()[1]}))
assert not reach(2, ("1.1.1.1", 53))
assert not reach(1, "\\0sandbox-{os.getpid()}")
assert interfaces() == ["lo"]
"""
        assert judge(sandbox, program, test) == Verdict(Outcome.PASS, None)


def test_killing_the_parent_and_everyone_kills_nobody(sandbox: Sandbox) -> None:
    program = """
import os, signal
def f():
    for target in (os.getppid(), 1, -1):
        for number in (signal.SIGTERM, signal.SIGKILL):
            try: os.kill(target, number)
            except OSError: pass
    return 42
"""
    assert judge(sandbox, program).outcome == Outcome.PASS


def test_no_way_to_more_rights(sandbox: Sandbox) -> None:
    program = """
import ctypes, os, resource
libc = ctypes.CDLL(None, use_errno=True)
def attempts():
    return [
        libc.unshare(0x10000000),  # a user namespace, where all could be root
        libc.unshare(0x00020000),  # a mount namespace
        libc.mount(b"none", b"/tmp", b"tmpfs", 0, None),
        libc.setuid(0),
        libc.chroot(b"/tmp"),
    ]
def raised():
    try: resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
    except (OSError, ValueError): return False
    return True
"""
    assert judge(sandbox, program, "assert attempts() == [-1] * 5\nassert not raised()") == Verdict(Outcome.PASS, None)


def test_killed_host_leaves_nobody() -> None:
    """As root a sandbox has two layers; both end when the process that asked for them is killed."""
    memory_mib = MEMORY_MIB + 1000
    code = (
        "from fusion.sandbox.session import Case, Limits, Sandbox\n"
        f"with Sandbox(Limits(memory_mib={memory_mib})) as s:\n"
        "    print('open', flush=True)\n"
        "    s.judge(Case(program='import time\\ntime.sleep(1000)', tests=['assert True']))"
    )
    host = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert host.stdout is not None
    assert host.stdout.readline() == b"open\n"
    while not processes(mark_of(memory_mib)):  # one that is just being started has no command line yet
        assert host.poll() is None
    host.send_signal(signal.SIGKILL)
    host.wait()
    host.stdout.close()
    assert settles_at(0, mark_of(memory_mib)), processes(mark_of(memory_mib))
