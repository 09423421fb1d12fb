"""Branches and tags become commits before anything runs.

A branch moves, so it cannot be part of an identity. `pin` asks the hub which commit a name stands for and writes both
into the composed config: `branch: main` for people, `revision: <commit>` for the fingerprint. Where the hub does not
answer, the ref that an earlier download left in the local Hugging Face cache counts.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, ListConfig, OmegaConf

from fusion.errors import ConfigError
from fusion.models import COMMIT, ModelRef
from fusion.prompts.hf_dataset import HfDataset

PLAN_WAIT_S = 2.0
"""How long a plan waits for the hub, over all models together."""
RUN_WAIT_S = 60.0
"""The same of a run, which would rather wait than be refused."""
NO_COMMIT = "0" * 40
"""git's name for no commit: what a plan shows of a branch that nobody could resolve. No artifact has it."""


@dataclass(frozen=True, slots=True)
class Pin:
    """What became of one branch or tag of the config."""

    key: str
    """Dotted key of the revision: `target.model.revision`."""
    repo: str
    branch: str
    commit: str | None
    """null: not resolved."""
    how: str
    """Who said so, or why nobody could."""
    is_needed: bool = True
    """false: of a benchmark that may be missing (`decontaminate.allow_missing`)."""


def notes(pins: Sequence[Pin]) -> list[str]:
    """What to tell of them: a line for each that was resolved, a line for each branch name that was not."""
    lines = [f"{one.key}: {one.branch} of {one.repo} is {one.commit}, says {one.how}" for one in pins if one.commit]
    for branch in dict.fromkeys(one.branch for one in pins if one.commit is None):
        of = ", ".join(one.key for one in pins if one.commit is None and one.branch == branch)
        lines.append(f"revision {branch} is not resolved; a run would ask the hub ({of})")
    return lines


def pin(tree: DictConfig, wait_s: float) -> list[Pin]:
    """Resolve every branch or tag in the config, in place; all are asked for at once.

    Args:
        tree: a composed config; a resolved node gets the commit as `revision` and the name as `branch`, an unresolved
            one gets `NO_COMMIT`.
        wait_s: how long to wait for the hub at most.
    """
    found = list(_branches(tree, ""))
    spared = {
        f"decontaminate.benchmarks.{name}" for name in OmegaConf.select(tree, "decontaminate.allow_missing") or ()
    }
    asked = {(repo, kind, str(node.revision)) for node, _, repo, kind in found}
    answers = _ask(sorted(asked), wait_s) if asked else {}
    pins = []
    for node, key, repo, kind in found:
        branch = str(node.revision)
        commit, how = answers[repo, kind, branch]
        pins.append(Pin(f"{key}.revision", repo, branch, commit, how, key not in spared))
        node.revision = commit or NO_COMMIT
        if "branch" in node:
            node.branch = branch
    return pins


def demand(pins: Sequence[Pin]) -> None:
    """Raises:
    ConfigError: a branch that is needed was not resolved; names the key and what to type.
    """
    for one in pins:
        if one.commit is None and one.is_needed:
            raise ConfigError(
                f"{one.key} is {one.branch!r} of {one.repo}, and which commit that is could not be found out: "
                f"{one.how}. Check the name, the network and HF_TOKEN, or type {one.key}=COMMIT (40 hex digits)"
            )


def _branches(node: object, key: str) -> Iterator[tuple[DictConfig, str, str, str]]:
    """Node, its dotted key, repository and kind of everything on the hub that is named by branch."""
    if isinstance(node, ListConfig):
        for number in range(len(node)):
            yield from _branches(node._get_node(number), f"{key}[{number}]")
    if not isinstance(node, DictConfig) or node._is_none() or node._is_missing() or node._is_interpolation():
        return
    repository = _repository(node)
    if repository is not None and not OmegaConf.is_interpolation(node, "revision"):
        revision = "" if OmegaConf.is_missing(node, "revision") else str(node.revision)
        if revision and not COMMIT.fullmatch(revision):
            yield node, key, *repository
    for name in map(str, node):
        yield from _branches(node._get_node(name), f"{key}.{name}" if key else name)


def _repository(node: DictConfig) -> tuple[str, str] | None:
    """`org/name` and `model` or `dataset`, where the node is something on the hub."""
    kind = OmegaConf.get_type(node)
    if kind is ModelRef and not OmegaConf.is_missing(node, "uri") and str(node.uri).startswith("hf://"):
        return str(node.uri).removeprefix("hf://"), "model"
    is_dataset = isinstance(kind, type) and issubclass(kind, HfDataset)
    if is_dataset and not OmegaConf.is_missing(node, "name") and not node.get("path"):
        return str(node.name), "dataset"
    return None


Request = tuple[str, str, str]
"""Repository, kind, branch."""


def _ask(requests: Sequence[Request], wait_s: float) -> dict[Request, tuple[str | None, str]]:
    """Commit and who said so, or None and why not; in threads of their own, because a name server is not bounded by a
    request's timeout."""
    said: dict[Request, tuple[str | None, str]] = {}

    def ask(request: Request) -> None:
        said[request] = _hub_commit(request, wait_s)

    from huggingface_hub import HfApi  # noqa: F401 (loaded once, before the clock starts)

    threads = [threading.Thread(target=ask, args=(request,), daemon=True) for request in requests]
    deadline = time.monotonic() + wait_s
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    answers = {}
    for request in requests:
        commit, how = said.get(request, (None, f"the hub did not answer within {wait_s:.0f} s"))
        if commit is None and (cached := _cached_commit(request)):
            commit, how = cached, "the local cache"
        answers[request] = (commit, how)
    return answers


def _hub_commit(request: Request, wait_s: float) -> tuple[str | None, str]:
    from huggingface_hub import HfApi

    repo, kind, branch = request
    try:
        commit = str(HfApi().repo_info(repo, revision=branch, repo_type=kind, timeout=wait_s).sha)
    except Exception as error:  # whatever went wrong, the branch is not resolved, and why is told
        return None, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no answer'}"
    return (commit, "the hub") if COMMIT.fullmatch(commit) else (None, f"the hub answered {commit!r}")


def _cached_commit(request: Request) -> str | None:
    """What refs/<branch> of the local cache says."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    repo, kind, branch = request
    ref = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type=kind) / "refs" / branch
    commit = ref.read_text("utf-8").strip() if ref.is_file() else ""
    return commit if COMMIT.fullmatch(commit) else None
