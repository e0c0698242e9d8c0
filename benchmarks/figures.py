"""A figure: what was measured, beside what else, and whether it is as good as it should be."""

import json
import statistics
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """Runs of one measurement, in `unit`, and those of what it is compared with, in turns.

    Args:
        most: the median, or its ratio to that of `beside` where there is one, is at most this.
        least: the same, at least.
        beside_is: what it is compared with.
    """

    what: str
    unit: str
    runs: tuple[float, ...]
    beside: tuple[float, ...] = ()
    beside_is: str = ""
    most: float | None = None
    least: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.runs)

    @property
    def ratio(self) -> float | None:
        """How many times the median of what it is compared with."""
        return self.median / statistics.median(self.beside) if self.beside else None

    @property
    def is_good(self) -> bool | None:
        """Whether it is within its limit; None if it has none."""
        value = self.median if self.ratio is None else self.ratio
        if self.most is not None:
            return value <= self.most
        return None if self.least is None else value >= self.least

    @property
    def wanted(self) -> str:
        """Its limit, in words."""
        if self.most is not None:
            return f"<= {self.most:g}"
        return "" if self.least is None else f">= {self.least:g}"


def in_turns(turns: int, *measures: Callable[[], float]) -> tuple[tuple[float, ...], ...]:
    """What each of several came to, one after the other; the first turn, which warms, left out."""
    found = [tuple(measure() for measure in measures) for _ in range(turns + 1)]
    return tuple(zip(*found[1:], strict=True))


def table(figures: Iterable[Figure]) -> str:
    """The figures as a table in Markdown."""
    lines = [
        "| what | unit | runs | median (least to most) | beside | ratio | wanted |",
        "|---|---|---|---|---|---|---|",
    ]
    for figure in figures:
        beside = f"{figure.beside_is}: {_spread(figure.beside)}" if figure.beside else ""
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        wanted = f"{figure.wanted}{'' if figure.is_good in (None, True) else ' **missed**'}"
        lines.append(
            f"| {figure.what} | {figure.unit} | {len(figure.runs)} | {_spread(figure.runs)}"
            f" | {beside} | {ratio} | {wanted} |"
        )
    return "\n".join(lines)


def write(figures: Iterable[Figure], path: Path) -> None:
    """Write the figures down as JSON, with every run."""
    rows = [
        asdict(figure) | {"median": figure.median, "ratio": figure.ratio, "is_good": figure.is_good}
        for figure in figures
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _spread(runs: tuple[float, ...]) -> str:
    if len(runs) == 1:
        return _shown(runs[0])
    middle = statistics.median(runs)
    return f"{_shown(middle)} ({_shown(min(runs))} to {_shown(max(runs))})"


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
