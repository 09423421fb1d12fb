"""The prompts of two phases: all of them, each once, the published share, whatever their order."""

from __future__ import annotations

from pathlib import Path

from fusion.artifact import Artifact
from fusion.runtime import InProcess
from fusion.schema import PROMPT
from fusion.stages import split
from fusion.stages.split import Phase, SplitConfig
from fusion.writer import ArtifactWriter
from tests.fusion.stages.test_training import messages, sealed, work_on


def prompts(folder: Path, numbers: list[int]) -> Artifact:
    rows: list[dict[str, object]] = [
        {
            "prompt_id": f"p{i}",
            "messages": messages(i),
            "domain": "sums",
            "dataset": "large" if i < 30 else "small",
            "reference": None,
        }
        for i in numbers
    ]
    return sealed(folder, PROMPT, rows)


def phase(folder: Path, table: Artifact, which: Phase, seed: int = 42) -> Artifact:
    out = ArtifactWriter(str(folder), PROMPT)
    config = SplitConfig(phase=which, sft_frac=1 / 3, seed=seed)
    split.run([work_on(split.run, config, {"prompts": table}, out, "prompts")], InProcess())
    return out.seal({})


def keys(table: Artifact) -> set[str]:
    return set(table.read(["prompt_id"])["prompt_id"].to_pylist())


def test_a_third_of_each_data_set_trains_sft_and_the_rest_preference(tmp_path: Path) -> None:
    table = prompts(tmp_path / "prompts", list(range(36)))
    sft = phase(tmp_path / "sft", table, Phase.SFT)
    preference = phase(tmp_path / "preference", table, Phase.PREFERENCE)
    assert keys(sft) | keys(preference) == {f"p{i}" for i in range(36)}
    assert not keys(sft) & keys(preference)
    assert sum(int(key[1:]) < 30 for key in keys(sft)) == 10
    assert sum(int(key[1:]) >= 30 for key in keys(sft)) == 2
    assert sft.accounts.dropped == {"other_phase": 24}
    assert preference.accounts.dropped == {"other_phase": 12}


def test_the_order_of_the_prompts_changes_nothing_and_the_seed_does(tmp_path: Path) -> None:
    plain = phase(tmp_path / "a", prompts(tmp_path / "p", list(range(36))), Phase.SFT)
    moved = phase(tmp_path / "b", prompts(tmp_path / "q", list(range(35, -1, -1))), Phase.SFT)
    seeded = phase(tmp_path / "c", prompts(tmp_path / "r", list(range(36))), Phase.SFT, seed=1)
    assert keys(plain) == keys(moved)
    assert keys(plain) != keys(seeded)
