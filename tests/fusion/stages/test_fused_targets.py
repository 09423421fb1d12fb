"""Fused targets as a stage: rows meet by id, what lacks a model is dropped, and the store stays small."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fusion.artifact import Artifact, Receipt
from fusion.errors import ArtifactError
from fusion.explicit.alignment import AlignmentMode
from fusion.explicit.config import FuseConfig
from fusion.explicit.reader import ReadBy, Reader
from fusion.explicit.tables import FUSED_TARGET, LINK_COUNT, TOKEN_DISTRIBUTION, shown_hash
from fusion.models import ChatConfig, ModelRef, resolve
from fusion.runtime import InProcess
from fusion.schema import SFT_EXAMPLE
from fusion.stages import fused_targets, link_counts
from fusion.stages.fused_targets import FusedTargetsConfig
from fusion.stages.link_counts import LinkCountsConfig, read_counts
from fusion.step import Placement, Step
from fusion.table import Table
from fusion.work import Work
from fusion.writer import ArtifactWriter
from tests.fusion.explicit.pico import make_pico_bpe
from tests.tiny import make_pico_llama

TEXTS = {"a": "the cat sat on the mat", "b": "你好, the world", "c": "on the mat the cat"}
K = 4


def example(key: str, text: str) -> dict[str, object]:
    return {
        "prompt_id": key,
        "domain": "d",
        "messages": [],
        "response": text,
        "source": "data",
        "sample_index": 0,
        "rewards": [],
        "rule": "given",
    }


def distribution(reader: Reader, key: str, text: str, logprob: float) -> dict[str, object]:
    """Random candidates, each token of the text as likely as `logprob` says."""
    ids = reader.renderer.response_ids(text)
    source = np.random.default_rng(sum(map(ord, key + reader.name)))
    probs = np.sort(source.dirichlet(np.ones(K + 1), len(ids))[:, :K])[:, ::-1]
    top = [source.choice(np.arange(6, len(reader.vocabulary)), K, replace=False) for _ in ids]
    return {
        "prompt_id": key,
        "text_hash": shown_hash(example(key, text)),
        "num_bytes": len(text.encode()),
        "token_ids": ids,
        "logprobs": [logprob] * len(ids),
        "top_ids": np.concatenate(top).tolist(),
        "top_logprobs": np.log(probs).astype(np.float16).ravel().tolist(),
        "residual": (1 - probs.sum(1)).astype(np.float16).tolist(),
    }


def sealed(folder: Path, table: Table, rows: list[dict[str, object]]) -> Artifact:
    """One part a row, in the order given."""
    writer = ArtifactWriter(str(folder), table)
    writer.expect({str(row["prompt_id"]) for row in rows})
    for row in rows:
        writer.accept(Receipt(writer.folder.write(table.build([row]))))
    return writer.seal({})


@dataclass
class Bench:
    """Two tokenizers and a folder."""

    folder: Path
    pivot: Reader
    source: Reader
    refs: tuple[ReadBy, ReadBy]

    def work(self, name: str, run: Callable[..., None], config: object, table: Table, **inputs: Artifact) -> Work:
        placement = Placement(part_rows=2, in_flight=1)
        step = Step(kind=name, label="test", run=run, config=config, produces=table, placement=placement)
        named = {key.replace("__", ":"): value for key, value in inputs.items()}
        out = ArtifactWriter(str(self.folder / name), table)
        return Work(step, named, out, lambda done, total: None, lambda: False)

    def counts(self, texts: Artifact) -> Artifact:
        config = LinkCountsConfig(source=self.refs[1], pivot=self.refs[0], alignment=AlignmentMode.BYTE_OFFSETS)
        work = self.work("counts", link_counts.run, config, LINK_COUNT, texts=texts)
        link_counts.run([work], InProcess())
        return work.rows_out.seal({})

    def fused(self, name: str, texts: Artifact, pivot: Artifact, source: Artifact) -> Artifact:
        config = FusedTargetsConfig(pivot=self.refs[0], sources=[self.refs[1]], fuse=FuseConfig())
        inputs = {"texts": texts, "distributions__pico": pivot, "distributions__bpe": source}
        inputs["counts__bpe"] = self.counts(texts)
        work = self.work(name, fused_targets.run, config, FUSED_TARGET, **inputs)
        fused_targets.run([work], InProcess())
        return work.rows_out.seal({})


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    folders = make_pico_llama(tmp_path / "pico"), make_pico_bpe(tmp_path / "bpe", list(TEXTS.values()), vocab=290)
    refs = []
    for name, folder in zip(("pico", "bpe"), folders, strict=True):
        model = ModelRef(uri=str(folder))
        resolve(model)
        refs.append(ReadBy(name=name, model=model, chat=ChatConfig()))
    return Bench(tmp_path, refs[0].open(), refs[1].open(), (refs[0], refs[1]))


def test_rows_meet_by_id_and_what_one_model_lacks_is_dropped(bench: Bench) -> None:
    """A model that dropped the second text, and holds the others the other way round, shifts nothing."""
    texts = sealed(bench.folder / "texts", SFT_EXAMPLE, [example(*item) for item in TEXTS.items()])
    pivot_rows = [distribution(bench.pivot, key, text, -2.0) for key, text in TEXTS.items()]
    source_rows = [distribution(bench.source, key, TEXTS[key], -1.0) for key in ("c", "a")]
    pivot = sealed(bench.folder / "p", TOKEN_DISTRIBUTION, pivot_rows)
    source = sealed(bench.folder / "s", TOKEN_DISTRIBUTION, source_rows)
    found = bench.fused("fused", texts, pivot, source)
    assert found.drops().select(["key", "reason"]).to_pylist() == [{"key": "b", "reason": "no_distribution"}]
    rows = {row["prompt_id"]: row for row in found.read(found.table.schema.names).to_pylist()}
    assert set(rows) == {"a", "c"}
    for key, row in rows.items():
        assert row["winner"] == "bpe"
        assert row["token_ids"] == bench.pivot.renderer.response_ids(TEXTS[key])
        assert len(row["widths"]) == len(row["token_ids"])
        assert 0 < row["source_frac"] < 1
        # The first place has the candidates of this text's own source row, as far as they are tokens of the pivot.
        own = next(one for one in source_rows if one["prompt_id"] == key)
        pieces = [bench.source.vocabulary.pieces[i] for i in own["top_ids"][:K]]  # type: ignore[index]
        exact = {bench.pivot.vocabulary.ids[piece] for piece in pieces if piece in bench.pivot.vocabulary.ids}
        assert exact <= set(row["top_ids"][: row["widths"][0]])


def test_distributions_of_another_text_under_the_same_id_are_refused(bench: Bench) -> None:
    texts = sealed(bench.folder / "texts", SFT_EXAMPLE, [example("a", TEXTS["a"])])
    pivot = sealed(bench.folder / "p", TOKEN_DISTRIBUTION, [distribution(bench.pivot, "a", TEXTS["a"], -2.0)])
    other = sealed(bench.folder / "s", TOKEN_DISTRIBUTION, [distribution(bench.source, "a", TEXTS["c"], -1.0)])
    with pytest.raises(ArtifactError, match="a: the models' distributions are of different texts"):
        bench.fused("fused", texts, pivot, other)


def test_counts_of_shards_add_up_to_the_counts_of_the_whole(bench: Bench) -> None:
    texts = sealed(bench.folder / "texts", SFT_EXAMPLE, [example(*item) for item in TEXTS.items()])
    counts = bench.counts(texts)
    assert len(set(counts.read(["shard"])["shard"].to_pylist())) == 3
    whole = read_counts(counts)
    num_bytes = sum(len(text.encode()) for text in TEXTS.values())
    assert int(whole.counts.sum()) == num_bytes  # the pivot's tokens are bytes, and each has one counterpart


def test_a_token_takes_less_than_100_bytes_at_ten_candidates(tmp_path: Path) -> None:
    """With random candidates, which nothing compresses."""
    source = np.random.default_rng(1)
    rows = []
    for number in range(16):
        T = 200
        rows.append(
            {
                "prompt_id": f"p{number}",
                "text_hash": "0" * 24,
                "num_bytes": 800,
                "token_ids": source.integers(0, 150_000, T).tolist(),
                "logprobs": (-source.exponential(2.0, T)).tolist(),
                "top_ids": source.integers(0, 150_000, 10 * T).tolist(),
                "top_logprobs": (-source.exponential(4.0, 10 * T)).astype(np.float16).tolist(),
                "residual": source.uniform(0, 1, T).astype(np.float16).tolist(),
            }
        )
    artifact = sealed(tmp_path / "d", TOKEN_DISTRIBUTION, rows)
    assert sum(part.bytes for part in artifact.parts) / (16 * 200) < 100
