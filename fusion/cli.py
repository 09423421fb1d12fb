"""The command line, and the only place where a recipe meets a runtime.

Nothing heavy is imported before a command needs it: `fusion --help` answers at once, and `fusion plan` loads neither
Ray nor an engine nor torch.

Exit codes: 0 done; 1 a step failed; 2 refused before starting; 130 interrupted (the same command resumes).
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from fusion.errors import ConfigError
from fusion.exit_code import guarded
from fusion.overrides import composed_by_hydra, in_experiment

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from fusion.cluster_config import ClusterConfig
    from fusion.costs.meter import Meter
    from fusion.planning.layout import Laid
    from fusion.runtime import Runtime


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the `fusion` script."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    sys.exit(guarded(lambda: _dispatch(arguments)))


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        from fusion.usage import HELP

        print(HELP, end="")
        return 0
    if arguments[0] in ("-sc", "--shell-completion"):
        from fusion.completion import complete

        return complete(arguments[1:], list(COMMANDS))
    if arguments[0] == "--version":
        import fusion

        print(f"fusion {fusion.__version__}")
        return 0
    command = COMMANDS.get(arguments[0])
    if command is None:
        import difflib

        close = difflib.get_close_matches(arguments[0], COMMANDS, n=1)
        hint = f" Did you mean `fusion {close[0]}`?" if close else ""
        raise ConfigError(f"there is no command {arguments[0]!r}.{hint} Commands: {', '.join(COMMANDS)}")
    return command(arguments[1:])


# -- run and plan ------------------------------------------------------------------------------------------------------


def _run(arguments: list[str]) -> int:
    """Several runs, of a sweep or a comparison, end with the table that `fusion compare` prints."""
    ran: dict[str, list[str]] = {}

    def run(tree: DictConfig) -> int:
        code = run_config(tree, _typed("run", arguments))
        ran.setdefault(str(tree.runs), []).append(str(tree.name))
        return code

    code = composed_by_hydra(arguments, run)
    for runs, names in ran.items():
        if code == 0 and len(names) > 1:
            _show_together(runs, names)
    return code


def _show_together(runs: str, names: Sequence[str]) -> None:
    from fusion.ledger.compare import show_comparison

    try:
        show_comparison(runs, names)
    except ConfigError as error:
        print(f"no table of these runs together: {error}")


def _plan(arguments: list[str]) -> int:
    return composed_by_hydra(arguments, plan_config)


def _eval(arguments: list[str]) -> int:
    """A run of the recipe `benchmarks`; `fusion plan experiment=eval ...` plans it."""
    words = in_experiment("eval", arguments)
    return composed_by_hydra(words, lambda tree: run_config(tree, _typed("eval", arguments)))


def _agree(arguments: list[str]) -> int:
    """Judges against labels; takes overrides as `eval` does."""
    from fusion.judging.agree import carry_out

    return composed_by_hydra(in_experiment("agree", arguments), carry_out)


def _typed(command: str, arguments: list[str]) -> str:
    import shlex

    return shlex.join(["fusion", command, *arguments])


def plan_config(tree: DictConfig) -> int:
    """Print what a run would do."""
    from fusion.config import typed
    from fusion.console import plan_table
    from fusion.costs.account import read_accounts
    from fusion.costs.kept import spent_folder
    from fusion.fitting_objective import objective_notes
    from fusion.pipeline import build
    from fusion.plan import done, plan
    from fusion.planning.layout import laid_out
    from fusion.planning.outlook import outlook
    from fusion.revisions import PLAN_WAIT_S, notes, pin
    from fusion.submission.inside import settled
    from fusion.wide_console import wide_console

    settled(tree, os.environ)
    console = wide_console()
    for note in notes(pin(tree, PLAN_WAIT_S)):
        console.print(note, soft_wrap=True)
    config = typed(tree)
    for note in objective_notes(config):
        console.print(note, soft_wrap=True)
    recipe = build(config)
    planned = plan(config.store.path, recipe.targets)
    console.print(plan_table(planned))
    spent = read_accounts(spent_folder(config))
    laid = laid_out(recipe, planned, spent)
    outlook(laid.recipe, done(planned), spent, console)
    if laid.notice:
        console.print(laid.notice, soft_wrap=True, highlight=False)
    return 0


def run_config(tree: DictConfig, command: str = "") -> int:
    """Run a recipe and leave its run folder. `command`: what was typed, for who looks at the run."""
    from omegaconf import OmegaConf

    from fusion.config import typed
    from fusion.costs.kept import meter_of
    from fusion.pipeline import build
    from fusion.plan import done, plan
    from fusion.planning.generations import demand_room
    from fusion.planning.layout import laid_out
    from fusion.revisions import RUN_WAIT_S, demand, pin
    from fusion.submission.inside import settled
    from fusion.train.tracking import demand_trackers

    settled(tree, os.environ)
    demand(pin(tree, RUN_WAIT_S))
    config = typed(tree)
    recipe, meter = build(config), meter_of(config)
    laid = laid_out(recipe, plan(config.store.path, recipe.targets), meter.account())
    demand_room(laid.recipe, done(laid.planned))
    demand_trackers(recipe.targets, config.store.path)
    _carry_out(laid, meter, OmegaConf.to_yaml(tree), command)
    return 0


def _carry_out(laid: Laid, meter: Meter, settings: str, command: str) -> None:
    from pathlib import Path

    from rich.console import Console

    from fusion.console import Terminal, log_to
    from fusion.costs.announcer import Announcer
    from fusion.fitting_objective import objective_notes
    from fusion.folders import make_folder
    from fusion.listeners import Listeners
    from fusion.results import conclude
    from fusion.runner import Runner
    from fusion.watching.recorder import recorded

    config = laid.recipe.config
    cluster, folder = config.cluster, Path(config.runs) / config.name
    make_folder("runs", str(folder))
    make_folder("store.path", config.store.path)
    log_to(folder / "log.txt")
    (folder / "config.yaml").write_text(settings)
    terminal = Terminal(Console())
    for note in objective_notes(config):
        terminal.notice(note)
    with recorded(folder, config.name, command) as recorder:
        listener = Announcer(Listeners(terminal, recorder), laid.recipe, meter, str(folder / "forecast.json"))
        runner = Runner(
            config.store.path,
            lambda: _runtime(cluster, config.name, listener.notice, meter),
            cluster.capacity,
            listener,
            meter,
        )
        try:
            if laid.notice:
                listener.notice(laid.notice)
            outcome = runner.carry_out(laid.planned)
        finally:
            terminal.close()
        conclude(laid.recipe, outcome, folder, terminal.console)


def _runtime(cluster: ClusterConfig, run: str, notice: Callable[[str], None], meter: Meter) -> Runtime:
    from fusion.cluster_config import RuntimeKind
    from fusion.runtime import InProcess

    if cluster.runtime is RuntimeKind.IN_PROCESS:
        return InProcess()
    from actors.runtime import RayRuntime

    return RayRuntime(cluster.ray, notice, run, lambda: meter.account().total.usd)


def _merge(arguments: list[str]) -> int:
    from fusion.merging.command import merge

    return merge(arguments, _ray_on_this_machine)


def _ray_on_this_machine(num_cpus: int) -> Runtime:
    from actors.runtime import RayRuntime
    from fusion.cluster_config import RayConfig

    return RayRuntime(RayConfig(address="auto" if os.environ.get("RAY_ADDRESS") else None, num_cpus=num_cpus))


def _job(arguments: list[str]) -> int:
    """`fusion job DIGEST ...`: what `fusion submit` has the cluster do."""
    from fusion.submission.inside import carry_out, checked

    return composed_by_hydra(checked(arguments), lambda tree: carry_out(tree, run_config))


def _found_at(place: str) -> Callable[[list[str]], int]:
    """The command at `module:function`, imported when it is called."""

    def call(arguments: list[str]) -> int:
        module, _, name = place.partition(":")
        command: Callable[[list[str]], int] = getattr(importlib.import_module(module), name)
        return command(arguments)

    return call


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "run": _run,
    "plan": _plan,
    "submit": _found_at("fusion.submission.command:submit"),
    "job": _job,
    "eval": _eval,
    "status": _found_at("fusion.watching.command:status"),
    "agree": _agree,
    "show": _found_at("fusion.ledger.show:show"),
    "explain": _found_at("fusion.ledger.explain:explain"),
    "ablate": _found_at("fusion.ablation:ablate"),
    "calibrate": _found_at("fusion.ledger.calibrate:calibrate"),
    "push": _found_at("fusion.publish.push:push"),
    "compare": _found_at("fusion.ledger.compare:compare"),
    "diff": _found_at("fusion.ledger.diff:diff"),
    "merge": _merge,
    "report": _found_at("fusion.results:rewrite_report"),
    "align": _found_at("fusion.align_command:align"),
    "doctor": _found_at("fusion.doctor.command:examine"),
}
