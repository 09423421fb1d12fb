"""What differs for a run that is a job of a cluster: it joins that cluster, and its folder does not outlive it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

from omegaconf import DictConfig, OmegaConf, open_dict

from fusion.errors import ConfigError
from fusion.location import is_local, local_path
from fusion.secrets import refuse_secrets
from fusion.submission.brought import encoded
from fusion.submission.head import ANY
from fusion.submission.upload import verify

IN_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray in the driver of a job."""
HOME = "FUSION_HOME"
"""Folder of stores and runs on the nodes of a cluster, set by who brings it up; a disk that all nodes see."""
DEFAULT_HOME = "~/fusion"
BROUGHT = ("result.json", "config.yaml")


def settled(tree: DictConfig, environment: Mapping[str, str]) -> None:
    """Make a composed config fit where it runs, in place; first of all refuse one that holds a secret.

    Raises:
        ConfigError: naming the key that holds it.
    """
    refuse_secrets(tree)
    if IN_JOB in environment:
        settle(tree, environment, Path.cwd())


def checked(arguments: list[str]) -> list[str]:
    """The overrides of `fusion job DIGEST OVERRIDES`, once the files that were sent are known to have arrived.

    Raises:
        ConfigError: they have not, or there is no digest.
    """
    if not arguments:
        raise ConfigError("`fusion job` is what `fusion submit` has a cluster do; type fusion submit experiment=NAME")
    verify(Path.cwd(), arguments[0])
    return arguments[1:]


def carry_out(tree: DictConfig, run: Callable[[DictConfig], int]) -> int:
    """Do a run, and print what goes back to who submitted it."""
    with open_dict(tree):  # who submitted it has named the head, if it is open
        OmegaConf.update(tree, "cluster.ray.allow_open_head", ANY)
    code = run(tree)
    print("\n".join(told_files(Path(tree.runs) / tree.name)))
    return code


def settle(tree: DictConfig, environment: Mapping[str, str], here: Path) -> None:
    """Make a composed config fit a job, in place.

    A job's working folder (`here`) is Ray's and is removed some time after it: a `store.path` or `runs` in it is moved
    to FUSION_HOME. Its driver joins the cluster that runs it, unless `cluster.ray.address` names another.
    """
    home = os.path.expanduser(environment.get(HOME) or DEFAULT_HOME)
    with open_dict(tree):
        for key in ("store.path", "runs"):
            told = str(OmegaConf.select(tree, key))
            if is_local(told) and (here / local_path(told)).is_relative_to(here):
                OmegaConf.update(tree, key, os.path.join(home, (here / local_path(told)).relative_to(here)))
        if OmegaConf.select(tree, "cluster.ray.address") is None:
            OmegaConf.update(tree, "cluster.ray.address", "auto")


def told_files(folder: Path) -> list[str]:
    """Lines of the log that carry a finished run's result and config to who submitted it."""
    name = quote(folder.name, safe="")
    there = [folder / file for file in BROUGHT if (folder / file).is_file()]
    return [line for path in there for line in encoded(f"{name}/{path.name}", path.read_bytes())]
