"""Prints the chosen exits, and what they cost and lose."""

from __future__ import annotations

from .choose import Measured, Plan, Rows, measure, passes


def table(plan: Plan, rows: Rows, total: int) -> str:
    """Returns a table with one row per gate, in the order in which an item meets them.

    `passed alone` is the share of the negatives that the gate alone passes. `passed` is the share that
    this gate and those before it pass. `cost` is the expected cost of a negative with the gates up to
    this one, then an individual test, as a share of the individual test's multiply-adds.
    """
    lines = ["| exit | MACs before | MACs of the head | sensitivity | passed alone | passed | cost |", "|---|---|---|---|---|---|---|"]
    for number, picked in enumerate(plan.picked, start=1):
        gate, measured = picked.gate, measure(plan.picked[:number], rows, total)
        alone = passes(gate.scores[rows.negative], picked.thresholds).mean()
        shares = [f"{gate.before / total:.2%}", f"{gate.head / total:.3%}", f"{picked.sensitivity:.1%}", f"{alone:.2%}", f"{measured.passed[-1]:.2%}"]
        lines.append(f"| {' | '.join([gate.name, *shares, f'{measured.cost:.2%}'])} |")
    return "\n".join(lines)


def line(where: str, measured: Measured, rows: Rows) -> str:
    hot = int((rows.wanted & rows.found).any(axis=1).sum())
    shares = ", ".join(f"{share:.2%}" for share in measured.passed) or "all"
    return (
        f"{where}: a negative costs {measured.cost:.2%} of the individual test's multiply-adds; negatives that pass each exit: {shares}; "
        f"lost: {measured.loss:.2%} of {hot} positives that the individual test finds"
    )
