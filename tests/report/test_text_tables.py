"""Tables as Markdown and LaTeX: aligned, escaped, with their emphasis."""

import re
from pathlib import Path

import pytest

from esegeta.report import Cell, Table, number_text, p_text, to_latex, to_markdown, write_csv
from esegeta.report.text_tables import ROWS_A_FLOAT

TABLE = Table(
    "A & B",
    ("method", "score_1 ↓", "what"),
    (
        (Cell("ig_blur"), Cell("-0.012 [-1e-5, 2.5e7]", best=True), Cell("a|b")),
        (Cell("random_map", null=True, dagger=True), Cell("1", null=True, dagger=True), Cell("")),
    ),
    "Note: 5 %.",
)


def test_a_markdown_table_is_written() -> None:
    assert to_markdown(TABLE, level=3) == (
        "### A & B\n"
        "\n"
        "| method         |                 score_1 ↓ | what |\n"
        "| -------------- | ------------------------: | ---- |\n"
        "| ig_blur        | **-0.012 [-1e-5, 2.5e7]** | a\\|b |\n"
        "| *random_map* † |                     *1* † |      |\n"
        "\n"
        "Note: 5 %.\n"
    )


def test_a_latex_table_is_written() -> None:
    assert to_latex(TABLE, label="tab:x").splitlines() == [
        r"\begin{table}[htbp]",
        r"\centering",
        r"\caption{A \& B. Note: 5 \%.}\label{tab:x}",
        r"\small",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        r"\begin{tabular}{lrl}",
        r"\toprule",
        r"\textbf{method} & \textbf{score\_1 $\downarrow$} & \textbf{what} \\",
        r"\midrule",
        r"ig\_blur & \textbf{\boldmath $-0.012$ [$-1\times10^{-5}$, $2.5\times10^{7}$]} & "
        r"a\textbar{}b \\",
        r"\textit{random\_map}\textsuperscript{\textdagger} & "
        r"\textit{1}\textsuperscript{\textdagger} &  \\",
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
    ]


HOSTILE = (r"\input{x}", "100%", "a&b", "$x$", "#1", "~^_{}", "<|>", '"q"', "[1em]", "line\nbreak")


def balanced(text: str) -> bool:
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    return depth == 0


@pytest.mark.parametrize("text", HOSTILE)
def test_no_name_can_break_a_latex_table(text: str) -> None:
    table = Table(text, (text, text), ((Cell(text), Cell(text, best=True, null=True)),), text)
    found = to_latex(table, label="t")
    lines = found.splitlines()
    rows = [line for line in lines if line.endswith(r"\\")]
    assert len(rows) == 2
    for row in rows:
        assert len(re.findall(r"(?<!\\)&", row)) == 1
        assert not row.startswith("[")
    plain = re.sub(r"\\[%&$#_{}]|!\}\{%$", "", found, flags=re.MULTILINE)
    assert not re.search(r"[#~^%]", re.sub(r"\\text\w+\{\}", "", plain))
    assert plain.count("$") % 2 == 0
    assert balanced(found)
    assert r"\input" not in found


@pytest.mark.parametrize("text", [*HOSTILE, "a*b", "_a_", "`x`", "<b>"])
def test_no_name_can_break_a_markdown_table(text: str) -> None:
    found = to_markdown(Table("t", (text, "b"), ((Cell(text), Cell(text)),)))
    lines = [line for line in found.splitlines() if line.startswith("|")]
    assert len(lines) == 3
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {3}
    assert len({len(line) for line in lines}) == 1
    assert not re.search(r"(?<!\\)[*`]|(?<!\\)<b>|(?<!\\)_a", found)


def test_long_tables_go_on_in_the_next_float() -> None:
    rows = tuple((Cell(f"m{place}"), Cell(str(place))) for place in range(2 * ROWS_A_FLOAT + 1))
    found = to_latex(Table("Long", ("method", "x"), rows, "Note."), label="tab:l")
    floats = found.split(r"\begin{table}")[1:]
    assert [len(re.findall(r"^m\d+ &", one, flags=re.MULTILINE)) for one in floats] == [40, 40, 1]
    assert found.count(r"\label{tab:l}") == 1
    assert floats[1].count("Long (continued).") == 1
    assert r"\footnotesize" in floats[0]
    assert r"\small" in floats[2]


def test_a_table_without_rows_keeps_its_columns() -> None:
    empty = Table("None", ("a", "b"), ())
    assert r"\begin{tabular}{ll}" in to_latex(empty, label="x")
    assert to_markdown(empty).splitlines()[-1] == "| --- | --- |"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.0, "1"),
        (0.12345, "0.123"),
        (-1234.5, "-1230"),
        (99949.0, "99900"),
        (0.00123, "0.00123"),
        (0.000123, "1.23e-4"),
        (-5e-5, "-5e-5"),
        (123456.0, "1.23e5"),
        (1e100, "1e100"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number_text(value) == text


@pytest.mark.parametrize(
    ("p", "text"), [(1.0, "1"), (0.0312, "0.031"), (1e-4, "0.0001"), (9e-50, "<0.0001")]
)
def test_p_values_are_printed_with_a_lower_limit(p: float, text: str) -> None:
    assert p_text(p) == text


def test_csv_holds_numbers_in_full(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    write_csv(path, ("a", "b"), [("x, y", 0.1 + 0.2), (3, float("nan")), (None, -0.0)])
    assert path.read_text() == 'a,b\n"x, y",0.30000000000000004\n3,nan\n,-0.0\n'
