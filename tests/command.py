"""A command and what it prints."""

from gradlab.cli import main


def run(capsys, *arguments):
    """(exit code, stdout, stderr) of a command."""
    code = 0
    try:
        main([str(a) for a in arguments])
    except SystemExit as leave:
        code = leave.code or 0
    said = capsys.readouterr()
    return code, said.out, said.err


def refused(capsys, *arguments):
    """What a command that was refused says."""
    code, out, err = run(capsys, *arguments)
    assert code == 2 and out == "" and "Traceback" not in err, err
    assert "\ngradlab: " in f"\n{err}"
    return err
