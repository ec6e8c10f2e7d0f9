"""TOML that people write is read; what would fill the machine is refused unread."""

import pytest

from mos_runtime.texts import MAX_TOML_LEVELS, parse_toml

DEEP = (
    "a" + ".a" * 100_000 + " = 1",
    "[" + "a." * 100_000 + "a]",
    "[[" + "a . " * 100_000 + "a]]",
    "b = {c = 1, " + '"a".' * 100_000 + "a = 1}",
    r'"\""' + r'."\""' * 100_000 + " = 1",
    "'\"'" + ".'\"'" * 100_000 + " = 1",
    "a = " + "[" * 100_000,
    "a = " + "{b=" * 100_000,
)


@pytest.mark.parametrize("text", DEEP, ids=[text[:12] for text in DEEP])
def test_endless_levels_are_refused_unread(text: str) -> None:
    with pytest.raises(ValueError, match=r"joined by dots|nested too deeply"):
        parse_toml(text)


def test_texts_with_dots_are_read() -> None:
    captions = ["{}, f. 1.8 ... at e.g. the U.S.A. border. " * 200, "...", "a.b.c.d"]
    text = f"captions = {captions}\nlicence.name.first = 'x'\n[a.b.c]\nd = 1.5"
    found = parse_toml(text)
    assert found["captions"] == captions
    assert found["licence"] == {"name": {"first": "x"}}
    levels = ".".join("a" * MAX_TOML_LEVELS)
    assert list(parse_toml(f"{levels} = 1")) == ["a"]


@pytest.mark.parametrize("text", ["a" * 2**20, '"' * 2**20, "'a" * 2**19, "\\" * 2**20])
def test_refusal_of_a_long_text_takes_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_toml(f"a = [{text}")
