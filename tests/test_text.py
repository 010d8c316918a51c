from hypothesis import given
from hypothesis import strategies as st

from gradlab.text import brief, printable


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left(text):
    safe = printable(text)
    assert all(c in "\n\t" or (not 0 <= ord(c) < 32 and not 127 <= ord(c) < 160) for c in safe)
    assert not set(safe) & set(map(chr, [0x200E, 0x200F, 0x2028, 0x2029, 0x202E, 0x2066, 0x2069]))
    safe.encode("utf-8")


def test_what_is_harmless_stays_as_it_is():
    for text in ("", "café", "日本語", "عربى", "👩‍🔬", "a\tb\nc", "C:\\new", "naïve [bold]"):
        assert printable(text) == text


def test_what_is_not_is_written_out():
    assert printable("a\rb\x00\x7f") == "a\\x0db\\x00\\x7f"
    assert printable("\udcff\u202e") == "\\xff\\u202e"


def test_long_values_are_cut_in_their_midst():
    assert brief("a") == "'a'"
    assert len(brief("a" * 5000)) == 80 and "…" in brief({"a": [1] * 5000})
    nested = []
    for _ in range(100_000):
        nested = [nested]
    assert brief(nested) == "a list"
    assert brief(10**6000) == "a int"
