"""Which prompts count as a benchmark's question."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from fusion.errors import ConfigError
from fusion.fingerprint import fingerprint
from fusion.prompts.base import RawPrompt
from fusion.prompts.columns import Columns
from fusion.prompts.decontaminate import BenchmarkIndex, Decontamination, Overlap
from fusion.prompts.hf_dataset import HfDataset
from fusion.prompts.jsonl import Jsonl
from tests.shared_data import shared_data

ITEM = (
    "A baker sells rolls at the market every Saturday. Last week she sold forty of them before noon, and twice as many "
    "in the afternoon, and at the end of the day she gave six away. How many rolls had she baked in the morning?"
)
SHORT = "Write a function that finds the second largest number of a list."
CHINESE = "小明家离学校有三公里，他每天骑自行车上学，路上要用十五分钟，请问他骑车的平均速度是每小时多少公里？"


def prompt(text: str) -> RawPrompt:
    return RawPrompt("p", ({"role": "user", "content": text},), "d", "s", None)


def index(tmp_path: Path, *items: str, **settings: object) -> BenchmarkIndex:
    path = tmp_path / "bench.jsonl"
    path.write_text("".join(json.dumps({"prompt": item}) + "\n" for item in items))
    return BenchmarkIndex(Decontamination(benchmarks={"quiz": Jsonl(path=str(path))}, **settings))  # type: ignore[arg-type]


def replaced(text: str, count: int, draw: random.Random) -> str:
    words = text.split()
    for place in draw.sample(range(len(words)), count):
        words[place] = draw.choice(["zebra", "seven", "quickly"])
    return " ".join(words)


def test_the_same_text_is_found_whatever_its_case_and_punctuation(tmp_path: Path) -> None:
    found = index(tmp_path, "Hi there", ITEM).overlap(prompt(f"  {ITEM.upper()} !"))
    assert found == Overlap("quiz/bench.jsonl:2", 1.0, 0)
    assert str(found) == "quiz/bench.jsonl:2: the same text"


def test_an_item_inside_a_longer_prompt_is_found(tmp_path: Path) -> None:
    found = index(tmp_path, ITEM).overlap(prompt(f"Answer in one line. {ITEM} Show your work."))
    assert found is not None
    assert str(found) == "quiz/bench.jsonl:1: 100% of its words in shared 13-grams"


def test_overlap_is_the_share_of_the_items_words_in_shared_ngrams(tmp_path: Path) -> None:
    """Of 45 words, the last 13 are kept."""
    found = index(tmp_path, ITEM).overlap(prompt("Something else. " + " ".join(ITEM.split()[-13:])))
    assert found == Overlap("quiz/bench.jsonl:1", 13 / 45, 13)
    assert index(tmp_path, ITEM, min_overlap=0.3).overlap(prompt(" ".join(ITEM.split()[-13:]))) is None
    assert index(tmp_path, ITEM, min_overlap=0.01).overlap(prompt(" ".join(ITEM.split()[-12:]))) is None


@pytest.mark.parametrize("place", range(45))
def test_one_changed_word_hides_nothing(tmp_path: Path, place: int) -> None:
    words = ITEM.split()
    words[place] = "zebra"
    assert index(tmp_path, ITEM).overlap(prompt(" ".join(words)))


def test_a_short_item_is_sought_by_shorter_ngrams_and_its_usual_beginning_is_not_enough(tmp_path: Path) -> None:
    quiz = index(tmp_path, SHORT)
    assert quiz.overlap(prompt(SHORT.replace("list", "tuple") + " It must pass: assert second([1, 2]) == 1"))
    assert quiz.overlap(prompt("Write a function that finds the longest word of a text.")) is None


def test_a_few_words_count_as_a_whole_and_fewer_only_alone(tmp_path: Path) -> None:
    quiz = index(tmp_path, "Who wrote the Iliad, and when?", "Say hello")
    assert quiz.overlap(prompt("Tell me: who wrote the Iliad and when? And the Odyssey?"))
    assert quiz.overlap(prompt("Who wrote the Odyssey and when?")) is None
    assert quiz.overlap(prompt("say hello!"))
    assert quiz.overlap(prompt("Say hello to the world")) is None


def test_chinese_is_compared_by_characters(tmp_path: Path) -> None:
    quiz = index(tmp_path, CHINESE)
    found = quiz.overlap(prompt("请解答：" + CHINESE.replace("小明", "李华").replace("三公里", "五公里")))
    assert found is not None
    assert found.ngram == 12
    assert quiz.overlap(prompt("请问从上海到北京的高速铁路每小时多少公里，路上要用多长时间？")) is None


def test_each_turn_is_an_item_and_each_turn_is_compared(tmp_path: Path) -> None:
    path = tmp_path / "turns.jsonl"
    path.write_text(json.dumps({"turns": ["Name a fish.", "Now a bird."]}) + "\n")
    config = Decontamination(benchmarks={"talk": Jsonl(path=str(path), columns=Columns(messages="turns"))})
    turns = ({"role": "user", "content": "Hi"}, {"role": "user", "content": "Now a bird"})
    assert BenchmarkIndex(config).overlap(RawPrompt("p", turns, "d", "s", None)) == Overlap(
        "talk/turns.jsonl:1", 1.0, 0
    )


def test_a_benchmark_that_cannot_be_read_is_refused_by_name_unless_one_does_without(tmp_path: Path) -> None:
    def config(**settings: object) -> Decontamination:
        (tmp_path / "b.jsonl").write_text('{"prompt": "Hi"}\n')
        there = Jsonl(path=str(tmp_path / "b.jsonl"))
        gone = HfDataset(name="org/gone", path=str(tmp_path / "gone"))
        return Decontamination(benchmarks={"there": there, "gone": gone}, **settings)  # type: ignore[arg-type]

    with pytest.raises(ConfigError, match=r"benchmark gone cannot be read: .*allow_missing=\[gone\]"):
        config().resolve()
    without = config(allow_missing=["gone"])
    without.resolve()
    assert without.missing == ["gone"]
    assert [name for name, _ in without.items()] == ["there"]
    whole = Decontamination(benchmarks={"there": config().benchmarks["there"]})
    whole.resolve()
    assert fingerprint(whole) != fingerprint(without), "what was left out is part of what was made"


def test_a_benchmark_without_items_or_with_other_columns_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "b.jsonl"
    for text, message in (("", "it holds no item"), ('{"question": "Hi"}\n', "no column 'prompt'")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=f"benchmark quiz cannot be read: .*{message}"):
            BenchmarkIndex(Decontamination(benchmarks={"quiz": Jsonl(path=str(path))}))


@pytest.mark.parametrize(
    "settings", [{"ngram_words": 2}, {"min_overlap": 0.0}, {"min_overlap_short": 1.1}, {"allow_missing": ["gsm"]}]
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="decontaminate"):
        Decontamination(**settings)  # type: ignore[arg-type]


def real(name: str, column: str) -> Jsonl:
    return Jsonl(path=str(shared_data(name)), columns=Columns(prompt=column, reference=""))


def test_gsm8k_train_is_clean_of_its_test_and_the_edited_test_is_not() -> None:
    quiz = BenchmarkIndex(Decontamination(benchmarks={"gsm8k": real("math/gsm8k_test.jsonl", "question")}))
    train = list(real("math/gsm8k_train.jsonl.gz", "question").read())
    assert sum(quiz.overlap(one) is not None for one in train) <= 0.001 * len(train)  # 3 of 7,473
    draw = random.Random(1)
    items = [one.asked for one in real("math/gsm8k_test.jsonl", "question").read()]
    assert all(quiz.overlap(prompt(replaced(item, 1, draw))) for item in items)
    twice = sum(quiz.overlap(prompt(replaced(item, 2, draw))) is not None for item in items)
    assert twice > 0.95 * len(items)  # 0.97: of short items, two changes leave little


POOL = [
    ("math/cmath_zh.jsonl", "question", "cmath_zh", 0),
    ("math/gsm8k_train.jsonl.gz", "question", "gsm8k_train", 0),
    ("code/mbpp.jsonl", "text", "mbpp_train", 12),
    ("math/gsm8k_test.jsonl", "question", "", 0),
    ("math/math500.jsonl", "problem", "", 0),
]


@pytest.mark.parametrize(("name", "column", "dataset", "others"), POOL)
def test_what_the_pool_took_from_a_set_is_found_and_hardly_anything_else(
    name: str, column: str, dataset: str, others: int
) -> None:
    quiz = BenchmarkIndex(Decontamination(benchmarks={"b": real(name, column)}))
    pool = list(real("prompts/prompt_pool.jsonl", "prompt").read())
    found = [one for one in pool if quiz.overlap(one)]
    assert sum(one.dataset == dataset for one in found) == sum(one.dataset == dataset for one in pool)
    assert sum(one.dataset != dataset for one in found) <= others
