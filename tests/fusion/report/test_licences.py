"""Which terms clash, and that every model and data set of the shipped config says its own."""

from pathlib import Path

import pytest
import yaml

from fusion.fingerprint import fingerprint
from fusion.models import ModelRef
from fusion.prompts.hf_dataset import HfDataset
from fusion.report.licences import OPEN_TERMS, TERMS, Licensed, conflicts
from fusion.stored import StoredResponses

CONF = Path(__file__).resolve().parents[3] / "conf"
QWEN7 = Licensed("qwen25_7b", "target", "apache-2.0")
LLAMA8 = Licensed("llama31_8b", "target", "llama3.1")


def clashes(parts, target):
    return [line for line in conflicts(parts, target) if line.startswith("Conflict")]


@pytest.mark.parametrize(
    ("licence", "target", "words"),
    [
        ("mrl", QWEN7, ["Mistral AI Research License", "commercial", "qwen25_7b"]),
        ("cc-by-nc-4.0", QWEN7, ["CC BY-NC 4.0", "commercial"]),
        ("llama3.1", QWEN7, ["“Llama”", "qwen25_7b is no Llama"]),
        ("llama3.1", LLAMA8, None),
        ("llama3", QWEN7, ["Meta Llama 3", "improve qwen25_7b"]),
        ("apache-2.0", QWEN7, None),
        ("gemma", QWEN7, None),
    ],
)
def test_a_clash_is_named_with_both_sides(licence, target, words):
    found = clashes([Licensed("source", "model", licence)], target)
    if words is None:
        assert found == []
    else:
        assert len(found) == 1
        assert all(word in found[0] for word in ["source", *words] if word)


@pytest.mark.parametrize(
    ("licence", "words"),
    [
        ("gemma", ["Model Derivative", "use restrictions"]),
        ("qwen", ["Built with Qwen"]),
        ("llama3.1", ["begins with “Llama”", "700 million"]),
    ],
)
def test_what_a_licence_asks_is_said(licence, words):
    found = " ".join(conflicts([Licensed("source", "model", licence)], None))
    assert all(word in found for word in [*words, "source"])


def test_several_licences_of_one_part_all_count():
    found = clashes([Licensed("magpie", "data set", "llama3+cc-by-nc-4.0")], QWEN7)
    assert len(found) == 2


def test_no_licence_is_said_and_an_unknown_one_is_to_be_read():
    parts = [Licensed("a", "model", ""), Licensed("b", "data set", ""), Licensed("c", "model", "my-own")]
    found = conflicts(parts, None)
    assert any("No licence stated for model a" in line for line in found)
    assert any("No licence stated for data set b" in line for line in found)
    assert any("my-own (c)" in line for line in found)


def test_the_gravest_comes_first():
    parts = [Licensed("g", "model", "gemma"), Licensed("x", "model", ""), Licensed("m", "model", "mrl")]
    found = conflicts(parts, QWEN7)
    assert [line.split()[0] for line in found[:2]] == ["Conflict:", "No"]


@pytest.mark.parametrize("path", sorted(CONF.glob("source/*.yaml")) + sorted(CONF.glob("target/*.yaml")), ids=str)
def test_every_model_states_a_licence_that_is_known(path):
    tree = yaml.safe_load(path.read_text())
    licence = (tree.get("model") or {}).get("licence") or tree.get("licence")
    assert licence, f"{path} states no licence"
    assert all(one in OPEN_TERMS or one in TERMS for one in licence.split("+"))


@pytest.mark.parametrize("path", sorted(CONF.glob("prompts/fusechat3/*.yaml")), ids=str)
def test_every_data_set_states_a_licence_that_is_known(path):
    licence = yaml.safe_load(path.read_text()).get("licence")
    assert licence, f"{path} states no licence"
    assert all(one in OPEN_TERMS or one in TERMS for one in licence.split("+"))


@pytest.mark.parametrize(
    ("bare", "stated"),
    [
        (ModelRef(uri="hf://a/b", revision="c"), ModelRef(uri="hf://a/b", revision="c", licence="mit")),
        (HfDataset(name="a/b"), HfDataset(name="a/b", licence="mit")),
        (StoredResponses(path="x", digest="d"), StoredResponses(path="x", digest="d", licences={"a": "mit"})),
    ],
    ids=["model", "prompts", "answers"],
)
def test_stating_a_licence_changes_no_identity(bare, stated):
    assert fingerprint(bare) == fingerprint(stated)
