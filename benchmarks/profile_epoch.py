"""``python benchmarks/profile_epoch.py``: which operations an epoch's time goes to.

Torch's profiler around whole epochs: of ``experiment=report``, the loop that takes one word a step
(over some hundred words), and of the default config, late epochs in which all of its parts learn.
Shares are of the operations' own processor time; what is left to the whole, the interpreter between
them among it, is said beside them. The profiler itself slows small operations.

For the one-level networks of ``benchmarks/throughput.py`` at batch 256 a table says which part of
the epoch reaches which share of the rate of torch's own large product, on one thread.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import measuring
import project
import throughput
import torch
from torch.profiler import ProfilerActivity, profile

SHOWN = 10
ENCODER = ("aten::mkldnn_rnn_layer", "aten::mkldnn_rnn_layer_backward")
"""What ``nn.LSTM`` is on a processor; elementwise work is inside."""
PRODUCTS = ("mkldnn::_linear_pointwise", "aten::mm", "aten::addmm")


def one_level(toy: bool) -> dict[str, Any]:
    """Encoder, decoder's products and everything else: time, useful operations, rate."""
    sizes = [*throughput.TOY_SIZES, "model.encoder_hidden_size=16"] if toy else []
    made = project.setup(
        [*throughput.SINGLE, "training.batch_size=256", *sizes], verbs=20 if toy else None
    )
    letters = [len(form) for row in made.dataset.train for form in row.preferred]
    flops = throughput.useful_flops_of_parts(made.trainer.model, letters, by_table=True)
    left = torch.randn((64, 64) if toy else (3072, 3072))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    epochs, products = measuring.alternate(
        [made.trainer.train_epoch, lambda: torch.mm(left, left)], 1 if toy else 5
    )
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        made.trainer.train_epoch()
    torch.set_num_threads(threads)
    epoch = measuring.summary(epochs)["median"]
    taken = {
        part: sum(
            event.self_cpu_time_total for event in seen.key_averages() if event.key in operations
        )
        / 1e6
        for part, operations in (("encoder", ENCODER), ("products", PRODUCTS))
    }
    # The interpreter's time is in no operation: what the epoch takes without the profiler counts.
    taken["rest"] = max(0.0, epoch - sum(taken.values()))
    rate = measuring.summary([2 * len(left) ** 3 / value for value in products])["median"]
    useful = {"encoder": flops[0], "products": flops[1], "rest": 0}
    return {
        "epoch_seconds": measuring.summary(epochs),
        "product_flops_per_second": rate,
        "parts": [
            {
                "part": part,
                "share": seconds / epoch,
                "useful_share": useful[part] / sum(flops),
                "rate_of_product": useful[part] / max(seconds, 1e-9) / rate,
            }
            for part, seconds in taken.items()
        ],
        "rate_of_product": sum(flops) / epoch / rate,
    }


def measure(toy: bool) -> dict[str, Any]:
    """The longest operations of both epochs, and the parts of the one-level networks' epoch."""
    smoke = ["debug=smoke"] if toy else []
    rows = []
    for name, overrides, verbs in (
        ("one word a step", ["experiment=report", *smoke], 2 if toy else 50),
        ("default", [*smoke, *project.LATE], 20 if toy else None),
    ):
        made = project.setup(overrides, verbs=verbs)
        made.trainer.train_epoch()
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # else what the other threads do is counted for some, not all
        began = time.perf_counter()
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            made.trainer.train_epoch()
        whole = time.perf_counter() - began
        torch.set_num_threads(threads)
        found = sorted(
            seen.key_averages(), key=lambda event: event.self_cpu_time_total, reverse=True
        )
        inside = sum(event.self_cpu_time_total for event in found) / 1e6
        rows.append(
            {
                "epoch": name,
                "seconds": whole,
                "share_in_operations": inside / whole,
                "calls": sum(event.count for event in found),
                "operations": [
                    {
                        "name": event.key,
                        "share": event.self_cpu_time_total / 1e6 / whole,
                        "calls": event.count,
                    }
                    for event in found[:SHOWN]
                ],
            }
        )
    return {"rows": rows, "one_level": one_level(toy)}


def show(result: dict[str, Any]) -> str:
    """The tables that ``docs/performance.md`` takes."""
    shown = []
    for row in result["rows"]:
        table = measuring.table(
            [f"{row['epoch']}: operation", "share of the time", "calls"],
            [
                [f"`{each['name']}`", f"{each['share']:.1%}", f"{each['calls']:,}"]
                for each in row["operations"]
            ],
        )
        shown.append(
            f"{table}\n\n{row['calls']:,} calls, which take {row['share_in_operations']:.0%} of "
            f"{row['seconds']:.2f} s under the profiler, one thread."
        )
    names = {
        "encoder": "encoder, `nn.LSTM` in both directions",
        "products": "decoder's products",
        "rest": "everything else",
    }
    found = result["one_level"]
    whole = [
        "whole epoch",
        "100.0%",
        "100.0%",
        f"{found['rate_of_product']:.2f}",
    ]
    shown.append(
        measuring.table(
            [
                "one level, batch 256: part",
                "share of the time",
                "share of the operations made",
                "rate / torch's large product (goal 0.90)",
            ],
            [
                *(
                    [
                        names[each["part"]],
                        f"{each['share']:.1%}",
                        f"{each['useful_share']:.1%}",
                        f"{each['rate_of_product']:.2f}",
                    ]
                    for each in found["parts"]
                ),
                whole,
            ],
        )
    )
    return "\n\n".join(shown)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write the JSON file."""
    parser = argparse.ArgumentParser(description="Which operations an epoch's time goes to.")
    return measuring.command("profile_epoch", measure, show, parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
