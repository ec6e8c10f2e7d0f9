"""`concept.toml` files, and how editors, chance or malice change them."""

import random
from collections.abc import Callable
from typing import Final

from tests.fuzz.mutations import changed_bytes

HONEST: Final = (
    'name = "Rex"\nclass_word = "dog"\ncaptions = ["a photo of {}"]\n',
    '# mine\nlicence = "CC-BY-4.0"\n\ncaptions = [\n  "{} on a sofa",\n  "<rex>",\n]\n',
    'name = \'été\'\nclass_word = """two\nlines"""\n',
    "",
)
_KEYS: Final = ("name", "class_word", "licence", "captions")
_NAMES: Final = (
    *("klass", '""', '"a b"', "name.first", "captions.0", '"\\u0000"', '"\\u001b[2J"'),
    *("é", "Name", "x" * 5000, "1.2.3"),
)
_VALUES: Final = (
    *("0", "-1", "1e400", "inf", "nan", "9" * 5000, "0x" + "f" * 5000, "1_0", "true"),
    *("1979-05-27T07:32:00Z", "07:32:00", "9999-99-99", "[]", "{}", "[[]]", "[1, 'a']"),
    *('""', '" "', '"\\u001b[2J"', '"\\ud800"', '"\\U0010ffff"', '"\\q"', "'''a\nb'''"),
    *('"' + "a" * 100_000 + '"', '"../../etc"', '"<lora:x:1>"', '"{}{}{}"', '"<tok>"'),
    *(
        '["{", "}"]',
        '[""]',
        '["' + "a " * 500 + '"]',
        '{a = "b"}',
        '"dog/cat"',
        "=",
        "",
    ),
)
_ENCODINGS: Final = (
    *("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"),
    *("utf-7", "cp037", "shift_jis"),
)
_TIMES: Final = (10, 200, 900, 5000, 100_000)

Change = Callable[[random.Random, str], bytes]


def mutated(source: random.Random) -> bytes:
    """An honest file, changed in one of the ways below."""
    return source.choice(_CHANGES)(source, source.choice(HONEST))


def _bytes(source: random.Random, text: str) -> bytes:
    return changed_bytes(source, text.encode())


def _encoding(source: random.Random, text: str) -> bytes:
    """Another encoding; some cut, some with a second byte order mark."""
    content = text.encode(source.choice(_ENCODINGS), "replace")
    match source.randrange(4):
        case 0:
            return content[: source.randrange(len(content) + 1)]
        case 1:
            return b"\xef\xbb\xbf" + content
        case 2:
            return b"\xff\xfe" + content
        case _:
            return content


def _values(source: random.Random, text: str) -> bytes:
    """Another value for each of some keys."""
    lines = [
        f"{key} = {source.choice(_VALUES)}"
        for key in source.sample(_KEYS, source.choice((1, 1, 2, 4)))
    ]
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")


def _names(source: random.Random, text: str) -> bytes:
    """Another key, a key twice, a table where a value is wanted."""
    key = source.choice(_KEYS)
    line = source.choice(
        (
            *(f"{source.choice(_NAMES)} = 1", f'{key} = "x"', f"[{key}]", f"[[{key}]]"),
            *(f"{key}.a = 1", f"[{key}]\n[{key}]", "[a]\nname = 'x'", f"{key} = 1 2"),
        )
    )
    return (f"{line}\n{text}" if source.random() < 0.5 else f"{text}{line}\n").encode()


def _nested(source: random.Random, text: str) -> bytes:
    """Depth: of lists, inline tables, dotted keys and headers."""
    key, times = source.choice(_KEYS), source.choice(_TIMES)
    deep = source.choice(
        (
            *(f"{key} = {'[' * times}{']' * times}", f"{key} = {'[' * times}"),
            f"{key} = {'{a=' * times}1{'}' * times}",
            *(f"{key}{'.a' * times} = 1", f"[{'a.' * times}a]"),
        )
    )
    return f"{text}{deep}\n".encode()


def _cut(source: random.Random, text: str) -> bytes:
    return text.encode()[: source.randrange(len(text) + 1)]


def _ends(source: random.Random, text: str) -> bytes:
    """Other ends of lines, and bytes that are none of a text."""
    other = source.choice(("\r\n", "\r", "\x0b", "\x85", "\u2028", "\0", "\x1a"))
    return text.replace("\n", other).encode()


_CHANGES: Final[tuple[Change, ...]] = (
    *(_bytes, _bytes, _encoding, _values, _values, _values, _names, _nested),
    *(_cut, _ends),
)
