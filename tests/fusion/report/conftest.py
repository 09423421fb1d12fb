import pytest

from fusion.report.record import RunRecord
from tests.fusion.report.sample_run import sample_run


@pytest.fixture(scope="session")
def record(tmp_path_factory) -> RunRecord:
    """A finished run; artifacts are sealed, so tests only read it."""
    return sample_run(tmp_path_factory.mktemp("sample"))
