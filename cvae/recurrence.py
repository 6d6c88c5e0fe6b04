"""The steps of an ``nn.LSTM`` whose input is a symbol and a constant condition.

There are only a few symbols, so the input half of a step's product can be looked up in a table::

    W_ih [embedding(symbol); condition] + b_ih + b_hh = table[symbol] + constant

Each step then only computes the hidden half, W_hh h. The parameters and the mathematics are those
of the ``nn.LSTM``; values agree up to rounding. docs/performance.md says what this saves.

The gates are in PyTorch's order i, f, g, o, so no weight is copied. Time is the first dimension, so
that each step is one block of memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from cvae.alphabet import EOS, SOS, SYMBOL_COUNT

State = tuple[Tensor, Tensor]
"""Hidden and cell state; (batch, hidden) each."""

_FULL_SHARE: Final = 0.9  # a greedy batch is compacted when its unfinished share is below this
_GREEDY_ROWS: Final = 512  # words decoded at a time, so that their gates fit the cache
# oneDNN's product, which nn.LSTM uses too: torch's default is MKL, which is half as fast on AMD
# processors. It does not support double precision.
_LINEAR: Final = getattr(torch.ops.mkldnn, "_linear_pointwise", None)


@dataclass(frozen=True)
class Gates:
    """The parts of an LSTM's gate sums that do not depend on its hidden state.

    Attributes:
        table: (symbols + 1, 4 * hidden): the input half for each symbol, including both biases; the
            last row has the biases only.
        constant: (batch, 4 * hidden): the condition's part of the input half; None without one.
        recurrent: (4 * hidden, hidden): W_hh.
    """

    table: Tensor
    constant: Tensor | None
    recurrent: Tensor


def known_gates(
    lstm: nn.LSTM,
    symbols: nn.Embedding,
    condition: Tensor | None,
    *,
    rows: Tensor | None = None,
) -> Gates:
    """The gates of ``lstm`` for embedded symbols followed by ``condition`` (batch, size).

    Args:
        rows: (rows,) the symbols in the table; None for all.
    """
    width = symbols.embedding_dim
    weight, recurrent, bias_of_input, bias_of_hidden = lstm.all_weights[0]
    embedded = symbols.weight if rows is None else symbols(rows)
    embedded = functional.pad(embedded, (0, 0, 0, 1))  # the last row has no input
    return Gates(
        table=torch.addmm(bias_of_input + bias_of_hidden, embedded, weight[:, :width].T),
        constant=None if condition is None else condition @ weight[:, width:].T,
        recurrent=recurrent,
    )


def gates_of_inputs(
    lstm: nn.LSTM, symbols: nn.Embedding, condition: Tensor | None, inputs: Tensor
) -> tuple[Gates, Tensor]:
    """``known_gates`` for symbols (batch, time), and the symbols as row numbers of its table.

    A single word has fewer symbols than the full table has rows, so its table has only those.
    """
    if inputs.numel() >= SYMBOL_COUNT:
        return known_gates(lstm, symbols, condition), inputs
    rows, numbered = torch.unique(inputs, return_inverse=True)
    return known_gates(lstm, symbols, condition, rows=rows), numbered


def run(gates: Gates, state: State, inputs: Tensor) -> Tensor:
    """Outputs of all steps, (time, batch, hidden), for true inputs (batch, time)."""
    return _apply(gates, state, inputs, forced=None, out=None, fed_back=None)


def run_with_own_symbols(
    gates: Gates, state: State, inputs: Tensor, forced: Tensor, out: nn.Linear
) -> Tensor:
    """``run``, but fed the most likely symbol by ``out`` where ``forced`` (batch, time) is false.

    No gradient flows through the choice.
    """
    return _apply(gates, state, inputs, forced=forced, out=out, fed_back=None)


def run_with_own_outputs(
    gates: Gates, state: State, inputs: Tensor, forced: Tensor, lstm: nn.LSTM
) -> Tensor:
    """``run``, but fed the last output instead of an embedding where ``forced`` is false.

    The gradient flows through it. The input size of ``lstm`` must equal its hidden size.
    """
    fed_back = lstm.all_weights[0][0]
    return _apply(gates, state, inputs, forced=forced, out=None, fed_back=fed_back)


@torch.no_grad()
def greedy(gates: Gates, state: State, out: nn.Linear, max_length: int) -> Tensor:
    """Decode greedily: each step feeds back the most likely symbol; (batch, at most max_length).

    The width is that of the longest word; EOS fills the positions after a word's end.
    """
    return _greedy(gates, gates, state, out, max_length)


@torch.no_grad()
def greedy_with_own_outputs(
    gates: Gates, state: State, out: nn.Linear, max_length: int, lstm: nn.LSTM
) -> Tensor:
    """``greedy``, fed the last output instead of a symbol from the second step on."""
    return _greedy(gates, _of_own_outputs(gates, lstm), state, out, max_length)


@torch.no_grad()
def beam(
    gates: Gates, state: State, out: nn.Linear, max_length: int, width: int
) -> tuple[Tensor, Tensor]:
    """Beam search: the likeliest words found, and their log-probabilities, likeliest first.

    Returns:
        Symbols (batch, width, at most max_length), EOS from a word's end on, and the natural
        logarithms of the words' probabilities (batch, width).
    """
    return _beam(gates, gates, state, out, max_length, width)


@torch.no_grad()
def beam_with_own_outputs(
    gates: Gates, state: State, out: nn.Linear, max_length: int, width: int, lstm: nn.LSTM
) -> tuple[Tensor, Tensor]:
    """``beam``, fed the last output instead of a symbol from the second step on."""
    return _beam(gates, _of_own_outputs(gates, lstm), state, out, max_length, width)


def _of_own_outputs(gates: Gates, lstm: nn.LSTM) -> Gates:
    """The gates of a step that is fed the last output: it equals the hidden state then."""
    return Gates(
        table=gates.table[-1:].expand_as(gates.table),
        constant=None,
        recurrent=gates.recurrent + lstm.all_weights[0][0],  # the two products are one
    )


def _beam(
    first: Gates, later: Gates, state: State, out: nn.Linear, max_length: int, width: int
) -> tuple[Tensor, Tensor]:
    count, device = len(state[0]), state[0].device
    # One row for each word of each beam; (batch * width, ...).
    hidden, cell = (part.repeat_interleave(width, dim=0) for part in state)
    constants = [
        None if g.constant is None else g.constant.repeat_interleave(width, dim=0)
        for g in (first, later)
    ]
    fed = torch.full((count * width,), SOS, device=device)
    scores = torch.full((count, width), -torch.inf, device=device)
    scores[:, 0] = 0.0  # all words of a beam are equal at first, and one of them goes on
    words = torch.empty(count, width, 0, dtype=torch.long, device=device)
    ended = torch.zeros(count, width, dtype=torch.bool, device=device)
    first_row = torch.arange(0, count * width, width, device=device).unsqueeze(1)
    for step in range(max_length):
        hidden, cell = _step(
            first if step == 0 else later, constants[min(step, 1)], hidden, cell, fed
        )
        steps = torch.log_softmax(out(hidden), dim=1).view(count, width, -1)
        # A word that has ended goes on with EOS at no cost.
        steps = steps.masked_fill(ended.unsqueeze(2), -torch.inf)
        steps[:, :, EOS].masked_fill_(ended, 0.0)
        scores, places = (scores.unsqueeze(2) + steps).flatten(1).topk(width)
        origin, symbols = places // steps.shape[2], places % steps.shape[2]
        rows = (first_row + origin).flatten()
        hidden, cell, fed = hidden[rows], cell[rows], symbols.flatten()
        words = torch.cat([words.flatten(0, 1)[rows], fed.unsqueeze(1)], dim=1)
        words = words.view(count, width, step + 1)
        ended = ended.gather(1, origin) | (symbols == EOS)
        if bool(ended.all()):
            break
    return words, scores


def _greedy(first: Gates, later: Gates, state: State, out: nn.Linear, max_length: int) -> Tensor:
    count = len(state[0])
    words = torch.full((count, max_length), EOS, dtype=torch.long, device=state[0].device)
    longest = 1
    for start in range(0, count, _GREEDY_ROWS):
        part = slice(start, start + _GREEDY_ROWS)
        constants = [None if g.constant is None else g.constant[part] for g in (first, later)]
        hidden, cell = state[0][part], state[1][part]
        rows = torch.arange(start, start + len(hidden), device=hidden.device)
        fed = torch.full_like(rows, SOS)
        for step in range(max_length):
            gates = first if step == 0 else later
            constant = constants[min(step, 1)]
            hidden, cell = _step(gates, constant, hidden, cell, fed)
            fed = out(hidden).argmax(dim=1)
            words[rows, step] = fed
            longest = max(longest, step + 1)
            going = fed != EOS
            left = int(going.sum())
            if left == 0:
                break
            if left < _FULL_SHARE * len(rows):
                # Until it is removed, a finished word is fed its EOS; its outputs are discarded.
                rows, hidden, cell, fed = rows[going], hidden[going], cell[going], fed[going]
                constants = [None if c is None else c[going] for c in constants]
    ended = (words == EOS).cumsum(dim=1) > 0
    return words.masked_fill_(ended, EOS)[:, :longest]


def _step(
    gates: Gates, constant: Tensor | None, hidden: Tensor, cell: Tensor, fed: Tensor
) -> State:
    """One step without gradient."""
    size = hidden.shape[1]
    values = gates.table[fed]
    if constant is not None:
        values += constant
    _add_product(values, hidden, gates.recurrent)
    _activate(values, size)
    i, f, g, o = _parts(values)
    cell = (f * cell).addcmul_(i, g)
    return torch.tanh(cell).mul_(o), cell


def _product(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right.T``, without gradient."""
    if _LINEAR is None or left.device.type != "cpu" or left.dtype != torch.float32:
        return left @ right.T
    product: Tensor = _LINEAR(left, right, None, "none", [], "")
    return product


def _add_product(values: Tensor, left: Tensor, right: Tensor) -> None:
    """``values += left @ right.T``, without gradient."""
    if len(left) == 1:
        values.addmm_(left, right.T)
    else:
        values += _product(left, right)


def _activate(values: Tensor, size: int) -> None:
    """Turn sums (batch, 4 * size) into gates, in place."""
    values[:, : 2 * size].sigmoid_()
    values[:, 2 * size : 3 * size].tanh_()
    values[:, 3 * size :].sigmoid_()


def _parts(gates: Tensor) -> tuple[Tensor, ...]:
    """Split (..., 4 * size) into the gates i, f, g, o, each (..., size)."""
    return gates.chunk(4, dim=-1)


def _by_step(gates: Tensor) -> list[tuple[Tensor, ...]]:
    """``_parts`` for each step of (time, batch, 4 * size)."""
    return list(zip(*(part.unbind() for part in _parts(gates)), strict=True))


def _apply(
    gates: Gates,
    state: State,
    inputs: Tensor,
    *,
    forced: Tensor | None,
    out: nn.Linear | None,
    fed_back: Tensor | None,
) -> Tensor:
    fed = inputs.T.contiguous()  # (time, batch)
    coins = None if forced is None else forced.T.clone(memory_format=torch.contiguous_format)
    if coins is not None and fed_back is not None:
        coins[0] = True  # the first step has no previous output
        if bool(coins.all()):
            coins = fed_back = None
        else:
            fed = fed.masked_fill(~coins, len(gates.table) - 1)  # the row of the biases
    head = None if out is None else (out.weight.detach(), out.bias.detach())
    outputs: Tensor = _Steps.apply(  # type: ignore[no-untyped-call]
        gates.table, gates.constant, gates.recurrent, *state, fed_back, fed, coins, head
    )
    return outputs


class _Steps(torch.autograd.Function):
    """The loop over time, with a hand-written gradient."""

    @staticmethod
    def forward(
        context: Any,
        table: Tensor,
        constant: Tensor | None,
        recurrent: Tensor,
        hidden: Tensor,
        cell: Tensor,
        fed_back: Tensor | None,
        fed: Tensor,
        coins: Tensor | None,
        head: tuple[Tensor, Tensor] | None,
    ) -> Tensor:
        """Outputs (time, batch, hidden).

        Args:
            fed_back: (4 * hidden, hidden): weight of the last output where no symbol is fed.
            fed: (time, batch) symbols.
            coins: (time, batch): false where the model is fed its own symbol or output.
            head: weight and bias of the layer that predicts the symbol.
        """
        time, (batch, size) = len(fed), hidden.shape
        gates = hidden.new_empty(time, batch, 4 * size)
        hiddens = hidden.new_empty(time + 1, batch, size)
        cells = hidden.new_empty(time + 1, batch, size)
        tanh_cells = hidden.new_empty(time, batch, size)
        hiddens[0], cells[0] = hidden, cell
        if head is not None:
            fed = fed.clone()
        # If all steps after the first are fed outputs, the input equals the hidden state from the
        # second step on, and the two products are one.
        alone = coins is not None and fed_back is not None and not bool(coins[1:].any())
        later = recurrent + fed_back if alone and fed_back is not None else recurrent
        for step, (i, f, g, o) in enumerate(_by_step(gates)):
            values, fed_now = gates[step], fed[step]
            if step and coins is not None and head is not None:
                weight, bias = head
                own = torch.addmm(bias, hiddens[step], weight.T).argmax(dim=1)
                torch.where(coins[step], fed_now, own, out=fed_now)
            torch.index_select(table, 0, fed_now, out=values)
            if constant is not None:
                values += constant
            _add_product(values, hiddens[step], later if step else recurrent)
            if coins is not None and fed_back is not None and not alone:
                own = torch.nonzero(~coins[step]).flatten()
                values.index_add_(0, own, hiddens[step][own] @ fed_back.T)
            _activate(values, size)
            torch.mul(f, cells[step], out=cells[step + 1]).addcmul_(i, g)
            torch.tanh(cells[step + 1], out=tanh_cells[step])
            torch.mul(tanh_cells[step], o, out=hiddens[step + 1])
        kept = (gates, hiddens, cells, tanh_cells, recurrent, later, fed_back, fed, coins)
        context.save_for_backward(*kept)
        context.rows, context.conditioned, context.alone = len(table), constant is not None, alone
        return hiddens[1:]

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator, unused-ignore]
    def backward(context: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the first six arguments of ``forward``."""
        gates, hiddens, cells, tanh_cells, recurrent, later, fed_back, fed, coins = (
            context.saved_tensors
        )
        time, batch, size = tanh_cells.shape
        sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
        tanh_backward = torch.ops.aten.tanh_backward.grad_input
        d_gates = torch.empty_like(gates)
        d_hidden = torch.empty_like(cells[0])
        d_cell = torch.zeros_like(cells[0])
        through_tanh = torch.empty_like(d_cell)
        back = later.T if batch == 1 else later.T.contiguous()
        parts, d_parts = _by_step(gates), _by_step(d_gates)
        for step in reversed(range(time)):
            i, f, g, o = parts[step]
            d_i, d_f, d_g, d_o = d_parts[step]
            d_hidden.copy_(grad[step])
            if step + 1 < time:
                _add_product(d_hidden, d_gates[step + 1], back)
                if fed_back is not None and not context.alone:
                    own = torch.nonzero(~coins[step + 1]).flatten()
                    d_hidden.index_add_(0, own, d_gates[step + 1][own] @ fed_back)
            torch.mul(d_hidden, tanh_cells[step], out=d_o)
            tanh_backward(d_hidden.mul_(o), tanh_cells[step], grad_input=through_tanh)
            d_cell += through_tanh
            torch.mul(d_cell, g, out=d_i)
            torch.mul(d_cell, cells[step], out=d_f)
            torch.mul(d_cell, i, out=d_g)
            d_cell *= f
            i_and_f, d_i_and_f = gates[step][:, : 2 * size], d_gates[step][:, : 2 * size]
            sigmoid_backward(d_i_and_f, i_and_f, grad_input=d_i_and_f)
            tanh_backward(d_g, g, grad_input=d_g)
            sigmoid_backward(d_o, o, grad_input=d_o)
        flat, before = d_gates.flatten(0, 1), hiddens[:-1].flatten(0, 1)
        d_fed_back = None
        if context.alone:
            d_fed_back = _product(flat[batch:].T, before[batch:].T)
            d_recurrent = torch.addmm(d_fed_back, flat[:batch].T, before[:batch])
        else:
            d_recurrent = _product(flat.T, before.T)
            if fed_back is not None:
                own = torch.nonzero(~coins.flatten()).flatten()
                d_fed_back = flat[own].T @ before[own]
        # A product with a 0/1 matrix sums the rows in a fixed order for any number of threads.
        chosen = flat.new_zeros(context.rows, time * batch)
        chosen.scatter_(0, fed.reshape(1, -1), 1.0)
        return (
            _product(chosen, flat.T),
            d_gates.sum(dim=0) if context.conditioned else None,
            d_recurrent,
            d_gates[0] @ recurrent,
            d_cell,
            d_fed_back,
            None,
            None,
            None,
        )
