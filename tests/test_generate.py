"""Tests of cvae.generate: reproducible draws, three formats, one line for wrong input."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from shared import DEFAULT, REPORT

from cvae import alphabet, generate
from cvae.generate import paradigms
from cvae.model import ConditionalVAE, build_model
from cvae.run_directory import RunDirectory

CONFIGS = {"report": {**REPORT, "feedback": "symbol"}, "default": DEFAULT}


def tiny(name: str) -> ConditionalVAE:
    torch.manual_seed(1)
    model = build_model(name, **CONFIGS[name]).eval()
    with torch.no_grad():
        model.decoder.out.weight.mul_(30.0)  # so that draws differ
        model.decoder.out.bias[alphabet.EOS] += 1.0
    return model


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = RunDirectory(tmp_path_factory.mktemp("runs") / "run")
    directory.create()
    directory.write_model(tiny("default").state_dict(), {"name": "default", **CONFIGS["default"]})
    return str(directory.path)


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr; checks that nothing is on stdout."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("cvae.generate: ") and err.count("\n") == 1
    return err


@pytest.mark.parametrize("name", CONFIGS)
def test_a_paradigm_is_one_draw_under_four_tenses(name: str) -> None:
    model = tiny(name)
    found = list(paradigms(model, 5, seed=3))
    z = torch.randn(512, model.latent_size, generator=torch.Generator().manual_seed(3))[:5]
    code = model.code_of_latent(z)
    for tense in range(4):
        column = model.greedy(code, torch.full((5,), tense))
        assert [forms[tense] for forms in found] == [
            alphabet.decode(row) for row in column.tolist()
        ]
    assert len(set(found)) > 1


def test_a_seed_repeats_its_draws_and_a_larger_count_continues_them() -> None:
    model = tiny("default")
    many = list(paradigms(model, 1100, seed=0))
    assert len(many) == 1100
    for fewer in (1, 5, 512, 513):
        assert list(paradigms(model, fewer, seed=0)) == many[:fewer]
    assert many[:512] != many[512:1024]
    assert list(paradigms(model, 20, seed=1)) != many[:20]


def test_the_global_random_state_is_neither_used_nor_changed() -> None:
    model = tiny("default")
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = list(paradigms(model, 3, seed=0))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert list(paradigms(model, 3, seed=0)) == first


def test_text_is_aligned_under_the_tenses(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main([run]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == list(alphabet.TENSES)
    assert len(lines) == 1 + 20
    starts = [lines[0].index(name) for name in alphabet.TENSES]
    for line, forms in zip(lines[1:], paradigms(tiny("default"), 20, 0), strict=True):
        ends = [*starts[1:], len(line)]
        shown = [line[start:end].strip() for start, end in zip(starts, ends, strict=True)]
        assert shown == list(forms)
        assert all(line[start - 2 : start].strip() == "" for start in starts[1:])


def test_csv_and_json_hold_the_same(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [run, "-n", "7", "--seed", "4", "--format"]
    assert generate.main([*arguments, "csv"]) == 0
    from_csv = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert generate.main([*arguments, "json"]) == 0
    from_json = json.loads(capsys.readouterr().out)
    wanted = [
        dict(zip(alphabet.TENSES, forms, strict=True))
        for forms in paradigms(tiny("default"), 7, seed=4)
    ]
    assert from_csv == from_json == wanted


@pytest.mark.parametrize("form", ["text", "csv", "json"])
def test_lines_are_printed_as_they_are_generated(
    run: str, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    out = io.BytesIO()
    before: list[int] = []

    def one_by_one(*_: object) -> Iterator[tuple[str, ...]]:
        for number in range(2000):
            before.append(out.getvalue().count(b"w"))
            yield ("w" if number else "ww", "x", "y", "z" * (1 + number // 1000))

    monkeypatch.setattr(generate, "paradigms", one_by_one)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="utf-8"))
    assert generate.main([run, "-n", "2000", "--format", form]) == 0
    assert out.getvalue().count(b"w") == 2001
    # The text format waits for the first batch only, which sets the column widths.
    waits = 512 if form == "text" else 0
    assert all(seen >= number for number, seen in enumerate(before) if number > waits)
    assert not any(before[:waits])


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["-n", "0"], "-n is 0; allowed: 1 to"),
        (["-n", "-3"], "-n is -3"),
        (["-n", "10000001"], "-n is 10000001"),
        (["--seed=-1"], "--seed is -1; allowed: 0 to"),
        ([f"--seed={2**63}"], "--seed is 9223372036854775808"),
    ],
)
def test_numbers_out_of_range_are_named(
    run: str, capsys: pytest.CaptureFixture[str], arguments: list[str], part: str
) -> None:
    assert generate.main([run, *arguments]) == 2
    assert part in one_line(capsys)


def test_the_largest_seed_works(run: str) -> None:
    assert generate.main([run, "-n", "1", "--seed", str(2**63 - 1)]) == 0


def test_a_bad_run_directory_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main([str(tmp_path / "none")]) == 2
    assert "no such run directory" in one_line(capsys)
    assert generate.main([str(tmp_path)]) == 2
    assert "weights.safetensors: no such file" in one_line(capsys)


def test_help_does_not_wait_for_torch() -> None:
    program = (
        "import sys; from cvae import generate\n"
        "try: generate.main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_a_reader_that_closes_the_pipe_ends_it_cleanly(run: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "cvae.generate", run, "-n", "100000", "--format", "csv"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().strip() == b"simple_present,third_person,progressive,past"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_an_interrupt_ends_it_cleanly(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(generate, "paradigms", interrupted)
    assert generate.main([run]) == 130


# --- Temperature -------------------------------------------------------------------------------


def test_a_temperature_draws_codes_and_leaves_the_latents(run: str) -> None:
    model = RunDirectory(Path(run)).load_model()
    cold, warm = list(paradigms(model, 6, 3)), list(paradigms(model, 6, 3, temperature=2.0))
    assert len(warm) == 6 and warm != cold
    assert list(paradigms(model, 600, 3, temperature=2.0))[:6] == warm, "a larger -n goes on"


def test_a_temperature_on_the_command_line(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [run, "-n", "3", "--seed", "3", "--format", "csv", "--temperature", "2"]
    assert generate.main(arguments) == 0
    rows = [tuple(line.split(",")) for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == list(paradigms(RunDirectory(Path(run)).load_model(), 3, 3, temperature=2.0))


@pytest.mark.parametrize("temperature", ["-0.1", "nan", "inf"])
def test_a_temperature_that_is_none(
    run: str, temperature: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate.main([run, f"--temperature={temperature}"]) == 2
    assert f"--temperature is {temperature}; allowed: 0 to 10" in one_line(capsys)


def test_a_one_level_model_has_no_temperature(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = RunDirectory(tmp_path / "run")
    directory.create()
    directory.write_model(tiny("report").state_dict(), {"name": "report", **CONFIGS["report"]})
    assert generate.main([str(directory.path), "--temperature", "0.4"]) == 2
    assert "has one level" in one_line(capsys)
    assert generate.main([str(directory.path), "-n", "1", "--temperature", "0"]) == 0
