"""A chart as SVG: lines and named points over a logarithmic x axis. This module does no I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from html import escape
from typing import Sequence

LEFT, TOP, WIDTH, HEIGHT, RIGHT, BOTTOM = 70, 24, 560, 340, 230, 56
COLOURS = ("#1f5fa8", "#b4441c", "#2e7d32", "#7b3fa0", "#8a6d00", "#00707a")


@dataclass(frozen=True)
class Line:
    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


@dataclass(frozen=True)
class Point:
    name: str
    x: float
    y: float


@dataclass(frozen=True)
class Chart:
    """`x` and `y` are the ends of the axes; x is logarithmic. Values are shares, drawn in per cent if the axis says so."""

    x: tuple[float, float]
    y: tuple[float, float]
    x_label: str
    y_label: str
    y_per_cent: bool = True
    lines: Sequence[Line] = field(default_factory=tuple)
    points: Sequence[Point] = field(default_factory=tuple)
    shaded: tuple[float, float] | None = None  # a band of y values

    def svg(self) -> str:
        size = f'width="{LEFT + WIDTH + RIGHT}" height="{TOP + HEIGHT + BOTTOM}"'
        parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">']
        parts.append('<rect width="100%" height="100%" fill="#ffffff"/>')
        if self.shaded:
            low, high = self.shaded
            parts.append(
                f'<rect x="{LEFT}" y="{self.down(high):.1f}" width="{WIDTH}" height="{self.down(low) - self.down(high):.1f}" fill="#eef4ea"/>'
            )
        parts += [*self.axes(), *self.drawn_lines(), *self.drawn_points(), "</svg>"]
        return "\n".join(parts) + "\n"

    def across(self, x: float) -> float:
        """Returns the place of a value. A value outside the axis is drawn at its end."""
        low, high = (math.log10(end) for end in self.x)
        value = math.log10(min(max(x, self.x[0]), self.x[1]))
        return LEFT + WIDTH * (value - low) / (high - low)

    def down(self, y: float) -> float:
        low, high = self.y
        return TOP + HEIGHT * (1 - (min(max(y, low), high) - low) / (high - low))

    def axes(self) -> list[str]:
        floor = TOP + HEIGHT
        found = []
        for x in ticks_of(self.x):
            at = self.across(x)
            found.append(f'<line x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{floor}" stroke="#dddddd"/>')
            found.append(f'<text x="{at:.1f}" y="{floor + 18}" text-anchor="middle">{100 * x:g} %</text>')
        for step in range(6):
            y = self.y[0] + (self.y[1] - self.y[0]) * step / 5
            found.append(f'<line x1="{LEFT}" y1="{self.down(y):.1f}" x2="{LEFT + WIDTH}" y2="{self.down(y):.1f}" stroke="#dddddd"/>')
            value = f"{100 * y:.3g} %" if self.y_per_cent else f"{y:.3g}"
            found.append(f'<text x="{LEFT - 8}" y="{self.down(y) + 4:.1f}" text-anchor="end">{value}</text>')
        middle = TOP + HEIGHT / 2
        found.append(f'<text x="{LEFT + WIDTH / 2}" y="{floor + 42}" text-anchor="middle">{escape(self.x_label)}</text>')
        found.append(f'<text x="16" y="{middle}" text-anchor="middle" transform="rotate(-90 16 {middle})">{escape(self.y_label)}</text>')
        return [*found, f'<rect x="{LEFT}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#555555"/>']

    def drawn_lines(self) -> list[str]:
        found = []
        for number, line in enumerate(self.lines):
            colour, dash = COLOURS[number % len(COLOURS)], ' stroke-dasharray="6 4"' if line.dashed else ""
            path = " ".join(f"{self.across(x):.1f},{self.down(y):.1f}" for x, y in line.points if y <= self.y[1])
            found.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
            at, left = TOP + 12 + 34 * number, LEFT + WIDTH + 12
            found.append(f'<line x1="{left}" y1="{at}" x2="{left + 26}" y2="{at}" stroke="{colour}" stroke-width="2"{dash}/>')
            found += [f'<text x="{left + 32}" y="{at + 4 + 14 * row}">{escape(words)}</text>' for row, words in enumerate(line.name.split("\n"))]
        return found

    def drawn_points(self) -> list[str]:
        """Draws the points with their names beside them. A name that would overlap another one is moved up."""
        found: list[str] = []
        taken: list[tuple[float, float]] = []
        for point in sorted(self.points, key=lambda point: (point.y, point.x)):
            at, height = self.across(point.x), self.down(point.y)
            text = height + 4
            while any(abs(text - other) < 13 and abs(at - beside) < 190 for beside, other in taken):
                text -= 13
            taken.append((at, text))
            found.append(f'<circle cx="{at:.1f}" cy="{height:.1f}" r="4" fill="{COLOURS[0]}"/>')
            found.append(f'<text x="{at + 8:.1f}" y="{text:.1f}">{escape(point.name)}</text>')
        return found


def ticks_of(ends: tuple[float, float]) -> list[float]:
    """Returns 1, 2 and 5 times each power of ten between the ends."""
    low, high = ends
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [value for power in powers for digit in (1, 2, 5) if low <= (value := digit * 10.0**power) * (1 + 1e-9) and value <= high * (1 + 1e-9)]
