"""What the shares do for a few seconds: a plan and a mode for each of three. Pure: seed and number decide."""

import random
from dataclasses import dataclass

from tests.servers.faults import KINDS, RIGHT
from tests.servers.faulty import Mode

SHARES = 3
WRONG = sorted(set(KINDS) - {RIGHT})


@dataclass(frozen=True, slots=True)
class Phase:
    """One time of the campaign."""

    number: int
    name: str
    seconds: float
    plans: tuple[str, ...]
    modes: tuple[Mode, ...]


CALM = Phase(-1, "calm", 0.0, ("",) * SHARES, (Mode.UP,) * SHARES)


def plan_phase(seed: int, number: int, without: str = "") -> Phase:
    """`without`: faults that are left out."""
    letters = "".join(letter for letter in WRONG if letter not in without)
    chance = random.Random(f"{seed}:phase:{number}")
    name = chance.choice(
        ("mixed", "mixed", "mixed", "one right", "one kind", "one kind", "one dead", "two dead", "all dead")
    )
    plans = [_plan(chance, chance.choice((0.02, 0.1, 0.3)), letters) for _ in range(SHARES)]
    modes = [Mode.UP] * SHARES
    seconds = chance.uniform(2, 5)
    if name == "one right":
        plans = [_plan(chance, 0.7, letters) for _ in range(SHARES)]
        plans[chance.randrange(SHARES)] = RIGHT
    elif name == "one kind":
        two = "".join(chance.sample(letters, 2))
        name = f"all {two}"
        plans = [_plan(chance, 0.5, two) for _ in range(SHARES)]
    elif name.endswith("dead"):
        count = ("one dead", "two dead", "all dead").index(name) + 1
        for share in chance.sample(range(SHARES), count):
            modes[share] = chance.choice((Mode.DOWN, Mode.DEAF))
        seconds = min(seconds, 3.0) if count == SHARES else seconds
    return Phase(number, name, seconds, tuple(plans), tuple(modes))


def _plan(chance: random.Random, probability: float, letters: str) -> str:
    return f"random:{chance.randrange(1 << 30)}:p={probability}:of={letters}"
