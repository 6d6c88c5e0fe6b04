"""``python benchmarks/throughput.py``: how much of the machine's arithmetic training uses.

Rows, at the report's sizes (hidden 256, latent 32, all training words of data=common):

* the useful FLOP rate of whole epochs (data, forward, backward, clipping, optimizer) with teacher
  forcing 1, as a share of the rate of the machine's own float32 product of two large matrices,
  measured in turns with the epochs;
* the time of an epoch as a share of that of the loop of ``experiment=report``, which takes one word
  a step. That loop runs over some hundred words and is scaled to all;
* the time of an epoch with scheduled sampling (half of the symbols the model's own) as a multiple
  of the same epoch with teacher forcing.

Useful are the multiplications and additions in products with weights, of unpadded tokens::

    LSTM(I, H), a token    2 * 4 H (I + H)
    Linear(I, O), a row    2 * I * O
    a training step        3 times the forward pass: itself, the gradient of what came in, and
                           that of the weights

with, for the networks of the report (E = H, latent Z, condition C; a word of n letters)::

    encoder    (n + 2) * LSTM(H, H) + 2 * Linear(H, Z)             n letters, SOS and EOS
    decoder    (n + 1) * (LSTM(H, H) + Linear(H, 28)) + Linear(Z + C, H)

and for the default's with one level (embedding E; two LSTMs of the encoder)::

    encoder    (n + 1) * 2 * LSTM(E + C, H) + Linear(2 H, 2 Z)
    decoder    (n + 1) * (LSTM(E + Z + C, H) + Linear(H, 28)) + Linear(Z + C, 2 H)

``share`` counts these, as the definition of the networks has them. ``share_done`` leaves out the
products that ``cvae.recurrence`` never makes, the input half I of its LSTMs: what the processor
really multiplies. Elementwise work, embeddings, losses and the optimizer count as nothing in
both.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import measuring
import project
import torch

from cvae.alphabet import TENSES
from cvae.model import OUTPUT_COUNT, ConditionalVAE, Decoder, Encoder, ReportDecoder, ReportEncoder

REPORT_IN_BATCHES = [
    "experiment=report",
    "optim=one_cycle",
    "teacher_forcing=constant",
    "training.epochs=1000",
]
SINGLE = [
    "model=single",
    "model.latent_size=32",
    "model.hidden_size=256",
    "model.encoder_hidden_size=256",
    "training.coverage_draws=0",
    "training.epochs=1000",
]
TOY_SIZES = ["model.hidden_size=16", "model.latent_size=4"]


def lstm_flops(lstm: torch.nn.LSTM, *, by_table: bool) -> int:
    """Of one token in the forward pass; ``by_table`` leaves the input half out."""
    read = 0 if by_table else lstm.input_size
    return 2 * 4 * lstm.hidden_size * (read + lstm.hidden_size)


def linear_flops(linear: torch.nn.Linear) -> int:
    """Of one row in the forward pass."""
    return 2 * linear.in_features * linear.out_features


def useful_flops_of_parts(
    model: ConditionalVAE, letters: list[int], *, by_table: bool
) -> tuple[int, int]:
    """Encoder's and decoder's, of one epoch in which words of so many letters are read, and as many
    written.

    Args:
        letters: letters of every word, EOS not counted.
        by_table: count only the products that are made, see the module's docstring.
    """
    encoder, decoder = model.encoder, model.decoder
    words, tokens = len(letters), sum(letters) + len(letters)  # with EOS
    if isinstance(encoder, ReportEncoder):
        read = (tokens + words) * lstm_flops(encoder.lstm, by_table=by_table)
        read += words * (linear_flops(encoder.mean) + linear_flops(encoder.logvar))
    else:
        assert isinstance(encoder, Encoder)
        both = (encoder.forwards, encoder.backwards)
        read = tokens * sum(lstm_flops(lstm, by_table=False) for lstm in both)
        read += words * linear_flops(encoder.head)
    assert isinstance(decoder, ReportDecoder | Decoder)
    start = decoder.latent_to_hidden if isinstance(decoder, ReportDecoder) else decoder.initial
    a_token = lstm_flops(decoder.lstm, by_table=by_table) + 2 * decoder.out.in_features * (
        OUTPUT_COUNT
    )
    return 3 * read, 3 * (tokens * a_token + words * linear_flops(start))


def useful_flops(model: ConditionalVAE, letters: list[int], *, by_table: bool) -> int:
    """Of both parts, see ``useful_flops_of_parts``."""
    return sum(useful_flops_of_parts(model, letters, by_table=by_table))


def measure(toy: bool) -> dict[str, Any]:
    """All rows."""
    repeats = 2 if toy else 5
    verbs = 20 if toy else None
    batch_sizes = [16] if toy else [64, 256, 1024]
    size = 64 if toy else 3072
    left = torch.randn(size, size)

    def product() -> None:
        torch.mm(left, left)

    networks = {"report": REPORT_IN_BATCHES, "one level": SINGLE}
    if toy:
        networks = {
            name: [*overrides, *TOY_SIZES, *(["model.encoder_hidden_size=16"] * (name != "report"))]
            for name, overrides in networks.items()
        }

    one = project.setup(["experiment=report", *(TOY_SIZES if toy else [])], verbs=2 if toy else 50)
    one_words = len(one.dataset.train) * len(TENSES)

    epochs, forcing = [], []
    for name, overrides in networks.items():
        for batch_size in batch_sizes:
            made = project.setup([*overrides, f"training.batch_size={batch_size}"], verbs=verbs)
            # Of the words themselves: pairs across tenses have the same letters on average.
            letters = [len(form) for row in made.dataset.train for form in row.preferred]
            flops = useful_flops(made.trainer.model, letters, by_table=False)
            done = useful_flops(made.trainer.model, letters, by_table=True)
            epoch, peak, single = measuring.alternate(
                [made.trainer.train_epoch, product, one.trainer.train_epoch], repeats
            )
            scaled = [value * len(letters) / one_words for value in single]
            rates = [2 * size**3 / value for value in peak]
            epochs.append(
                {
                    "networks": name,
                    "batch_size": batch_size,
                    "words": len(letters),
                    "useful_flops": flops,
                    "useful_flops_done": done,
                    "epoch_seconds": measuring.summary(epoch),
                    "product_flops_per_second": measuring.summary(rates),
                    "share": measuring.ratio([flops / value for value in epoch], rates),
                    "share_done": measuring.ratio([done / value for value in epoch], rates),
                    "one_word_a_step_seconds": measuring.summary(scaled),
                    "of_one_word_a_step": measuring.ratio(epoch, scaled),
                }
            )
        for feedback in ("output", "symbol") if name == "report" else ("symbol",):
            given = [*overrides, f"training.batch_size={batch_sizes[len(batch_sizes) // 2]}"]
            given += [f"model.feedback={feedback}"] if name == "report" else []
            forced = project.setup([*given, "teacher_forcing.ratio=1.0"], verbs=verbs)
            sampled = project.setup([*given, "teacher_forcing.ratio=0.5"], verbs=verbs)
            times = measuring.alternate(
                [sampled.trainer.train_epoch, forced.trainer.train_epoch], repeats
            )
            forcing.append(
                {
                    "networks": name,
                    "feedback": feedback,
                    "sampled_seconds": measuring.summary(times[0]),
                    "forced_seconds": measuring.summary(times[1]),
                    "sampled_over_forced": measuring.ratio(*times),
                }
            )
    return {
        "product_size": size,
        "one_word_a_step_words_timed": one_words,
        "epochs": epochs,
        "scheduled_sampling": forcing,
        "best_share": max(row["share"]["median"] for row in epochs),
    }


def show(result: dict[str, Any]) -> str:
    """The tables that ``docs/performance.md`` takes."""
    first = measuring.table(
        [
            "networks",
            "batch",
            "epoch, s",
            "useful share of the product's rate (goal 0.60)",
            "share of it really multiplied",
            "epoch / one word a step (goal 0.05)",
        ],
        [
            [
                row["networks"],
                row["batch_size"],
                measuring.spread(row["epoch_seconds"]),
                measuring.spread(row["share"]),
                measuring.spread(row["share_done"]),
                measuring.spread(row["of_one_word_a_step"], digits=4),
            ]
            for row in result["epochs"]
        ],
    )
    second = measuring.table(
        ["networks", "feedback", "scheduled sampling / teacher forcing (goal 1.5)"],
        [
            [row["networks"], row["feedback"], measuring.spread(row["sampled_over_forced"])]
            for row in result["scheduled_sampling"]
        ],
    )
    return f"{first}\n\n{second}"


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write the JSON file."""
    parser = argparse.ArgumentParser(description="Arithmetic rate of training, and its ratios.")
    return measuring.command("throughput", measure, show, parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
