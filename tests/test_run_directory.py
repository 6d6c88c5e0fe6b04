"""Tests of cvae.run_directory: atomic files, safe weights, one clear line for damaged files."""

from __future__ import annotations

import json
import math
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shared
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from cvae import run_directory, saved_model
from cvae.model import ConditionalVAE, build_model
from cvae.run_directory import RunDirectory, RunDirectoryError, write_atomically

REPORT = {"name": "report", **shared.REPORT}
DEFAULT = {"name": "default", **shared.DEFAULT}
CONFIGS = {
    "report": REPORT,
    "two-level": DEFAULT,
    "no grids": {**DEFAULT, "grid_levels": 0},
    "one-level": {**DEFAULT, "word_latent_size": 0},
}


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "run")
    directory.create()
    return directory


def saved(run: RunDirectory, config: dict[str, Any] = DEFAULT, seed: int = 0) -> ConditionalVAE:
    torch.manual_seed(seed)
    model = build_model(**config)
    run.write_model(model.state_dict(), config)
    return model


def refusal(action: Callable[[], object], *parts: str) -> str:
    """The message of the RunDirectoryError that ``action`` must raise: one line with ``parts``."""
    with pytest.raises(RunDirectoryError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message and message.isprintable()
    assert len(message) < 1000
    for part in parts:
        assert part in message
    return message


def names(run: RunDirectory) -> set[str]:
    return set(os.listdir(run.path))


# --- Atomic files ------------------------------------------------------------------------------


def test_a_file_is_written_atomically_and_no_other_file_is_left(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    write_atomically(path, b"\x00new\r\n")
    assert path.read_bytes() == b"\x00new\r\n"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failed_write_keeps_the_old_file_and_removes_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, full)
    refusal(lambda: write_atomically(path, b"new"), str(path), "No space left on device")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_an_interrupted_write_keeps_the_old_file_and_removes_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_files_have_the_permissions_that_the_umask_says(tmp_path: Path) -> None:
    write_atomically(tmp_path / "ours", b"")
    (tmp_path / "usual").touch()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"0" * 50_000)
    program = (
        "import sys; from pathlib import Path; from cvae.run_directory import write_atomically\n"
        "for n in range(30): write_atomically(Path(sys.argv[1]), str(n % 10).encode() * 50_000)"
    )
    writer = subprocess.Popen([sys.executable, "-c", program, str(path)])
    while writer.poll() is None:
        content = path.read_bytes()
        assert len(content) == 50_000 and len(set(content)) == 1
        time.sleep(0.001)
    assert writer.returncode == 0


# --- The directory and its lock ----------------------------------------------------------------


def test_create_makes_parents_and_accepts_what_exists(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "a" / "b")
    run.create()
    run.create()
    assert run.path.is_dir()


def test_create_refuses_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refusal(RunDirectory(tmp_path / "file").create, str(tmp_path / "file"), "choose another")
    refusal(RunDirectory(tmp_path / "file" / "run").create, "choose another")


def test_create_refuses_a_directory_that_is_not_writable(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # because root can write anywhere
    refusal(run.create, str(run.path), "not writable")


def test_a_second_process_is_refused_until_the_first_ends(run: RunDirectory) -> None:
    program = (
        "import sys; from pathlib import Path; from cvae.run_directory import RunDirectory\n"
        "with RunDirectory(Path(sys.argv[1])).lock():\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(run.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        refusal(run.lock().__enter__, str(run.path), "is in use by another run")
        holder.kill()  # SIGKILL: it cannot clean up
    with run.lock():
        pass


def test_a_lock_can_be_taken_again_and_holds_against_the_same_process(run: RunDirectory) -> None:
    for _ in range(2):
        with run.lock():
            refusal(run.lock().__enter__, "is in use by another run")


def test_the_holder_removes_what_a_kill_left(run: RunDirectory) -> None:
    (run.path / ".result.json.0badf00d.tmp").touch()
    (run.path / "mine.tmp").touch()
    with run.lock():
        assert names(run) == {".lock", "mine.tmp"}


def test_a_run_works_without_file_locks(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_directory, "fcntl", None)
    with run.lock(), run.lock():
        run.write_result({})


def test_a_lock_in_a_missing_directory_is_refused(tmp_path: Path) -> None:
    refusal(RunDirectory(tmp_path / "none").lock().__enter__, "cannot be written")


# --- Results -----------------------------------------------------------------------------------


def test_a_result_is_read_back_and_is_strict_json(run: RunDirectory) -> None:
    result = {
        "status": "complete",
        "reason": None,
        "objective": {"value": [0.1, math.nan]},
        "metrics": {"bleu4": 0.1 + 0.2, "kl": math.inf, "nll": -math.inf, "draws": 1000},
        "overrides": ("anneal=cyclical", "model.name=ü"),
        "flag": True,
    }
    run.write_result(result)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = (run.path / "result.json").read_text(encoding="utf-8")
    json.loads(text, parse_constant=refuse)
    assert text.startswith('{\n  "status"') and text.endswith("}\n")
    assert run.read_result() == {
        **result,
        "objective": {"value": [0.1, None]},
        "metrics": {"bleu4": 0.1 + 0.2, "kl": None, "nll": None, "draws": 1000},
        "overrides": ["anneal=cyclical", "model.name=ü"],
    }


def test_numbers_of_other_libraries_are_numbers(run: RunDirectory) -> None:
    numpy = pytest.importorskip("numpy")
    run.write_result({"a": numpy.float32(0.5), "b": numpy.int64(3), "c": numpy.float64("nan")})
    assert run.read_result() == {"a": 0.5, "b": 3, "c": None}
    run.write_metrics([{"a": numpy.float64(0.1), "b": numpy.int64(3)}])
    assert (run.path / "metrics.csv").read_text() == "a,b\n0.1,3\n"


def test_a_result_that_json_cannot_hold_is_a_type_error(run: RunDirectory) -> None:
    with pytest.raises(TypeError, match="no word for"):
        run.write_result({"value": object()})
    assert names(run) == set()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"a": NaN}', b"\xff{}", b"[" * 100_000, b'{"a": 1}{}']
)
def test_a_damaged_result_is_named(run: RunDirectory, content: bytes) -> None:
    (run.path / "result.json").write_bytes(content)
    refusal(run.read_result, str(run.path / "result.json"), "is damaged")


def test_missing_files_are_distinguished(tmp_path: Path, run: RunDirectory) -> None:
    refusal(run.read_result, "result.json: no such file")
    refusal(run.read_metrics, "metrics.csv: no such file")
    refusal(run.load_model, "weights.safetensors: no such file")
    refusal(RunDirectory(tmp_path / "none").load_model, "none: no such run directory")
    (tmp_path / "file").touch()
    refusal(RunDirectory(tmp_path / "file").load_model, "file: is a file")
    refusal(RunDirectory(tmp_path / ("x" * 300)).load_model)


@pytest.mark.parametrize("name", ["result.json", "metrics.csv", "model.json", "checkpoint"])
def test_a_pipe_in_place_of_a_file_does_not_hang(run: RunDirectory, name: str) -> None:
    saved(run)
    (run.path / "model.json").unlink()
    path = run.path / name.replace("checkpoint", "checkpoint.safetensors")
    os.mkfifo(path)
    readers: dict[str, Callable[[], object]] = {
        "result.json": run.read_result,
        "metrics.csv": run.read_metrics,
        "model.json": run.load_model,
        "checkpoint": run.read_checkpoint,
    }
    refusal(readers[name], str(path), "no regular file")


# --- Tables ------------------------------------------------------------------------------------


def test_metrics_have_the_union_of_columns_in_order_of_appearance(run: RunDirectory) -> None:
    rows: list[dict[str, float | int | None]] = [
        {"step": 1, "loss": 0.1 + 0.2},
        {"step": 2, "bleu4": None, "loss": 1.0},
        {"step": 3, "bleu4": 1e-300},
    ]
    run.write_metrics(rows)
    text = (run.path / "metrics.csv").read_text()
    assert text == "step,loss,bleu4\n1,0.30000000000000004,\n2,1.0,\n3,,1e-300\n"
    back = run.read_metrics()
    assert back == [{"step": 1, "loss": None, "bleu4": None, **row} for row in rows]
    assert isinstance(back[0]["step"], int) and isinstance(back[1]["loss"], float)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats() | st.integers(-(10**9), 10**9) | st.none(), min_size=1))
def test_every_number_survives_the_table(
    tmp_path_factory: pytest.TempPathFactory, values: list[float | int | None]
) -> None:
    run = RunDirectory(tmp_path_factory.mktemp("run"))
    run.write_metrics([{"x": value, "y": 0} for value in values])
    assert repr([row["x"] for row in run.read_metrics()]) == repr(values)


def test_a_run_without_evaluations_has_no_metrics_file(run: RunDirectory) -> None:
    run.write_metrics([])
    assert names(run) == set()


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"", "metrics.csv"),
        (b"a,a\n1,2\n", "metrics.csv"),
        (b"a,b\n1,2\n3\n", "metrics.csv:3"),
        (b"a,b\n1,2,3\n", "metrics.csv:2"),
        (b"a\n1\nx\x1b[2J\n", "metrics.csv:3"),
        (b"a\n\xff\n", "metrics.csv"),
        (b'a\n"1\n', "metrics.csv"),
    ],
)
def test_damaged_metrics_are_named(run: RunDirectory, content: bytes, where: str) -> None:
    (run.path / "metrics.csv").write_bytes(content)
    refusal(run.read_metrics, where, "is damaged")


def test_tables_hold_words_and_marks(run: RunDirectory) -> None:
    run.write_table(
        "samples.csv", [{"draw": 0, "past": 'a"b,c', "real_verb": True}, {"draw": 1, "past": ""}]
    )
    text = (run.path / "samples.csv").read_text()
    assert text == 'draw,past,real_verb\n0,"a""b,c",1\n1,,\n'


def test_a_table_without_rows_has_the_columns_given(run: RunDirectory) -> None:
    run.write_table("samples.csv", [], columns=["draw", "past"])
    assert (run.path / "samples.csv").read_text() == "draw,past\n"


def test_the_picture_is_written(run: RunDirectory) -> None:
    run.write_curves({"png": b"picture", "pdf": b"page"})
    assert (run.path / "curves.png").read_bytes() == b"picture"
    assert (run.path / "curves.pdf").read_bytes() == b"page"


# --- Weights -----------------------------------------------------------------------------------


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_a_model_comes_back_to_the_bit(run: RunDirectory, config: dict[str, Any]) -> None:
    model = saved(run, config)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    loaded = run.load_model()
    assert torch.equal(torch.get_rng_state(), before)
    assert not loaded.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    code = torch.randn(5, model.code_of_latent(torch.zeros(1, model.latent_size)).shape[1])
    tense = torch.arange(5) % 4
    assert torch.equal(loaded.greedy(code, tense), model.eval().greedy(code, tense))
    assert names(run) == {"weights.safetensors", "model.json"}


def test_the_settings_are_readable_json(run: RunDirectory) -> None:
    saved(run)
    document = json.loads((run.path / "model.json").read_text())
    assert document == {"format": 1, "model": DEFAULT}


def test_the_same_weights_give_the_same_bytes(run: RunDirectory) -> None:
    saved(run)
    first = (run.path / "weights.safetensors").read_bytes()
    saved(run)
    assert (run.path / "weights.safetensors").read_bytes() == first


def test_views_and_shared_tensors_are_saved(run: RunDirectory) -> None:
    base = torch.arange(12.0).view(3, 4)
    tensors = {"all": base, "part": base[:, 1], "turned": base.T, "again": base}
    run.write_checkpoint(tensors, {})
    found = run.read_checkpoint()
    assert found is not None
    assert found[0].keys() == tensors.keys()
    assert all(torch.equal(found[0][name], tensor) for name, tensor in tensors.items())


class Killed(BaseException):
    """Simulates the death of the process: no code catches it."""


@pytest.mark.parametrize("survived", [0, 1, 2])
@pytest.mark.parametrize("same_settings", [True, False])
def test_weights_load_wherever_the_writer_was_killed(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, survived: int, same_settings: bool
) -> None:
    old = saved(run, DEFAULT)
    new_config = DEFAULT if same_settings else REPORT
    done: list[Path] = []

    def write(path: Path, content: bytes) -> None:
        if len(done) == survived:
            raise Killed
        done.append(path)
        write_atomically(path, content)

    monkeypatch.setattr(saved_model, "write_atomically", write)
    new = build_model(**new_config)
    try:
        run.write_model(new.state_dict(), new_config)
    except Killed:
        assert survived < 2
    wanted = new if survived else old
    loaded = run.load_model().state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in wanted.state_dict().items())


def test_weights_of_another_tool_load_with_model_json(run: RunDirectory) -> None:
    model = saved(run)
    save_file(model.state_dict(), run.path / "weights.safetensors")
    assert run.load_model().latent_size == 2
    (run.path / "model.json").unlink()
    refusal(run.load_model, "model.json: is missing")


def edit_model_json(run: RunDirectory, **changes: object) -> None:
    """Change model settings, in weights without metadata and in model.json."""
    path = run.path / "model.json"
    with safe_open(run.path / "weights.safetensors", framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, run.path / "weights.safetensors")
    model = {**DEFAULT, **changes}
    path.write_text(json.dumps({"format": 1, "model": model}))


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": 10**15},
        {"hidden_size": 10**4000},
        {"hidden_size": 60_000},
        {"embedding_size": 65_536, "hidden_size": 65_536, "encoder_hidden_size": 65_536},
        {"prior_layer_count": 10**9},
        {"prior_layer_count": 200},
        {"hidden_size": -1},
        {"hidden_size": 0},
        {"latent_size": True},
        {"latent_size": "2"},
        {"latent_size": 2.0},
        {"latent_size": None},
        {"latent_size": [2]},
        {"latent_size": 3},
        {"grid_levels": 10**9},
        {"grid_size": 10**6},
        {"grid_features": math.nan},
        {"name": "other"},
        {"name": 3},
        {"name": "x" * 10**6},
        {"unknown": 1},
        {"self": 1},
        {"evil\x1b[2J\n": 1},
        {"word_latent_size": 0},
    ],
    ids=str,
)
def test_hostile_settings_are_refused_fast_and_small(
    run: RunDirectory, changes: dict[str, object]
) -> None:
    sys.set_int_max_str_digits(5000)
    saved(run)
    edit_model_json(run, **changes)
    sys.set_int_max_str_digits(4300)
    start = time.monotonic()
    refusal(run.load_model, str(run.path))
    assert time.monotonic() - start < 5.0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b'{"format": 1}',
        b'{"format": 2, "model": {}}',
        b"{" * 99_999,
        b" " * 2**21,
    ],
    ids=lambda content: repr(content[:20]),
)
def test_a_damaged_model_json_is_named(run: RunDirectory, content: bytes) -> None:
    saved(run)
    (run.path / "model.json").write_bytes(content)
    refusal(run.load_model, str(run.path / "model.json"))


def test_settings_of_another_run_are_refused(run: RunDirectory) -> None:
    saved(run)
    document = {"format": 1, "model": {**DEFAULT, "latent_size": 3}}
    (run.path / "model.json").write_text(json.dumps(document))
    refusal(run.load_model, "model.json: does not belong to weights.safetensors", "delete")
    (run.path / "model.json").unlink()
    assert run.load_model().latent_size == 2


def test_every_cut_and_flip_of_the_weights_is_refused_or_harmless(run: RunDirectory) -> None:
    saved(run)
    path = run.path / "weights.safetensors"
    whole = path.read_bytes()
    for cut in (0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        refusal(run.load_model, str(path))
    header = struct.unpack("<Q", whole[:8])[0]
    for position in range(0, 8 + header, 97):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x15]) + whole[position + 1 :])
        try:
            run.load_model()
        except RunDirectoryError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x95pickle",
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 70)
        + b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4]}}    ',
        b"PK\x03\x04",
    ],
)
def test_other_content_as_weights_is_refused(run: RunDirectory, content: bytes) -> None:
    saved(run)
    (run.path / "weights.safetensors").write_bytes(content)
    refusal(run.load_model, "weights.safetensors: is damaged")


def test_no_pickle_is_ever_loaded(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("torch.load was called")

    model = saved(run)
    torch.save(model.state_dict(), run.path / "weights.safetensors")
    monkeypatch.setattr(torch, "load", loaded)
    refusal(run.load_model, "is damaged")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("decoder.out.bias"), "lacks tensor 'decoder.out.bias'"),
        (lambda state: state.update(x=torch.zeros(1)), "unknown tensor 'x'"),
        (lambda state: state["decoder.out.bias"].fill_(math.nan), "not finite"),
        (
            lambda state: state.update({"decoder.out.bias": torch.zeros(2)}),
            "decoder.out.bias is of shape (2,), not (28,)",
        ),
        (
            lambda state: state.update({"decoder.out.bias": torch.zeros(28, dtype=torch.int64)}),
            "decoder.out.bias is of type torch.int64",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    run: RunDirectory, change: Callable[[dict[str, Tensor]], object], words: str
) -> None:
    state = dict(build_model(**DEFAULT).state_dict())
    change(state)
    run.write_model(state, DEFAULT)
    refusal(run.load_model, "weights.safetensors", words)


# --- Checkpoints -------------------------------------------------------------------------------


def test_a_checkpoint_comes_back_to_the_bit(run: RunDirectory) -> None:
    assert run.read_checkpoint() is None
    run.clear_checkpoint()
    tensors = {
        "weight": torch.randn(3, 2),
        "random": torch.get_rng_state(),
        "step": torch.tensor(5),
        "none": torch.zeros(0, 3),
        "half": torch.randn(2).bfloat16(),
        "flag": torch.tensor([True, False]),
    }
    counters = {
        "epoch": 3,
        "best": 0.1 + 0.2,
        "worst": -math.inf,
        "rows": [{"kl": 1e-9, "bleu4": None}],
        "name": "ü\n",
    }
    run.write_checkpoint(tensors, counters)
    found = run.read_checkpoint()
    assert found is not None
    assert found[1] == counters
    assert found[0].keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(found[0][name], tensor) and found[0][name].dtype == tensor.dtype
    assert names(run) == {"checkpoint.safetensors"}
    run.clear_checkpoint()
    assert run.read_checkpoint() is None and names(run) == set()


def test_tensors_that_were_read_stay_valid_without_the_file(run: RunDirectory) -> None:
    run.write_checkpoint({"x": torch.ones(1000)}, {})
    found = run.read_checkpoint()
    (run.path / "checkpoint.safetensors").write_bytes(b"")
    assert found is not None and float(found[0]["x"].sum()) == 1000.0


def test_a_checkpoint_removed_while_it_is_opened_is_named(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.write_checkpoint({"x": torch.ones(100)}, {})
    path = run.path / "checkpoint.safetensors"
    real = torch.UntypedStorage.from_file

    def late(*arguments: Any, **named: Any) -> Any:
        path.unlink()
        return real(*arguments, **named)

    # The header has already been read through another descriptor.
    monkeypatch.setattr(torch.UntypedStorage, "from_file", late)
    refusal(run.read_checkpoint, str(path), "cannot be read")


def test_a_damaged_checkpoint_is_named(run: RunDirectory) -> None:
    run.write_checkpoint({"x": torch.ones(100)}, {"epoch": 1})
    path = run.path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    refusal(run.read_checkpoint, str(path), "is damaged")
    saved(run)
    path.write_bytes((run.path / "weights.safetensors").read_bytes())
    refusal(run.read_checkpoint, str(path), "is no checkpoint of this version", "delete it")
