"""``python benchmarks/lstm_cell.py``: is a table for the input half of the LSTM faster?

The input half of an LSTM step, ``W_ih [embedding(symbol); condition]``, has only 29 symbols as
input, and a condition that is constant over the word. It equals ``table[symbol] + constant``, with
a table of 29 rows that is computed once per optimizer step. Only the hidden half of the products
remains, but ``nn.LSTM``'s fused call cannot use this: the loop in ``cvae.recurrence`` does.

The benchmark compares ``nn.LSTM`` and the loop, with the same parameters: for training
(forward and backward), and for the forward pass only. Ratios above 1 mean that the table is
faster.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent))

import measuring

from cvae import recurrence
from cvae.alphabet import SYMBOL_COUNT


class Layer(nn.Module):
    """An embedding, a condition and an LSTM, run in one of the two ways."""

    def __init__(self, *, embedding: int, condition: int, hidden: int) -> None:
        super().__init__()
        self.symbols = nn.Embedding(SYMBOL_COUNT, embedding)
        self.lstm = nn.LSTM(embedding + condition, hidden, batch_first=True)

    def fused(self, read: Tensor, condition: Tensor, state: tuple[Tensor, Tensor]) -> Tensor:
        """``nn.LSTM`` on embedded symbols (batch, time) and conditions; (batch, time, hidden)."""
        repeated = condition.unsqueeze(1).expand(-1, read.shape[1], -1)
        embedded = torch.cat([self.symbols(read), repeated], dim=2)
        outputs: Tensor = self.lstm(embedded, (state[0].unsqueeze(0), state[1].unsqueeze(0)))[0]
        return outputs

    def table(self, read: Tensor, condition: Tensor, state: tuple[Tensor, Tensor]) -> Tensor:
        """The same with a table, as in the model's decoders; (batch, time, hidden)."""
        gates = recurrence.known_gates(self.lstm, self.symbols, condition)
        return recurrence.run(gates, state, read).transpose(0, 1)


def compare(
    *, batch: int, time: int, hidden: int, embedding: int, condition: int, repeats: int
) -> dict[str, Any]:
    """One row: the seconds of both implementations at these sizes, and their ratio."""
    torch.manual_seed(0)
    layer = Layer(embedding=embedding, condition=condition, hidden=hidden)
    read = torch.randint(SYMBOL_COUNT, (batch, time))
    conditions = torch.randn(batch, condition, requires_grad=True)
    state = (torch.randn(batch, hidden), torch.randn(batch, hidden))

    def training(way: Callable[..., Tensor]) -> Callable[[], Any]:
        def run() -> None:
            layer.zero_grad(set_to_none=True)
            way(read, conditions, state).square().sum().backward()  # type: ignore[no-untyped-call]

        return run

    def forward(way: Callable[..., Tensor]) -> Callable[[], Any]:
        @torch.no_grad()
        def run() -> None:
            way(read, conditions, state)

        return run

    with torch.no_grad():
        difference = layer.fused(read, conditions, state) - layer.table(read, conditions, state)
    ways = (layer.fused, layer.table)
    fused, table = measuring.alternate([training(way) for way in ways], repeats)
    fused_forward, table_forward = measuring.alternate([forward(way) for way in ways], repeats)
    return {
        "batch": batch,
        "time": time,
        "hidden": hidden,
        "input": embedding + condition,
        "largest_difference": float(difference.abs().max()),
        "training_fused_seconds": measuring.summary(fused),
        "training_table_seconds": measuring.summary(table),
        "training_ratio": measuring.ratio(fused, table),
        "forward_fused_seconds": measuring.summary(fused_forward),
        "forward_table_seconds": measuring.summary(table_forward),
        "forward_ratio": measuring.ratio(fused_forward, table_forward),
    }


def measure(toy: bool) -> dict[str, Any]:
    """All rows."""
    if toy:
        sizes = [(8, 3, 16, 8, 4)]
    else:
        # Batch, symbols per word, hidden, embedding, condition: the default decoder, the default
        # encoder, the report's networks, and a batch of greedy decoding.
        sizes = [
            (256, 10, 192, 64, 72),
            (256, 10, 128, 64, 8),
            (256, 10, 256, 256, 8),
            (2048, 10, 192, 64, 72),
        ]
    rows = [
        compare(
            batch=batch,
            time=time,
            hidden=hidden,
            embedding=embedding,
            condition=condition,
            repeats=2 if toy else 9,
        )
        for batch, time, hidden, embedding, condition in sizes
    ]
    return {"rows": rows}


def show(result: dict[str, Any]) -> str:
    """The table for ``docs/performance.md``."""
    return measuring.table(
        ["batch", "input", "hidden", "training: nn.LSTM / table", "forward: nn.LSTM / table"],
        [
            [
                row["batch"],
                row["input"],
                row["hidden"],
                measuring.spread(row["training_ratio"]),
                measuring.spread(row["forward_ratio"]),
            ]
            for row in result["rows"]
        ],
    )


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    return measuring.command("lstm_cell", measure, show, parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
