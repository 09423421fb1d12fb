"""The settings of explicit fusion, each step's apart, so that a change makes again only what depends on it.

Defaults are FuseLLM's and FuseChat's (arXiv 2401.10491, 2408.07990) except where a field says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fusion.choice import Choice
from fusion.errors import ConfigError
from fusion.explicit.alignment import AlignmentMode
from fusion.explicit.token_map import MapMode
from fusion.train.config import DistilConfig, Dtype


class Form(Choice):
    """What the prompts of a data set are to explicit fusion."""

    DOCUMENTS = "documents"
    """Each prompt's text is a document to continue (FuseLLM)."""
    DIALOGS = "dialogs"
    """Each prompt has an answer in the data set, which is what is learnt (FuseChat)."""
    ANSWERS = "answers"
    """The sources answer each prompt; what SFT would learn is learnt: the rows of sft/train. Ours, to compare with."""


class FuseRule(Choice):
    """Whose distribution is learnt."""

    MIN_CE = "min_ce"
    """That of the model with the smallest cross-entropy on the text."""
    AVG_CE = "avg_ce"
    """All of them, weighted by softmax(-cross-entropy)."""


class Scope(Choice):
    """What the rule decides on at a time."""

    SEQUENCE = "sequence"
    """The papers'."""
    TOKEN = "token"  # noqa: S105
    """Each stretch of text that begins and ends with a token of both models."""


class Per(Choice):
    """What cross-entropy is averaged over."""

    TOKEN = "token"  # noqa: S105
    """The model's own tokens, as in the papers: a tokenizer of longer tokens looks worse."""
    BYTE = "byte"
    """Bytes of text, which all models share."""


class Misaligned(Choice):
    """What the target learns where the source has no distribution for its place."""

    PIVOT = "pivot"
    """The pivot's own distribution."""
    ONE_HOT = "one_hot"
    """The token that comes next."""
    PAPERS = "papers"
    """As the papers' code: the token that comes next where no token of the source stands for the pivot's, the pivot's
    own distribution where one does and no candidate of it is a token of the pivot."""


@dataclass(kw_only=True)
class TextsConfig:
    """Which texts are learnt, and which are kept unseen."""

    form: Form = Form.DOCUMENTS
    block_tokens: int = 2000
    """Documents are cut into blocks that no model's tokenizer makes longer; FuseLLM: 2048 less 48."""
    held_out_frac: float = 0.0
    """Share of documents or dialogs, chosen by hash of their id, on which losses are compared; 0: none."""

    def __post_init__(self) -> None:
        if self.block_tokens < 8 or not 0 <= self.held_out_frac < 1:
            raise ConfigError(
                f"explicit.texts: block_tokens must be at least 8 and held_out_frac in [0, 1), got "
                f"{self.block_tokens}, {self.held_out_frac}"
            )
        if self.form is Form.ANSWERS and self.held_out_frac:
            raise ConfigError("explicit.texts: with form=answers nothing is held out; evaluation.prompts are apart")


@dataclass(kw_only=True)
class DumpConfig:
    """What is stored of each model's distributions."""

    top_k: int = 10
    """Candidates a token."""
    max_length: int = 2048
    """Tokens of prompt and response together, under each model's own tokenizer; longer rows are dropped."""
    dtype: Dtype = Dtype.BFLOAT16
    """Of the forward pass; the softmax is in fp32."""

    def __post_init__(self) -> None:
        if self.top_k < 1 or self.max_length < 2:
            raise ConfigError(
                f"explicit.dump: top_k must be at least 1 and max_length 2, got {self.top_k}, {self.max_length}"
            )


@dataclass(kw_only=True)
class FuseConfig:
    """How distributions become one target."""

    alignment: AlignmentMode = AlignmentMode.BYTE_OFFSETS
    """Ours; the papers': edit_distance."""
    token_map: MapMode = MapMode.FREQUENCY
    """Ours, and what the papers say they do; what their code does: fusechat_code."""
    rule: FuseRule = FuseRule.MIN_CE
    scope: Scope = Scope.SEQUENCE
    per: Per = Per.TOKEN
    misaligned: Misaligned = Misaligned.PIVOT
    """Ours: a source has nothing to say of such a place, nor of its token; the papers': papers."""
    temperature: float = 1.0
    """Log-probabilities are divided by it before they are made into a distribution again."""
    keeps_residual: bool = False
    """Leave the probability that the stored candidates lack unassigned, in place of scaling them up to 1; a temperature
    then acts among the candidates."""

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ConfigError(f"explicit.fuse.temperature must be above 0, got {self.temperature}")


@dataclass(kw_only=True)
class ExplicitConfig:
    """Explicit fusion, step by step."""

    texts: TextsConfig = field(default_factory=TextsConfig)
    dump: DumpConfig = field(default_factory=DumpConfig)
    fuse: FuseConfig = field(default_factory=FuseConfig)
    train: DistilConfig = field(default_factory=DistilConfig)
