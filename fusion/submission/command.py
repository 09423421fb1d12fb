"""`fusion submit`: send a run to a cluster, follow it, bring its result back."""

from __future__ import annotations

import json
import logging
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from urllib.parse import unquote

from omegaconf import DictConfig, OmegaConf

import fusion
from fusion.errors import ConfigError
from fusion.submission.brought import Receiver
from fusion.submission.follow import Ended, JobClient, follow
from fusion.submission.head import Head, address, admit, probe
from fusion.submission.order import Order
from fusion.submission.spec import Dependencies, JobSpec, job_spec, locked
from fusion.submission.upload import collect, stage

ROOT = Path(fusion.__file__).resolve().parents[1]


def submit(arguments: Sequence[str]) -> int:
    """`fusion submit experiment=NAME [key=value ...]`; returns the exit code of the run on the cluster."""
    order = Order.of(arguments)
    if order.follow:
        head = probe(address(order.address, os.environ))
        admit(head, order.allowed)
        return _followed(_client(head), head, order.follow, order)
    tree = None if order.is_sweep else _composed(order)
    config_dir = Path(order.config_dir) if order.config_dir else None
    upload = collect(ROOT, config_dir, order.extra, Path.cwd())
    print("\n".join(upload.lines))
    with tempfile.TemporaryDirectory(prefix="fusion-job-") as folder:
        spec = _spec(order, tree, stage(upload, Path(folder)))
        print(f"runs        {spec.entrypoint}")
        if order.is_dry:
            print(json.dumps(asdict(spec), indent=1))
            return 0
        head = probe(address(order.address, os.environ))
        admit(head, order.allowed)
        client = _client(head)
        _send(client, spec, folder, head)
    print(f"job         {spec.submission_id} on {head.url}", flush=True)
    if order.is_detached:
        print(_how_to(spec.submission_id, head, order))
        return 0
    return _followed(client, head, spec.submission_id, order)


def _composed(order: Order) -> DictConfig:
    """The config, composed here so that a typo is refused before anything is sent."""
    from fusion.composition import demand_values
    from fusion.config import composed

    tree = composed(order.overrides, order.config_dir)
    demand_values(tree)
    return tree


def _spec(order: Order, tree: DictConfig | None, digest: str) -> JobSpec:
    wants_gpus = tree is not None and OmegaConf.select(tree, "cluster.capacity.gpus", default=0) > 0
    packages = locked(ROOT, wants_gpus) if order.dependencies is Dependencies.LOCK else None
    told = next((one.partition("=")[2] for one in order.overrides if one.startswith("experiment=")), "run")
    return job_spec(
        order.overrides,
        name=told if tree is None else str(tree.name),
        stamp=f"{time.strftime('%m%d-%H%M%S')}-{secrets.token_hex(2)}",
        digest=digest,
        has_own_config=order.config_dir is not None,
        packages=packages,
    )


def _client(head: Head) -> JobClient:
    """Ray's client, with the token that the head wants.

    Raises:
        ConfigError: there is no token on this machine, or it is another's.
    """
    os.environ["RAY_AUTH_MODE"] = "disabled" if head.is_open else "token"
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]  # no stub tells of it
    from ray.job_submission import JobSubmissionClient

    remedy = (
        "copy the head's token to ~/.ray/auth_token (mode 600) or name its file: RAY_AUTH_TOKEN_PATH=FILE; on the head "
        "`ray get-auth-token` prints it"
    )
    if not head.is_open and not AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True):
        raise ConfigError(f"the head at {head.url} wants a token, and there is none here; {remedy}")
    try:
        client: JobClient = JobSubmissionClient(head.url)
    except (RuntimeError, ConnectionError) as error:
        raise ConfigError(f"the head at {head.url} refused: {error}; {remedy}") from error
    for name in ("ray", *(one for one in logging.root.manager.loggerDict if one.startswith("ray."))):
        logging.getLogger(name).setLevel(logging.WARNING)
    return client


def _send(client: JobClient, spec: JobSpec, folder: str, head: Head) -> None:
    try:
        client.submit_job(
            entrypoint=spec.entrypoint,
            submission_id=spec.submission_id,
            runtime_env=spec.runtime_env | {"working_dir": folder},
            metadata=spec.metadata,
        )
    except RuntimeError as error:
        raise ConfigError(f"the head at {head.url} did not take the job: {error}") from error


def _followed(client: JobClient, head: Head, job: str, order: Order) -> int:
    receiver = Receiver()

    def show(text: str) -> None:
        sys.stdout.write(receiver.feed(text))
        sys.stdout.flush()

    try:
        ended = follow(client, job, show)
    except KeyboardInterrupt:
        print(f"\nnot followed any more; the job goes on\n{_how_to(job, head, order)}", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"{error}\n{_how_to(job, head, order)}", file=sys.stderr)
        return 1
    sys.stdout.write(receiver.end())
    return _concluded(receiver, ended, job, head, order)


def _concluded(receiver: Receiver, ended: Ended, job: str, head: Head, order: Order) -> int:
    for name, data in receiver.files().items():
        run, _, file = unquote(name).rpartition("/")
        folder = Path(order.runs) / run
        if "/" in run or run in ("", ".", "..") or "/" in file:
            raise ConfigError(f"the job sent a file of the name {name!r}, which is not taken")
        if (folder / "result.json").exists() and not (folder / "job.json").exists():
            folder = folder.with_name(f"{run}@{job}")  # a run of this machine has that name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(data)
        (folder / "job.json").write_text(json.dumps({"job": job, "head": head.url, **asdict(ended)}, indent=1) + "\n")
        print(f"brought     {folder / file}")
    print(f"{ended.end.lower():<11} {job}, exit code {ended.code}")
    if ended.code and ended.message:
        print(f"Ray says    {ended.message}", file=sys.stderr)
    if ended.code:
        print("what is committed is kept; the same `fusion submit` goes on from there", file=sys.stderr)
    return ended.code


def _how_to(job: str, head: Head, order: Order) -> str:
    allow = f" --allow-open-head {head.name}" if head.is_open else ""
    return (
        f"follow:  fusion submit --address {head.url}{allow} --follow {job}\n"
        f"stop:    ray job stop --address {head.url} {job}\n"
        "resume:  the same `fusion submit` again; what is committed is not done again"
    )
