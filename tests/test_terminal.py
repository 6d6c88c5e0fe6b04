"""Tests of cvae.terminal; test_convert.py tests pipes, full disks and interrupts."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

from cvae import calibrate, compare, convert, explore, generate, interpolate


def test_warnings_of_libraries_are_never_errors() -> None:
    program = (
        "import warnings; from cvae import terminal; terminal.libraries_may_warn()\n"
        "import hydra_plugins.hydra_cvae_sweeper._samplers  # SQLAlchemy warns as it is imported\n"
        "warnings.warn_explicit('x', UserWarning, 'file', 1, module='pandas.core')\n"
        "for module in ('cvae.data', 'hydra_plugins.hydra_cvae_sweeper._loop', '__main__'):\n"
        "    try:\n"
        "        warnings.warn_explicit('x', UserWarning, 'file', 1, module=module)\n"
        "    except UserWarning:\n"
        "        continue\n"
        "    raise SystemExit(module)\n"
    )
    words = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("failure", "code", "said"),
    [
        ("InputError('no words')", 2, "me: no words\n"),
        (
            "OSError(28, 'No space left on device')",
            2,
            "me: cannot write: No space left on device\n",
        ),
        ("OSError('libx.so does not load')", 2, "me: cannot write: libx.so does not load\n"),
        ("BrokenPipeError(32, 'Broken pipe')", 0, ""),
        ("KeyboardInterrupt()", 130, ""),
    ],
)
def test_every_way_to_end_has_its_exit_code_and_line(failure: str, code: int, said: str) -> None:
    program = (
        "import sys; from cvae.terminal import InputError, exit_code_of\n"
        f"def work():\n    raise {failure}\n"
        "sys.exit(exit_code_of('me', work))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr, done.stdout) == (code, said, "")


@pytest.mark.parametrize("program", [convert, generate])
def test_an_empty_run_directory_is_not_the_working_directory(
    program: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        program.main(["", *(["walk", "--to", "past"] if program is convert else [])])
    assert caught.value.code == 2
    assert "RUN_DIR: an empty path; name the directory of a run" in capsys.readouterr().err


@pytest.mark.parametrize("program", [calibrate, compare, convert, explore, generate, interpolate])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "a", "b", "--to", "past", "--wrong"], "unrecognized arguments: --wrong"),
        ([], "the following arguments are required: "),
        (["--no\nwhere", "run", "a", "b", "--to", "past"], "unrecognized arguments: "),
    ],
)
def test_a_wrong_option_is_one_line(
    program: ModuleType, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        program.main(arguments)
    out, err = capsys.readouterr()
    assert ended.value.code == 2 and out == ""
    (line,) = err.splitlines()
    name = program.__name__
    assert line.startswith(f"{name}: ")
    if program is convert or "unrecognized" not in said:  # the others have no --to
        assert said in line


@pytest.mark.parametrize(
    ("program", "option", "meant"),
    [
        (convert, "--form", "--from"),
        (explore, "--htlm", "--html"),
        (compare, "--parqet", "--parquet"),
    ],
)
def test_a_misspelt_option_names_the_one_that_was_meant(
    program: ModuleType, option: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    required = ["--to", "past"] if program is convert else []
    with pytest.raises(SystemExit):
        program.main(["run", "a", *required, option])
    assert f"did you mean {meant}?" in capsys.readouterr().err
