"""Prints the chosen exits, and what they cost and lose."""

from __future__ import annotations

from .choose import Measured, Plan, Rows


def table(plan: Plan, total: int) -> str:
    """Returns a table with one row per gate, in the order in which an item meets them."""
    lines = ["| exit | MACs before | head | sensitivity |", "|---|---|---|---|"]
    for picked in plan.picked:
        gate = picked.gate
        lines.append(f"| {gate.name} | {gate.before / total:.2%} | {gate.head / total:.3%} | {picked.sensitivity:.1%} |")
    return "\n".join(lines)


def line(where: str, measured: Measured, rows: Rows) -> str:
    hot = int((rows.wanted & rows.found).any(axis=1).sum())
    shares = ", ".join(f"{share:.2%}" for share in measured.passed) or "all"
    return (
        f"{where}: a negative costs {measured.cost:.2%} of the individual test's multiply-adds; negatives that pass each exit: {shares}; "
        f"lost: {measured.loss:.2%} of {hot} positives that the individual test finds"
    )
