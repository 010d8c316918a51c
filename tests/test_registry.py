"""The one form of registration and lookup."""

from __future__ import annotations

import threading

import pytest

from gradlab.registry import Registry


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes an importable module."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        return name

    return write


def test_a_name_registered_twice_raises():
    shapes: Registry[object] = Registry("shape")
    shapes.add("square", 1)
    with pytest.raises(ValueError, match="'square' is registered twice"):
        shapes.add("square", 2)


def test_modules_are_imported_at_the_first_lookup_and_an_error_in_one_stays_an_error(module):
    name = module("gradlab_test_broken", "import no_such_package")
    shapes: Registry[object] = Registry("shape", (name,))
    shapes.add("square", 1)
    for _ in range(2):  # the second lookup must not find a registry that is half full
        with pytest.raises(ModuleNotFoundError, match="no_such_package"):
            shapes["square"]


SLOW = """
import builtins
shapes, started, goes_on = builtins.gradlab_test
shapes.add("square", 1)
started.set()
goes_on.wait(30)
shapes.add("circle", 2)
"""


def test_a_second_thread_waits_until_all_names_are_there(module, monkeypatch):
    shapes: Registry[int] = Registry("shape", (module("gradlab_test_slow", SLOW),))
    started, goes_on = threading.Event(), threading.Event()
    monkeypatch.setattr("builtins.gradlab_test", (shapes, started, goes_on), raising=False)
    found: list[object] = []

    def look_up() -> None:
        try:
            found.append(shapes["circle"])
        except Exception as error:
            found.append(error)

    first = threading.Thread(target=look_up)
    first.start()
    assert started.wait(30)
    second = threading.Thread(target=look_up)
    second.start()
    second.join(0.2)  # time enough to fail, if it does not wait
    goes_on.set()
    first.join(30)
    second.join(30)
    assert found == [2, 2]
