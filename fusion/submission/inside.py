"""What differs for a run that is a job of a cluster: it joins that cluster, and its folder does not outlive it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from omegaconf import DictConfig, OmegaConf, open_dict

from fusion.location import is_local, local_path
from fusion.submission.brought import encoded

IN_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray in the driver of a job."""
HOME = "FUSION_HOME"
"""Folder of stores and runs on the nodes of a cluster, set by who brings it up; a disk that all nodes see."""
DEFAULT_HOME = "~/fusion"
BROUGHT = ("result.json", "config.yaml")


def is_job(environment: Mapping[str, str]) -> bool:
    return IN_JOB in environment


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
