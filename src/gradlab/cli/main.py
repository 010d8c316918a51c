"""The entry point: the commands put together, and what becomes of errors."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Sequence
from itertools import pairwise

from cyclopts import App, CycloptsError, MissingArgumentError

from gradlab import __version__
from gradlab.cli import data, explore, recipes, runs, training, weights
from gradlab.cli.options import declared, joined
from gradlab.cli.recipes import fields_of
from gradlab.errors import UserError
from gradlab.text import printable, shortened

app = App(
    name="gradlab",
    help="Train every classic network of deep learning on real data with one command.",
    version=__version__,
    help_format="plaintext",  # Markdown would cost a fifth of the start
)
OPTIONS = {}
"""By command: the options beside which it takes fields of a recipe."""
for group in (recipes, training, runs, explore):
    for command in group.COMMANDS:
        app.command(command, name=getattr(command, "command_name", None))
        OPTIONS[command.__name__] = declared(command)
for inner in (runs.app, data.app, weights.app):
    app.command(inner)


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: a person's mistake is one message and exit code 2."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        # A terminal or pipe that cannot show a character gets its number, never a traceback.
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        app(
            joined(given, OPTIONS.get(given[0], ()) if given else ()),
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
        if given[:1] == ["train"] and {"--help", "-h"} & set(given):
            fields_of(given[1:])
        sys.stdout.flush()
    except (UserError, CycloptsError) as error:
        _say(_said_of(error, given))
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        _say("stopped")
        raise SystemExit(130) from None
    except BrokenPipeError:
        # Whoever read our output has gone; Python must not complain again at its own exit.
        _silence()
        raise SystemExit(1) from None
    except OSError as error:
        if error.filename is not None:
            raise
        # What is printed could not be written: a full disk behind a redirection.
        _silence()
        with contextlib.suppress(OSError):
            _say(f"the output cannot be written: {error.strerror or error}")
        raise SystemExit(2) from None
    except Exception as error:
        # Imported here alone, so that --help does not load torch.
        from gradlab.engine import Interrupted

        if not isinstance(error, Interrupted):
            raise
        _say(f"{error}. Continue with: gradlab resume {error.run.path}")
        raise SystemExit(128 + error.signal) from None


def _open_streams() -> None:
    """Give the standard streams that the caller has closed to the null device.

    Otherwise the next file that is opened takes their place, and gets what is printed.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115


def _said_of(error: Exception, given: Sequence[str]) -> str:
    """The message of a mistake; what is given first and was given as an option is shown."""
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        option = f"--{error.argument.name.lstrip('-').lower()}"
        values = [b for a, b in pairwise(given) if a == option]
        values += [a.partition("=")[2] for a in given if a.startswith(f"{option}=")]
        if values:
            return f"{option} is no option, it comes first: gradlab {given[0]} {values[0]}"
    return str(error)


def _say(text: str) -> None:
    # A name or number of thousands of letters is cut, whoever names it.
    cut = re.sub(r"\S{400,}", lambda word: shortened(word[0]), text)
    print(f"gradlab: {printable(cut)}", file=sys.stderr)


def _silence() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
