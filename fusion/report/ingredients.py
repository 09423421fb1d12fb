"""What a run's data is made of, with the terms of each: models that answered, data sets of prompts, the target."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from fusion.report.licences import Licensed
from fusion.report.record import RunRecord


def models(record: RunRecord) -> list[Licensed]:
    """Sources that answered, or that are configured where nothing is known of answers."""
    names = record.sources if not record.responses else sorted(record.responses)
    known = record.models
    return [Licensed(name, "model", known[name].licence if name in known else "") for name in names]


def target(record: RunRecord) -> Licensed | None:
    """The model that is trained; None: nothing is."""
    found = record.models.get(record.target)
    return None if found is None else Licensed(found.name, "target", found.licence)


def data_sets(record: RunRecord) -> list[Licensed]:
    """Data sets of the training prompts; a file of stored answers is one."""
    settings = record.settings
    replay = settings.get("replay")
    if isinstance(replay, dict) and replay.get("path"):
        return [Licensed(PurePath(str(replay["path"])).name, "data set", str(replay.get("licence") or ""))]
    return list(dict.fromkeys(_data_sets("prompts", settings.get("prompts"))))


def _data_sets(name: str, prompts: object) -> Iterator[Licensed]:
    if not isinstance(prompts, dict):
        return
    parts = prompts.get("parts")
    if isinstance(parts, dict):
        for part, inner in parts.items():
            yield from _data_sets(str(part), inner)
        return
    called = prompts.get("name") or PurePath(str(prompts.get("path") or "")).name or name
    yield Licensed(str(called), "data set", str(prompts.get("licence") or ""))
