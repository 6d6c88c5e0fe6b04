"""Which data a config chooses, what they say before a search, and that content is what counts."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from test_config import compose

from cvae import chosen_data
from cvae.config import ConfigError

ROWS = "".join(f"{w} {w}s {w}ing {w}ed\n" for w in ("walk", "talk", "jump", "open", "help"))


def test_the_digest_is_that_of_the_words_and_not_of_the_file(tmp_path: Path) -> None:
    def digest(text: bytes, *more: str) -> str:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.txt"
        path.write_bytes(text)
        config = compose("data=files", f"data.train_path={path}", *more)
        with warnings.catch_warnings(action="ignore"):
            return chosen_data.load_dataset(config["data"]).digest

    plain = digest(ROWS.encode())
    assert digest(ROWS.encode("utf-16")) == digest(ROWS.replace("\n", "\r\n").encode()) == plain
    others = [
        digest(ROWS.replace("talked", "talkt").encode()),
        digest(ROWS.encode() + b"turn turns turning turned\n"),
        digest(ROWS.encode(), "data.dev_count=1"),
    ]
    assert len({plain, *others}) == 4


def test_a_check_says_what_the_data_say_and_identifies_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = compose("data=files", "data.train_path=t.txt")
    assert chosen_data.check_trial(config) == {}  # the file may be on another machine
    chosen_data._digest_of.cache_clear()  # a search reads its files once
    (tmp_path / "t.txt").write_text(ROWS + ROWS.splitlines()[0] + "\n")
    with pytest.warns(UserWarning, match="t.txt: 1 repeated row was dropped"):
        found = chosen_data.check_trial(config)
    assert found == {"the data in t.txt": chosen_data.load_dataset(config["data"]).digest}
    assert chosen_data.check_trial(compose()) == {}
    with pytest.raises(ConfigError, match="training.epochs is 0"):
        chosen_data.check_trial(compose("training.epochs=0"))
