import pytest

from fusion.report.redact import mask_values, parse, redacted


@pytest.mark.parametrize(
    "line",
    [
        "hf_token: abcdef",
        "api_key: abcdef",
        "apiKey: abcdef",
        "openai-key: abcdef",
        "aws_secret_access_key: abcdef",
        "password: abcdef",
        "auth: {user: abcdef}",
        "webhook_url: abcdef",
        "header: Bearer abcdef123456",
        "url: s3://me:abcdef@bucket/x",
        "url: https://host/x?X-Amz-Signature=abcdef",
        "note: uses hf_abcdefabcdefabcdefabcdef",
        "pem: |\n  -----BEGIN RSA PRIVATE KEY-----\n  abcdef\n  -----END RSA PRIVATE KEY-----",
    ],
)
def test_secrets_are_masked(line):
    assert "abcdef" not in redacted(line)


@pytest.mark.parametrize(
    "line",
    [
        "max_new_tokens: 512",
        "num_tokens: 3",
        "tokenizer: smollm",
        "tokens_id: abc",
        "key: prompt_id",
        "author: Ann",
        "revision: 12fd25f77366fa6b3b4b768ec3050bf629380bac",
        "uri: hf://google/gemma-3-270m",
    ],
)
def test_what_is_no_secret_stays(line):
    assert redacted(line).strip() == line


def test_text_that_is_not_yaml_is_masked_too():
    assert "abcdef" not in redacted("{ broken: hf_abcdefabcdefabcdefabcdef")
    assert parse("{ broken") == {}


def test_plain_text_keeps_its_words():
    assert mask_values("a basket of risk-free tokens") == "a basket of risk-free tokens"
