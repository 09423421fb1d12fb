"""Prompts and a step of responses as the program makes them, for what looks at the driver: nothing is generated."""

from __future__ import annotations

from fusion.artifact import Artifact, Receipt
from fusion.generators.base import Sampling
from fusion.generators.transformers import Transformers
from fusion.models import ChatConfig
from fusion.schema import PROMPT, RESPONSE, hash_text
from fusion.stages import generate
from fusion.stages.ingest import PART_ROWS
from fusion.step import Step
from fusion.work import Work
from fusion.writer import ArtifactWriter


def prompt_table(folder: str, number: int) -> Artifact:
    """A sealed table in parts as `ingest` makes them."""
    writer = ArtifactWriter(folder, PROMPT)
    for start in range(0, number, PART_ROWS):
        rows: list[dict[str, object]] = [
            {
                "prompt_id": hash_text(str(one)),
                "messages": [{"role": "user", "content": f"Tell me something about the number {one}."}],
                "domain": "chat",
                "dataset": "bench",
                "reference": None,
            }
            for one in range(start, min(start + PART_ROWS, number))
        ]
        writer.expect([str(row["prompt_id"]) for row in rows])
        writer.accept(Receipt(writer.folder.write(PROMPT.build(rows))))
    return writer.seal({})


def responses_work(folder: str, prompts: Artifact, source: str, num_samples: int) -> Work:
    """A step that is ready to run, with its writer."""
    config = generate.GenerateConfig(
        source=source,
        model=None,
        chat=ChatConfig(),
        sampling=Sampling(num_samples=num_samples),
        generator=Transformers(),
    )
    step = Step(kind="responses", label=source, run=generate.run, config=config, produces=RESPONSE)
    return Work(step, {"prompts": prompts}, ArtifactWriter(folder, RESPONSE), lambda done, total: None, lambda: False)
