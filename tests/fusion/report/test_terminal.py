from rich.console import Console

from fusion.report.terminal import accounts_table, results_table


def printed(table, width: int = 140) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table)
    return console.export_text()


def test_results_show_each_score_and_the_gain(record):
    text = printed(results_table(record.evaluation.read(), record.comparison.read(), record.target))
    row = next(r for r in record.evaluation.read().to_pylist() if (r["model"], r["domain"]) == ("final", "overall"))
    assert f"{row['score']:.2f} [{row['low']:.2f}, {row['high']:.2f}]" in text
    assert "final - base: +0." in text


def test_results_fit_a_small_terminal(record):
    lines = printed(results_table(record.evaluation.read()), width=80).splitlines()
    assert max(len(line) for line in lines) <= 80
    assert any("0.43]" in line for line in lines)


def test_accounts_show_reasons(record):
    text = printed(accounts_table(record.result))
    assert "7 duplicate_prompt" in text
    assert "no_passing_response" in text


def test_names_are_not_read_as_markup(record):
    steps = [{"kind": "prompts", "label": "[red]x[/]", "rows_in": 1, "rows_out": 1, "dropped": {}, "failed": {}}]
    assert "prompts/[red]x[/]" in printed(accounts_table({"steps": steps}))
