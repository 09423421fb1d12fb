"""The bounded child process, with real hangs and real deaths."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import pytest

from fusion.errors import EngineError
from fusion.rewards.child import Child, ChildFailed, ChildTimeout


def load() -> Callable[[dict[str, object]], object]:
    """What the tests below ask."""

    def answer(question: dict[str, object]) -> object:
        match question["do"]:
            case "sleep":
                time.sleep(60)
            case "die":
                os._exit(3)
            case "grow":
                return len(bytearray(8 * 2**30))
            case "print":
                print("noise on stdout")
            case "raise":
                raise ValueError("no")
        return os.getpid()

    return answer


LOADER = f"{__name__}:load"


def test_answer_comes_back_and_the_process_is_kept() -> None:
    with Child(LOADER, 5) as child:
        assert child.ask({"do": "print"}) == child.ask({"do": "pid"})


def test_hanging_question_is_cut_off_and_the_next_one_served() -> None:
    with Child(LOADER, 0.3) as child:
        child.ask({"do": "pid"})
        started = time.monotonic()
        with pytest.raises(ChildTimeout, match=r"0\.3 s"):
            child.ask({"do": "sleep"})
        assert time.monotonic() - started < 2
        assert isinstance(child.ask({"do": "pid"}), int)


@pytest.mark.parametrize("harm", ["die", "grow", "raise"])
def test_question_that_does_harm_fails_alone(harm: str) -> None:
    with Child(LOADER, 5) as child:
        with pytest.raises(ChildFailed):
            child.ask({"do": harm})
        assert isinstance(child.ask({"do": "pid"}), int)


def test_threads_may_share_a_child() -> None:
    answers: list[object] = []
    with Child(LOADER, 5) as child:
        threads = [threading.Thread(target=lambda: answers.append(child.ask({"do": "pid"}))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(answers) == 8
    assert len(set(answers)) == 1


def test_process_ends_with_its_owner() -> None:
    with Child(LOADER, 5) as child:
        pid = child.ask({"do": "pid"})
    assert isinstance(pid, int)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_loader_that_fails_is_an_engine_error() -> None:
    with pytest.raises(EngineError, match="no_such_module"), Child("fusion.no_such_module:load", 5):
        pass
