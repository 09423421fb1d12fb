import numpy as np

from fusion.evaluation.compare import evaluation_rows
from fusion.evaluation.gate import GateConfig
from fusion.evaluation.outcome import result_entries
from fusion.evaluation.scores import DomainScores
from fusion.schema import EVALUATION
from tests.fusion.evaluation.test_gate import comparison


def test_the_result_says_scores_gain_and_the_decision():
    scores = {"gcd": DomainScores(np.array([1.0, 0.0]), num_samples=2, undecided=1)}
    entries = result_entries(
        EVALUATION.build(evaluation_rows("final", scores)), comparison(overall=(0.2, 0.1, 0.3)), GateConfig()
    )
    assert entries["evaluation"]["final"]["gcd"] | {"low": 0, "high": 0} == {
        "score": 0.5,
        "low": 0,
        "high": 0,
        "n": 2,
        "undecided": 1,
    }
    assert entries["gain"]["difference"] == 0.2
    assert entries["gate"]["promoted"] is True
