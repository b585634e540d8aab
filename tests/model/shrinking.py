"""The smallest sequence that still fails: pieces are left out, big ones first, as long as it goes on failing.

hypothesis's own shrinker would run a thousand examples here, many of them with a restart. Leaving out is
enough, because each operation has little choice, and what makes no sense without another one is left out too.
"""

import time
from collections.abc import Callable, Sequence

from tests.model.script import Operation


def smallest(
    operations: Sequence[Operation], fails: Callable[[Sequence[Operation]], bool], seconds: float
) -> list[Operation]:
    """The smallest after `seconds`, if not before."""
    end = time.monotonic() + seconds
    rest, step = list(operations), max(len(operations) // 2, 1)
    while step:
        start, is_smaller = 0, False
        while start < len(rest) and time.monotonic() < end:
            tried = rest[:start] + rest[start + step :]
            if fails(tried):
                rest, is_smaller = tried, True
            else:
                start += step
        step = step // 2 if step > 1 or not is_smaller else 1
    return rest
