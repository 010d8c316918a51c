"""How text becomes numbers, and numbers text."""

import pytest

from gradlab.data.tokens import PAD, UNKNOWN, Tokens
from gradlab.errors import UserError

TEXT = "Don't go, she said: the naïve café is closed."


def test_words_are_what_the_expression_says_and_come_back_as_text():
    tokens = Tokens(by="word").learn([TEXT])
    assert set(tokens.vocabulary) == {
        "Don't", "go", ",", "she", "said", ":", "the", "naïve", "café", "is", "closed", ".",
    }  # fmt: skip
    assert tokens.decode(tokens.encode(TEXT)) == TEXT
    assert tokens.encode("she said WHAT").tolist()[-1] == UNKNOWN
    assert Tokens(by="word", lower=True).learn([TEXT]).encode("GO").tolist() != [UNKNOWN]


def test_the_most_frequent_tokens_have_the_smallest_numbers():
    tokens = Tokens(by="space").learn(["b a a", "a c b"])
    assert tokens.vocabulary == ("a", "b", "c") and tokens.encode("a").tolist() == [2]
    assert Tokens(by="space", most=2).learn(["b a a", "a c b"]).vocabulary == ("a", "b")
    assert Tokens(by="space", minimum=2).learn(["b a a", "a c b"]).vocabulary == ("a", "b")


def test_characters_and_lines_come_back_as_they_were():
    text = "two lines\n\twith a tab ☃"
    tokens = Tokens(by="character").learn([text])
    assert tokens.decode(tokens.encode(text)) == text
    lines = Tokens(by="space").learn(["no it was n't\nblack monday\n"])
    assert lines.decode(lines.encode("it was\nblack monday")) == "it was\nblack monday"
    assert lines.decode([PAD, PAD]) == ""


def test_byte_pairs_write_any_text_without_loss_and_come_back_out_of_json():
    pytest.importorskip("tokenizers")
    tokens = Tokens(by="bpe", most=300).learn(["the cat sat on the mat " * 40])
    again = Tokens.model_validate_json(tokens.model_dump_json())
    for text in (TEXT, "the mat ☃ 猫"):
        assert again.decode(again.encode(text)) == text
    assert len(again.encode(" the")) == 1  # learnt as a piece
    assert (again.encode(TEXT) != UNKNOWN).all()


@pytest.mark.parametrize("by", ["character", "word", "space", "bpe"])
def test_pieces_as_they_come_are_the_text_at_once(by):
    if by == "bpe":
        pytest.importorskip("tokenizers")
    text = "the cat sat , said : the mat .\nand ☃ 猫 sat\n" * 5
    tokens = Tokens(by=by, most=300).learn([text])
    numbers = tokens.encode(text).tolist()
    pieces = list(tokens.pieces_of(numbers[:4], numbers[4:]))
    assert tokens.decode(numbers[:4]) + "".join(pieces) == tokens.decode(numbers)
    assert len(pieces) > 10


def test_a_text_of_nothing_that_is_frequent_enough_is_refused():
    with pytest.raises(UserError, match="no token that occurs 3 times"):
        Tokens(minimum=3).learn(["one two three"])
