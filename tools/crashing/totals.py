"""What a campaign has done and found so far, and the lines that say so."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Totals:
    """Of one run, or the sum of several."""

    kills: int = 0
    starts_killed: int = 0
    """Of these, during a start."""
    images: int = 0
    acknowledged: int = 0
    checked: int = 0
    """Keys for which only one value was allowed, over all crashes."""
    crashed_within: int = 0
    """Keys that something was being done to at the crash."""
    other_node: int = 0
    """How often another node has listed and read everything."""
    loads: int = 0
    hashed_bytes: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    """By kind: lost, torn, repair, other."""
    warnings: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def add(self, other: "Totals") -> None:
        for name, value in vars(other).items():
            mine = getattr(self, name)
            if isinstance(mine, Counter):
                mine.update(value)
            else:
                setattr(self, name, mine + value)

    def line(self, seconds: float) -> str:
        return (
            f"{seconds:5.0f} s  {self.kills} kills ({self.starts_killed} of a start), {self.images} images, "
            f"{self.acknowledged} operations acknowledged, {self.checked} values checked, "
            f"{self.crashed_within} in flight, {self.loads} loads, {self.other_node} other nodes, "
            f"lost {self.faults['lost']}, torn {self.faults['torn']}, "
            f"manual repairs {self.faults['repair']}, other {self.faults['other']}"
        )

    def summary(self) -> str:
        rows = [f"  {count:>6}  {text}" for text, count in self.warnings.most_common(12)]
        return "\n".join(["warnings in the logs:" if rows else "no warnings in the logs", *rows])
