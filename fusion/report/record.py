"""Everything a report or a card may tell about a run: its config, its result, and its opened artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fusion.artifact import Artifact
from fusion.report.redact import Settings, parse
from fusion.tree import TreeArtifact

HELD_OUT = "evaluation"
"""Label, or prefix `evaluation-` of labels, of steps that belong to the evaluation rather than to training data."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model as configured. Example: ModelFacts("gemma3_270m", "hf://google/gemma-3-270m", "9b0c...", "gemma")"""

    name: str
    uri: str
    revision: str
    licence: str
    """Identifier that the Hugging Face Hub knows, several joined by +; empty: not stated in the config."""

    @property
    def hub_id(self) -> str:
        """`org/name`, or empty for a model that does not come from the hub."""
        return self.uri.removeprefix("hf://") if self.uri.startswith("hf://") else ""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One finished run. Everything but the result may be absent; what is absent is not shown."""

    experiment: str
    config: str = ""
    """Resolved config, yaml."""
    result: Mapping[str, object] = field(default_factory=dict)
    """As result.json."""
    prompts: Artifact | None = None
    held_out: Artifact | None = None
    """Evaluation prompts."""
    responses: Mapping[str, Artifact] = field(default_factory=dict)
    """By source."""
    rewards: Mapping[tuple[str, str], Artifact] = field(default_factory=dict)
    """By (source, reward)."""
    sft: Artifact | None = None
    pairs: Artifact | None = None
    checkpoints: Mapping[str, TreeArtifact] = field(default_factory=dict)
    """By role: sft, final."""
    evaluation: Artifact | None = None
    comparison: Artifact | None = None
    held_out_responses: Mapping[str, Artifact] = field(default_factory=dict)
    """Answers to the evaluation prompts, by role (base, sft, final) or source."""
    held_out_rewards: Mapping[tuple[str, str], Artifact] = field(default_factory=dict)
    """By (role or source, reward)."""
    artifacts: Mapping[str, Artifact | TreeArtifact] = field(default_factory=dict)
    """All, by step name."""

    @classmethod
    def of(
        cls,
        config: str,
        result: Mapping[str, object],
        artifacts: Mapping[str, Artifact | TreeArtifact],
    ) -> RunRecord:
        """The record of a run folder.

        Args:
            artifacts: by step name, e.g. `responses/gemma3_270m`, `rewards/gemma3_270m-answer`, `checkpoint/final`.
        """
        tables = {name: found for name, found in artifacts.items() if isinstance(found, Artifact)}
        responses, held_out = _of_kind("responses", tables), _held_out("responses", tables)
        return cls(
            experiment=str(result.get("experiment", "")),
            config=config,
            result=result,
            prompts=tables.get("prompts/train"),
            held_out=tables.get(f"prompts/{HELD_OUT}"),
            responses=responses,
            rewards=_by_source(_of_kind("rewards", tables), list(responses)),
            sft=tables.get("sft/train"),
            pairs=tables.get("pairs/train"),
            checkpoints={
                name.removeprefix("checkpoint/"): found
                for name, found in sorted(artifacts.items())
                if name.startswith("checkpoint/") and isinstance(found, TreeArtifact)
            },
            evaluation=tables.get("evaluation/scores"),
            comparison=tables.get("comparison/scores"),
            held_out_responses=held_out,
            held_out_rewards=_by_source(_held_out("rewards", tables), list(held_out)),
            artifacts=artifacts,
        )

    @property
    def settings(self) -> Settings:
        """The parsed config, secrets masked."""
        return parse(self.config)

    @property
    def sources(self) -> list[str]:
        """Names of the sources, sorted; from the config, or from the responses where there is none."""
        named = self.settings.get("sources")
        return sorted(named if isinstance(named, dict) and named else self.responses)

    @property
    def target(self) -> str:
        """Name of the target; empty: unknown."""
        named = self.settings.get("target")
        return str(named.get("name", "")) if isinstance(named, dict) else ""

    @property
    def models(self) -> dict[str, ModelFacts]:
        """Target and sources by name, as far as the config tells."""
        sources = self.settings.get("sources")
        entries: dict[str, object] = dict(sources) if isinstance(sources, dict) else {}
        if self.target:
            entries[self.target] = self.settings["target"]
        replay = self.settings.get("replay")
        given = replay.get("licences") if isinstance(replay, dict) else None
        licences = given if isinstance(given, dict) else {}
        names = sorted({*entries, *self.responses})
        return {name: _facts(name, entries.get(name), str(licences.get(name) or "")) for name in names}

    @property
    def steps(self) -> list[Mapping[str, object]]:
        """Entries of the result, in plan order."""
        entries = self.result.get("steps", [])
        return list(entries) if isinstance(entries, list) else []


def _of_kind(kind: str, tables: Mapping[str, Artifact]) -> dict[str, Artifact]:
    labels = {name.split("/", 1)[1]: found for name, found in sorted(tables.items()) if name.startswith(f"{kind}/")}
    return {label: found for label, found in labels.items() if not label.startswith(f"{HELD_OUT}-")}


def _held_out(kind: str, tables: Mapping[str, Artifact]) -> dict[str, Artifact]:
    """Tables of the evaluation, by label without its prefix."""
    start = f"{kind}/{HELD_OUT}-"
    return {name.removeprefix(start): found for name, found in sorted(tables.items()) if name.startswith(start)}


def _by_source(rewards: Mapping[str, Artifact], sources: list[str]) -> dict[tuple[str, str], Artifact]:
    found = {}
    for label, artifact in rewards.items():
        owners = [source for source in sources if label.startswith(f"{source}-")]
        if owners:
            source = max(owners, key=len)
            found[source, label.removeprefix(f"{source}-")] = artifact
    return found


def _facts(name: str, entry: object, licence: str) -> ModelFacts:
    source = entry if isinstance(entry, dict) else {}
    model = source.get("model")
    known = model if isinstance(model, dict) else {}
    stated = str(known.get("licence") or source.get("licence") or licence)
    return ModelFacts(name, str(known.get("uri") or ""), str(known.get("revision") or ""), stated)
