from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gradlab.data import frames, tabular
from gradlab.data.frames import given_frame, read_frame
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


def test_a_tsv_is_split_at_tabs_whatever_its_header_holds(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    path.write_text("size, in cm, of all; rounded\ty\n1,5\ta\n2\tb\n", encoding="utf-8")
    frame, notes = read_frame(path)
    columns = {"size, in cm, of all; rounded": ["1,5", "2"], "y": ["a", "b"]}
    assert (frame.to_dict(as_series=False), notes) == (columns, ())


def test_a_file_without_column_names(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("6;148\n1;85\n", encoding="utf-8")
    frame, notes = read_frame(path, "none")
    assert frame.to_dict(as_series=False) == {"column_1": ["6", "1"], "column_2": ["148", "85"]}
    assert notes == ("the columns are separated by ';'",)


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
        (b"n,y\n1,a\n2,3,b\n", "line 3 has 3 values, the first line has 2"),
        (b"\nn;y\n1;a\n2;3;b\n", "line 4 has 3 values, the first line has 2"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "is no text file"),
        (b'n,y\n1,"a\n2,b\n', "is no readable table"),
        (b'n,y\n1,"a\n' + b"2,b\n" * 40_000, "is no readable table"),
        (b"n, n\n1,2\n", "is no readable table"),
    ],
)
def test_files_that_are_no_tables(tmp_path: Path, text: bytes, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read(tmp_path, text)


def test_a_letter_that_is_cut_between_two_stretches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "CELLS", 1)
    assert read(tmp_path, "größe\nKöln\n") == ({"größe": ["Köln"]}, ())
    frame, notes = read(tmp_path, b"wo\nK\xc3")  # a letter that is cut at the end
    assert frame == {"wo": ["KÃ"]} and len(notes) == 1


def test_many_columns_are_cleaned_like_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a,b,c,d,e\n1, NA,nan,?,x \n,y,None,2,\n"
    whole = read(tmp_path, text)
    monkeypatch.setattr(tabular.column, "BATCH", 2)
    assert read(tmp_path, text) == whole
    expected = {"a": ["1", None], "b": [None, "y"], "c": [None, "None"]}
    assert whole[0] == expected | {"d": [None, "2"], "e": ["x", None]}


def test_what_is_given_is_not_changed() -> None:
    given = pl.DataFrame({"k": [" x ", "NA"], "n": [float("nan"), 1.0]})
    assert given_frame(given, "it").to_dict(as_series=False) == {"k": ["x", None], "n": [None, 1.0]}
    assert given["k"].to_list() == [" x ", "NA"]


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


def test_a_parquet_file_on_which_the_reader_panics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.parquet"
    pl.DataFrame({"n": [1]}).write_parquet(path)

    def panics(*args: Any, **kwargs: Any) -> Any:
        raise pl.exceptions.PanicException("index out of bounds")

    assert not issubclass(pl.exceptions.PanicException, Exception)
    monkeypatch.setattr(pl, "read_parquet", panics)
    with pytest.raises(UserError, match=r"table\.parquet is no readable table: .* damaged"):
        read_frame(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["table.csv", "table.tsv", "table.parquet"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match=rf"{name} cannot be read: it is a pipe, expected"):
        read_frame(tmp_path / name)


def test_a_folder_and_a_name_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "table.csv").mkdir()
    with pytest.raises(UserError, match=r"table\.csv cannot be read: it is a folder, expected"):
        read_frame(tmp_path / "table.csv")
    with pytest.raises(UserError, match="cannot be read"):
        read_frame(tmp_path / ("x" * 5000 + ".csv"))
