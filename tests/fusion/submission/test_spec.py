"""A job's description, the config inside a job, and what must stand in neither."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from fusion.config import composed
from fusion.errors import ConfigError
from fusion.submission.inside import settle
from fusion.submission.order import Order
from fusion.submission.spec import JobSpec, job_spec, locked

ROOT = Path(__file__).resolve().parents[3]


def spec(*overrides: str, packages: list[str] | None = None, own: bool = False) -> JobSpec:
    return job_spec(overrides, name="a,b=c", stamp="1", digest="d" * 64, has_own_config=own, packages=packages)


def test_overrides_reach_the_job_as_they_were_typed() -> None:
    typed = ["experiment=quickstart", "prompts.limit=3", "name='two words'", "-m"]
    words = shlex.split(spec(*typed, own=True).entrypoint)
    assert words == ["python", "-m", "fusion", "job", "d" * 64, "--config-dir", "own_conf", *typed]


def test_an_id_is_fit_for_a_url() -> None:
    assert spec().submission_id == "fusion-a-b-c-1"


def test_packages_of_the_image_need_no_environment() -> None:
    assert spec().runtime_env == {}


def test_packages_of_the_lock_are_installed_as_make_setup_does() -> None:
    lines = locked(ROOT, gpu=False)
    env = spec(packages=lines).runtime_env["pip"]
    assert isinstance(env, dict)
    assert env["packages"] == lines
    assert "torch==2.13.0+cpu" in lines
    assert {"--no-deps", "--extra-index-url"} <= set(env["pip_install_options"])
    assert "--extra-index-url" not in spec(packages=locked(ROOT, gpu=True)).runtime_env["pip"]["pip_install_options"]  # type: ignore[index]


@pytest.mark.parametrize(
    "override",
    [
        "generator.note=hf_" + "Zq8Lw3Rt6Yp1Nv4Kc7Xb2Md9Hf5Js0Gu",
        "store.path=s3://user:pa55w0rd@bucket/x",
        "generator.endpoint.url=https://host/v1?sig=abcdefabcdef",
    ],
)
def test_a_secret_in_an_override_is_refused_and_not_repeated(override: str) -> None:
    with pytest.raises(ConfigError, match="looks like a secret") as error:
        spec(override)
    assert override.partition("=")[2] not in str(error.value)


@pytest.mark.parametrize("told", [[], ["store.path=store", "runs=runs"]])
def test_inside_a_job_folders_outlive_it_and_the_cluster_is_joined(told: list[str]) -> None:
    """The default store is made absolute when the config is registered, so it lies in the job's working folder."""
    tree = composed(["experiment=quickstart", *told])
    settle(tree, {"FUSION_HOME": "/mnt/all"}, Path.cwd())
    assert (tree.store.path, tree.runs, tree.cluster.ray.address) == ("/mnt/all/store", "/mnt/all/runs", "auto")


def test_inside_a_job_what_was_told_stays() -> None:
    told = ["store.path=s3://b/s", "runs=/r", "cluster.ray.address=10.0.0.1:6379"]
    tree = composed(["experiment=quickstart", *told])
    settle(tree, {}, Path.cwd())
    assert [
        f"store.path={tree.store.path}",
        f"runs={tree.runs}",
        f"cluster.ray.address={tree.cluster.ray.address}",
    ] == told


def test_a_command_line_without_a_run_is_refused() -> None:
    with pytest.raises(ConfigError, match="experiment=quickstart"):
        Order.of([])
    assert Order.of(["--follow", "job-1"]).follow == "job-1"
    assert Order.of(["experiment=a", "--detach", "seed=1"]).overrides == ["experiment=a", "seed=1"]
