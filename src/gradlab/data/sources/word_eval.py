"""What vectors of words are measured by: analogies, and pairs that people have compared."""

from __future__ import annotations

import os

from gradlab import paths
from gradlab.data.fields.text import read_text
from gradlab.data.sources.download import Remote, fetch_all
from gradlab.errors import UserError

ANALOGIES = Remote(
    "questions-words.txt",
    "8c29b3332afc46f3fb8be04cb5297bf96f39aa7131272dff57869b4485b22a36",
    ("https://raw.githubusercontent.com/tmikolov/word2vec/master/questions-words.txt",),
)
"""19,544 analogies in 14 sections (Mikolov et al. 2013)."""
PAIRS = Remote(
    "EN-WS-353-ALL.txt",
    "ce12919b240af45bdf46d243601eaca2b6212b159b5e7e9b435ee7ee40c5619c",
    (
        "https://raw.githubusercontent.com/mfaruqui/eval-word-vectors/master/data/word-sim/"
        "EN-WS-353-ALL.txt",
    ),
)
"""WordSim-353 (Finkelstein et al. 2002): 353 pairs and how alike people find them, 0 to 10."""

Path = str | os.PathLike[str]


def analogies(path: Path | None = None) -> dict[str, list[tuple[str, str, str, str]]]:
    """Analogies by section: lines of four words, and `: NAME` where a section begins."""
    place = paths.given(path, "analogies") if path else fetch_all("word_eval", [ANALOGIES])[0]
    found: dict[str, list[tuple[str, str, str, str]]] = {}
    section = "all"
    for number, line in enumerate(read_text(place).splitlines(), 1):
        words = line.split()
        if line.startswith(":"):
            section = line[1:].strip()
        elif len(words) == 4:
            a, b, c, d = words
            found.setdefault(section, []).append((a, b, c, d))
        elif words:
            raise UserError(
                f"{place}, line {number}: expected four words (a is to b as c is to d), or a "
                f"section (: NAME), found {len(words)} words"
            )
    if not found:
        raise UserError(f"{place} holds no analogy: expected lines of four words")
    return found


def pairs(path: Path | None = None) -> list[tuple[str, str, float]]:
    """Pairs of words and how alike they are: lines of two words and a number."""
    place = paths.given(path, "pairs") if path else fetch_all("word_eval", [PAIRS])[0]
    found = []
    for number, line in enumerate(read_text(place).splitlines(), 1):
        cells = line.replace(",", " ").split()
        if not cells or line.startswith("#"):
            continue
        try:
            first, second, value = cells
            found.append((first, second, float(value)))
        except ValueError:
            if number == 1:
                continue  # a header
            raise UserError(
                f"{place}, line {number}: expected two words and a number, found {line[:60]!r}"
            ) from None
    if len(found) < 3:
        raise UserError(f"{place} holds {len(found)} pairs of words: expected three or more")
    return found
