from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from gradlab.data.sources.frames import read_frame
from gradlab.errors import UserError

Read = tuple[dict[str, list[str | None]], tuple[str, ...]]


def read(folder: Path, text: str | bytes) -> Read:
    path = folder / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    frame, notes = read_frame(path)
    return frame.to_dict(as_series=False), notes


@pytest.mark.parametrize(
    ("separator", "notes"),
    [
        (",", ()),
        (";", ("the columns are separated by ';'",)),
        ("\t", ("the columns are separated by a tab",)),
        ("|", ("the columns are separated by '|'",)),
    ],
)
def test_separators(tmp_path: Path, separator: str, notes: tuple[str, ...]) -> None:
    text = "n/'k, or; so|'/y\n1/u/a\n2/'v, w; x|'/b\n"
    found = read(tmp_path, text.replace("'", '"').replace("/", separator))
    assert found == ({"n": ["1", "2"], "k, or; so|": ["u", "v, w; x|"], "y": ["a", "b"]}, notes)


def test_decimal_commas_between_semicolons(tmp_path: Path) -> None:
    frame, _ = read(tmp_path, "n;k;y\n1,5;a,b;1,2,3\n-2,5;1,x;4\n")
    assert frame == {"n": ["1.5", "-2.5"], "k": ["a,b", "1,x"], "y": ["1,2,3", "4"]}


@pytest.mark.parametrize(
    ("encoding", "said"),
    [("utf-8", False), ("utf-8-sig", False), ("utf-16", False), ("latin-1", True)],
)
def test_encodings(tmp_path: Path, encoding: str, said: bool) -> None:
    frame, notes = read(tmp_path, "größe,wo\n1,Köln\n2,Bonn\n".encode(encoding))
    assert frame == {"größe": ["1", "2"], "wo": ["Köln", "Bonn"]}
    assert any("not UTF-8" in note for note in notes) is said


@pytest.mark.parametrize(
    "text",
    [
        "n,k\n1,u\n2,v\n",
        "n,k\r\n1,u\r\n2,v\r\n",
        "n,k\r1,u\r2,v\r",
        "\n\nn,k\n1,u\n\n2,v\n\n\n",
        " n , k \n 1 , u \n2,  v",
        '"n","k"\n"1","u"\n"2","v"\n',
    ],
)
def test_line_ends_blank_lines_quotes_and_spaces(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text)[0] == {"n": ["1", "2"], "k": ["u", "v"]}


def test_missing_values(tmp_path: Path) -> None:
    frame, _ = read(tmp_path, "n,k\nNA,u\n?,\nnull, nan \n0,None\n1\n")
    assert frame == {"n": [None, None, None, "0", "1"], "k": ["u", None, None, "None", None]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "is empty"),
        (b"n,y\n", "holds no rows"),
        (b"n,y\n1,a\n2,3,b\n", "line 3 has 3 values, the line of column names has 2"),
        (b"\nn;y\n1;a\n2;3;b\n", "line 4 has 3 values, the line of column names has 2"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "is no text file"),
        (b'n,y\n1,"a\n2,b\n', "is no readable table"),
        (b'n,y\n1,"a\n' + b"2,b\n" * 40_000, "is no readable table"),
        (b"n, n\n1,2\n", "is no readable table"),
    ],
)
def test_files_that_are_no_tables(tmp_path: Path, text: bytes, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read(tmp_path, text)


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    kinds = pl.Series(["u", "NA"], dtype=pl.Categorical)
    pl.DataFrame({"n": [1, 2], "x": [0.5, float("nan")], "k": kinds}).write_parquet(path)
    frame, notes = read_frame(path)
    assert frame.to_dict(as_series=False) == {"n": [1, 2], "x": [0.5, None], "k": ["u", None]}
    assert frame.dtypes == [pl.Int64, pl.Float64, pl.String] and notes == ()


def test_a_broken_or_absent_file(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    path.write_bytes(b"PAR1 cut short")
    with pytest.raises(UserError, match="is no readable table"):
        read_frame(path)
    for name in ("absent.csv", "absent.parquet"):
        with pytest.raises(UserError, match="cannot be read: No such file"):
            read_frame(tmp_path / name)
