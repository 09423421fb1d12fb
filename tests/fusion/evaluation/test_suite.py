"""FuseChat-3.0's suite as one evaluation: it composes, and with a copy of each benchmark a plan needs no network."""

from __future__ import annotations

import json

import pytest

from fusion.cli import main
from fusion.config import composed, typed
from tests.fusion.evaluation.suite_data import write_suite
from tests.hub_server import hub_server
from tests.tiny import make_pico_llama

FOURTEEN = {
    "alpaca_eval2", "arena_hard", "mt_bench", "alignbench", "gsm8k", "math", "amc23", "mmlu_pro", "mmlu_redux",
    "gpqa_diamond", "humaneval", "mbpp", "livecodebench", "livebench",
}  # fmt: skip
JUDGED = ("alpaca_eval2", "arena_hard", "mt_bench", "alignbench")
REWARD = "benchmarks.alpaca_eval2.reward"
ENDPOINT = [f"{REWARD}.endpoint.url=http://127.0.0.1:9/v1", f"{REWARD}.endpoint.model=judge", f"{REWARD}.revision=1"]


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Settings that name a copy of every benchmark."""
    data = write_suite(tmp_path_factory.mktemp("suite") / "data")
    return ["experiment=eval", "cluster=in_process", f"data={data}", f"benchmarks.math.data.path={data}/math.jsonl"]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Settings that name a model."""
    folder = tmp_path_factory.mktemp("target")
    config = make_pico_llama(folder / "pico", layers=1) / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": 8192}))
    (folder / "conf" / "target").mkdir(parents=True)
    (folder / "conf" / "target" / "pico.yaml").write_text(f"name: pico\nmodel: {{uri: {folder}/pico}}\n")
    places = [f"store.path={folder}/store", f"runs={folder}/runs"]
    return ["--config-dir", str(folder / "conf"), "target=pico", "generator=transformers", *places]


def planned(
    settings: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, list[str]]:
    """Exit code and words of `fusion plan`, and what it asked of the hub."""
    with hub_server("token") as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        with pytest.raises(SystemExit) as ended:
            main(["plan", *settings])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out + said.err, hub.asked


@pytest.mark.parametrize(
    ("suite", "judge"), [("fuseeval", ENDPOINT), ("fuseeval_local_judge", [f"{REWARD}.model.uri=judges/a"])]
)
def test_the_fourteen_of_the_paper_count(suite: str, judge: list[str]) -> None:
    benchmarks = composed(["experiment=eval", f"evaluation={suite}", *judge]).benchmarks
    assert {str(name) for name in benchmarks if benchmarks[name].compared} == FOURTEEN
    assert {str(name) for name in benchmarks} - FOURTEEN == {"mmlu"}


def test_one_judge_is_named_for_all_four(copies: list[str]) -> None:
    config = typed(composed([*copies, "evaluation=fuseeval", *ENDPOINT]))
    judges = {
        (reward.endpoint.url, reward.endpoint.model, reward.revision)
        for reward in (config.benchmarks[name].reward for name in JUDGED)
    }
    assert judges == {("http://127.0.0.1:9/v1", "judge", "1")}


def test_the_whole_suite_is_planned_without_a_network(target, copies, monkeypatch, capsys) -> None:
    code, text, asked = planned([*target, *copies, "evaluation=fuseeval", *ENDPOINT], monkeypatch, capsys)
    assert code == 0, text
    assert asked == []
    for name in FOURTEEN | {"mmlu"}:
        assert f"prompts/{name}" in text
        assert f"responses/{name}-base" in text
        assert f"rewards/{name}-base-{name}" in text


def test_a_suite_without_a_judge_names_what_is_missing(target, copies, monkeypatch, capsys) -> None:
    code, text, asked = planned([*target, *copies, "evaluation=fuseeval"], monkeypatch, capsys)
    assert (code, asked) == (2, [])
    assert f"{REWARD}.endpoint" in text


def test_a_benchmark_without_a_copy_is_asked_for_at_the_hub(target, copies, monkeypatch, capsys) -> None:
    """What the tests above would do with the network, did they need it."""
    without = [one for one in copies if not one.startswith("benchmarks.math")]
    _, _, asked = planned([*target, *without, "evaluation=fuseeval", *ENDPOINT], monkeypatch, capsys)
    assert any("DigitalLearningGmbH/MATH-lighteval" in request for request in asked)
