"""A config with a secret is refused by its key, and the secret is not repeated; what only looks long is let through."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from fusion.cli import main
from fusion.errors import ConfigError
from fusion.secrets import refuse_secrets

TOKEN = "hf_" + "Zq8Lw3Rt6Yp1Nv4Kc7Xb2Md9Hf5Js0Gu"


@pytest.mark.parametrize(
    ("tree", "key"),
    [
        ({"a": {"b": f"token {TOKEN}"}}, "a.b"),
        ({"a": [{"url": "https://me:pa55word@host/v1"}]}, "a[0].url"),
    ],
)
def test_a_secret_is_named_by_its_key_and_not_shown(tree: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as error:
        refuse_secrets(OmegaConf.create(tree))
    assert str(error.value).startswith(f"{key} holds")
    assert TOKEN not in str(error.value)
    assert "pa55word" not in str(error.value)


def test_hashes_names_and_templates_are_no_secrets() -> None:
    refuse_secrets(
        OmegaConf.create(
            {
                "revision": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                "key_env": "OPENAI_API_KEY",
                "template": "{{ bos_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}",
                "uri": "s3://bucket/models",
                "missing": "???",
            }
        )
    )


@pytest.mark.parametrize("verb", ["run", "plan"])
def test_nothing_is_written_for_a_run_with_a_secret(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main([verb, "experiment=quickstart", f"target.name={TOKEN}", f"runs={tmp_path}/runs"])
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert "target.name holds what looks like a secret" in told.err
    assert TOKEN not in told.out + told.err
    assert not (tmp_path / "runs").exists()
