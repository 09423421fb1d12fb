"""The head of ArmoRM: what its files must hold, and its score as a function of two hidden states.

    contribution_k = gate_k * (r T)_k,   r = W h,   gate = softmax(MLP(g) / temperature) * logit_scale
    score          = sum_k contribution_k

h is the last hidden state at the end of the conversation, g the one at the end of the prompt (so answers to one prompt
share their gate), W `regression_layer`, T `reward_transform_matrix`, MLP `gating.layers.*` with ReLU between them.

Shapes: B conversations, H hidden width, K objectives.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fusion.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

OBJECTIVES = (
    "helpsteer-helpfulness", "helpsteer-correctness", "helpsteer-coherence", "helpsteer-complexity",
    "helpsteer-verbosity", "ultrafeedback-overall_score", "ultrafeedback-instruction_following",
    "ultrafeedback-truthfulness", "ultrafeedback-honesty", "ultrafeedback-helpfulness", "beavertails-is_safe",
    "prometheus-score", "argilla-overall_quality", "argilla-judge_lm", "code-complexity", "code-style",
    "code-explanation", "code-instruction-following", "code-readability",
)  # fmt: skip
"""The published objectives, in the order of the published weights."""

BACKBONE = "model."
REGRESSION, TRANSFORM, SCALE = "regression_layer.weight", "reward_transform_matrix", "gating.logit_scale"
LAYER = re.compile(r"gating\.layers\.(\d+)\.(weight|bias)")


@dataclass(frozen=True)
class ArmoHead:
    """The head in fp32.

    regression_KH, transform_KK; layers: (weight, bias or None) from H to K; logit_scale, temperature: numbers.
    """

    regression_KH: Tensor
    transform_KK: Tensor
    layers: tuple[tuple[Tensor, Tensor | None], ...]
    logit_scale: float
    temperature: float

    @property
    def objectives(self) -> tuple[str, ...]:
        """Names of the K objectives: the published ones, or numbers for a head of another size."""
        count = self.regression_KH.shape[0]
        return OBJECTIVES if count == len(OBJECTIVES) else tuple(f"objective-{k}" for k in range(count))

    def contributions(self, last_BH: Tensor, gate_BH: Tensor) -> Tensor:
        """[B, K] in fp32: what each objective adds to the score.

        Args:
            last_BH: hidden states at the last token of each conversation.
            gate_BH: hidden states at the first token of the last end of turn before the answer.
        """
        rewards_BK = (last_BH.float() @ self.regression_KH.T) @ self.transform_KK
        return self._gate(gate_BH.float()) * rewards_BK

    def _gate(self, gate_BH: Tensor) -> Tensor:
        from torch.nn import functional

        hidden = gate_BH
        for weight, bias in self.layers[:-1]:
            hidden = functional.relu(functional.linear(hidden, weight, bias))
        logits_BK = functional.linear(hidden, *self.layers[-1])
        return functional.softmax(logits_BK / self.temperature, dim=-1) * self.logit_scale

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> ArmoHead:
        """Read the head from the safetensors files of a model folder.

        Raises:
            ConfigError: a tensor of the head is missing, is not one of it, or has a shape that does not fit.
        """
        stored = _stored(folder)
        _check_names(folder, list(stored))
        heads = {name: _read(file, name).float().to(device) for name, file in stored.items() if not _is_body(name)}
        weights = sorted((int(m[1]), name) for name in heads if (m := LAYER.fullmatch(name)) and m[2] == "weight")
        layers = tuple((heads[name], heads.get(name.replace("weight", "bias"))) for _, name in weights)
        config = json.loads((folder / "config.json").read_text("utf-8"))
        head = cls(
            regression_KH=heads[REGRESSION],
            transform_KK=heads[TRANSFORM],
            layers=layers,
            logit_scale=float(heads[SCALE].reshape(-1)[0]),
            temperature=float(config.get("gating_temperature", 10.0)),
        )
        _check_shapes(folder, head, int(config["hidden_size"]))
        return head


def _stored(folder: Path) -> Mapping[str, Path]:
    """Tensor name -> the file that holds it."""
    from safetensors import safe_open

    found: dict[str, Path] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            found |= dict.fromkeys(tensors.keys(), file)
    return found


def _read(file: Path, name: str) -> Tensor:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as tensors:
        return tensors.get_tensor(name)


def _is_body(name: str) -> bool:
    return name.startswith(BACKBONE)


def _check_names(folder: Path, names: Sequence[str]) -> None:
    """A head that is missing would have to be invented, and one that is not known would be left out of the score."""
    found = sorted(name for name in names if not _is_body(name))
    layers = [int(match[1]) for name in found if (match := LAYER.fullmatch(name)) and match[2] == "weight"]
    count = max(2, 1 + max(layers, default=0))
    needed = {REGRESSION, TRANSFORM, SCALE, *(f"gating.layers.{i}.weight" for i in range(count))}
    allowed = needed | {f"gating.layers.{i}.bias" for i in range(count)}
    missing, unknown = sorted(needed - set(found)), sorted(set(found) - allowed)
    if missing or unknown:
        raise ConfigError(
            f"{folder} is no ArmoRM checkpoint: beside model.* it holds {', '.join(found) or 'nothing'}; "
            f"missing: {', '.join(missing) or 'nothing'}; not of this head: {', '.join(unknown) or 'nothing'}. Use "
            "reward=[sequence_classifier] for a model with a score head, likelihood for a plain language model"
        )


def _check_shapes(folder: Path, head: ArmoHead, width: int) -> None:
    count = head.regression_KH.shape[0]
    chain = [tuple(weight.shape) for weight, _ in head.layers]
    wrong = []
    if tuple(head.regression_KH.shape) != (count, width):
        wrong.append(f"{REGRESSION} is {list(head.regression_KH.shape)}, not [objectives, {width}]")
    if tuple(head.transform_KK.shape) != (count, count):
        wrong.append(f"{TRANSFORM} is {list(head.transform_KK.shape)}, not [{count}, {count}]")
    if [width, *(rows for rows, _ in chain)] != [*(columns for _, columns in chain), count]:
        wrong.append(f"gating.layers are {[list(shape) for shape in chain]}, not a chain from {width} to {count}")
    if wrong:
        raise ConfigError(f"{folder} is no ArmoRM checkpoint: {'; '.join(wrong)}")
