"""What every command must satisfy: help for all of it, JSON, one message for a mistake."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
from cyclopts import App, Parameter

from gradlab.cli import main
from gradlab.cli.main import app


def commands(group: App, before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with the words that call it."""
    for name in group:
        if name.startswith("-"):
            continue
        inner = group[name]
        if [key for key in inner if not key.startswith("-")]:
            yield from commands(inner, (*before, name))
        else:
            yield (*before, name), inner.default_command


COMMANDS = dict(commands(app))
swept = pytest.mark.parametrize(
    ("words", "command"), COMMANDS.items(), ids=["-".join(words) for words in COMMANDS]
)


def test_there_are_commands() -> None:
    assert {("train",), ("eval",), ("runs", "remove"), ("data", "check")} <= set(COMMANDS)


@swept
def test_it_says_what_it_does_and_what_it_takes(
    words: tuple[str, ...], command: Callable[..., Any]
) -> None:
    said = inspect.getdoc(command) or ""
    assert said.endswith(".") and len(said.split("\n")[0]) <= 100, said
    hints = get_type_hints(command, include_extras=True)
    for name, parameter in inspect.signature(command).parameters.items():
        if parameter.kind is parameter.POSITIONAL_ONLY or name == "machine":
            continue  # named by its place, or a group whose members have help of their own
        kinds = get_args(hints[name]) if get_origin(hints[name]) is Annotated else ()
        helps = [item.help for item in kinds if isinstance(item, Parameter)]
        assert any(helps), f"{' '.join(words)}: --{name} has no help"


@swept
def test_its_answer_can_be_had_as_json(words: tuple[str, ...], command: Callable[..., Any]) -> None:
    assert "json" in inspect.signature(command).parameters


@swept
def test_what_it_does_not_know_is_refused_in_one_message(
    words: tuple[str, ...], command: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*words, *["x"] * 3, "--no-such-option"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("gradlab: ") and "Traceback" not in said


def test_help_of_all_of_them_loads_neither_torch_nor_numpy() -> None:
    program = (
        "import sys\nfrom gradlab.cli import main\n"
        f"for words in {list(COMMANDS)!r}:\n"
        "    main([*words, '--help'])\n"
        "assert not {'torch', 'numpy'} & set(sys.modules), sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage: ") == len(COMMANDS)
