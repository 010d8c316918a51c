from __future__ import annotations

import functools
import hashlib
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gradlab.data.here import cache_folder
from gradlab.data.sources.download import Remote, fetch, fetch_all
from gradlab.errors import UserError

CONTENT = b"what was published"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("GRADLAB_DATA", str(folder))
    return folder


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a publisher on this machine that has good.bin and a changed bad.bin."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "good.bin").write_bytes(CONTENT)
    (tmp_path / "www" / "bad.bin").write_bytes(b"something else")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    handler = functools.partial(Quiet, directory=str(tmp_path / "www"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


def test_cache_folder_is_given_by_the_environment(cache: Path) -> None:
    assert cache_folder() == cache


def test_cache_folder_of_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRADLAB_DATA", raising=False)
    assert "gradlab" in cache_folder().parts


def test_cached_file_is_used_without_any_address(cache: Path) -> None:
    (cache / "set").mkdir(parents=True)
    (cache / "set" / "file.bin").write_bytes(CONTENT)
    assert fetch("set", "file.bin", (), SHA256) == cache / "set" / "file.bin"


def test_changed_cached_file_is_refused(cache: Path) -> None:
    (cache / "set").mkdir(parents=True)
    (cache / "set" / "file.bin").write_bytes(CONTENT[:-1])
    found = hashlib.sha256(CONTENT[:-1]).hexdigest()
    with pytest.raises(UserError) as error:
        fetch("set", "file.bin", ("http://127.0.0.1:9/file.bin",), SHA256)
    for part in (str(cache / "set" / "file.bin"), SHA256, found, "delete it"):
        assert part in str(error.value)


def test_mirrors_are_tried_in_order(cache: Path, server: str) -> None:
    urls = (f"{server}/absent.bin", f"{server}/bad.bin", f"{server}/good.bin")
    path = fetch("set", "file.bin", urls, SHA256)
    assert path == cache / "set" / "file.bin"
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ["file.bin"]  # nothing half-written


def test_first_mirror_that_answers_is_enough(
    cache: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pooch

    asked: list[str] = []
    retrieve = pooch.retrieve

    def spy(url: str, *args: object, **options: object) -> str:
        asked.append(url)
        return retrieve(url, *args, **options)

    monkeypatch.setattr(pooch, "retrieve", spy)
    fetch("set", "file.bin", (f"{server}/good.bin", f"{server}/bad.bin"), SHA256)
    assert asked == [f"{server}/good.bin"]


def test_wrong_download_is_not_kept(cache: Path, server: str) -> None:
    with pytest.raises(UserError, match="hash"):
        fetch("set", "file.bin", (f"{server}/bad.bin",), SHA256)
    assert not cache.exists()  # not even an empty folder


def test_a_checksum_may_be_its_first_digits(cache: Path, server: str) -> None:
    path = fetch("set", "file.bin", (f"{server}/bad.bin", f"{server}/good.bin"), SHA256[:8])
    assert path.read_bytes() == CONTENT
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(UserError, match="not the published file"):
        fetch("set", "file.bin", (), SHA256[:8])


def test_a_failed_download_leaves_the_folders_that_were_there(cache: Path) -> None:
    cache.mkdir()
    with pytest.raises(UserError, match="cannot be downloaded"):
        fetch("set", "file.bin", ("http://127.0.0.1:9/file.bin",), SHA256)
    assert cache.is_dir() and not list(cache.iterdir())


def test_no_network_names_every_missing_file_and_where_to_put_it(cache: Path) -> None:
    (cache / "set").mkdir(parents=True)
    (cache / "set" / "here.bin").write_bytes(CONTENT)
    nowhere = "http://127.0.0.1:9"  # nothing listens there
    files = [
        Remote(name, SHA256, (f"{nowhere}/one/{name}", f"{nowhere}/two/{name}"))
        for name in ("here.bin", "a.bin", "b.bin")
    ]
    with pytest.raises(UserError) as error:
        fetch_all("set", files)
    message = str(error.value)
    for name in ("a.bin", "b.bin"):
        assert str(cache / "set" / name) in message
        assert f"{nowhere}/one/{name}" in message and f"{nowhere}/two/{name}" in message
    assert "here.bin" not in message
    assert "GRADLAB_DATA" in message


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_in_the_cache_is_refused(cache: Path) -> None:
    (cache / "set").mkdir(parents=True)
    os.mkfifo(cache / "set" / "file.bin")
    with pytest.raises(UserError, match="it is a pipe, expected a file"):
        fetch("set", "file.bin", (), SHA256)


def test_cache_folder_that_can_be_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADLAB_DATA", "~nobody-of-this-name/data")
    with pytest.raises(UserError, match="GRADLAB_DATA: '~nobody-of-this-name/data' is no path"):
        cache_folder()


def test_cache_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setenv("GRADLAB_DATA", str(tmp_path / "file"))
    with pytest.raises(UserError, match="GRADLAB_DATA"):
        fetch("set", "file.bin", ("http://127.0.0.1:9/file.bin",), SHA256)
