"""What a run leaves: runs/<name>/ with its config, result, report, log, and links into the store.

    config.yaml   resolved config              data/    prompts responses rewards sft pairs drops evaluation
    result.json   steps, accounts, scores      models/  sft final
    report.html   one file, no requests        log.txt
    spent/        what its runs used           forecast.json  what was expected of them

The store owns the data; this folder is a view that can be deleted and made again, but for what was spent.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fusion import location
from fusion.artifact import Artifact, open_artifact, write_json
from fusion.errors import ArtifactError, ConfigError
from fusion.evaluation.table import BENCHMARK
from fusion.explicit.tables import FUSED_TARGET, LINK_COUNT, TEXT_LOSS, TOKEN_DISTRIBUTION
from fusion.plan import Planned
from fusion.provenance import versions
from fusion.schema import COMPARISON, EVALUATION, LOGPROB, PREFERENCE_PAIR, PROMPT, RESPONSE, REWARD, SFT_EXAMPLE, TRUST
from fusion.step import Step
from fusion.table import Table
from fusion.training_tables import PREFERENCE_TRIPLE, SOURCE_LOGPROB, WEIGHTED_PAIR, WEIGHTED_SFT
from fusion.tree import TreeArtifact, open_tree

TABLES: dict[str, Table] = {
    "prompts": PROMPT,
    "responses": RESPONSE,
    "rewards": REWARD,
    "trust": TRUST,
    "sft": SFT_EXAMPLE,
    "pairs": PREFERENCE_PAIR,
    "weighted_sft": WEIGHTED_SFT,
    "weighted_pairs": WEIGHTED_PAIR,
    "triples": PREFERENCE_TRIPLE,
    "logprobs": LOGPROB,
    "source_logprobs": SOURCE_LOGPROB,
    "evaluation": EVALUATION,
    "comparison": COMPARISON,
    "texts": SFT_EXAMPLE,
    "distributions": TOKEN_DISTRIBUTION,
    "link_counts": LINK_COUNT,
    "targets": FUSED_TARGET,
    "text_losses": TEXT_LOSS,
    "benchmark": BENCHMARK,
}
"""Step kind -> the table it makes; every other kind makes a folder of files."""


@dataclass(frozen=True)
class RunFolder:
    """An existing run folder."""

    path: Path
    result: Mapping[str, object]

    @classmethod
    def open(cls, runs: str, name: str) -> RunFolder:
        """Raises:
        ConfigError: there is no finished run of that name; says which there are.
        """
        path = Path(runs) / name
        if not (path / "result.json").exists():
            there = sorted(p.parent.name for p in Path(runs).glob("*/result.json"))
            raise ConfigError(
                f"{path} holds no finished run; type `fusion run experiment={name}` first "
                f"(finished runs in {runs}/: {', '.join(there) or 'none'})"
            )
        return cls(path, json.loads((path / "result.json").read_text()))

    @property
    def config_text(self) -> str:
        return (self.path / "config.yaml").read_text()

    def artifacts(self) -> dict[str, Artifact | TreeArtifact]:
        """Every artifact of the run by step name, e.g. `responses/gemma3_270m`.

        Raises:
            ArtifactError: the store no longer holds one of them.
        """
        found: dict[str, Artifact | TreeArtifact] = {}
        for entry in self.result["steps"]:  # type: ignore[attr-defined]
            where = location.join(str(self.result["store"]), entry["kind"], f"{entry['label']}-{entry['fingerprint']}")
            table = TABLES.get(entry["kind"])
            artifact = open_artifact(where, table) if table else open_tree(where)
            if artifact is None:
                raise ArtifactError(f"{where} is gone or damaged; run the same command again to make it")
            for name in [f"{entry['kind']}/{entry['label']}", *entry.get("also", [])]:
                found[name] = artifact
        return found


def write_result(
    path: Path,
    name: str,
    store: str,
    planned: Sequence[Planned],
    steps: Mapping[str, Step],
    artifacts: Mapping[str, Artifact | TreeArtifact],
    evaluation: Mapping[str, object],
) -> dict[str, object]:
    """Write result.json and the links; returns the result.

    Args:
        steps: recipe names of the steps; several names may share one step (one model in two roles).
        artifacts: by step fingerprint.
        evaluation: entries `evaluation`, `gate` and `spending` of the result, as far as there are any.
    """
    names: dict[str, list[str]] = {}
    for step_name, step in steps.items():
        names.setdefault(step.fingerprint, []).append(step_name)
    entries = [_entry(one, artifacts[one.step.fingerprint], names.get(one.step.fingerprint, [])) for one in planned]
    result: dict[str, object] = {
        "experiment": name,
        "store": store if "://" in store else str(Path(store).resolve()),
        "steps": entries,
        **evaluation,
        "versions": versions(),
    }
    write_json(str(path / "result.json"), result)
    _link_all(path, {step_name: artifacts[step.fingerprint] for step_name, step in steps.items()})
    return result


def _entry(one: Planned, artifact: Artifact | TreeArtifact, names: list[str]) -> dict[str, object]:
    accounts: Mapping[str, object] = artifact.manifest["accounts"]  # type: ignore[assignment]
    return {
        "kind": one.step.kind,
        "label": one.step.label,
        "status": one.status.value,
        "reason": one.reason,
        "fingerprint": one.step.fingerprint,
        "rows_in": accounts["rows_in"],
        "rows_out": accounts["rows_out"],
        "dropped": accounts["dropped"],
        "failed": accounts["failed"],
        "rows_reused": artifact.manifest.get("rows_reused", 0),
        "totals": artifact.manifest.get("totals", {}),
        "measures": artifact.manifest.get("measures", {}),
        "seconds": artifact.manifest["seconds"],
        "also": [name for name in names if name != one.step.name],
    }


def _link_all(path: Path, artifacts: Mapping[str, Artifact | TreeArtifact]) -> None:
    for folder in ("data", "models"):
        shutil.rmtree(path / folder, ignore_errors=True)
    for name, artifact in artifacts.items():
        kind, label = name.split("/", 1)
        if isinstance(artifact, TreeArtifact):
            _link(path / "models" / label, location.join(artifact.path, "files"))
            continue
        is_evaluation = label.startswith("evaluation") or kind in ("evaluation", "comparison", "benchmark")
        base = path / "data" / "evaluation" if is_evaluation and kind != "prompts" else path / "data"
        if artifact.manifest["parts"]:
            _link(base / kind / label, location.join(artifact.path, "parts"))
        else:
            _write_empty(base / kind / label, artifact.table)
        if artifact.manifest["drops"]:
            _link(path / "data" / "drops" / f"{kind}-{label}", location.join(artifact.path, "drops"))


def _write_empty(folder: Path, table: Table) -> None:
    """No rows is an answer too: a file with the columns, which any tool reads."""
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    pq.write_table(table.schema.empty_table(), folder / "empty.parquet")


def _link(link: Path, target: str) -> None:
    """A relative symbolic link, or a text file with the URL where the store is not on a disk."""
    link.parent.mkdir(parents=True, exist_ok=True)
    if location.is_local(target):
        link.symlink_to(os.path.relpath(location.local_path(target).resolve(), link.parent.resolve()))
    else:
        link.with_suffix(".url").write_text(target + "\n")
