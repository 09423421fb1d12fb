"""Checkpoints merged by the command line and as a step of a recipe, and loaded again."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import torch
from omegaconf import open_dict
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import Tensor

from fusion.config import composed, typed
from fusion.console import Terminal
from fusion.errors import ConfigError
from fusion.merging.sce import Sce, SceVariant
from fusion.pipeline import build
from fusion.plan import plan
from fusion.planning.forecast import forecast
from fusion.recipe import Recipe
from fusion.results import conclude
from fusion.runner import Outcome, Runner
from fusion.runtime import InProcess
from fusion.stages.merge import MergeConfig
from fusion.tree import TreeArtifact
from tests.end_to_end.pico import environment, make_workspace
from tests.tiny import make_pico_llama

CONFIG = """
merge_method: {method}
base_model: base
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


def merge(models: Path, out: Path, *options: str, method: str = "sce", parameters: str = "{}") -> tuple[int, str]:
    """`fusion merge` in this process, on a YAML file beside the models: exit code, and what it said."""
    from fusion.cli import main

    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said), pytest.raises(SystemExit) as ended:
        main(["merge", str(written(models, out, method, parameters)), str(out), *options])
    return int(str(ended.value.code)), said.getvalue()


def merged(models: Path, out: Path, *options: str, method: str = "sce", parameters: str = "{}") -> dict[str, Tensor]:
    """The merged weights."""
    code, said = merge(models, out, *options, method=method, parameters=parameters)
    assert code == 0, said
    return {name: value for file in sorted(out.glob("*.safetensors")) for name, value in load_file(file).items()}


def written(models: Path, out: Path, method: str, parameters: str) -> Path:
    config = models / f"{out.name}.yml"
    config.write_text(CONFIG.format(method=method, parameters=parameters))
    return config


@pytest.mark.slow
def test_what_comes_out_is_served_by_vllm(tmp_path: Path) -> None:
    """In fp32 both engines find its greedy answer as likely, and no other of the models does."""
    from fusion.generators.base import Completion, Request, Sampling
    from fusion.generators.transformers import Transformers
    from fusion.generators.vllm import Vllm
    from fusion.step import Placement

    for seed, name in enumerate(("base", "a", "b")):
        make_pico_llama(tmp_path / name, hidden=64, seed=seed)
    merged(tmp_path, tmp_path / "out", parameters="{select_topk: 1.0}")
    sampling = Sampling(temperature=0.0, top_p=1.0, max_new_tokens=12)
    request = Request("r", tuple(range(70, 90)), sampling, (0,), (7,), (), (2,))

    def answer(generator: Transformers | Vllm, model: str) -> tuple[str, float]:
        with generator.open(tmp_path / model, Placement(cpus=1, kv_cache_gib=0.1)) as engine:
            engine.submit(request)
            done: list[Completion] = []
            while engine.num_unfinished:
                done += engine.step()
        (sample,) = done[0].samples
        assert sample.logprob_sum is not None
        return sample.text, sample.logprob_sum

    plain, merged_says = (
        Transformers(dtype="float32", batch_size=1),
        answer(Vllm(dtype="float32", logprobs=True), "out"),
    )
    text, logprob_sum = answer(plain, "out")
    assert merged_says == (text, pytest.approx(logprob_sum, abs=1e-4))
    for name in ("base", "a", "b"):
        assert answer(plain, name)[1] != pytest.approx(logprob_sum, abs=1e-2)


def digest(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def test_what_comes_out_is_a_model(models: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    config = written(models, tmp_path / "out", "task_arithmetic", "{weight: 0.5}")
    done = subprocess.run(
        [sys.executable, "-m", "fusion", "merge", str(config), str(tmp_path / "out")],
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "merged a, b into" in done.stdout
    parts = [load_file(models / name / "model.safetensors") for name in ("base", "a", "b")]
    model, loading = AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    weights = model.state_dict()
    for name in parts[0]:  # base + (a - base) / 2 + (b - base) / 2
        torch.testing.assert_close(weights[name], 0.5 * (parts[1][name] + parts[2][name]))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], return_tensors="pt", return_dict=True)
    answer = model.generate(**ids, min_new_tokens=4, max_new_tokens=4, do_sample=False)
    assert answer.shape[1] == ids["input_ids"].shape[1] + 4
    assert json.loads((tmp_path / "out" / "merge.json").read_text())["models"] == ["a", "b"]


def test_jobs_and_shards_change_no_number(models: Path, tmp_path: Path) -> None:
    parameters = "{select_topk: 0.3, variant: fuseai}"
    whole = merged(models, tmp_path / "one", "--jobs", "1", parameters=parameters)
    merged(models, tmp_path / "four", "--jobs", "4", parameters=parameters)
    assert digest(tmp_path / "one") == digest(tmp_path / "four")
    pieces = merged(models, tmp_path / "shards", "--shard-bytes", "20000", parameters=parameters)
    assert (tmp_path / "shards" / "model.safetensors.index.json").is_file()
    assert whole.keys() == pieces.keys()
    assert all(pieces[name].equal(whole[name]) for name in whole)

    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "shards").state_dict()
    assert all(loaded[name].equal(whole[name]) for name in whole)


@pytest.mark.parametrize(
    "method", ["linear", "ties", "dare_ties", "dare_linear", "model_stock", "varm", "task_arithmetic", "sce"]
)
def test_every_method_streams_what_it_computes_in_memory(models: Path, tmp_path: Path, method: str) -> None:
    """DARE keeps everything here, as its masks go by the tensor's name."""
    from fusion.merging.mergekit_yaml import read

    found = merged(models, tmp_path / method, method=method)
    rule = read(models / f"{method}.yml").method("any", 2)
    base, *others = [load_file(models / name / "model.safetensors") for name in ("base", "a", "b")]
    assert found.keys() == base.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, rule.merge(base[name], [other[name] for other in others]))


def test_random_masks_are_the_same_again(models: Path, tmp_path: Path) -> None:
    parameters = "{density: 0.5, seed: 7}"
    first = merged(models, tmp_path / "first", "--jobs", "1", method="dare_linear", parameters=parameters)
    again = merged(models, tmp_path / "again", "--jobs", "4", method="dare_linear", parameters=parameters)
    other = merged(models, tmp_path / "other", method="dare_linear", parameters="{density: 0.5, seed: 8}")
    assert all(first[name].equal(again[name]) for name in first)
    assert not all(first[name].equal(other[name]) for name in first)


def test_weights_of_a_layer_are_shared(models: Path, tmp_path: Path) -> None:
    """VaRM by layer, over files: each layer's shares come from all its tensors."""
    found = merged(models, tmp_path / "layers", method="varm", parameters="{granularity: layer}")
    base, *others = [load_file(models / name / "model.safetensors") for name in ("base", "a", "b")]
    names = [name for name in base if name.startswith("model.layers.1.")]
    squares = [sum(float((o[n] - base[n]).double().square().sum()) for n in names) for o in others]
    share = squares[0] / sum(squares)
    for name in names:
        torch.testing.assert_close(found[name], share * others[0][name] + (1 - share) * others[1][name])


@pytest.mark.slow
def test_on_ray_the_bytes_are_the_same(models: Path, tmp_path: Path) -> None:
    merged(models, tmp_path / "threads", parameters="{select_topk: 0.3}")
    merged(models, tmp_path / "ray", "--ray", "--jobs", "2", parameters="{select_topk: 0.3}")
    assert digest(tmp_path / "ray") == digest(tmp_path / "threads")


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_a_folder_with_something_in_it_is_left_alone(models: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    code, said = merge(models, tmp_path / "out")
    assert code == 2
    assert "is not empty; remove it or name another folder" in said
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_weights_that_are_not_numbers_are_refused_by_name(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    shutil.copytree(models, folder)
    weights = load_file(folder / "b" / "model.safetensors")
    weights["model.norm.weight"][3] = float("nan")
    save_file(weights, folder / "b" / "model.safetensors")
    code, said = merge(folder, tmp_path / "out")
    assert code == 2
    assert "model.norm.weight cannot be merged: b holds 1 NaN or infinite numbers" in said
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


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
    code, said = merge(folder, tmp_path / "no", method="task_arithmetic")
    assert code == 2
    assert "their vocabularies have different sizes" in said
    found = merged(folder, tmp_path / "yes", "--rows", "base", method="task_arithmetic")["model.embed_tokens.weight"]
    base, a = (load_file(folder / n / "model.safetensors")["model.embed_tokens.weight"] for n in ("base", "a"))
    theirs = torch.cat([embedding[:rows], base[rows:]])
    torch.testing.assert_close(found, a + theirs - base)


# -- as a step ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("pico"), 6)


SETTINGS = (
    "experiment=pico", "recipe=fuseo1", "name=merged", "merge=sce", "merge.tau=1.0", "cluster=in_process",
)  # fmt: skip


def composed_recipe(workspace: Path, *overrides: str) -> Recipe:
    store = f"store.path={workspace / 'store'}"
    return build(typed(composed([*SETTINGS, store, *overrides], str(workspace / "conf"))))


def run(recipe: Recipe) -> Outcome:
    config = recipe.config
    runner = Runner(config.store.path, InProcess, config.cluster.capacity, Terminal(Console(quiet=True)))
    return runner.run(recipe.targets)


def statuses(recipe: Recipe) -> dict[str, str]:
    return {one.step.name: one.status.value for one in plan(recipe.config.store.path, recipe.targets)}


def test_a_recipe_merges_evaluates_and_is_done_the_second_time(workspace: Path) -> None:
    recipe = composed_recipe(workspace)
    outcome = run(recipe)
    final = outcome.artifact(recipe.steps["checkpoint/final"])
    assert isinstance(final, TreeArtifact)
    found = load_file(final.files / "model.safetensors")
    parts = [load_file(workspace / "models" / n / "model.safetensors") for n in ("pico_target", "pico_a", "pico_b")]
    for name, value in found.items():
        torch.testing.assert_close(value, Sce(tau=1.0).merge(parts[0][name], [p[name] for p in parts[1:]]))
    (workspace / "runs" / "merged").mkdir(parents=True)
    (workspace / "runs" / "merged" / "config.yaml").write_text("name: merged\n")
    result = conclude(recipe, outcome, workspace / "runs" / "merged", Console(quiet=True))
    evaluation = result["evaluation"]
    assert isinstance(evaluation, dict)
    assert evaluation.keys() == {"base", "final", "pico_a", "pico_b"}
    assert (workspace / "runs" / "merged" / "models" / "final" / "merge.json").is_file()
    assert set(statuses(composed_recipe(workspace)).values()) == {"HIT"}


def test_another_tau_merges_again_and_another_chat_does_not(workspace: Path) -> None:
    run(composed_recipe(workspace, "recipe=merge"))
    assert statuses(composed_recipe(workspace, "recipe=merge", "merge.tau=0.5")) == {"checkpoint/final": "NEW"}
    chat = "sources.pico_a.model.chat.system=Brief."
    assert statuses(composed_recipe(workspace, "recipe=merge", chat)) == {"checkpoint/final": "HIT"}


def test_the_order_of_models_counts(workspace: Path) -> None:
    """Numbers of a method stand in the models' order."""
    one = composed_recipe(workspace, "recipe=merge", "source=[pico_a,pico_b]")
    two = composed_recipe(workspace, "recipe=merge", "source=[pico_b,pico_a]")
    assert one.steps["checkpoint/final"].fingerprint != two.steps["checkpoint/final"].fingerprint


def test_a_recipe_without_a_method_is_refused(workspace: Path) -> None:
    settings = [one for one in SETTINGS if not one.startswith("merge")]
    config = typed(composed([*settings, "recipe=merge"], str(workspace / "conf")))
    with pytest.raises(ConfigError, match="this recipe needs merge, which is not set; type e.g. merge=sce"):
        build(config)


def test_the_tokenizer_may_be_a_sources(workspace: Path) -> None:
    recipe = composed_recipe(
        workspace, "recipe=merge", "merge_output.tokenizer_from=pico_a", "merge_output.add_bos_token=false",
        "merge_output.stop_tokens_of_all=true", "merge_output.dtype=bfloat16",
    )  # fmt: skip
    final = run(recipe).artifact(recipe.steps["checkpoint/final"])
    assert isinstance(final, TreeArtifact)
    assert json.loads((final.files / "tokenizer_config.json").read_text())["add_bos_token"] is False
    assert json.loads((final.files / "generation_config.json").read_text())["eos_token_id"] == [2]
    assert json.loads((final.files / "config.json").read_text())["dtype"] == "bfloat16"
    assert load_file(final.files / "model.safetensors")["model.norm.weight"].dtype == torch.bfloat16
    with pytest.raises(ConfigError, match="it is base or one of pico_a, pico_b"):
        composed_recipe(workspace, "merge_output.tokenizer_from=pico_c")


@pytest.mark.parametrize("name", ["fuseo1_long_long", "fuseo1_long_short", "fuseo1_coder"])
def test_fuseo1_is_set_as_released(name: str) -> None:
    """SCE over every element, as the authors' fork computes it; planned without a GPU, a hub or the models."""
    tree = composed([f"experiment={name}"])
    with open_dict(tree):
        for node in (*(source.model for source in tree.sources.values()), tree.target.model, tree.evaluation.prompts):
            node.revision = "0" * 40
    recipe = build(typed(tree))
    step = recipe.steps["checkpoint/final"]
    assert isinstance(step.config, MergeConfig)
    assert step.config.method == Sce(tau=1.0, variant=SceVariant.FUSEAI)
    assert step.config.order[0] == "r1_distill_qwen_32b"
    assert step.config.base.shape is not None
    assert step.config.base.shape.parameters == 32_763_876_352
    made = {one.name: one for one in forecast(recipe, recipe.config.planning)}["checkpoint/final"]
    assert made.disk_gib == pytest.approx(61.03, abs=0.01)
    assert made.download_gib == pytest.approx((1 + len(step.config.order)) * 61.03, abs=0.05)
