"""The tables of a finished run by name, read when they are asked for."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from fusion.artifact import Artifact
from fusion.errors import ConfigError
from fusion.run_folder import RunFolder
from fusion.tree import TreeArtifact

HELD_OUT = "evaluation"
"""Label, or prefix `evaluation-` of labels, of the steps of an evaluation."""


@dataclass(frozen=True)
class RunTables:
    """Names are step names (`pairs/train`, `rewards/gemma-answer`); a step's drops are `drops/<step>`."""

    run: RunFolder
    artifacts: Mapping[str, Artifact | TreeArtifact]

    @classmethod
    def open(cls, runs: str, name: str) -> RunTables:
        """Raises:
        ConfigError: there is no finished run of that name.
        """
        run = RunFolder.open(runs, name)
        return cls(run, run.artifacts())

    @property
    def tables(self) -> dict[str, Artifact]:
        return {name: found for name, found in sorted(self.artifacts.items()) if isinstance(found, Artifact)}

    def sizes(self) -> dict[str, int]:
        """Rows by name, from the manifests; nothing is read."""
        found: dict[str, int] = {}
        for name, artifact in self.tables.items():
            found[name] = sum(part.rows for part in artifact.parts)
            dropped: list[dict[str, int]] = artifact.manifest["drops"]  # type: ignore[assignment]
            if dropped:
                found[f"drops/{name}"] = sum(entry["rows"] for entry in dropped)
        return dict(sorted(found.items()))

    def read(self, name: str) -> pa.Table:
        """One table, by its whole name."""
        if name.startswith("drops/"):
            return self.tables[name.removeprefix("drops/")].drops()
        artifact = self.tables[name]
        return artifact.read(artifact.table.schema.names)

    def find(self, wanted: str) -> pa.Table:
        """One table, or all tables of a kind as one: `rewards` with a column `reward`, `drops` with a column `step`.

        Without a label, steps of the evaluation are left out.

        Raises:
            ConfigError: there is none; says which there are and which is closest.
        """
        names = list(self.sizes())
        if wanted in names:
            return self.read(wanted)
        matching = [name for name in names if name.startswith(f"{wanted}/")]
        matching = [name for name in matching if not _is_held_out(name)] or matching
        if not matching:
            kinds = list(dict.fromkeys(name.split("/")[0] for name in names))
            close = difflib.get_close_matches(wanted, [*kinds, *names], n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise ConfigError(
                f"there is no table {wanted!r}.{hint} There are {', '.join(kinds)}; `fusion show {self.run.path.name}` "
                "lists all"
            )
        tables = [self._labelled(name, self.read(name)) for name in matching]
        return pa.concat_tables(tables)

    def domains(self) -> dict[str, str]:
        """prompt_id -> domain of every prompt."""
        found: dict[str, str] = {}
        for name in self.tables:
            if name.startswith("prompts/"):
                table = self.tables[name].read(["domain"])
                found |= dict(zip(table["prompt_id"].to_pylist(), table["domain"].to_pylist(), strict=True))
        return found

    def owner(self, label: str) -> tuple[str, str]:
        """(source, reward) of the label of a rewards step; a source's name may hold dashes."""
        sources = [name.removeprefix("responses/") for name in self.tables if name.startswith("responses/")]
        owners = [source for source in sources if label.startswith(f"{source}-")]
        source = max(owners, key=len, default=label.rpartition("-")[0])
        return source, label.removeprefix(f"{source}-")

    def _labelled(self, name: str, table: pa.Table) -> pa.Table:
        kind, label = name.split("/", 1)
        if kind == "drops":
            return table.append_column("step", pa.array([label] * table.num_rows, pa.string()))
        if kind == "rewards":
            return table.append_column("reward", pa.array([self.owner(label)[1]] * table.num_rows, pa.string()))
        return table


def _is_held_out(name: str) -> bool:
    label = name.rsplit("/", 1)[-1]
    return label == HELD_OUT or label.startswith(f"{HELD_OUT}-")
