"""What the user asks of `fusion submit`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fusion.errors import ConfigError
from fusion.submission.spec import Dependencies

OPTIONS = {
    "--config-dir": "folder of own yaml files; travels with the job",
    "--address": "the head's job server; else RAY_API_SERVER_ADDRESS, RAY_ADDRESS, http://127.0.0.1:8265",
    "--allow-open-head": "HOST:PORT of a head to be used though it checks no token",
    "--follow": "follow a job that was submitted before, and bring its result back",
    "--runs": "folder here for results that come back (runs)",
}
FLAGS = {
    "--detach": "do not follow the job",
    "--dry-run": "print what would be sent, send nothing",
    "--multirun": "sweep, as -m of `fusion run`",
}


@dataclass(frozen=True)
class Order:
    """The command line, read. Texts are empty where nothing was said."""

    overrides: list[str]
    config_dir: str
    extra: list[str]
    """Files that the run reads and that travel with it."""
    address: str
    dependencies: Dependencies
    allowed: str
    follow: str
    is_detached: bool
    is_dry: bool
    is_sweep: bool
    runs: str

    @classmethod
    def of(cls, arguments: Sequence[str]) -> Order:
        """Raises:
        ConfigError: there is nothing to submit, or no such folder.
        """
        told = _parser().parse_intermixed_args(list(arguments))
        if not told.overrides and not told.follow:
            raise ConfigError("nothing to submit; type e.g. fusion submit experiment=quickstart")
        if told.config_dir and not Path(told.config_dir).is_dir():
            raise ConfigError(f"--config-dir {told.config_dir}: there is no such folder")
        return cls(
            overrides=[*(["-m"] if told.multirun else []), *told.overrides],
            config_dir=told.config_dir,
            extra=told.extra,
            address=told.address,
            dependencies=Dependencies(told.deps),
            allowed=told.allow_open_head,
            follow=told.follow,
            is_detached=told.detach,
            is_dry=told.dry_run,
            is_sweep=told.multirun,
            runs=told.runs or "runs",
        )


def _parser() -> argparse.ArgumentParser:
    about = "do a run on a Ray cluster, where its driver lives too; follow it, and bring its result back"
    parser = argparse.ArgumentParser(prog="fusion submit", description=about)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="as for `fusion run`")
    for name, text in OPTIONS.items():
        parser.add_argument(name, default="", metavar=name.rsplit("-", 1)[-1].upper(), help=text)
    for name, text in FLAGS.items():
        parser.add_argument(*(["-m"] if name == "--multirun" else []), name, action="store_true", help=text)
    parser.add_argument(
        "--with",
        dest="extra",
        action="append",
        default=[],
        metavar="PATH",
        help="a file or folder that the run reads; travels with the job",
    )
    parser.add_argument(
        "--deps",
        choices=[one.value for one in Dependencies],
        default=Dependencies.IMAGE.value,
        help="image: the nodes have the packages; lock: each node installs requirements/",
    )
    return parser
