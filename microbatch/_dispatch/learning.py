"""How long a free slot waits for those who come back: learned, without ever having waited.

Of those just answered, a share comes back within ``w`` of the moment when the slot became free: one
curve, which is learned from how soon items come after each batch. Who is back in time shares the
next batch, and who is not costs another one: with S slots a round of all callers takes
``(S + 1 - share(w)) * (fixed + w)`` of handler time, where ``fixed`` is the part of it that does
not depend on the batch's size. The wait is the ``w`` that makes this least, if it is clearly less
than what going at once has cost; it ends before when as many are queued as were and were answered,
so who is alone never waits. Steady arrivals earn no wait, since their share grows no faster than
``w`` does. And a wait that would make a few who are left out pay more than the others gain is not
taken.

`docs/explanation/auto-latency.md` has the picture.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["EVERY", "Ended", "LearnedWait"]

BINS = 64
"""Of the curve, over the fixed part of the handler's time and a half; the core has as many."""
EVERY = 8
"""Batches from one choice to the next."""
BATCHES = 16
"""What the curve remembers, at least."""
ANSWERS = 128
"""What the curve remembers, at least."""
PATIENCE = 64
"""Choices in a row after which a wait is given up once; then twice as many, and so on."""
LONGEST_PATIENCE = 512
DOUBT = 1.5
"""Standard errors by which the curve is lowered."""
GAIN = 0.04
"""The least part of a round that a wait must save."""
SLACK = 0.07
"""The part of a round that may be given for leaving fewer callers out."""
FEW = 0.01
"""The share of callers who may pay more than without the wait."""
MANY = 0.5
"""The share of callers that are too many to be left out."""
NARROW = 0.05
"""The part of its size by which a batch hardly differs."""
REST = 0.0005
"""The share of callers who are not waited for."""


class Ended(NamedTuple):
    """Sums over some batches that have ended."""

    batches: float = 0.0
    items: float = 0.0
    callers: float = 0.0
    """The items of each batch, and all others that were queued or in flight as it ended."""
    seconds: float = 0.0
    """What their handler calls took."""
    squares: float = 0.0
    """Of the batches' sizes."""
    products: float = 0.0
    """Of sizes and seconds."""
    turns: float = 0.0
    """Seconds until the next batch was taken, where it went as soon as it could: the loop was busy
    with those who were answered."""
    idle: float = 0.0
    """Seconds until the next batch was taken."""

    def round(self, idle: float) -> float:
        """Give the seconds in which each caller was answered once, by one slot."""
        return self.callers / self.items * (self.seconds + idle) / self.batches


class HandlerTime:
    """The handler's time as ``fixed + each * size``: a line through the latest batches."""

    def __init__(self) -> None:
        self._weight = self._size = self._seconds = self._spread = self._slope = 0.0

    def add(self, ended: Ended) -> None:
        count = ended.batches
        size, seconds = ended.items / count, ended.seconds / count
        self._weight = min(self._weight + count, 2 * BATCHES)
        new = count / self._weight
        over = size - self._size
        spread = ended.squares / count - size * size + (1 - new) * over * over
        slope = ended.products / count - size * seconds
        slope += (1 - new) * over * (seconds - self._seconds)
        if spread > (NARROW * self._size) ** 2:  # sizes that hardly differ say nothing of the slope
            self._spread += new * (spread - self._spread)
            self._slope += new * (slope - self._slope)
        self._size += new * over
        self._seconds += new * (seconds - self._seconds)

    def begin_anew(self) -> None:
        """Have the next batches count for more than all before."""
        self._weight = 1.0

    @property
    def each(self) -> float:
        """Seconds for each item more; batches of one size leave it as it was."""
        each = self._slope / self._spread if self._spread else 0.0
        return min(max(each, 0.0), self._seconds / self._size)

    @property
    def fixed(self) -> float:
        """Seconds that a batch of nothing would take."""
        return self._seconds - self.each * self._size


class Seen:
    """What is known of the latest batches, and of who came back after them, and how soon."""

    def __init__(self) -> None:
        self.batches = self.answered = self.callers = 0.0
        self.back = [0.0] * (BINS + 1)

    def add(self, ended: Ended, back: list[int]) -> None:
        keep = 1 - ended.batches / max(BATCHES, ANSWERS * ended.batches / ended.items)
        self.batches = keep * self.batches + ended.batches
        self.answered = keep * self.answered + ended.items
        self.callers = keep * self.callers + ended.callers
        self.back = [keep * old + new for old, new in zip(self.back, back, strict=True)]


class AtOnce:
    """What was seen while nothing waited."""

    def __init__(self) -> None:
        self.crowd = 0.0
        """Callers for each who is answered."""
        self.turn = 0.0
        """Seconds from one batch to the next, where that went as soon as it could."""
        self.round = 0.0
        """Seconds in which each caller was answered once, by one slot."""

    def add(self, ended: Ended) -> None:
        crowd, turn = ended.callers / ended.items, ended.turns / ended.batches
        self.turn = (self.turn + turn) / 2 if self.crowd else turn
        self.round = (self.round + ended.round(ended.turns)) / (2 if self.crowd else 1)
        self.crowd = (self.crowd + crowd) / 2 if self.crowd else crowd


class Round:
    """What it costs, in seconds of a handler, that each caller is answered once."""

    def __init__(
        self, slots: int, size: int, handler: HandlerTime, seen: Seen, now: AtOnce
    ) -> None:
        callers = seen.callers / seen.batches
        self.now = now
        self._slots, self._answered = slots, seen.answered
        self._least = max(slots, callers / size)  # batches, even if nobody is left out
        self._fixed, self._items = handler.fixed, handler.each * callers

    def of_batches(self, batches: float, hold: float = 0.0) -> float:
        """Give what it costs in so many batches, each ``hold`` seconds after its slot was free."""
        return max(batches, self._least) * (self._fixed + hold) + self._items

    def of_back(self, back: float, hold: float = 0.0) -> float:
        """Give what it costs if so many of the answered are back in time."""
        return self.of_batches(self._batches(back), hold)

    def at_once(self) -> float:
        """Give what it costs while nothing waits."""
        return self.of_batches(self.now.crowd, self.now.turn)

    def is_hard(self, back: float, hold: float) -> bool:
        """Tell whether those who are left out would pay for what the others gain."""
        batches = max(self._batches(back), self._least)
        left_out = batches - self._slots
        if left_out <= FEW:
            return False
        longest = (2 * (self._fixed + self._items / batches) + hold) * self.of_back(back, hold)
        now = 2 * (self._fixed + self._items / self.now.crowd + self.now.turn) * self.at_once()
        return left_out > MANY or longest > now

    def _batches(self, back: float) -> float:
        return self._slots + 1 - back / self._answered


class LearnedWait:
    """Choose, every few batches, how long a slot that becomes free waits for company.

    ``take_arrivals(width)`` gives how many items came in each bin of the time since a slot became
    free, and has the bins that wide from now on, in seconds; the first is for those who came in the
    same turn of the loop.
    """

    def __init__(
        self, slots: int, size: int, bound: float, take_arrivals: Callable[[float], list[int]]
    ) -> None:
        self._slots, self._size, self._bound = slots, size, bound
        self._take_arrivals = take_arrivals
        self._width = 0.0
        self._looks = False
        self._waited, self._patience = 0, PATIENCE  # choices in a row with a wait
        self._handler, self._seen = HandlerTime(), Seen()
        self._at_once = AtOnce()
        self.wait = 0.0
        """Seconds that a slot waits at most."""
        self.expected = 0.0
        """How many items come in that time, on average."""

    def choose(self, ended: Ended) -> None:
        """Learn of the batches that have ended since the last time, and choose anew."""
        if not self.wait:
            self._at_once.add(ended)
        crowd = self._at_once.crowd
        if self._slots == 1 and not self.wait:  # where a queue shrinks the mean is behind
            crowd = min(crowd, ended.callers / ended.items)
        kept = self._wait_that_pays(ended)
        self.wait = self.expected = 0.0
        least = max(self._slots, ended.callers / ended.batches / self._size)
        if crowd * (1 - GAIN * self._slots) <= least:
            self._looks = False  # whoever comes back, it would save no batch
            return
        self._handler.add(ended)
        back = self._take_arrivals(self._width)
        fixed = self._handler.fixed
        if self._looks and fixed <= BINS * self._width <= 3 * fixed:
            self._seen.add(ended, back)
            self._choose_from_curve()
            if not self.wait:
                self.wait, self.expected = kept
            self._doubt()
        else:
            self._look_at(1.5 * fixed)

    def _doubt(self) -> None:
        """Give a wait up, rarely and ever more so, to see what going at once costs by now.

        Several slots take longer than that to show it, so there it is not asked.
        """
        self._waited = self._waited + 1 if self.wait and self._slots == 1 else 0
        if self._waited > self._patience:
            self._waited, self._patience = 0, min(2 * self._patience, LONGEST_PATIENCE)
            self._at_once = AtOnce()
            self.wait = self.expected = 0.0

    def _wait_that_pays(self, ended: Ended) -> tuple[float, float]:
        """Give the wait in force, and whom it expects, if it is seen to pay; the curve may hide it.

        The curve is a mean; where all are back soon after some batches, and late after others, the
        slot is held for less than it says.
        """
        most = (1 - GAIN) * self._at_once.round
        if self._slots == 1 and ended.round(ended.idle) <= most:
            return self.wait, self.expected
        return 0.0, 0.0

    def _look_at(self, span: float) -> None:
        """Learn anew, of so many seconds after a slot becomes free."""
        self._width = span / BINS
        self._take_arrivals(self._width)
        self._handler.begin_anew()
        self._seen = Seen()
        self._looks = True

    def _choose_from_curve(self) -> None:
        seen, slots, width = self._seen, self._slots, self._width
        round_ = Round(slots, self._size, self._handler, seen, self._at_once)
        hold, back = 0.0, seen.back[0]
        as_seen, as_learned = round_.at_once(), round_.of_back(back, self._at_once.turn)
        best = min((1 - GAIN * slots) * as_seen, (1 - GAIN / slots**2) * as_learned)
        if best <= round_.of_batches(0):
            return
        for number, came in enumerate(seen.back[1:], 1):
            # Beyond the first good wait, the slot is held only where somebody is missing.
            missing = (seen.answered - back) / seen.batches if self.wait else 1.0
            hold += width * min(1.0, max(0.0, missing))
            if round_.of_batches(0, hold) >= best * (1 + SLACK) or number * width > self._bound:
                return  # no good, even if all were back
            back += came
            cost = round_.of_back(back - DOUBT * math.sqrt(back), hold)
            is_better = cost < best and not round_.is_hard(back, hold)
            is_fairer = cost < (1 + SLACK) * best and back >= (1 - FEW) * seen.answered
            if is_better or (is_fairer and self.wait and cost >= best):
                best = min(best, cost)
                self.wait, self.expected = number * width, back / seen.batches
            if back >= (1 - REST) * seen.answered:
                if self.wait == number * width:
                    self.wait = min(self.wait + width, self._bound)
                return
