"""What a model expects, as a stage: a part of real rows is small."""

from __future__ import annotations

from pathlib import Path

from fusion.explicit.config import DumpConfig
from fusion.explicit.tables import TOKEN_DISTRIBUTION
from fusion.models import ChatConfig, ModelRef, resolve
from fusion.planning.disk import distribution_bytes
from fusion.runtime import InProcess
from fusion.schema import SFT_EXAMPLE
from fusion.stages import distributions
from fusion.stages.distributions import DistributionsConfig
from fusion.writer import ArtifactWriter
from tests.fusion.stages.test_training import sealed, sft_row, work_on
from tests.tiny import make_pico_llama


def test_a_token_takes_no_more_room_than_the_plan_says(tmp_path: Path) -> None:
    """At the default number of candidates; a random model, whose log-probabilities nothing compresses."""
    from pydoc_data.topics import topics

    model = ModelRef(uri=str(make_pico_llama(tmp_path / "pico")))
    resolve(model)
    rows = [sft_row(number, text[:180]) for number, text in enumerate(list(topics.values())[:16])]
    texts = sealed(tmp_path / "texts", SFT_EXAMPLE, rows, part_rows=16)
    config = DistributionsConfig(source="pico", model=model, chat=ChatConfig(), dump=DumpConfig())
    out = ArtifactWriter(str(tmp_path / "out"), TOKEN_DISTRIBUTION)
    distributions.run([work_on(distributions.run, config, {"texts": texts}, out, "distributions")], InProcess())
    table = out.seal({})
    columns = table.read(["token_ids", "top_ids"])
    num_tokens, candidates = (sum(map(len, columns[name].to_pylist())) for name in ("token_ids", "top_ids"))
    assert num_tokens > 16 * 150
    assert candidates == 10 * num_tokens
    stored = sum(part.bytes for part in table.parts) / num_tokens
    assert 20 < stored < distribution_bytes(DumpConfig().top_k) + 10
