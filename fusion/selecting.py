"""The selection of a finished run, as it was made: its rule, and the scored responses that the rule saw.

The rule comes from the recipe that lies beside the SFT rows, not from the config: the recipe names the class of every
part, and it is the identity of what was stored.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, get_args, get_origin, get_type_hints

from fusion import location, registry
from fusion.artifact import Artifact
from fusion.errors import ArtifactError
from fusion.selection.base import Selection, Split, Window
from fusion.stages.select import SelectConfig, prompt_frame, scored_frame
from fusion.tree import TreeArtifact

if TYPE_CHECKING:
    import polars as pl

PARTS: tuple[type, ...] = (SelectConfig, Window, Split)
"""What a recipe of a selection is made of, beside the rules themselves."""


@dataclass(frozen=True)
class Selecting:
    """A rule and its inputs. `frame` and `prompts` are what `fusion.selection.pairs.select` takes."""

    config: SelectConfig
    inputs: Mapping[str, Artifact]

    @classmethod
    def of(cls, artifacts: Mapping[str, Artifact | TreeArtifact]) -> Selecting | None:
        """From the artifacts of a run by step name. None: it selected nothing, or its answers are not at hand.

        Raises:
            ArtifactError: the rule is one that this version does not know.
        """
        made = next((artifacts[name] for name in ("sft/train", "pairs/train") if name in artifacts), None)
        if made is None or not location.exists(location.join(made.path, "recipe.json")):
            return None
        config = restored(json.loads(location.get(location.join(made.path, "recipe.json")))["recipe"]["config"])
        assert isinstance(config, SelectConfig)
        wanted = {"prompts": "prompts/train"}
        for source in config.sources:
            wanted[f"responses:{source}"] = f"responses/{source}"
            wanted |= {f"rewards:{source}:{reward}": f"rewards/{source}-{reward}" for reward in config.rewards}
        found = {name: artifacts.get(step) for name, step in wanted.items()}
        inputs = {name: one for name, one in found.items() if isinstance(one, Artifact)}
        return cls(config, inputs) if inputs.keys() == wanted.keys() else None

    @cached_property
    def frame(self) -> pl.DataFrame:
        """One row a response, as `fusion.selection.base` describes."""
        return scored_frame(self.inputs, self.config.sources, self.config.rewards)

    @cached_property
    def prompts(self) -> pl.DataFrame:
        """prompt_id, dataset, domain."""
        return prompt_frame(self.inputs)

    def rule_of(self, domain: str) -> Selection:
        """The rule that prompts of this domain went through."""
        return self.config.selection.parts([domain])[domain]


def restored(value: object) -> object:
    """The objects that a canonical form (`fusion.fingerprint.canonical`) was made from; fields it leaves out have
    their defaults.

    Raises:
        ArtifactError: a class or a field that this version does not have.
    """
    if not isinstance(value, Mapping) or "()" not in value:
        return value
    known = {kind.__name__: kind for kind in (*PARTS, *registry.plugins("selection").values())}
    kind = known.get(str(value["()"]))
    if kind is None:
        raise ArtifactError(
            f"the run selected by {value['()']!r}, which this version of fusion lacks (it has "
            f"{', '.join(sorted(known))}); put its plug-in file back into fusion/selection/"
        )
    hints = get_type_hints(kind)
    given = {name: item for name, item in value.items() if name != "()"}
    if odd := sorted(given.keys() - {field.name for field in dataclasses.fields(kind)}):
        raise ArtifactError(f"the run's {kind.__name__} has a field {odd[0]!r}, which this version of fusion lacks")
    return kind(**{name: _as(hints[name], item) for name, item in given.items()})


def _as(hint: object, value: object) -> object:
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    if get_origin(hint) is dict and isinstance(value, Mapping):
        return {key: _as(get_args(hint)[1], item) for key, item in value.items()}
    return restored(value)
