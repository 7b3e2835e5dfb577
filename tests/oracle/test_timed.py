"""What `timed.py` concludes from figures, and that it runs; how fast this machine is plays no part."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the oracle needs torch")
sys.path.insert(0, str(Path(__file__).parents[1]))
from oracle import timed, verdict  # noqa: E402
from oracle.meter import STAGES  # noqa: E402

NAMES = (*STAGES, "total")
A, B, BOTH = ("a",), ("b",), ("a", "b")


def seen(factor: float, noise: float) -> verdict.Measured:
    return verdict.Measured(dict.fromkeys(NAMES, math.log(factor)), dict.fromkeys(NAMES, noise), dict.fromkeys(NAMES, 1.0))


def said(factor: float) -> dict[str, float]:
    return dict.fromkeys(NAMES, math.log(factor))


def test_speedup_is_against_the_dense_runs_around_it() -> None:
    rounds = [(dict.fromkeys(NAMES, dense), dict.fromkeys(NAMES, own)) for dense, own in ((2.0, 1.0), (4.0, 2.0), (3.0, 1.0))]
    found = verdict.summary(rounds)
    assert found.speedup["total"] == pytest.approx(math.log(2.0)) and found.error["total"] > 0.0
    assert verdict.summary([rounds[0]] * 3).error["total"] == 0.0


def test_only_synergies_beyond_noise_are_counted_and_by_their_sign() -> None:
    predicted = {A: said(2.0), B: said(1.5), BOTH: said(2.5)}  # log 2.5 < log 3: they overlap
    for together, noise, real, right in ((2.5, 0.01, 1, 1), (3.6, 0.01, 1, 0), (2.5, 0.2, 0, 0)):
        found = verdict.judge({A: seen(2.0, noise), B: seen(1.5, noise), BOTH: seen(together, noise)}, predicted)
        assert (found.real, found.right) == (real, right)


def test_errors_are_predicted_over_measured() -> None:
    found = verdict.judge({A: seen(2.0, 0.01), B: seen(2.0, 0.01)}, {A: said(2.2), B: said(1.6)})
    assert found.errors["total"] == pytest.approx([0.1, -0.2]) and found.median == pytest.approx(0.15)


@pytest.mark.parametrize(
    ("noise", "real", "right", "error", "inconclusive", "holds"),
    [(0.01, 20, 19, 0.1, False, True), (0.01, 20, 17, 0.1, False, False), (0.01, 20, 20, 0.2, False, False),
     (0.20, 20, 20, 0.0, True, False), (0.01, 3, 3, 0.0, True, False)],
)  # fmt: skip
def test_noise_or_too_few_pairs_prove_nothing(
    noise: float, real: int, right: int, error: float, inconclusive: bool, holds: bool
) -> None:
    found = verdict.Verdict({"total": [error]}, real, right, noise)
    assert (found.inconclusive, found.holds) == (inconclusive, holds)


def test_a_tiny_run_prints_its_table_and_can_be_judged_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chosen = ("pre_llm", "kv_quant", "speculative")
    monkeypatch.setattr(timed, "SINGLES", {name: timed.SINGLES[name] for name in chosen})
    threads = torch.get_num_threads()
    try:
        tiny, kept = ["--width", "64", "--side", "6", "--output", "4"], str(tmp_path / "timed.json")
        status = timed.main([*tiny, "--rounds", "3", "--budget", "1", "--save", kept])
        printed = capsys.readouterr().out
        assert timed.main([*tiny, "--recorded", kept]) == status
    finally:
        torch.set_num_threads(threads)
    assert capsys.readouterr().out.splitlines()[1:] == printed.splitlines()[1:]
    assert status in (0, 1) and "pre_llm + kv_quant" in printed and "sign of synergy" in printed and "verdict" in printed
