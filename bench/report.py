"""Tables: what was measured, beside its peers, against its target; as text for people and JSON for machines."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.machine import median


@dataclass
class Row:
    """One figure of one candidate; `values` are its runs."""

    what: str
    who: str
    unit: str
    values: list[float] = field(default_factory=list)
    why: str = ""  # not measured, because
    digits: int = 2

    @property
    def median(self) -> float:
        return median(self.values)

    def text(self) -> str:
        if not self.values:
            return f"not measured: {self.why}"
        low, high = min(self.values), max(self.values)
        spread = f"   ({low:,.{self.digits}f} … {high:,.{self.digits}f})" if len(self.values) > 1 else ""
        return f"{self.median:>12,.{self.digits}f} {self.unit}{spread}"


@dataclass
class Target:
    """A ratio or a bound, and whether it was met. `higher`: the value has to be at least the bound."""

    what: str
    value: float
    bound: float
    higher: bool
    unit: str = "×"
    spread: tuple[float, float] | None = None

    @property
    def met(self) -> bool:
        return self.value >= self.bound if self.higher else self.value <= self.bound

    def text(self) -> str:
        sign = "≥" if self.higher else "≤"
        spread = f"   ({self.spread[0]:,.2f} … {self.spread[1]:,.2f})" if self.spread else ""
        verdict = "met" if self.met else "MISSED"
        if self.value != self.value:
            verdict = "not measured"
        return f"{self.value:>12,.2f} {self.unit}  target {sign} {self.bound:,g} {self.unit}  {verdict}{spread}"


@dataclass
class Table:
    """One topic."""

    topic: str
    title: str
    conditions: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    def row(self, what: str, who: str, unit: str, *, digits: int = 2) -> Row:
        """The row of that name; a new one the first time."""
        for row in self.rows:
            if (row.what, row.who) == (what, who):
                return row
        row = Row(what, who, unit, digits=digits)
        self.rows.append(row)
        return row

    def ratio(self, what: str, over: Row, under: Row, bound: float, *, higher: bool) -> None:
        """A target on the ratio of two rows, run by run: both were measured in each round, one after the other."""
        pairs = [a / b for a, b in zip(over.values, under.values, strict=False) if b]
        spread = (min(pairs), max(pairs)) if len(pairs) > 1 else None
        self.targets.append(Target(what, median(pairs), bound, higher, spread=spread))

    def bound(self, what: str, row: Row, bound: float, *, higher: bool) -> None:
        """A target on a figure itself."""
        spread = (min(row.values), max(row.values)) if len(row.values) > 1 else None
        self.targets.append(Target(what, row.median, bound, higher, unit=row.unit, spread=spread))

    def text(self) -> str:
        lines = [f"== {self.topic}: {self.title}"]
        lines += [f"   {condition}" for condition in self.conditions]
        width = max((len(row.what) for row in self.rows), default=0)
        who = max((len(row.who) for row in self.rows), default=0)
        lines += [f"   {row.what:<{width}}  {row.who:<{who}} {row.text()}" for row in self.rows]
        if self.targets:
            width = max(len(target.what) for target in self.targets)
            lines += ["   targets"] + [f"   {target.what:<{width}}  {target.text()}" for target in self.targets]
        return "\n".join(lines)


def write_json(tables: Sequence[Table], path: Path) -> None:
    """Everything, with medians and verdicts."""
    found = []
    for table in tables:
        one = asdict(table)
        for row, written in zip(table.rows, one["rows"], strict=True):
            written["median"] = row.median if row.values else None
        for target, written in zip(table.targets, one["targets"], strict=True):
            written["met"] = target.met
        found.append(one)
    path.write_text(json.dumps(found, ensure_ascii=False, indent=1).replace("NaN", "null") + "\n")
