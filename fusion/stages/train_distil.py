"""Training of the target on texts and fused targets: SFT_EXAMPLE, FUSED_TARGET -> checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fusion.artifact import Artifact
from fusion.chat import Renderer
from fusion.errors import ArtifactError
from fusion.modelfiles import DEFAULT_CACHE, prepare
from fusion.models import ModelRef
from fusion.runtime import Runtime
from fusion.schema import Reason
from fusion.train.config import DistilConfig
from fusion.train.driving import train
from fusion.train.job import TrainJob
from fusion.train.rows import TokenRow, sft_rows
from fusion.train.sparse_targets import write_targets
from fusion.train.workspace import Workspace
from fusion.work import Work


@dataclass(kw_only=True)
class TrainDistilConfig:
    """The step's config."""

    model: ModelRef
    """Where training starts: the pivot whose tokens the targets speak of."""
    train: DistilConfig
    cache: str = field(default=DEFAULT_CACHE, metadata={"identity": False})
    """Folder of prepared models on each machine."""


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """Train one model a work on its inputs `texts` and `targets`. A text without a target is left out and counted, also
    where label_weight is 1, so that two such runs see the same tokens.

    Raises:
        StepFailed: no row is left, training diverged, or the run was stopped.
        ArtifactError: the targets are of other tokens.
    """
    for work in works:
        config = work.step.config
        assert isinstance(config, TrainDistilConfig)
        folder = prepare(config.model, Path(config.cache))
        renderer = Renderer.load(folder, config.model.chat, config.model.trust_remote_code)
        rows, dropped = sft_rows(work.table_in("texts").read().to_pylist(), renderer, config.train.max_length)
        kept = with_targets(rows, _tokens(work.table_in("targets")), dropped)
        files = work.files_out
        workspace = Workspace(files.work_place)
        workspace.path.mkdir(parents=True, exist_ok=True)
        if kept and workspace.result() is None:
            targets = work.table_in("targets")
            write_targets(workspace.targets, (targets.folder.read(part.name) for part in targets.parts))
            workspace.send_targets()
        job = TrainJob(
            model=config.model,
            cache=config.cache,
            work=files.work_place,
            files=files.place,
            config=config.train,
            objective=None,
            chat_template=config.model.chat.template,
            end_of_turn_ids=renderer.end_of_turn_ids,
            use_gpu=work.step.placement.gpus > 0,
            trust_remote_code=config.model.trust_remote_code,
        )
        train(work, runtime, job, kept, dropped)


def with_targets(
    rows: Sequence[TokenRow], tokens: Mapping[str, Sequence[int]], dropped: Counter[str]
) -> list[TokenRow]:
    """The rows that have a target, joined by key.

    Raises:
        ArtifactError: a target was made for other tokens than the row has.
    """
    kept = []
    for row in rows:
        if row.key not in tokens:
            dropped[Reason.NO_DISTRIBUTION.value] += 1
        elif list(row.responses[0]) != list(tokens[row.key]):
            raise ArtifactError(
                f"row {row.key}: its target is of other tokens; they were made with another tokenizer or template"
            )
        else:
            kept.append(row)
    return kept


def _tokens(targets: Artifact) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for part in targets.parts:
        rows = targets.folder.read(part.name, ["prompt_id", "token_ids"])
        found |= dict(zip(rows["prompt_id"].to_pylist(), rows["token_ids"].to_pylist(), strict=True))
    return found
