"""Values that somebody may write where another was meant, as YAML text."""

from __future__ import annotations

from random import Random

LONG = "x" * 300
BRACKETS = "[" * 3000 + "]" * 3000

PLAIN = (
    *("0", "1", "-1", "2", "3", "1.5", "0.5", "-0.0", "true", "false", "null", "~", "''", "a"),
    *("[]", "{}", "[1]", "[1, 2, 3]", "{a: 1}", "[[1]]", "[a, b]", "liver", "all", "auto"),
)
NUMBERS = (
    *("1e300", "-1e300", "1e-300", "1e999", ".nan", ".inf", "-.inf", "1000000000000"),
    *("9223372036854775807", "9223372036854775808", "18446744073709551616", "4294967296"),
    *("100000000000000000000", "9" * 400, "9" * 5000, "0x" + "f" * 5000, "-" + "9" * 5000),
)
TAGS = (
    *("!!int foo", "!!int ''", "!!float ''", "!!bool x", "!!null x", "!!timestamp x"),
    *("!!binary aGk=", "!!set {a}", "!!omap [a: 1]", "!!python/object:os.system x", "!x y"),
    *("!!timestamp 2001-99-99", "!!str {a: 1}", "!!seq {a: 1}", "!!map [a]", "!!merge x"),
    *("!!int [1]", "!!map", "!!seq a", "!!float {}"),
)
SHAPES = (
    *("&a [*a]", "&a {b: *a}", "*nowhere", "{[1]: 2}", "{1: a, '+1': b}", "[", "{", "'", '"'),
    *(BRACKETS, "{a: " * 200 + "}" * 200, "- - - a", "? a", "%YAML 9", "---", "@x", "`x`"),
)
TEXTS = (
    *(LONG, '"a\\tb"', '"a\\nb"', '"a\\0b"', '"a\\ud800b"', '"a\\x7fb"', '"a\\u202eb"', "é" * 120),
    *("=1+1", "+x", "-x", "'@x'", "../x", "/", ".", "..", "a/b", "C:\\x", "a#1", "a_desc-b"),
    *('"\\U00110000"', '"\\UFFFFFFFF"', '"\\u200b"', '"a\\u200db"', "A", "Liver", "=1+cmd"),
    *("'*'", "'[a-'", "'**'", "CON", "' '", '"\\u2028"', "😀", "ﬁ"),
)
PATHS = (
    *(
        "~nosuchuser/x",
        "/proc/x",
        "/dev/zero",
        "/dev/null",
        "/proc/**/x",
        "/proc/self/mem",
        "'**/**/x'",
    ),
    *("/".join(["y" * 200] * 30), LONG + ".nii.gz", "http://x.invalid/y", "''", "tiny.yaml"),
    *("w.safetensors", "a.nii.gz", "a.nii.gz/x", "nowhere/*.nii.gz", "'{case}.nii.gz'", "."),
)
EVERY = (*PLAIN, *NUMBERS, *TAGS, *SHAPES, *TEXTS, *PATHS)


def any_value(random: Random) -> str:
    """Return a value of any kind, or a list or mapping of some."""
    kind = random.choice((PLAIN, NUMBERS, TAGS, SHAPES, TEXTS, PATHS))
    text = random.choice(kind)
    wrapping = random.random()
    if wrapping < 0.1:
        return f"[{text}, {random.choice(PLAIN)}]"
    if wrapping < 0.2:
        return f"{{{random.choice(('name', 'kind', 'x', '1'))}: {text}}}"
    return text
