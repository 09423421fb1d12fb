from pathlib import Path

import pytest

from fusion.artifact import Artifact, Receipt
from fusion.errors import ConfigError
from fusion.runtime import InProcess
from fusion.schema import COMPARISON, EVALUATION, PROMPT, RESPONSE, REWARD, Outcome, Reason
from fusion.stages import compare, evaluate
from fusion.stages.evaluate import EvaluateConfig
from fusion.step import Step
from fusion.table import Table
from fusion.work import Work
from fusion.writer import ArtifactWriter

P, F, E, T = Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.TIMEOUT


def sealed(path: Path, table: Table, rows: list[dict], drops: list[str] = ()) -> Artifact:
    writer = ArtifactWriter(str(path), table)
    built = table.build(rows)
    writer.expect({"/".join(str(row[k]) for k in table.unit) for row in rows} | set(drops))
    dropped = writer.folder.write_drops([((key,), Reason.REQUEST_FAILED, "test") for key in drops])
    writer.accept(Receipt(parts=writer.folder.write(built), drops=dropped))
    return writer.seal({})


def prompts(path: Path, **domains: int) -> Artifact:
    """`gcd=3` -> prompts gcd0, gcd1, gcd2."""
    rows = [
        {
            "prompt_id": f"{domain}{i}",
            "messages": [{"role": "user", "content": f"{domain} {i}?"}],
            "domain": domain,
            "dataset": "test",
            "reference": "1",
        }
        for domain, count in domains.items()
        for i in range(count)
    ]
    return sealed(path, PROMPT, rows)


def answered(path: Path, model: str, verdicts: dict[str, list[Outcome]], drops: list[str] = ()) -> dict[str, Artifact]:
    keys = [(prompt, i, outcome) for prompt, found in verdicts.items() for i, outcome in enumerate(found)]
    base = [{"prompt_id": p, "source": model, "sample_index": i} for p, i, _ in keys]
    said = {"text": "1", "num_tokens": 1, "finish_reason": "stop", "seed": 0, "logprob_sum": None}
    responses = [row | said for row in base]
    rewards = [
        row | {"outcome": outcome, "value": None, "detail": None, "text_hash": "x"}
        for row, (_, _, outcome) in zip(base, keys, strict=True)
    ]
    return {
        f"responses:{model}": sealed(path / model / "responses", RESPONSE, responses, drops),
        f"rewards:{model}": sealed(path / model / "rewards", REWARD, rewards),
    }


def run(path: Path, config: EvaluateConfig, inputs: dict[str, Artifact], table: Table = EVALUATION) -> list[dict]:
    stage = evaluate.run if table is EVALUATION else compare.run
    step = Step(kind=table.name, label="test", run=stage, config=config, produces=table)
    out = ArtifactWriter(str(path / table.name), table)
    stage([Work(step, inputs, out, lambda done, total: None, lambda: False)], InProcess())
    return out.seal({}).read().to_pylist()


def score(rows: list[dict], model: str, domain: str) -> dict:
    return next(row for row in rows if (row["model"], row["domain"]) == (model, domain))


def test_overall_is_the_mean_over_domains(tmp_path):
    inputs = {"prompts": prompts(tmp_path / "p", gcd=4, sums=1)}
    inputs |= answered(tmp_path, "base", {"gcd0": [P], "gcd1": [F], "gcd2": [F], "gcd3": [F], "sums0": [P]})
    rows = run(tmp_path, EvaluateConfig(models=["base"], reward="answer"), inputs)
    assert {row["domain"]: row["score"] for row in rows} == {"gcd": 0.25, "sums": 1.0, "overall": 0.625}


def test_what_could_not_be_decided_counts_as_not_passed_and_is_counted(tmp_path):
    inputs = {"prompts": prompts(tmp_path / "p", gcd=4)}
    inputs |= answered(tmp_path, "base", {"gcd0": [P], "gcd1": [E], "gcd2": [T]}, drops=["gcd3/base/0"])
    row = score(run(tmp_path, EvaluateConfig(models=["base"], reward="answer"), inputs), "base", "gcd")
    assert (row["score"], row["n"], row["num_samples"], row["undecided"]) == (0.25, 4, 4, 3)


def test_a_prompt_that_a_model_never_saw_counts_against_it(tmp_path):
    inputs = {"prompts": prompts(tmp_path / "p", gcd=2)} | answered(tmp_path, "base", {"gcd0": [P]})
    row = score(run(tmp_path, EvaluateConfig(models=["base"], reward="answer"), inputs), "base", "gcd")
    assert (row["score"], row["n"], row["undecided"]) == (0.5, 2, 1)


def test_samples_of_a_prompt_are_averaged_first(tmp_path):
    inputs = {"prompts": prompts(tmp_path / "p", gcd=2)}
    inputs |= answered(tmp_path, "base", {"gcd0": [P, P, F, F], "gcd1": [F]})
    row = score(run(tmp_path, EvaluateConfig(models=["base"], reward="answer"), inputs), "base", "gcd")
    assert (row["score"], row["n"], row["num_samples"]) == (0.25, 2, 5)


def test_comparison_pairs_prompts(tmp_path):
    inputs = {"prompts": prompts(tmp_path / "p", gcd=4)}
    inputs |= answered(tmp_path, "base", {"gcd0": [P], "gcd1": [F], "gcd2": [F], "gcd3": [F]})
    inputs |= answered(tmp_path, "final", {"gcd0": [F], "gcd1": [P], "gcd2": [P], "gcd3": [F]})
    config = EvaluateConfig(models=["base", "final"], reward="answer")
    rows = run(tmp_path, config, inputs, COMPARISON)
    assert {(row["model"], row["against"]) for row in rows} == {("final", "base")}
    row = next(row for row in rows if (row["against"], row["domain"]) == ("base", "gcd"))
    assert (row["difference"], row["wins"], row["losses"], row["p_value"]) == (0.25, 2, 1, 1.0)


def test_an_interrupted_commit_is_not_doubled(tmp_path):
    """The rows were committed, the driver died before the seal; the same stage runs again on the same folder."""
    inputs = {"prompts": prompts(tmp_path / "p", gcd=1)} | answered(tmp_path, "base", {"gcd0": [P]})
    config = EvaluateConfig(models=["base"], reward="answer")
    first = run(tmp_path, config, inputs)
    (tmp_path / "evaluation" / "manifest.json").unlink()
    assert run(tmp_path, config, inputs) == first


def test_a_source_named_like_a_role_is_refused():
    with pytest.raises(ConfigError, match="'final' twice"):
        EvaluateConfig(models=["base", "final", "final"], reward="answer")
