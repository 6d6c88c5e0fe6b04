"""docs/tutorial.md: its commands run in their order, and its Python prints what it shows."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from shared import REPOSITORY

TEXT = (REPOSITORY / "docs" / "tutorial.md").read_text(encoding="utf-8")

# Toy networks and two epochs, and in a search three trials and two repeats, whatever the page says.
TOY = ["debug=smoke", "threads=1"]
SHORT = ["hydra.sweeper.n_trials=3", "hydra.sweeper.confirm.best=1"]


def steps() -> list[tuple[str, str]]:
    """What a reader does, in order: (kind, text) of files, commands and Python."""
    block = r"^```(?P<kind>yaml|python)\n(?P<block>.*?)^```"
    command = r"^ {4}(?P<command>(?:python|printf) [^\n]*)$"
    pattern = re.compile(f"{block}|{command}", re.MULTILINE | re.DOTALL)
    return [
        (found["kind"] or "command", found["block"] or found["command"])
        for found in pattern.finditer(TEXT)
    ]


def toy(words: list[str]) -> list[str]:
    """The command at toy size."""
    if words[:3] != ["python", "-m", "cvae.run"]:
        return [sys.executable, *words[1:]]
    changed = ("training.epochs=", "debug=", "hydra.sweeper.n_trials=")
    kept = [word for word in words[1:] if not word.startswith(changed)]
    is_search = any("n_trials=" in word for word in words)
    return [sys.executable, *kept, *TOY, *(SHORT if is_search else ())]


@pytest.mark.slow
def test_the_tutorial_works_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    kinds = []
    for kind, text in steps():
        kinds.append(kind)
        if kind == "yaml":
            name = text.splitlines()[0].removeprefix("# ")
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text("".join(line + "\n" for line in text.splitlines()[1:]))
        elif kind == "python":
            test = doctest.DocTestParser().get_doctest(text, {}, "tutorial", "tutorial.md", 0)
            assert (
                doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test).failed
                == 0
            )
        else:
            words = toy(shlex.split(text)) if text.startswith("python") else ["sh", "-c", text]
            done = subprocess.run(
                words, env=environment, capture_output=True, text=True, timeout=300
            )
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    assert kinds.count("command") >= 10 and {"yaml", "python"} <= set(kinds)
    for name in (
        "latent.html",
        "report.html",
        "outputs/late/curves.png",
        "outputs/mine/result.json",
    ):
        assert Path(name).stat().st_size > 0
