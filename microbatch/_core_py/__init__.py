"""The core in plain Python: what ``_core.pyx`` does in C, written to be read.

The two have the same names and the same behaviour, and one test suite. This one is the
specification, the oracle of the tests, and what runs where nothing was compiled. Each module has
its pair in ``_native/``::

    slots      Slot, Slots: items, where they are, and in which order
    tickets    Ticket, Many: what callers get for one item, and for many
    flights    Flight: the items of one handler call
    sharing    Shared: an item that several callers wait for
    groups     Group: the queued items of one key, by age and by rank
    grouping   Groups: which group an item belongs to, and which group is next
    leaving    Leaving: what takes items out of wherever they are
    dropping   what makes room for new items by dropping old ones
    deadlines  OwnDeadlines: those out of line; and which items are late
    waking     Waker: the callbacks of settled tickets
    lanes      Lane: the queue, and all of the above, of one batcher on one loop
    fronts     Router, Front, CallableFront: what items are submitted to
    timer      TimerDescriptor: for short waits

An item lives in a *slot*, whose *home* is one of the lane's rows of slots: the queue, or a flight.
Moving it is a matter of telling the slot its new home; the old home passes over slots that are not
its own. A *ticket* answers for one item, or for the many of one ``submit_many``, and settles once.

Nothing here knows an event loop. A lane is given the clock and the ways to be called back; it
says when something is due, and its owner decides what to do about it.
"""

from microbatch._core_py.flights import Flight
from microbatch._core_py.fronts import CallableFront, Front, Router
from microbatch._core_py.groups import Group
from microbatch._core_py.lanes import Lane
from microbatch._core_py.tickets import Ticket
from microbatch._core_py.timer import TimerDescriptor

__all__ = [
    "CallableFront",
    "Flight",
    "Front",
    "Group",
    "Lane",
    "Router",
    "Ticket",
    "TimerDescriptor",
]
