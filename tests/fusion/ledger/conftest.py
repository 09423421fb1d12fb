import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fusion.cli import main
from fusion.report.record import RunRecord
from fusion.run_folder import RunFolder
from tests.fusion.report.sample_run import sample_folder

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_folder(tmp_path_factory.mktemp("ledger"))


@pytest.fixture(scope="session")
def record(runs: Path) -> RunRecord:
    run = RunFolder.open(str(runs), "sample")
    return RunRecord.of(run.config_text, run.result, run.artifacts())


@pytest.fixture
def call(runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """`call("show", "sample", "sft")`: exit code, output, errors."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(command: str, *arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([command, *arguments, "--runs", str(runs)])
        out = capsys.readouterr()
        return int(ended.value.code or 0), out.out, out.err

    return run


@pytest.fixture
def rows(call: Call) -> Callable[..., list[dict[str, object]]]:
    """`rows("sft", "--domain", "gcd")`: what show prints as JSON."""

    def run(*arguments: str) -> list[dict[str, object]]:
        code, out, err = call("show", "sample", *arguments, "--json", "--limit", "100000")
        assert code == 0, err
        return [json.loads(line) for line in out.splitlines()]

    return run
