import errno
import json
import os
import time

import pytest

from gradlab import files
from gradlab.errors import UserError


def leave(path, age, folder=False):
    """A temporary file or folder as a killed writer leaves it, so many seconds old."""
    if folder:
        path.mkdir()
    else:
        path.write_bytes(b"half")
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_next_writer_clears_what_a_killed_one_left(tmp_path):
    for number in (0, 1):
        leave(tmp_path / f".a.txt.{number}.part", 7200)
    leave(tmp_path / ".b.0.part", 7200, folder=True)
    files.write_text(tmp_path / "a.txt", "whole")
    files.write_folder(tmp_path / "b", {"c": b"whole"})
    assert names(tmp_path) == ["a.txt", "b"]
    assert (tmp_path / "a.txt").read_text() == "whole"


def test_the_file_of_a_live_writer_and_those_of_others_stay(tmp_path):
    live = leave(tmp_path / ".a.txt.0.part", 5)
    other = leave(tmp_path / ".b.txt.0.part", 7200)
    person = leave(tmp_path / ".a.txt.part", 7200)
    files.write_text(tmp_path / "a.txt", "whole")
    assert live.read_bytes() == other.read_bytes() == person.read_bytes() == b"half"
    assert len(names(tmp_path)) == 4


def test_the_old_folder_of_a_killed_writer_is_cleared_by_the_next(tmp_path):
    files.write_folder(tmp_path / "b", {"c": b"1"})
    leave(tmp_path / "b.old", 1, folder=True)
    files.write_folder(tmp_path / "b", {"c": b"2"})
    assert names(tmp_path) == ["b"] and (tmp_path / "b" / "c").read_bytes() == b"2"


def test_two_writers_of_one_file_at_once_do_not_meet(tmp_path, monkeypatch):
    """The second begins while the first is in the midst of its writing."""
    real, path = files._write_synced, tmp_path / "a"

    def write(partial, data):
        if data == b"first":
            files.write_bytes(path, b"second")
        real(partial, data)

    monkeypatch.setattr(files, "_write_synced", write)
    files.write_bytes(path, b"first")
    assert path.read_bytes() == b"first" and names(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "is full"),
        (errno.EACCES, "no permission"),
        (errno.ENAMETOOLONG, "shorter name"),
        (errno.EIO, "fix the path"),
    ],
)
def test_a_disk_that_refuses_keeps_the_old_file_and_leaves_nothing(
    tmp_path, monkeypatch, code, advice
):
    files.write_text(tmp_path / "a", "old")

    def refuse(path, data):
        path.write_bytes(data[:2])
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files, "_write_synced", refuse)
    with pytest.raises(UserError, match=f"cannot write .*{advice}"):
        files.write_text(tmp_path / "a", "new")
    with pytest.raises(UserError, match=f"cannot write .*{advice}"):
        files.write_folder(tmp_path / "b", {"c": b"1"})
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "old"


def test_a_name_as_long_as_the_system_takes_is_written(tmp_path):
    files.write_text(tmp_path / ("x" * 255), "whole")
    assert names(tmp_path) == ["x" * 255]


def test_a_file_name_that_is_not_utf_8_is_written_and_read_back(tmp_path):
    value = {"class": "caf\udce9", "other": "café"}
    files.write_json(tmp_path / "a.json", value)
    assert files.read_json(tmp_path / "a.json", "it") == value
    assert "café" in (tmp_path / "a.json").read_text(encoding="utf-8")


def test_json_is_read_as_deep_as_gradlab_writes_it(tmp_path):
    path = tmp_path / "a.json"
    for depth, fits in ((90, True), (110, False), (990, False), (100_000, False)):
        path.write_text('{"a":' * depth + "1" + "}" * depth)
        if fits:
            assert json.loads(path.read_text()) == files.read_json(path, "it")
        else:
            with pytest.raises(UserError, match="it is nested too deeply"):
                files.read_json(path, "it")


def test_removing_a_link_leaves_what_it_leads_to(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "letter").write_text("mine")
    try:
        (tmp_path / ".a.0.part").symlink_to(tmp_path / "theirs", target_is_directory=True)
    except OSError:
        pytest.skip("this system lets nobody make a link")
    files.clear_leftovers(tmp_path)
    assert names(tmp_path) == ["theirs"] and (tmp_path / "theirs" / "letter").exists()
