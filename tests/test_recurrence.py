"""The table-based LSTM steps equal nn.LSTM: values, gradients and decoded words."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from cvae import recurrence
from cvae.alphabet import EOS, PAD, SOS, SYMBOL_COUNT
from cvae.model import OUTPUT_COUNT

BATCH, TIME, HIDDEN, EMBEDDING, CONDITION = 5, 7, 12, 6, 4


class Parts(nn.Module):
    """Arguments of the functions, in double precision."""

    def __init__(
        self,
        *,
        embedding: int = EMBEDDING,
        conditioned: bool = True,
        batch: int = BATCH,
        forced: str = "some",
    ) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.inputs = inputs()[:batch]
        shares = {"all": 1.0, "some": 0.5, "none": 0.0}
        drawn = torch.rand(BATCH, TIME, generator=torch.Generator().manual_seed(2))
        self.coins = (drawn < shares[forced])[:batch]
        self.symbols = nn.Embedding(SYMBOL_COUNT, embedding)
        self.condition = nn.Parameter(torch.randn(batch, CONDITION)) if conditioned else None
        self.lstm = nn.LSTM(embedding + CONDITION * conditioned, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, OUTPUT_COUNT)
        self.hidden = nn.Parameter(torch.randn(batch, HIDDEN))
        self.cell = nn.Parameter(torch.randn(batch, HIDDEN))
        self.double()

    @property
    def state(self) -> recurrence.State:
        return self.hidden, self.cell

    def gates(self) -> recurrence.Gates:
        return recurrence.known_gates(self.lstm, self.symbols, self.condition)

    def gates_of_inputs(self) -> tuple[recurrence.Gates, Tensor]:
        return recurrence.gates_of_inputs(self.lstm, self.symbols, self.condition, self.inputs)

    def step(self, fed: Tensor, state: recurrence.State) -> tuple[Tensor, recurrence.State]:
        """One step of nn.LSTM for an embedded symbol (batch, embedding)."""
        if self.condition is not None:
            fed = torch.cat([fed, self.condition], dim=1)
        hidden, cell = (part.unsqueeze(0) for part in state)
        outputs, (hidden, cell) = self.lstm(fed.unsqueeze(1), (hidden, cell))
        return outputs[:, 0], (hidden[0], cell[0])


def inputs() -> Tensor:
    drawn = torch.randint(SYMBOL_COUNT, (BATCH, TIME), generator=torch.Generator().manual_seed(1))
    drawn[:, 0] = SOS
    drawn[1, 4:] = PAD
    return drawn


def true_steps(parts: Parts) -> Tensor:
    read = parts.symbols(parts.inputs)
    if parts.condition is not None:
        repeated = parts.condition.unsqueeze(1).expand(-1, TIME, -1)
        read = torch.cat([read, repeated], dim=2)
    outputs: Tensor = parts.lstm(read, (parts.hidden.unsqueeze(0), parts.cell.unsqueeze(0)))[0]
    return outputs.transpose(0, 1)


def steps_with_own(parts: Parts, *, output: bool) -> Tensor:
    """Scheduled sampling as a loop over nn.LSTM."""
    true, forced, state = parts.inputs, parts.coins, parts.state
    fed = parts.symbols(true[:, 0])
    outputs = []
    for step in range(TIME):
        said, state = parts.step(fed, state)
        outputs.append(said)
        if step + 1 < TIME:
            own = said if output else parts.symbols(parts.out(said).argmax(dim=1))
            fed = torch.where(forced[:, step + 1, None], parts.symbols(true[:, step + 1]), own)
    return torch.stack(outputs)


def run_true(parts: Parts) -> Tensor:
    gates, rows = parts.gates_of_inputs()
    return recurrence.run(gates, parts.state, rows)


def run_own_symbols(parts: Parts) -> Tensor:
    gates = parts.gates()
    return recurrence.run_with_own_symbols(gates, parts.state, parts.inputs, parts.coins, parts.out)


def run_own_outputs(parts: Parts) -> Tensor:
    gates, rows = parts.gates_of_inputs()
    return recurrence.run_with_own_outputs(gates, parts.state, rows, parts.coins, parts.lstm)


OUTPUT_FED: dict[str, object] = {"embedding": HIDDEN, "conditioned": False}


def own_outputs(parts: Parts) -> Tensor:
    return steps_with_own(parts, output=True)


def own_symbols(parts: Parts) -> Tensor:
    return steps_with_own(parts, output=False)


CASES: dict[str, tuple[dict[str, object], Callable[[Parts], Tensor], Callable[[Parts], Tensor]]] = {
    "true inputs, a condition": ({}, run_true, true_steps),
    "true inputs, no condition": ({"conditioned": False}, run_true, true_steps),
    "own symbols": ({}, run_own_symbols, own_symbols),
    "own symbols only": ({"forced": "none"}, run_own_symbols, own_symbols),
    "own outputs": (OUTPUT_FED, run_own_outputs, own_outputs),
    "own outputs only": ({**OUTPUT_FED, "forced": "none"}, run_own_outputs, own_outputs),
    "own outputs never": ({**OUTPUT_FED, "forced": "all"}, run_own_outputs, own_outputs),
    "one word, true inputs": ({"batch": 1}, run_true, true_steps),
    "one word, own symbols": ({"batch": 1}, run_own_symbols, own_symbols),
    "one word, own outputs": ({**OUTPUT_FED, "batch": 1}, run_own_outputs, own_outputs),
    "one word, own outputs only": (
        {**OUTPUT_FED, "batch": 1, "forced": "none"},
        run_own_outputs,
        own_outputs,
    ),
}


@pytest.mark.parametrize("case", list(CASES))
def test_outputs_and_all_gradients_are_those_of_nn_lstm(case: str) -> None:
    sizes, fast, slow = CASES[case]
    parts = Parts(**sizes)  # type: ignore[arg-type]
    drawn = torch.Generator().manual_seed(9)
    shape = (TIME, len(parts.inputs), HIDDEN)
    weights = torch.randn(*shape, dtype=torch.double, generator=drawn)
    found: list[tuple[Tensor, dict[str, Tensor | None]]] = []
    for way in (slow, fast):
        parts.zero_grad(set_to_none=True)
        outputs = way(parts)
        (outputs * weights).sum().backward()  # type: ignore[no-untyped-call]
        found.append((outputs.detach(), {n: p.grad for n, p in parts.named_parameters()}))
    (wanted, wanted_grads), (outputs, grads) = found
    torch.testing.assert_close(outputs, wanted, rtol=1e-12, atol=1e-12)
    for name, gradient in wanted_grads.items():
        if gradient is None or name.startswith("out."):
            assert grads[name] is None, name
        else:
            assert float(gradient.abs().max()) > 0.0, name
            torch.testing.assert_close(grads[name], gradient, rtol=1e-11, atol=1e-11)


def test_a_single_words_table_has_only_its_own_symbols() -> None:
    parts = Parts(batch=1)
    gates, rows = parts.gates_of_inputs()
    assert len(gates.table) == len(parts.inputs.unique()) + 1  # the last row has the biases
    torch.testing.assert_close(gates.table[rows], parts.gates().table[parts.inputs])
    torch.testing.assert_close(gates.table[-1], parts.gates().table[-1])


@pytest.mark.parametrize("case", list(CASES))
def test_without_gradients_the_outputs_are_the_same_bits(case: str) -> None:
    sizes, fast, _ = CASES[case]
    parts = Parts(**sizes)  # type: ignore[arg-type]
    with torch.no_grad():
        alone = fast(parts)
    assert not alone.requires_grad
    assert torch.equal(alone, fast(parts))


def test_the_callers_coins_are_not_changed() -> None:
    parts = Parts(embedding=HIDDEN, conditioned=False)
    forced = torch.zeros(BATCH, 1, dtype=torch.bool)
    gates = parts.gates()
    recurrence.run_with_own_outputs(gates, parts.state, inputs()[:, :1], forced, parts.lstm)
    assert not forced.any()


@pytest.mark.parametrize("output", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_greedy_decodes_the_words_of_a_loop_over_nn_lstm(seed: int, output: bool) -> None:
    """With more words than one decoding chunk, which end at many different steps."""
    count, steps = 1300, 9
    torch.manual_seed(seed)
    width = HIDDEN if output else EMBEDDING
    symbols = nn.Embedding(SYMBOL_COUNT, width)
    lstm = nn.LSTM(width, HIDDEN, batch_first=True)
    out = nn.Linear(HIDDEN, OUTPUT_COUNT)
    with torch.no_grad():
        for parameter in (lstm.weight_hh_l0, lstm.weight_ih_l0, out.weight):
            parameter.mul_(4.0)  # large enough for different words
        out.bias[EOS] += 1.0
        state = (2.0 * torch.randn(count, HIDDEN), 2.0 * torch.randn(count, HIDDEN))
        hidden, cell = state[0].unsqueeze(0), state[1].unsqueeze(0)
        fed = symbols(torch.full((count, 1), SOS))
        said = []
        for _ in range(steps):
            outputs, (hidden, cell) = lstm(fed, (hidden, cell))
            said.append(out(outputs[:, 0]).argmax(dim=1))
            fed = outputs if output else symbols(said[-1]).unsqueeze(1)
        gates = recurrence.known_gates(lstm, symbols, None)
        if output:
            found = recurrence.greedy_with_own_outputs(gates, state, out, steps, lstm)
        else:
            found = recurrence.greedy(gates, state, out, steps)
    wanted = torch.stack(said, dim=1)
    ended = (wanted == EOS).cumsum(dim=1) > 0
    wanted = wanted.masked_fill(ended, EOS)
    lengths = (~ended).sum(dim=1)
    assert len(lengths.unique()) > 4 and bool(ended.any())
    assert found.tolist() == wanted[:, : found.shape[1]].tolist()
    assert bool((wanted[:, found.shape[1] :] == EOS).all())


@pytest.mark.parametrize("ours", [True, False])
def test_a_product_is_the_usual_one_with_and_without_onednn(
    ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not ours:
        monkeypatch.setattr(recurrence, "_LINEAR", None)
    generator = torch.Generator().manual_seed(3)
    for rows, inner, columns in ((1, 1, 1), (0, 3, 2), (7, 5, 3), (64, 33, 50)):
        left = torch.randn(rows, inner, generator=generator)
        right = torch.randn(columns, inner, generator=generator)
        turned = left.T.contiguous().T  # the same values, in another order in memory
        for dtype in (torch.float, torch.double):
            wanted = left.double() @ right.double().T
            for given in (left, turned):
                product = recurrence._product(given.to(dtype), right.to(dtype))
                assert product.dtype == dtype
                torch.testing.assert_close(product.double(), wanted, rtol=1e-5, atol=1e-5)
        values = torch.ones(rows, columns)
        recurrence._add_product(values, left, right)
        torch.testing.assert_close(values, 1.0 + left @ right.T, rtol=1e-5, atol=1e-5)


def test_single_precision_agrees_with_nn_lstm_to_rounding() -> None:
    parts = Parts().float()
    found = []
    for way in (true_steps, run_true):
        parts.zero_grad(set_to_none=True)
        outputs = way(parts)
        outputs.square().sum().backward()  # type: ignore[no-untyped-call]
        grads = {n: p.grad for n, p in parts.named_parameters() if p.grad is not None}
        found.append({"outputs": outputs.detach(), **grads})
    assert found[0].keys() == found[1].keys() and len(found[0]) > 5
    for name, wanted in found[0].items():
        torch.testing.assert_close(found[1][name], wanted, rtol=1e-5, atol=1e-5)
