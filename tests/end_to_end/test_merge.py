"""Checkpoints merged by the command line and as a step of a recipe, and loaded again."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.end_to_end.pico import environment, fusion, make_workspace, result
from tests.tiny import make_pico_llama

CONFIG = """
merge_method: {method}
base_model: {base}
models:
  - model: a
  - model: b
parameters: {parameters}
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("base", "a", "b")):
        make_pico_llama(folder / name, seed=seed)
    return folder


def merge(models: Path, out: Path, *options: str, method: str = "sce", parameters: str = "{}", base: str = "base") -> str:
    """Run `fusion merge` on a YAML file beside the models; returns what it said, refusals included."""
    config = models / f"{out.name}.yml"
    config.write_text(CONFIG.format(method=method, parameters=parameters, base=base))
    done = subprocess.run(
        [sys.executable, "-m", "fusion", "merge", str(config), str(out), *options],
        env=environment(), capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    return f"{done.returncode} {done.stdout} {done.stderr}"


def digest(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def test_what_comes_out_is_a_model(models: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    said = merge(models, tmp_path / "out", method="task_arithmetic", parameters="{weight: 0.5}")
    assert said.startswith("0 "), said
    parts = [load_file(models / name / "model.safetensors") for name in ("base", "a", "b")]
    model, loading = AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    weights = model.state_dict()
    for name, base in parts[0].items():
        torch.testing.assert_close(weights[name], 0.5 * (parts[1][name] + parts[2][name]) + 0 * base)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], return_tensors="pt", return_dict=True)
    assert model.generate(**ids, max_new_tokens=4, do_sample=False).shape[1] == ids["input_ids"].shape[1] + 4
    assert json.loads((tmp_path / "out" / "merge.json").read_text())["models"] == ["a", "b"]


def test_jobs_and_shards_change_no_number(models: Path, tmp_path: Path) -> None:
    parameters = "{select_topk: 0.3, variant: fuseai}"
    for name, options in {"one": ("--jobs", "1"), "four": ("--jobs", "4")}.items():
        assert merge(models, tmp_path / name, *options, parameters=parameters).startswith("0 ")
    assert digest(tmp_path / "one") == digest(tmp_path / "four")
    assert merge(models, tmp_path / "shards", "--shard-bytes", "20000", parameters=parameters).startswith("0 ")
    assert (tmp_path / "shards" / "model.safetensors.index.json").is_file()
    whole = load_file(tmp_path / "one" / "model.safetensors")
    pieces = {k: v for file in (tmp_path / "shards").glob("*.safetensors") for k, v in load_file(file).items()}
    assert whole.keys() == pieces.keys()
    assert all(pieces[name].equal(whole[name]) for name in whole)

    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "shards").state_dict()
    assert all(loaded[name].equal(whole[name]) for name in whole)


@pytest.mark.parametrize(
    "method", ["linear", "ties", "dare_ties", "dare_linear", "model_stock", "varm", "task_arithmetic", "sce"]
)
def test_every_method_streams_what_it_computes_in_memory(models: Path, tmp_path: Path, method: str) -> None:
    from fusion.merging.mergekit_yaml import read

    assert merge(models, tmp_path / method, method=method).startswith("0 ")
    found = load_file(tmp_path / method / "model.safetensors")
    rule = read(models / f"{method}.yml").method("any", 2)
    base, *others = [load_file(models / name / "model.safetensors") for name in ("base", "a", "b")]
    if method.startswith("dare"):  # its masks depend on the tensor's name; at density 1 there are none
        assert merge(models, tmp_path / "again", method=method).startswith("0 ")
        assert load_file(tmp_path / "again" / "model.safetensors").keys() == found.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, rule.merge(base[name], [other[name] for other in others]))


def test_on_ray_the_bytes_are_the_same(models: Path, tmp_path: Path) -> None:
    assert merge(models, tmp_path / "threads", parameters="{select_topk: 0.3}").startswith("0 ")
    said = merge(models, tmp_path / "ray", "--ray", "--jobs", "2", parameters="{select_topk: 0.3}")
    assert said.startswith("0 "), said
    assert digest(tmp_path / "ray") == digest(tmp_path / "threads")


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_a_folder_with_something_in_it_is_left_alone(models: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    said = merge(models, tmp_path / "out")
    assert said.startswith("2 ")
    assert "is not empty; remove it or name another folder" in said
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_weights_that_are_not_numbers_are_refused_by_name(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    shutil.copytree(models, folder)
    weights = load_file(folder / "b" / "model.safetensors")
    weights["model.norm.weight"][3] = float("nan")
    save_file(weights, folder / "b" / "model.safetensors")
    said = merge(folder, tmp_path / "out")
    assert said.startswith("2 ")
    assert "model.norm.weight cannot be merged: b holds 1 NaN or infinite numbers" in said
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_an_unknown_method_is_refused_with_those_there_are(models: Path, tmp_path: Path) -> None:
    said = merge(models, tmp_path / "out", method="karcher")
    assert said.startswith("2 ")
    assert "merge_method 'karcher' is not known here" in said
    assert "dare, dare_linear" in said or "sce" in said


@pytest.mark.parametrize("rows", [270, 250])
def test_rows_beyond_the_bases_vocabulary(models: Path, tmp_path: Path, rows: int) -> None:
    """Further rows are left out; rows that a model lacks stay as the other models and the base have them."""
    folder = tmp_path / "models"
    shutil.copytree(models, folder)
    weights = load_file(folder / "b" / "model.safetensors")
    embedding = weights["model.embed_tokens.weight"]
    weights["model.embed_tokens.weight"] = torch.cat([embedding, torch.ones(50, 32)])[:rows].clone()
    save_file(weights, folder / "b" / "model.safetensors")
    config = json.loads((folder / "b" / "config.json").read_text()) | {"vocab_size": rows}
    (folder / "b" / "config.json").write_text(json.dumps(config))
    assert "their vocabularies have different sizes" in merge(folder, tmp_path / "no", method="task_arithmetic")
    assert merge(folder, tmp_path / "yes", "--rows", "base", method="task_arithmetic").startswith("0 ")
    found = load_file(tmp_path / "yes" / "model.safetensors")["model.embed_tokens.weight"]
    base, a = (load_file(folder / n / "model.safetensors")["model.embed_tokens.weight"] for n in ("base", "a"))
    theirs = torch.cat([embedding[:rows], base[rows:]])
    torch.testing.assert_close(found, a + theirs - base)


# -- as a step ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("pico"), 6)


MERGE = ("recipe=merge", "name=merged", "merge=sce", "merge.tau=1.0", "cluster=in_process", "prompts=null",
         "selection=null", "objective=null")  # fmt: skip


def test_a_recipe_merges_evaluates_and_is_done_the_second_time(workspace: Path) -> None:
    done = fusion(workspace, *MERGE)
    assert done.returncode == 0, done.stdout + done.stderr
    steps = result(workspace, "merged")["steps"]
    assert isinstance(steps, list)
    assert {"checkpoint/final", "responses/evaluation-final", "evaluation/scores"} <= {
        f"{step['kind']}/{step['label']}" for step in steps
    }
    merged = load_file(workspace / "runs" / "merged" / "models" / "final" / "model.safetensors")
    parts = [load_file(workspace / "models" / n / "model.safetensors") for n in ("pico_target", "pico_a", "pico_b")]

    from fusion.merging.sce import Sce

    for name, value in merged.items():
        torch.testing.assert_close(value, Sce(tau=1.0).merge(parts[0][name], [p[name] for p in parts[1:]]))
    again = fusion(workspace, *MERGE)
    assert "NEW" not in again.stdout
    assert again.stdout.count("HIT") == len(steps)


def test_another_tau_merges_again_and_another_chat_does_not(workspace: Path) -> None:
    fusion(workspace, *MERGE, "evaluation=null")
    planned = fusion(workspace, *MERGE, "evaluation=null", "merge.tau=0.5", verb="plan")
    assert "merge" in planned.stdout or "tau" in planned.stdout
    assert "NEW" in planned.stdout
    planned = fusion(workspace, *MERGE, "evaluation=null", "sources.pico_a.model.chat.system=Be brief.", verb="plan")
    assert "HIT" in planned.stdout


def test_a_recipe_without_a_method_is_refused(workspace: Path) -> None:
    refused = fusion(workspace, *(word for word in MERGE if not word.startswith("merge")), verb="plan")
    assert refused.returncode == 2
    assert "this recipe needs merge, which is not set; type e.g. merge=sce" in refused.stderr


def test_the_tokenizer_may_be_a_sources(workspace: Path) -> None:
    done = fusion(
        workspace, *MERGE, "name=donor", "evaluation=null", "merge_output.tokenizer_from=pico_a",
        "merge_output.add_bos_token=false", "merge_output.stop_tokens_of_all=true", "merge_output.dtype=bfloat16",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    folder = workspace / "runs" / "donor" / "models" / "final"
    assert json.loads((folder / "tokenizer_config.json").read_text())["add_bos_token"] is False
    assert json.loads((folder / "generation_config.json").read_text())["eos_token_id"] == [2]
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
    assert load_file(folder / "model.safetensors")["model.norm.weight"].dtype == torch.bfloat16
    refused = fusion(workspace, *MERGE, "merge_output.tokenizer_from=pico_c", verb="plan")
    assert refused.returncode == 2
    assert "it is base or one of pico_a, pico_b" in refused.stderr
