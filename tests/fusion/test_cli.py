"""What a person types and what comes back: clear refusals with a remedy, exit codes, nothing started by mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fusion.cli import COMMANDS, main
from fusion.config import composed, typed
from fusion.step import Placement
from tests.end_to_end.pico import make_workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("pico"))


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


@pytest.fixture
def plan(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """`fusion plan` in an empty folder; returns exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*overrides: str, experiment: str = "pico") -> tuple[int, str, str]:
        code = call("plan", "--config-dir", str(workspace / "conf"), f"experiment={experiment}", *overrides)
        out = capsys.readouterr()
        return code, out.out, out.err

    return run


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--help") == 0
    text = capsys.readouterr().out
    assert all(f"fusion {name}" in text for name in set(COMMANDS) - {"job"})  # that one is for the cluster to call


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"run", "plan", "eval", "agree", "doctor", "job"}))
def test_every_command_is_where_it_is_said_to_be_and_says_how(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(name, "--help") == 0
    assert "usage: fusion" in capsys.readouterr().out


def test_an_unknown_command_gets_the_closest(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("paln") == 2
    assert "Did you mean `fusion plan`?" in capsys.readouterr().err


def test_a_plan_lists_every_step_and_writes_nothing(plan, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = plan()
    assert code == 0
    assert "responses/pico_a" in out
    assert "checkpoint/final" in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("selecton=correct_vs_wrong", ["selecton"]),
        ("selection=corect_vs_wrong", ["correct_vs_wrong"]),
        ("sead=3", ["sead", "seed"]),
        ("objective.bta=1", ["bta", "beta"]),
        ("objective.beta=high", ["beta", "high"]),
        ("objective.beta=-1", ["beta", "-1"]),
        ("selection.window.low=200", ["window", "swap"]),
        ("selection.rank_by=armorm", ["armorm", "reward=["]),
        ("evaluation.reward=likelihood", ["likelihood", "verifier"]),
        ("target.model.uri=/no/such/folder", ["target.model", "/no/such/folder"]),
        ("sources.pico_a.model.uri=hf://org/name", ["sources.pico_a.model", "revision"]),
        ("prompts.path=/no/such/file.jsonl", ["/no/such/file.jsonl"]),
        ("train.sft.epochs=0", ["epochs"]),
        ("name=../x", ["name is '../x'", "name=mine"]),
        ("name=", ["name is ''", "name=mine"]),
        ("generator.max_model_len=999", ["999", "sources.pico_a.model", "generator.max_model_len=256"]),
        ("+sead=3", ["there is no sead", "seed"]),
        ("++evaluation.gate.min_gian=0.9", ["there is no evaluation.gate.min_gian", "min_gain"]),
        ("+train.sft.lr=1", ["there is no train.sft.lr"]),
        ("evaluation.gate.max_regression_of.evn=0.1", ["evaluation.gate.max_regression_of", "evn", "even"]),
        ("evaluation.gate.max_regression_in.math=0.1", ["evaluation.gate.max_regression_in", "math", "there are none"]),
        ("gate.max_regression_of={gsm8k: 0.1}", ["gate.max_regression_of", "gsm8k"]),
        ("gate.max_regression_in={math: 0.1}", ["gate.max_regression_in", "math"]),
        ("reward=[anwser]", ["anwser", "Did you mean answer"]),
        ("sources.pico_c.sampling.top_k=1", ["pico_c", "Did you mean pico_b or pico_a?"]),
        ("cluster.pools.reward.cpus=1", ["cluster.pools.reward", "Did you mean rewards?"]),
        ("cluster.pools.texts.cpus=1", ["To add a pool, type +pool@cluster.pools.texts=own as well"]),
        ("rewards.likelihod.model.uri=x", ["rewards.likelihod", "Did you mean likelihood?"]),
    ],
)
def test_a_wrong_setting_is_refused_with_its_name_and_a_remedy(plan, override: str, words: list[str]) -> None:  # type: ignore[no-untyped-def]
    code, _, err = plan(override)
    assert code == 2
    assert err.startswith("refused: ")
    for word in words:
        assert word in err
    assert "append" not in err


def test_a_pool_that_no_yaml_has_is_added_as_the_refusal_says() -> None:
    tree = composed(["experiment=quickstart", "+pool@cluster.pools.texts=own", "cluster.pools.texts.cpus=3"])
    assert typed(tree).cluster.placement("texts", "x") == Placement(cpus=3)


def test_a_family_of_prompts_is_known_by_its_closest(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("plan", "experiment=quickstart", "prompts.tasks.gdc.max_value=3") == 2
    assert "Did you mean gcd?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "form", ["evaluation.gate.max_regression_of.even=0.1", "evaluation.gate.max_regression_of={even: 0.1}"]
)
@pytest.mark.parametrize("mark", ["", "+", "++"])
def test_a_dictionary_of_numbers_takes_new_keys_as_they_are_typed(plan, mark: str, form: str) -> None:  # type: ignore[no-untyped-def]
    code, _, err = plan(mark + form)
    assert code == 0, err


@pytest.mark.parametrize(
    "words",
    [
        ["-m", "sead=1,2"],
        ["-m", "seed=1,2", "objective.beta=high"],
        ["-m", "objective=dpo,ln_dop"],
        ["--cfg", "job", "sead=1"],
        ["--config-dir=/no/such/folder"],
        ["-cd", "/no/such/folder"],
    ],
    ids=" ".join,
)
def test_a_flag_of_hydra_changes_nothing_about_refusals(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert call("plan", "experiment=quickstart", *words) == 2
    said = capfd.readouterr()
    assert said.err.startswith("refused: ")
    assert "HYDRA_FULL_ERROR" not in said.err
    assert said.out == ""


def test_a_further_folder_may_be_given_with_an_equals_sign(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("plan", f"--config-dir={workspace / 'conf'}", "experiment=pico") == 0
    assert "responses/pico_a" in capsys.readouterr().out


def test_a_sweep_may_be_over_an_entry_of_a_dictionary(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = "evaluation.gate.max_regression_of.even=0.1,0.2"
    assert call("plan", "--config-dir", str(workspace / "conf"), "experiment=pico", "-m", sweep) == 0
    assert capsys.readouterr().out.count("checkpoint/final") == 2


def test_a_context_that_the_yaml_declares_bounds_what_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("plan", "experiment=quickstart", "generator.max_model_len=999999") == 2
    assert "type generator.max_model_len=8192" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "note"),
    [
        (["target=gemma2_9b"], "FuseChat-3.0 trains models like gemma2_9b with dpo: objective=dpo"),
        (["objective=dpo"], "FuseChat-3.0 trains models like smollm2_135m with ln_dpo: objective=ln_dpo"),
        (["target=gemma2_9b", "objective=dpo"], ""),
        (["objective=simpo"], ""),
        ([], ""),
    ],
)
def test_an_objective_that_the_target_is_not_trained_with_is_told(
    words: list[str], note: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert call("plan", "experiment=quickstart", *words) == 0
    said = capsys.readouterr().out
    assert note in said
    assert ("FuseChat-3.0 trains" in said) == bool(note)


def test_nothing_chosen_is_answered_with_an_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("run", "plan", "submit"):
        assert call(verb, *(["seed=1"] if verb == "submit" else [])) == 2
        assert "type e.g. experiment=quickstart" in capsys.readouterr().err


def test_an_unknown_experiment_gets_the_closest(plan) -> None:  # type: ignore[no-untyped-def]
    code, _, err = plan(experiment="quickstrat")
    assert code == 2
    assert "Did you mean quickstart" in err


def test_a_run_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("show", "nothing") == 2
    assert "fusion run experiment=nothing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"prompt": "a"}\n{"prompt": \n', ["train.jsonl:2"]),
        (b'{"prompt": "a"}\n{"prompt": "\xff"}\n', ["train.jsonl:2", "UTF-8"]),
        (b'{"prompt": 3}\n', ["train.jsonl:1", "prompt"]),
        (b'{"text": "a"}\n', ["train.jsonl:1", "prompt"]),
    ],
)
def test_a_malformed_line_is_named_before_any_engine_starts(  # type: ignore[no-untyped-def]
    workspace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    content: bytes,
    words,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.jsonl").write_bytes(content)
    code = call(
        "run", "--config-dir", str(workspace / "conf"), "experiment=pico", f"prompts.path={tmp_path}/train.jsonl",
        "cluster=in_process",
    )  # fmt: skip
    assert code in (1, 2)
    err = capfd.readouterr().err
    for word in words:
        assert word in err
    assert not list(tmp_path.glob("store/responses/*/parts"))


def test_shell_completion_knows_commands_and_groups(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMP_LINE", "fusion pl")
    monkeypatch.setenv("COMP_POINT", "9")
    assert call("-sc", "query=bash") == 0
    assert capsys.readouterr().out.split() == ["plan"]
    line = "fusion run experiment=quick"
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    assert call("-sc", "query=bash") == 0
    assert "experiment=quickstart" in capsys.readouterr().out


def test_cfg_job_prints_the_composed_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", "--cfg", "job", "experiment=quickstart", "objective.beta=7") == 0
    text = capsys.readouterr().out
    assert "beta: 7" in text
    assert json.dumps("quickstart").strip('"') in text


@pytest.mark.parametrize("override", ["evaluation=null", "prompts=null", "evaluation.gate=null"])
def test_a_section_that_cannot_be_null_is_refused_without_a_traceback(plan, override: str) -> None:  # type: ignore[no-untyped-def]
    code, _, errors = plan(override)
    assert code == 2
    assert errors.startswith("refused: ")


def test_adapters_and_the_choice_of_a_checkpoint_are_set_on_the_command_line() -> None:
    """A section whose default is null cannot be reached by an override: OmegaConf fails without a word of it."""
    tree = composed(["experiment=quickstart", "train.sft.lora.rank=8", "train.preference.choice={of_last: 2}"])
    config = typed(tree)
    assert config.train.sft.lora.rank == 8
    assert config.train.preference.choice.candidates(250) == (100, 200)


def test_a_field_of_any_section_is_known_by_its_closest(plan) -> None:  # type: ignore[no-untyped-def]
    """Sections are found in the config's own types: none has to be listed."""
    for override, meant in (("train.sft.lora.rnak=8", "rank"), ("trust.sample_prompt=5", "sample_prompts")):
        code, _, errors = plan(override)
        assert code == 2
        assert f"Did you mean {meant}" in errors


def test_a_sweep_may_be_asked_for_between_overrides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra's own parser takes overrides before `-m` or after it, not both."""
    monkeypatch.chdir(tmp_path)
    answer = {"prompt": "1 + 1?", "source": "a", "reference": "2", "domain": "math", "rewards": {"r": 0.5}}
    rows = [answer | {"sample_index": i, "response": text} for i, text in enumerate(("It is 2.", "It is 3."))]
    Path("answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    policies = "selection.pair_policy=same_source,cross_source"
    assert call("run", "experiment=replay", "replay.path=answers.jsonl", "-m", policies) == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == [
        "multirun.yaml", "replay,selection.pair_policy=cross_source", "replay,selection.pair_policy=same_source"
    ]  # fmt: skip
    assert not Path("multirun.yaml").exists()
    assert call("run", "experiment=replay", "replay.path=answers.jsonl", "--cfg", "job", "seed=3") == 0


def test_the_second_run_of_a_sweep_still_has_the_terminal(tmp_path: Path) -> None:
    """Its own log takes descriptor 2 over; what is said to the user must not go into the first run's log."""
    code = (
        "import sys, pathlib\nfrom fusion.console import log_to\n"
        "for name in 'ab':\n    log_to(pathlib.Path(name))\nprint('said', file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr == "said\n"
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text() == ""


@pytest.mark.parametrize(
    ("words", "refusal"),
    [(["name=mine"], "keeps its own name"), (["-m", "seed=1,2"], "sweep one of them")],
)
def test_experiments_that_are_compared_keep_their_names(tmp_path: Path, words: list[str], refusal: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fusion", "plan", "experiment=compare_cpu", *words],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert refusal in done.stderr
