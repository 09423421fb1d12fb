"""MinCE and AvgCE on numbers that can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fusion.explicit.alignment import AlignmentMode, align
from fusion.explicit.config import FuseConfig, FuseRule, Misaligned, Per, Scope
from fusion.explicit.distributions import (
    Expected,
    carried,
    places,
    places_by_pieces,
    probabilities,
    response_spans,
)
from fusion.explicit.fuse import Target, carried_model, cross_entropies, fuse
from fusion.explicit.spans import Spans
from fusion.explicit.vocabulary import Vocabulary

LOG_HALF = math.log(0.5)


def expected(token_ids: list[int], logprobs: list[float], top: list[dict[int, float]], num_bytes: int = 6) -> Expected:
    """`top`: probability by token at each place."""
    k = max(len(one) for one in top)
    ids, values = np.full((len(top), k), -1), np.full((len(top), k), -np.inf)
    for place, one in enumerate(top):
        for rank, (token, prob) in enumerate(sorted(one.items(), key=lambda item: -item[1])):
            ids[place, rank], values[place, rank] = token, math.log(prob)
    return Expected(np.array(token_ids), np.array(logprobs), ids, values, num_bytes)


def target(*models: Expected, config: FuseConfig, spans: list[Spans] | None = None) -> Target:
    """Fuse models of one tokenizer."""
    own = spans or [Spans(model.token_ids, np.arange(1, len(model.token_ids) + 1), np.zeros(0)) for model in models]
    losses = cross_entropies(list(zip(models, own, strict=True)), config)
    everywhere = np.ones(len(models[0].token_ids), dtype=bool)
    parts = [
        carried_model(m.top_ids, m.top_logprobs, everywhere, ce, config) for m, ce in zip(models, losses, strict=True)
    ]
    return fuse(parts, models[0].token_ids, config)


def at(found: Target, place: int) -> dict[int, float]:
    pairs = zip(found.ids[place].tolist(), found.probs[place].tolist(), strict=True)
    return {token: pytest.approx(prob) for token, prob in pairs if token >= 0}


A = expected([3, 4], [-1.0, -1.0], [{3: 0.5, 7: 0.25}, {4: 0.8, 5: 0.2}])
B = expected([3, 4], [-0.5, -0.9], [{3: 0.6, 8: 0.2}, {4: 0.5}])


def test_min_ce_takes_the_model_that_reads_the_text_best() -> None:
    found = target(A, B, config=FuseConfig())
    assert (found.winner, found.source_frac) == (1, 1.0)
    assert at(found, 0) == {3: 0.75, 8: 0.25}  # 0.6 and 0.2 of what is stored
    assert at(found, 1) == {4: 1.0}


def test_a_tie_goes_to_the_pivot_and_a_hair_s_breadth_is_no_tie() -> None:
    """In bf16 the two would be equal."""
    near = expected([3, 4], [-1.0, -1.0 + 1e-9], [{3: 1.0}, {4: 1.0}])
    assert target(A, A, config=FuseConfig()).winner == 0
    assert target(A, near, config=FuseConfig()).winner == 1


def test_avg_ce_weighs_by_exp_of_minus_the_loss() -> None:
    found = target(A, B, config=FuseConfig(rule=FuseRule.AVG_CE))
    a, b = math.exp(-1.0), math.exp(-0.7)
    a, b = a / (a + b), b / (a + b)
    assert found.winner is None
    assert at(found, 0) == {3: a * 2 / 3 + b * 0.75, 7: a / 3, 8: b * 0.25}
    assert at(found, 1) == {4: a * 0.8 + b * 1.0, 5: a * 0.2}


def test_one_model_alone_and_a_model_with_itself_are_that_model() -> None:
    alone = target(A, config=FuseConfig())
    for rule in FuseRule:
        assert np.allclose(target(A, A, config=FuseConfig(rule=rule)).probs.sum(axis=1), alone.probs.sum(axis=1))
        assert [at(target(A, A, config=FuseConfig(rule=rule)), t) for t in (0, 1)] == [at(alone, t) for t in (0, 1)]


def test_temperature_flattens() -> None:
    found = probabilities(np.log([[0.8, 0.2]]), 2.0, keeps_residual=False)
    assert found[0].tolist() == pytest.approx([2 / 3, 1 / 3])


def test_temperature_leaves_a_kept_residual_alone() -> None:
    """At 2 the roots of 0.64 and 0.16 are as 2 to 1; they share the 0.8 that is stored."""
    found = probabilities(np.log([[0.64, 0.16], [0.8, 0.2]]), 2.0, keeps_residual=True)
    assert found.tolist() == [pytest.approx([0.8 * 2 / 3, 0.8 / 3]), pytest.approx([2 / 3, 1 / 3])]


def test_the_residual_is_kept_where_asked() -> None:
    found = target(A, config=FuseConfig(keeps_residual=True))
    assert at(found, 0) == {3: 0.5, 7: 0.25}


@pytest.mark.parametrize(
    ("misaligned", "first"), [(Misaligned.PIVOT, {3: 2 / 3, 7: 1 / 3}), (Misaligned.ONE_HOT, {3: 1.0})]
)
def test_where_the_winner_has_nothing_to_say_something_stands_in(
    misaligned: Misaligned, first: dict[int, float]
) -> None:
    silent = expected([3, 4], [-0.1, -0.1], [{}, {4: 1.0}])
    found = target(A, silent, config=FuseConfig(misaligned=misaligned))
    assert at(found, 0) == first
    assert found.source_frac == 0.5


def test_the_papers_tell_no_counterpart_from_no_candidate() -> None:
    """At the first place the source has no token for the pivot's; at the second its candidates are all unmapped."""
    source = expected([8, 9], [-0.1, -0.1], [{11: 1.0}, {12: 1.0}])
    unmapped, at_source = np.full(20, -1), np.array([-1, 1])
    found = {}
    for misaligned in Misaligned:
        config = FuseConfig(misaligned=misaligned)
        silent = carried_model(*carried(source, at_source, unmapped), at_source >= 0, np.full(2, 0.1), config)
        pivot = carried_model(A.top_ids, A.top_logprobs, np.ones(2, dtype=bool), np.full(2, 1.0), config)
        fused = fuse([pivot, silent], A.token_ids, config)
        found[misaligned] = [at(fused, place) for place in (0, 1)]
    own = [{3: 2 / 3, 7: 1 / 3}, {4: 0.8, 5: 0.2}]
    assert found[Misaligned.PIVOT] == own
    assert found[Misaligned.ONE_HOT] == [{3: 1.0}, {4: 1.0}]
    assert found[Misaligned.PAPERS] == [{3: 1.0}, own[1]]


def test_in_an_average_only_the_silent_model_s_weight_moves() -> None:
    silent = expected([3, 4], [-1.0, -1.0], [{}, {4: 1.0}])
    config = FuseConfig(rule=FuseRule.AVG_CE, misaligned=Misaligned.ONE_HOT)
    assert at(target(A, silent, config=config), 0) == {3: 0.5 * 2 / 3 + 0.5, 7: 0.5 / 3}


def test_by_byte_long_tokens_are_no_handicap() -> None:
    """Three nats over six bytes are three nats, in one token or in three."""
    short, long = expected([1, 1, 1], [-1.1] * 3, [{1: 1.0}] * 3), expected([2], [-3.0], [{2: 1.0}])
    spans = [
        Spans(np.array([1, 1, 1]), np.array([2, 4, 6]), np.zeros(3)),
        Spans(np.array([2]), np.array([6]), np.zeros(1)),
    ]
    losses = {
        per: [ce[0] for ce in cross_entropies(list(zip((short, long), spans, strict=True)), FuseConfig(per=per))]
        for per in Per
    }
    assert losses[Per.TOKEN] == pytest.approx([1.1, 3.0])
    assert losses[Per.BYTE] == pytest.approx([3.3 / 6, 3.0 / 6])


def test_by_token_each_stretch_has_its_own_winner() -> None:
    """Pivot `ab|cd|ef|end`, source `abc|d|ef|end`: stretches abcd, ef, end; the source reads the first one better."""
    pivot = expected([1, 2, 3, 0], [-2.0, -2.0, -0.1, -0.3], [{i: 1.0} for i in (1, 2, 3, 0)])
    source = expected([5, 6, 7, 0], [-1.0, -1.0, -0.9, -0.2], [{i: 1.0} for i in (5, 6, 7, 0)])
    spans = [
        Spans(pivot.token_ids, np.array([2, 4, 6, 6]), np.zeros(4)),
        Spans(source.token_ids, np.array([3, 4, 6, 6]), np.zeros(4)),
    ]
    losses = cross_entropies(
        list(zip((pivot, source), spans, strict=True)), FuseConfig(scope=Scope.TOKEN, per=Per.BYTE)
    )
    assert losses[0].tolist() == pytest.approx([4.0, 4.0, 0.1, 0.3])
    assert losses[1].tolist() == pytest.approx([2.0, 2.0, 0.9, 0.2])


C = expected([3, 4], [-0.2, -0.6], [{9: 0.9, 3: 0.1}, {}])


def test_of_three_the_best_reader_is_learnt_and_where_it_is_silent_the_pivot() -> None:
    """Many into one (FuseLLM). Losses a token: A 1.0, B 0.7, C 0.4."""
    found = target(A, B, C, config=FuseConfig())
    assert (found.winner, found.source_frac) == (2, 0.5)
    assert at(found, 0) == {9: 0.9, 3: 0.1}
    assert at(found, 1) == {4: 0.8, 5: 0.2}


def test_of_three_each_has_its_weight_and_the_silent_one_s_goes_to_the_pivot() -> None:
    found = target(A, B, C, config=FuseConfig(rule=FuseRule.AVG_CE))
    a, b, c = (math.exp(-loss) / (math.exp(-1.0) + math.exp(-0.7) + math.exp(-0.4)) for loss in (1.0, 0.7, 0.4))
    assert (found.winner, found.source_frac) == (None, 1.0)
    assert at(found, 0) == {3: a * 2 / 3 + b * 0.75 + c * 0.1, 7: a / 3, 8: b * 0.25, 9: c * 0.9}
    assert at(found, 1) == {4: (a + c) * 0.8 + b, 5: (a + c) * 0.2}


def test_by_token_each_stretch_of_three_models_learns_from_its_own_best_reader() -> None:
    """Pivot `ab|cd|ef|end`; one source `abc|d|ef|end`, the other `ab|cdef|end`: stretches abcdef and end, since no
    inner offset is a token's end of all three. Of abcdef the second source reads best, of the end the pivot."""
    pivot = expected([1, 2, 3, 0], [-2.0, -2.0, -1.0, -0.1], [{i: 0.5, 20 + i: 0.5} for i in (1, 2, 3, 0)])
    first = expected([5, 6, 7, 0], [-1.5, -1.5, -1.0, -0.2], [{i: 1.0} for i in (5, 6, 7, 0)])
    second = expected([8, 9, 0], [-1.0, -1.0, -0.3], [{i: 1.0} for i in (8, 9, 0)])
    spans = [
        Spans(pivot.token_ids, np.array([2, 4, 6, 6]), np.zeros(4)),
        Spans(first.token_ids, np.array([3, 4, 6, 6]), np.zeros(4)),
        Spans(second.token_ids, np.array([2, 6, 6]), np.zeros(3)),
    ]
    config = FuseConfig(scope=Scope.TOKEN, per=Per.BYTE)
    models = [pivot, first, second]
    losses = cross_entropies(list(zip(models, spans, strict=True)), config)
    assert [ce.tolist() for ce in losses] == [
        pytest.approx([5.0] * 3 + [0.1]), pytest.approx([4.0] * 3 + [0.2]), pytest.approx([2.0] * 3 + [0.3])
    ]  # fmt: skip
    same = np.arange(30)
    parts = [carried_model(pivot.top_ids, pivot.top_logprobs, np.ones(4, dtype=bool), losses[0], config)]
    for model, own, ce in zip(models[1:], spans[1:], losses[1:], strict=True):
        place = places(own, spans[0])
        parts.append(carried_model(*carried(model, place, same), place >= 0, ce, config))
    found = fuse(parts, pivot.token_ids, config)
    # `ab` after nothing and `cd` after ab are the second source's; before ef it never stood, so there the pivot speaks.
    assert [at(found, place) for place in range(4)] == [{8: 1.0}, {9: 1.0}, {3: 0.5, 23: 0.5}, {0: 0.5, 20: 0.5}]
    assert (found.winner, found.source_frac) == (None, 0.5)


def test_candidates_are_mapped_dropped_and_kept_once() -> None:
    """Two source tokens of one pivot token: the likelier counts. An unmapped one is left out, not sent to the end."""
    source = expected([0], [-1.0], [{10: 0.4, 11: 0.3, 12: 0.2, 13: 0.1}])
    token_map = np.full(20, -1)
    token_map[[10, 11, 13]] = [5, 5, 6]
    ids, logprobs = carried(source, np.array([0, -1]), token_map)
    assert ids.tolist() == [[5, -1, -1, 6], [-1] * 4]
    assert np.exp(logprobs[0]).tolist() == pytest.approx([0.4, 0.0, 0.0, 0.1])


def test_an_output_that_is_no_token_is_left_out() -> None:
    """A model's output matrix may be padded: Qwen's has 151,936 rows, and its tokenizer fewer tokens."""
    source = expected([0], [-1.0], [{10: 0.5, 21: 0.3, 4: 0.2}])
    token_map = np.arange(20)
    ids, logprobs = carried(source, np.array([0]), token_map)
    assert ids.tolist() == [[10, -1, 4]]
    assert np.exp(logprobs[0]).tolist() == pytest.approx([0.5, 0.0, 0.2])


SOURCE = Vocabulary((b"</s>", b"Hel", b"lo", b" wor", b"ld"), frozenset({0}))
PIVOT = Vocabulary((b"</s>", b"Hello", b" w", b"orld"), frozenset({0}))


def test_an_entry_speaks_of_what_follows_the_same_bytes() -> None:
    """Which distribution belongs to the first token is left open by the paper: the one before anything is read."""
    source = response_spans("Hello world", np.array([1, 2, 3, 4, 0]), SOURCE)
    pivot = response_spans("Hello world", np.array([1, 2, 3, 0]), PIVOT)
    # `Hello` after nothing; ` w` after Hello; `orld` after ` w`, which the source never stood before; the end.
    assert places(source, pivot).tolist() == [0, 2, -1, 4]
    alignment = align(source, pivot, (SOURCE, PIVOT), AlignmentMode.BYTE_OFFSETS)
    assert places_by_pieces(alignment, source, pivot, (SOURCE, PIVOT)).tolist() == [0, 2, -1, 4]


def test_the_end_of_turn_covers_no_text_even_where_it_is_no_special_token() -> None:
    plain = Vocabulary((b"<eot>", b"a"), frozenset())
    assert response_spans("aa", np.array([1, 1, 0]), plain).ends.tolist() == [1, 2, 2]
