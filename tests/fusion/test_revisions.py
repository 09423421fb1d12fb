"""Branches become commits: by a hub (a small one, on this machine), by the local cache, or not at all."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from omegaconf import DictConfig

from fusion.config import composed, typed
from fusion.errors import ConfigError
from fusion.fingerprint import fingerprint
from fusion.models import ModelRef
from fusion.revisions import NO_COMMIT, PLAN_WAIT_S, demand, notes, pin

COMMIT = "3f2a" * 10
OTHER = "b" * 40


class Hub(BaseHTTPRequestHandler):
    """Knows org/name: `main` and the tag `v1.0`; org/slow takes its time."""

    def do_GET(self) -> None:
        commits = {
            "/api/models/org/name/revision/main": COMMIT,
            "/api/models/org/name/revision/v1.0": OTHER,
            "/api/datasets/org/rows/revision/main": OTHER,
            "/api/models/HuggingFaceTB/SmolLM2-135M-Instruct/revision/main": COMMIT,
            "/api/models/google/gemma-3-270m/revision/main": OTHER,
        }
        if "slow" in self.path:
            time.sleep(3)
        commit = commits.get(self.path.split("?")[0])
        self.send_response(200 if commit else 404)
        if not commit:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()
        answer = {"id": "org/name", "sha": commit} if commit else {"error": "no such"}
        with contextlib.suppress(BrokenPipeError):  # who asked may have stopped waiting
            self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty local cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return tmp_path / "hub"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from huggingface_hub import constants

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    server.server_close()


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # the discard port: nobody listens


def config(uri: str = "hf://org/name", revision: str = "main") -> DictConfig:
    return composed(
        ["experiment=quickstart", f"target.model.uri={uri}", f"target.model.revision={revision}", "target.name=t"]
    )


def test_a_branch_becomes_its_commit_and_both_are_recorded(hub: None) -> None:
    tree = config()
    (one,) = pin(tree, wait_s=10)
    assert (one.key, one.branch, one.commit) == ("target.model.revision", "main", COMMIT)
    assert (tree.target.model.revision, tree.target.model.branch) == (COMMIT, "main")
    assert tree.rewards.likelihood.model.revision == COMMIT  # an interpolation of the target's
    assert notes([one]) == [f"target.model.revision: main of org/name is {COMMIT}, says the hub"]
    demand([one])


def test_only_the_commit_is_identity(hub: None) -> None:
    tree = config()
    pin(tree, wait_s=10)
    by_branch = ModelRef(uri="hf://org/name", revision=tree.target.model.revision, branch=tree.target.model.branch)
    assert fingerprint(by_branch) == fingerprint(ModelRef(uri="hf://org/name", revision=COMMIT))
    assert fingerprint(by_branch) != fingerprint(ModelRef(uri="hf://org/name", revision=OTHER))


def test_a_tag_and_the_branch_of_a_data_set_are_resolved_too(hub: None) -> None:
    prompts = ["prompts=hf_dataset", "prompts.name=org/rows", "prompts.revision=main"]
    tree = composed(["target=smollm2_135m", "target.model.uri=hf://org/name", "target.model.revision=v1.0", *prompts])
    assert {one.key: one.commit for one in pin(tree, wait_s=10)} == {
        "prompts.revision": OTHER,
        "target.model.revision": OTHER,
    }
    assert tree.prompts.revision == OTHER


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize("revision", [COMMIT, ""])
def test_a_commit_and_nothing_are_left_as_they_are(revision: str) -> None:
    tree = config(revision=revision)
    assert pin(tree, wait_s=0.5) == []
    assert tree.target.model.revision == revision


@pytest.mark.usefixtures("no_hub")
def test_without_a_hub_the_local_cache_counts(cache: Path) -> None:
    refs = cache / "models--org--name" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text(COMMIT)
    (one,) = pin(config(), wait_s=10)
    assert (one.commit, one.how) == (COMMIT, "the local cache")


@pytest.mark.usefixtures("no_hub")
def test_a_run_is_refused_where_nobody_knows_and_a_plan_says_so() -> None:
    tree = config()
    pins = pin(tree, wait_s=10)
    assert notes(pins) == ["revision main is not resolved; a run would ask the hub (target.model.revision)"]
    assert tree.target.model.revision == NO_COMMIT
    with pytest.raises(ConfigError, match=r"target\.model\.revision is 'main' of org/name.*revision=COMMIT"):
        demand(pins)


def test_a_branch_that_the_hub_does_not_know_is_refused_with_its_words(hub: None) -> None:
    with pytest.raises(ConfigError, match=r"(?s)'mian' of org/name.*NotFound"):
        demand(pin(config(revision="mian"), wait_s=10))


def test_a_hub_that_keeps_silent_is_waited_for_so_long_and_no_longer(hub: None) -> None:
    tree = config(uri="hf://org/slow")
    started = time.monotonic()
    (one,) = pin(tree, wait_s=0.3)
    assert one.commit is None
    assert time.monotonic() - started < 2.5


def test_a_plan_that_a_hub_never_answers_still_ends_within_its_five_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from huggingface_hub import constants

    with socket.create_server(("127.0.0.1", 0)) as mute:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{mute.getsockname()[1]}")
        tree = composed(["experiment=fusechat3_llama31_8b"])
        started = time.monotonic()
        pins = pin(tree, PLAN_WAIT_S)
        waited = time.monotonic() - started
    assert len(pins) > 4
    assert all(one.commit is None for one in pins)
    assert waited < 4


def test_the_models_of_the_quickstart_by_hub_id_are_one_override_and_their_branch_is_resolved(hub: None) -> None:
    sources = "source=[smollm2_135m_hub,gemma3_270m_hub]"
    tree = composed(["experiment=quickstart", sources, "target=smollm2_135m_hub"])
    demand(pin(tree, wait_s=10))
    config = typed(tree)
    models = {name: one.model for name, one in config.sources.items()} | {"target": config.target.model}
    assert {name: (one.uri, one.revision) for name, one in models.items()} == {
        "smollm2_135m": ("hf://HuggingFaceTB/SmolLM2-135M-Instruct", COMMIT),
        "gemma3_270m": ("hf://google/gemma-3-270m", OTHER),
        "target": ("hf://HuggingFaceTB/SmolLM2-135M-Instruct", COMMIT),
    }
    usual = composed(["experiment=quickstart"])
    assert tree.sources.gemma3_270m.sampling == usual.sources.gemma3_270m.sampling
    assert tree.sources.gemma3_270m.model.chat == usual.sources.gemma3_270m.model.chat


@pytest.mark.usefixtures("no_hub")
def test_a_benchmark_that_may_be_missing_stops_no_run() -> None:
    tree = composed(["experiment=quickstart", "decontaminate=fusechat3"])
    with pytest.raises(ConfigError, match=r"decontaminate\.benchmarks\.alpaca_eval\.revision is 'main'"):
        demand(pin(tree, wait_s=10))
    names = ",".join(tree.decontaminate.benchmarks)
    spared = composed(["experiment=quickstart", "decontaminate=fusechat3", f"decontaminate.allow_missing=[{names}]"])
    demand(pin(spared, wait_s=10))
