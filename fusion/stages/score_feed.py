"""What is to be scored, as responses are committed: the streams of several models merged into one feed of items."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fusion.artifact import Artifact, Part, PartFolder
from fusion.errors import StepFailed
from fusion.fingerprint import fingerprint
from fusion.part_keys import keys_of
from fusion.rewards.base import Reward
from fusion.schema import RESPONSE, hash_text
from fusion.work import Work

MAX_ITEM_ROWS = 256
"""A part that was taken over from another artifact may hold any number of rows; it is cut to keep durability fine."""
TICK_S = 1.0


@dataclass(frozen=True, slots=True)
class Pending:
    """Rows of one item that one reward has still to score, and where their scores go."""

    reward: str
    """`reward_key` of the reward."""
    out: PartFolder
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ScoreItem:
    """Some responses of one part, each to be scored by one reward or more. Texts stay in the store."""

    responses: PartFolder
    part: str
    prompts: PartFolder
    prompt_parts: tuple[str, ...]
    pending: tuple[Pending, ...]


def reward_key(reward: Reward) -> str:
    """One for all steps that score with the same reward, so that they share a scorer."""
    return fingerprint({"reward": reward})


class ScoreFeed:
    """Items of all works, in the order in which parts are committed. Ends when every stream has ended.

    Iterating declares every response of each part to the writers of its works, which tell what is still to do.

    Raises (from iterating):
        ArtifactError: a step that writes responses failed.
        StepFailed: the run is being ended.
    """

    def __init__(self, works: Sequence[Work]) -> None:
        self._groups: dict[str, list[Work]] = {}
        for work in works:
            self._groups.setdefault(work.rows_in("responses").folder.path, []).append(work)
        self.wanted = dict.fromkeys((work.rows_out.folder.path for work in works), 0)
        """Output path -> rows declared so far."""
        self.left = dict(self.wanted)
        """Output path -> of these, rows that were still to do."""
        self.has_ended = False

    @property
    def is_live(self) -> bool:
        """Whether any responses are still being written."""
        return not all(isinstance(works[0].rows_in("responses"), Artifact) for works in self._groups.values())

    def __iter__(self) -> Iterator[ScoreItem]:
        arrived: queue.Queue[tuple[str, Part] | BaseException | None] = queue.Queue()
        for path in self._groups:
            threading.Thread(target=self._follow, args=(path, arrived), name=f"follow {path}", daemon=True).start()
        following = len(self._groups)
        while following:
            try:
                message = arrived.get(timeout=TICK_S)
            except queue.Empty:
                self.check_stopped()
                continue
            if isinstance(message, BaseException):
                raise message
            if message is None:
                following -= 1
            else:
                self.check_stopped()
                yield from self._items(*message)
        self.has_ended = True

    def _follow(self, path: str, arrived: queue.Queue[tuple[str, Part] | BaseException | None]) -> None:
        try:
            for part in self._groups[path][0].rows_in("responses").stream():
                arrived.put((path, part))
            arrived.put(None)
        except BaseException as error:
            arrived.put(error)

    def check_stopped(self) -> None:
        """An end that came early must not look like the end: what is declared so far would be sealed as the whole."""
        if any(work.stopped() for works in self._groups.values() for work in works):
            raise StepFailed("stopped; what is scored is kept, the same command goes on from there")

    def _items(self, path: str, part: Part) -> Iterator[ScoreItem]:
        works = self._groups[path]
        responses = works[0].rows_in("responses").folder
        rows = responses.read(part.name, [*RESPONSE.key, "text"])
        keys = keys_of(rows, RESPONSE.key)
        guards = dict(zip(keys, map(hash_text, rows["text"].to_pylist()), strict=True))
        missing = [(work, set(self._missing(work, guards))) for work in works]
        for start in range(0, len(keys), MAX_ITEM_ROWS):
            chunk = keys[start : start + MAX_ITEM_ROWS]
            for prompts, pending in _by_prompts(missing, chunk).items():
                folder, parts = prompts
                yield ScoreItem(responses, part.name, folder, parts, tuple(pending))

    def _missing(self, work: Work, guards: Mapping[str, str]) -> list[str]:
        out = work.rows_out
        missing = out.pending(dict(guards))
        self.wanted[out.folder.path] += len(guards)
        self.left[out.folder.path] += len(missing)
        return missing


def _by_prompts(
    missing: Sequence[tuple[Work, set[str]]], chunk: Sequence[str]
) -> dict[tuple[PartFolder, tuple[str, ...]], list[Pending]]:
    """What is pending in a chunk; works that judge the same responses nearly always share their prompts, too."""
    found: dict[tuple[PartFolder, tuple[str, ...]], list[Pending]] = {}
    for work, keys in missing:
        if pending := tuple(key for key in chunk if key in keys):
            prompts = work.table_in("prompts")
            where = (prompts.folder, tuple(part.name for part in prompts.parts))
            reward: Reward = work.step.config.reward  # type: ignore[attr-defined]
            found.setdefault(where, []).append(Pending(reward_key(reward), work.rows_out.folder, pending))
    return found
