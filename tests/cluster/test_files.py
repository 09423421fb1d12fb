"""What brings clusters up: each file held against the schema of who reads it and the sizes in conf/cluster/."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from fusion.config import composed
from fusion.step import Placement

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "cluster"
RAY_UP = ["aws", "gcp"]
KUBERNETES = sorted(path.name for path in (CLUSTER / "kuberay").glob("*.yaml"))
POLICIES = {"DeleteWorkers", "DeleteCluster", "DeleteSelf", "DeleteNone"}

# Fields of KubeRay's v1 API (release 1.5), as far as they are used here; an unknown one is dropped without a word.
RAY_CLUSTER = {
    "rayVersion", "authOptions", "enableInTreeAutoscaling", "autoscalerOptions", "gcsFaultToleranceOptions",
    "headGroupSpec", "workerGroupSpecs", "headServiceAnnotations", "suspend", "managedBy",
}  # fmt: skip
RAY_JOB = {
    "entrypoint", "submissionMode", "backoffLimit", "activeDeadlineSeconds", "shutdownAfterJobFinishes",
    "ttlSecondsAfterFinished", "deletionStrategy", "rayClusterSpec", "clusterSelector", "runtimeEnvYAML", "jobId",
    "metadata", "submitterPodTemplate", "submitterConfig", "suspend", "entrypointNumCpus",
}  # fmt: skip
AUTOSCALER = {"version", "idleTimeoutSeconds", "upscalingMode", "resources", "image", "env", "volumeMounts"}
FAULT_TOLERANCE = {"redisAddress", "redisUsername", "redisPassword", "externalStorageNamespace"}
GROUP = {
    "groupName", "replicas", "minReplicas", "maxReplicas", "numOfHosts", "rayStartParams", "template",
    "idleTimeoutSeconds", "suspend",
}  # fmt: skip


def documents(name: str) -> list[dict[str, object]]:
    return [one for one in yaml.safe_load_all((CLUSTER / "kuberay" / name).read_text()) if one]


def ray_clusters() -> Iterator[tuple[str, dict[str, object]]]:
    """(file, RayCluster spec) of each manifest that has one."""
    for name in KUBERNETES:
        for one in documents(name):
            spec: dict[str, object] = one.get("spec", {})  # type: ignore[assignment]
            if one["kind"] == "RayCluster":
                yield name, spec
            elif one["kind"] == "RayJob":
                yield name, spec["rayClusterSpec"]  # type: ignore[misc]


def pods() -> Iterator[tuple[str, dict[str, object]]]:
    """(where, pod template) of every pod of a Ray cluster."""
    for name, spec in ray_clusters():
        groups: list[dict[str, object]] = spec["workerGroupSpecs"]  # type: ignore[assignment]
        yield f"{name} head", spec["headGroupSpec"]["template"]  # type: ignore[index]
        for group in groups:
            yield f"{name} {group['groupName']}", group["template"]  # type: ignore[misc]


PODS = dict(pods())


@pytest.mark.parametrize("name", RAY_UP)
def test_ray_itself_accepts_the_file_for_ray_up(name: str) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load((CLUSTER / f"{name}.yaml").read_text())
    validate_config(prepare_config(config))
    workers = {key: one for key, one in config["available_node_types"].items() if key != config["head_node_type"]}
    assert all(one["min_workers"] == 0 for one in workers.values()), "an idle cluster has no workers"
    spot = {key for key in workers if "spot" in key}
    for key in spot:
        node = workers[key]["node_config"]
        is_spot = node.get("InstanceMarketOptions", {}).get("MarketType") == "spot"
        assert is_spot or node.get("scheduling", {}).get("provisioningModel") == "SPOT"
    assert spot
    for kind in ("head", "worker"):
        started = " ".join(config[f"{kind}_start_ray_commands"])
        assert "RAY_AUTH_MODE=token" in started
    assert "--dashboard-host=127.0.0.1" in " ".join(config["head_start_ray_commands"])


@pytest.mark.parametrize("name", KUBERNETES)
def test_kubernetes_accepts_its_own_kinds(name: str) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate, a test's package, is not there")
    for one in documents(name):
        if not str(one["apiVersion"]).startswith("ray.io/"):
            validate.validate(one, "1.33", strict=True)


@pytest.mark.parametrize("where", PODS)
def test_kubernetes_accepts_the_pods(where: str) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate, a test's package, is not there")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": PODS[where]["spec"]}
    validate.validate(pod, "1.33", strict=True)


def test_kuberay_knows_every_field() -> None:
    for name, spec in ray_clusters():
        assert spec.keys() <= RAY_CLUSTER, name
        assert spec["autoscalerOptions"].keys() <= AUTOSCALER  # type: ignore[attr-defined]
        assert spec.get("gcsFaultToleranceOptions", {}).keys() <= FAULT_TOLERANCE  # type: ignore[attr-defined]
        for group in spec["workerGroupSpecs"]:  # type: ignore[attr-defined]
            assert group.keys() <= GROUP, (name, group["groupName"])
    (job,) = documents("job.yaml")
    assert job["spec"].keys() <= RAY_JOB  # type: ignore[attr-defined]


def test_every_cluster_checks_tokens_and_grows_from_zero() -> None:
    for name, spec in ray_clusters():
        assert spec["authOptions"] == {"mode": "token"}, name
        assert spec["enableInTreeAutoscaling"] is True
        assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"  # type: ignore[index]
        assert {group["minReplicas"] for group in spec["workerGroupSpecs"]} == {0}  # type: ignore[attr-defined]


def test_a_finished_job_frees_gpu_workers_before_its_head() -> None:
    (job,) = documents("job.yaml")
    rules: list[dict[str, object]] = job["spec"]["deletionStrategy"]["deletionRules"]  # type: ignore[index]
    assert {rule["policy"] for rule in rules} <= POLICIES
    after: dict[tuple[str, str], int] = {}
    for rule in rules:
        condition: Mapping[str, object] = rule["condition"]  # type: ignore[assignment]
        assert condition.keys() == {"jobStatus", "ttlSeconds"}
        after[str(rule["policy"]), str(condition["jobStatus"])] = int(str(condition["ttlSeconds"]))
    cluster = job["spec"]["rayClusterSpec"]  # type: ignore[index]
    assert cluster["enableInTreeAutoscaling"]
    assert not any(policy == "DeleteWorkers" for policy, _ in after), "KubeRay refuses it beside the autoscaler"
    for status in ("SUCCEEDED", "FAILED", "STOPPED"):
        assert cluster["autoscalerOptions"]["idleTimeoutSeconds"] < after["DeleteCluster", status]
    assert job["spec"]["shutdownAfterJobFinishes"] is False  # type: ignore[index]


def test_the_jobs_command_composes() -> None:
    (job,) = documents("job.yaml")
    words = str(job["spec"]["entrypoint"]).split()  # type: ignore[index]
    assert words[:2] == ["fusion", "run"]
    assert (ROOT / "conf" / "experiment" / f"{words[2].partition('=')[2]}.yaml").exists()
    tree = composed(["experiment=quickstart", *words[3:]])
    assert tree.cluster.ray.address == "auto"


@pytest.mark.parametrize("size", ["kuberay", "aws", "gcp"])
def test_every_pool_of_a_size_fits_a_node_that_comes_up(size: str) -> None:
    pools: Mapping[str, Placement | None] = composed(["experiment=quickstart", f"cluster={size}"]).cluster.pools
    if size == "kuberay":
        groups = dict(ray_clusters())["cluster.yaml"]["workerGroupSpecs"]
        nodes = [group["template"]["spec"]["containers"][0]["resources"]["limits"] for group in groups]  # type: ignore[attr-defined]
        rooms = [(float(node["cpu"]), int(node.get("nvidia.com/gpu", 0))) for node in nodes]
    else:
        types = yaml.safe_load((CLUSTER / f"{size}.yaml").read_text())["available_node_types"]
        rooms = [(one["resources"]["CPU"], one["resources"].get("GPU", 0)) for one in types.values()]
    for name, pool in pools.items():
        assert pool is None or any(pool.cpus <= cpus and pool.gpus <= gpus for cpus, gpus in rooms), name


@pytest.mark.parametrize("size", ["kuberay", "aws", "gcp"])
def test_the_capacity_of_a_size_is_what_may_come_up(size: str) -> None:
    """At most: a run must not count on nodes that the autoscaler may not start."""
    gpus = composed(["experiment=quickstart", f"cluster={size}"]).cluster.capacity.gpus
    if size == "kuberay":
        groups = dict(ray_clusters())["cluster.yaml"]["workerGroupSpecs"]
        limits = [
            (group["maxReplicas"], group["template"]["spec"]["containers"][0]["resources"]["limits"])
            for group in groups  # type: ignore[attr-defined]
        ]
        most = sum(count * int(limit.get("nvidia.com/gpu", 0)) for count, limit in limits)
    else:
        types = yaml.safe_load((CLUSTER / f"{size}.yaml").read_text())["available_node_types"]
        most = sum(one["max_workers"] * one["resources"].get("GPU", 0) for one in types.values())
    assert 0 < gpus <= most


def test_no_file_holds_a_secret_and_none_is_in_an_environment_variable() -> None:
    from fusion.hygiene.credentials import credentials

    for path in sorted(CLUSTER.rglob("*")):
        if path.is_file():
            assert credentials(path.read_text()) == [], path
    for where, pod in PODS.items():
        for container in pod["spec"]["containers"]:  # type: ignore[index]
            for variable in container.get("env", []):
                assert "valueFrom" not in variable, f"{where}: {variable['name']}; mount it as a file"


def scripts() -> list[Path]:
    return sorted(CLUSTER.glob("*.sh"))


@pytest.mark.parametrize("path", scripts(), ids=lambda path: path.name)
def test_a_script_is_clean(path: Path) -> None:
    subprocess.run(["bash", "-n", str(path)], check=True)
    beside = Path(sys.executable).parent / "shellcheck"
    checker = str(beside) if beside.exists() else shutil.which("shellcheck")
    if checker is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([checker, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_image_installs_what_the_locks_say() -> None:
    text = (CLUSTER / "Dockerfile").read_text()
    for line in text.splitlines():
        if line.startswith("COPY "):
            *sources, _ = line.split()[1:]
            assert all((ROOT / source).exists() for source in sources), line
    assert "USER ray" in text
    assert "RAY_AUTH_MODE=token" in text
