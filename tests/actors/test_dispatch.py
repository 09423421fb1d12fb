"""The driver's dispatch over simulated replicas: their time is what one reckons by hand, and the tail is shared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fusion.artifact import Artifact, PartFolder
from fusion.generators.base import Sampling
from fusion.schema import PROMPT, RESPONSE, hash_text
from fusion.stages.generate_tasks import Asked, GenerateTasks
from fusion.step import Placement
from fusion.work import Work
from fusion.writer import ArtifactWriter
from tests.benchmarks.responses_work import prompt_table, responses_work
from tests.benchmarks.simulated import Cluster, Speed

SECOND_A_TOKEN = Speed(slots=2, base_s=1.0, per_answer_s=0.0)


@dataclass(frozen=True)
class Given:
    """Tasks made by hand."""

    tasks: tuple[Asked, ...]

    def __iter__(self) -> Iterator[object]:
        return iter(self.tasks)

    def remaining(self, task: object) -> object | None:
        return task


def asked(folder: Path, *numbers: int) -> Given:
    """Tasks that ask for so many answers of a prompt each."""
    out = PartFolder(str(folder / "out"), RESPONSE)
    prompts = PartFolder(str(folder / "prompts"), PROMPT)
    return Given(
        tuple(
            Asked(prompts, "parts/p.parquet", ((f"p{name}", tuple(range(number))),), out, "s", Sampling(), 1)
            for name, number in enumerate(numbers)
        )
    )


def cluster(*tokens: int, replicas: int = 1, speed: Speed = SECOND_A_TOKEN) -> Cluster:
    """Answers get these lengths, in the order in which they are asked for."""
    left = iter(tokens)
    return Cluster(
        [speed] * replicas, lambda many: [next(left) for _ in range(many)], charges_driver=False, transport_s=0.0
    )


def ends(simulated: Cluster) -> list[tuple[float, int]]:
    return simulated.rows_at[1:]


def test_answers_share_slots_first_come_first_served(tmp_path: Path) -> None:
    # Two slots. 3 and 5 start; 3 ends at 3 and the 4 of the second task starts, to end at 7; 5 ends at 5: task 0 done.
    # From 5 on there is one answer in work; task 1 ends at 7.
    simulated = cluster(3, 5, 4)
    order = [done.task_id for done in simulated.run(asked(tmp_path, 2, 1), Placement(in_flight=2))]
    assert (order, ends(simulated)) == ([0, 1], [(5.0, 2), (7.0, 3)])
    assert simulated.replicas[0].engine.in_use(7.0) == (7.0, 12.0)  # 2 slots for 5 s, one for 2 s


def test_a_step_takes_longer_the_more_answers_are_in_it(tmp_path: Path) -> None:
    # Both in: 1 + 2 · 0.5 = 2 s a token. After 3 tokens (6 s) one is left: 1.5 s a token for its last two.
    simulated = cluster(3, 5, speed=Speed(slots=2, base_s=1.0, per_answer_s=0.5))
    list(simulated.run(asked(tmp_path, 2), Placement(in_flight=1)))
    assert ends(simulated) == [(9.0, 2)]


def test_a_replica_that_waits_for_its_next_task_stands_idle(tmp_path: Path) -> None:
    # One task at a time each. Replica 0 is asked for 4, replica 1 for 1, and then for 2: it ends at 3 and idles.
    simulated = cluster(4, 1, 2, replicas=2)
    list(simulated.run(asked(tmp_path, 1, 1, 1), Placement(replicas=2, in_flight=1)))
    assert ends(simulated) == [(1.0, 1), (3.0, 2), (4.0, 3)]
    assert [one.engine.in_use(4.0)[0] for one in simulated.replicas] == [4.0, 3.0]


def test_what_the_way_to_a_replica_costs_is_on_the_clock(tmp_path: Path) -> None:
    simulated = Cluster([SECOND_A_TOKEN], lambda many: [2] * many, charges_driver=False, transport_s=0.25)
    list(simulated.run(asked(tmp_path, 1, 1), Placement(in_flight=1)))
    assert ends(simulated) == [(2.25, 1), (4.5, 2)]
    assert simulated.clock.driver_s >= 0.5


# -- the tail ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return prompt_table(str(tmp_path_factory.mktemp("prompts")), 600)


def work_of(folder: Path, prompts: Artifact) -> Work:
    return responses_work(str(folder), prompts, "s", num_samples=4)


class Uncut(GenerateTasks):
    """The same, without small tasks at the end."""

    def _size(self) -> int:
        return self._placement.part_rows

    def _pieces(self, chunk: tuple[tuple[str, tuple[int, ...]], ...]) -> list[tuple[tuple[str, tuple[int, ...]], ...]]:
        return [chunk]


def lateness(kind: type[GenerateTasks], folder: Path, prompts: Artifact, speeds: list[Speed]) -> float:
    """Seconds from when all could have ended, had every slot been in use all the time, to when the last replica did."""
    placement = Placement(replicas=len(speeds), part_rows=64, in_flight=64, max_sequences=16)
    work = work_of(folder, prompts)
    tasks = kind([work], placement)
    drawn = (20 + int(hash_text(str(number))[:4], 16) % 180 for number in range(10**6))
    simulated = Cluster(speeds, lambda many: [next(drawn) for _ in range(many)], False, 0.0)
    for done in simulated.run(tasks, placement):
        for path, receipt in done.receipts.items():
            tasks.accept(path, receipt)
    assert isinstance(work.out, ArtifactWriter)
    assert work.rows_out.seal({}).accounts.rows_out == 2400
    end = simulated.clock.now
    used = sum(replica.engine.in_use(end)[1] for replica in simulated.replicas)
    return end - used / sum(speed.slots for speed in speeds)


def test_the_tail_is_shared_by_idle_replicas(tmp_path: Path, prompts: Artifact) -> None:
    speeds = [Speed(slots=16, base_s=0.02, per_answer_s=0.0)] * 8
    longest = 200 * 0.02
    shared = lateness(GenerateTasks, tmp_path / "shared", prompts, speeds)
    whole = lateness(Uncut, tmp_path / "whole", prompts, speeds)
    assert shared < 1.5 * longest, "the last answers start when others are about to end"
    assert whole > 3 * shared, (shared, whole)


def test_a_slow_replica_is_given_less(tmp_path: Path, prompts: Artifact) -> None:
    speeds = [Speed(slots=16, base_s=0.06, per_answer_s=0.0), *[Speed(slots=16, base_s=0.02, per_answer_s=0.0)] * 7]
    shared = lateness(GenerateTasks, tmp_path / "shared", prompts, speeds)
    whole = lateness(Uncut, tmp_path / "whole", prompts, speeds)
    assert shared < whole / 2, (shared, whole)


def test_the_last_prompts_are_answered_by_several_replicas_each(tmp_path: Path) -> None:
    prompts = prompt_table(str(tmp_path / "p"), 3)
    tasks = list(GenerateTasks([work_of(tmp_path / "r", prompts)], Placement(replicas=8, part_rows=64)))
    assert [one.num_answers for one in tasks if isinstance(one, Asked)] == [2, 2, 1, 1, 1, 1, 1, 1, 1, 1]
    asked_for = [(p, i) for one in tasks if isinstance(one, Asked) for p, some in one.samples for i in some]
    assert len(set(asked_for)) == len(asked_for) == 12
