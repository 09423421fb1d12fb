"""Where a published run goes: a folder, or a data set of the Hugging Face hub."""

from __future__ import annotations

import re
import shutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from fusion.errors import ConfigError, StepFailed

MARK = "fusion.json"
"""Lies in every folder that fusion published to; a folder without it is not ours to replace."""

HUB = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+?)(?:@([\w./-]+))?/?")


class Destination(ABC):
    """Takes a folder that is ready."""

    name: str
    """What `load_dataset` is to be given."""

    @abstractmethod
    def check(self) -> None:
        """Raises:
        ConfigError: nothing can be put there.
        """

    @abstractmethod
    def put(self, ready: Path, message: str) -> str:
        """Put the content of `ready` there; returns where a person finds it.

        Raises:
            StepFailed: it could not be put there.
        """


def destination(to: str, *, is_public: bool) -> Destination:
    """Example: destination("hf://datasets/me/fused@v2", is_public=False)

    Raises:
        ConfigError: `to` is neither a folder nor a data set of the hub.
    """
    if to.startswith("hf://"):
        match = HUB.fullmatch(to)
        if match is None:
            raise ConfigError(f"--to {to}: write hf://datasets/OWNER/NAME, or hf://datasets/OWNER/NAME@BRANCH")
        return HubDataset(match[1], match[2] or "main", is_public)
    if "://" in to:
        raise ConfigError(f"--to {to}: a data set is pushed to a folder or to hf://datasets/OWNER/NAME")
    return LocalFolder(Path(to))


@dataclass(frozen=True)
class LocalFolder(Destination):
    """A folder that is made, or one that fusion published to before: it is then replaced whole."""

    path: Path

    @property
    def name(self) -> str:  # type: ignore[override]
        return str(self.path)

    def check(self) -> None:
        if self.path.exists() and not (self.path / MARK).exists() and (self.path.is_file() or any(self.path.iterdir())):
            raise ConfigError(f"--to {self.path} holds other things; name a new folder, or empty it")

    def put(self, ready: Path, message: str) -> str:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(f".{self.path.name}.new")
        shutil.rmtree(beside, ignore_errors=True)
        shutil.copytree(ready, beside)
        shutil.rmtree(self.path, ignore_errors=True)
        beside.rename(self.path)
        return str(self.path)


@dataclass(frozen=True)
class HubDataset(Destination):
    """A data set repository, made where there is none. The token is the client's own (HF_TOKEN, `hf auth login`)."""

    repo: str
    branch: str
    is_public: bool

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.repo

    def check(self) -> None:
        from huggingface_hub import get_token

        if not get_token():
            raise ConfigError(f"there is no token to push to {self.repo} with; set HF_TOKEN or type `hf auth login`")

    def put(self, ready: Path, message: str) -> str:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError

        api = HfApi()
        try:
            api.create_repo(self.repo, repo_type="dataset", private=not self.is_public, exist_ok=True)
            if self.branch != "main":
                api.create_branch(self.repo, branch=self.branch, repo_type="dataset", exist_ok=True)
            done = api.upload_folder(
                repo_id=self.repo,
                repo_type="dataset",
                folder_path=ready,
                revision=self.branch,
                commit_message=message,
                delete_patterns=["*.parquet"],
            )
        except (HfHubHTTPError, OSError) as error:
            raise StepFailed(
                f"the hub did not take {self.repo}: {error}; check that the token may write there and type it again"
            ) from error
        return str(done.commit_url)
