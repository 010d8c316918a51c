"""The command line: a thin reader of what lies below, one file for each group of commands.

Progress goes to stderr and results to stdout; with `--json` stdout is exactly one JSON object.
Exit codes: 0 done, 2 a mistake in what was given, 128 + N stopped by signal N.
"""

from gradlab.cli.main import main

__all__ = ["main"]
