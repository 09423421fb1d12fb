from fusion.evaluation.compare import pairs_to_compare


def test_final_is_compared_with_everything_that_was_evaluated():
    assert pairs_to_compare(["base", "sft", "final", "gemma"]) == [
        ("final", "base"),
        ("sft", "base"),
        ("final", "sft"),
        ("final", "gemma"),
    ]


def test_a_run_without_a_phase_compares_what_there_is():
    assert pairs_to_compare(["base", "final"]) == [("final", "base")]
