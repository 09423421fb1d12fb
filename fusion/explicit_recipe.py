"""The verbs of explicit fusion; see `fusion.recipe`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fusion.errors import ConfigError
from fusion.explicit.config import ExplicitConfig, Form
from fusion.explicit.reader import ReadBy
from fusion.explicit.tables import FUSED_TARGET, LINK_COUNT, TEXT_LOSS, TOKEN_DISTRIBUTION
from fusion.merge_recipe import MergeRecipe
from fusion.schema import SFT_EXAMPLE
from fusion.stages import distributions, fused_targets, link_counts, text_losses, texts, train_distil
from fusion.step import CHECKPOINT, Step


class ExplicitRecipe(MergeRecipe):
    """Texts, distributions, link counts, fused targets, and training on them."""

    @property
    def explicit(self) -> ExplicitConfig:
        return self.config.explicit

    def texts(self, prompts: Step, *, held_out: bool = False) -> Step:
        """Texts to learn (`texts/train`), or those that are kept unseen (`texts/evaluation`)."""
        settings = self.explicit.texts
        is_dialogs = settings.form is Form.DIALOGS
        readers = [] if is_dialogs else [self._reader(name) for name in self._models()]
        config = texts.TextsStepConfig(
            texts=settings,
            held_out=held_out,
            readers=readers,
            dialogs=self.prompts if is_dialogs else None,
            seed=self.config.seed,
        )
        label = "evaluation" if held_out else "train"
        return self._step("texts", label, texts.run, config, SFT_EXAMPLE, {"prompts": prompts})

    def distributions(
        self, label: str, name: str, texts: Step, checkpoint: Step | None = None, top_k: int | None = None
    ) -> Step:
        """What a model, or a checkpoint of the target, expects at each token of the texts.

        Args:
            top_k: candidates a token; None: as configured.
        """
        ref = self._reader(name)
        dump = self.explicit.dump if top_k is None else replace(self.explicit.dump, top_k=top_k)
        model = ref.model if checkpoint is None else None
        config = distributions.DistributionsConfig(source=name, model=model, chat=ref.chat, dump=dump)
        inputs = {"texts": texts} if checkpoint is None else {"texts": texts, "model": checkpoint}
        placement = self._placement("distributions", label)
        return self._step(
            "distributions",
            label,
            distributions.run,
            config,
            TOKEN_DISTRIBUTION,
            inputs,
            row_local=True,
            by_content=frozenset({"texts"}),
            placement=placement,
        )

    def link_counts(self, source: str, texts: Step) -> Step:
        """How often tokens of a source and of the target meet."""
        config = link_counts.LinkCountsConfig(
            source=self._reader(source),
            pivot=self._reader(self.target.name),
            alignment=self.explicit.fuse.alignment,
        )
        label = f"{self.target.name}-{source}"
        inputs, placement = {"texts": texts}, self._placement("link_counts", label)
        return self._step("link_counts", label, link_counts.run, config, LINK_COUNT, inputs, placement=placement)

    def fused_targets(self, label: str, texts: Step, dumped: Mapping[str, Step], counts: Mapping[str, Step]) -> Step:
        """What the target is to learn from itself and the sources of `counts`."""
        target = self.target.name
        config = fused_targets.FusedTargetsConfig(
            pivot=self._reader(target), sources=[self._reader(name) for name in counts], fuse=self.explicit.fuse
        )
        inputs = {"texts": texts} | {f"distributions:{name}": dumped[name] for name in (target, *counts)}
        inputs |= {f"counts:{name}": step for name, step in counts.items()}
        placement = self._placement("targets", label)
        return self._step("targets", label, fused_targets.run, config, FUSED_TARGET, inputs, placement=placement)

    def train_distil(self, label: str, texts: Step, targets: Step, label_weight: float | None = None) -> Step:
        """The target trained on texts and targets.

        Args:
            label_weight: None: as configured; 1: on the same texts alone.
        """
        train = self.explicit.train if label_weight is None else replace(self.explicit.train, label_weight=label_weight)
        config = train_distil.TrainDistilConfig(model=self.target.model, train=train)
        inputs = {"texts": texts, "targets": targets}
        placement = self._placement("checkpoint", label)
        train.micro_batch(placement.replicas)
        return self._step("checkpoint", label, train_distil.run, config, CHECKPOINT, inputs, placement=placement)

    def text_losses(self, baseline: str, read: Mapping[str, Step]) -> Step:
        """Losses on unseen texts, each model's distributions by its role."""
        config = text_losses.TextLossesConfig(models=list(read), baseline=baseline, seed=self.config.seed)
        inputs = {f"distributions:{name}": step for name, step in read.items()}
        return self._step("text_losses", "scores", text_losses.run, config, TEXT_LOSS, inputs)

    # -- private -------------------------------------------------------------------------------------------------

    def _models(self) -> Sequence[str]:
        return [self.target.name, *(name for name in self.config.sources if name != self.target.name)]

    def _reader(self, name: str) -> ReadBy:
        source = self.config.sources.get(name)
        if name == self.target.name:
            model = self.target.model
        elif source is None or source.model is None:
            raise ConfigError(f"sources.{name} has no model; explicit fusion needs the weights of every source")
        else:
            model = source.model
        return ReadBy(name=name, model=model, chat=model.chat)
