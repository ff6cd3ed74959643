# Deadlines: those that rise along the slots, and those that stand out of line.

@cython.internal
cdef class OwnDeadlines:
    """A heap of tickets by deadline; settled ones leave it when they come up, or in a sweep."""

    cdef list heap                    # (deadline, number, ticket)
    cdef Py_ssize_t number
    cdef Py_ssize_t live              # tickets that are not settled

    cdef int add(self, Ticket ticket) except -1:
        if len(self.heap) > 64 and len(self.heap) > 2 * self.live:
            self.heap = [entry for entry in self.heap if (<Ticket> entry[2]).state <= IN_FLIGHT]
            heapq.heapify(self.heap)
        self.number += 1
        self.live += 1
        heapq.heappush(self.heap, (ticket.deadline, self.number, ticket))
        return 0

    cdef int replace(self, list tickets) except -1:
        """Take in these for those that stand here; their deadlines have changed."""
        cdef Ticket ticket
        for entry in self.heap:
            self.live -= (<Ticket> entry[2]).state <= IN_FLIGHT
        self.heap = []
        for ticket in tickets:
            if ticket.own_deadline and ticket.deadline != INFINITY:
                self.add(ticket)
        return 0

    cdef double earliest(self) except? -1.0:
        while self.heap and (<Ticket> self.heap[0][2]).state > IN_FLIGHT:
            heapq.heappop(self.heap)
        return self.heap[0][0] if self.heap else INFINITY

    cdef Ticket pop(self):
        return heapq.heappop(self.heap)[2]


def _submission_of(Ticket ticket):
    return ticket.submitted


cdef double next_deadline(Lane lane):
    """Say when the next item of a lane is late; infinity where none will be."""
    cdef Flight flight
    cdef double when = INFINITY
    if lane.timeout == INFINITY and not lane.own_deadlines.heap:
        return when
    when = lane.own_deadlines.earliest()
    if lane.groups is not None and lane.groups.dedupe is not None:
        return when                           # all are out of line
    lane.queue.skip_holes()
    when = min(when, earliest_of(lane.queue, True))
    for flight in lane.flights:
        if not flight.counted:
            when = min(when, earliest_of(flight, flight.rises))
    return when


cdef int take_late(Lane lane, Leaving leaving, double now) except -1:
    """Take what has passed its deadline: by where it stands, and then those out of line."""
    cdef Flight flight
    lane.live -= move_late(lane, lane.queue, leaving.queued, now, True)
    for flight in leaving.flights:
        if not flight.counted:
            leaving.lose(flight, move_late(lane, flight, leaving.in_flight, now, flight.rises))
    while lane.own_deadlines.earliest() <= now:
        leaving.take(lane.own_deadlines.pop())
    return 0


cdef int retime(Lane lane) except -1:
    """Give the tickets without a timeout of their own the one that is in force now."""
    cdef dict tickets = tickets_of(lane.queue, {})
    cdef Flight flight
    cdef Ticket ticket
    for flight in lane.flights:
        if not flight.counted:
            tickets_of(flight, tickets)
    for ticket in tickets:
        if not ticket.own_timeout:
            ticket.deadline = ticket.submitted + lane.timeout
    lane.own_deadlines.replace(sorted(tickets, key=_submission_of))
    return 0


cdef dict tickets_of(Slots source, dict tickets):
    """Add the callers' tickets that have items there."""
    cdef size_t place
    cdef Slot *slot
    for place in range(source.head, source.tail):
        slot = source.at(place)
        if slot.ticket == NULL:
            continue
        if slot.index == SHARED:
            tickets_of((<Shared> slot.ticket).riders, tickets)
        else:
            tickets[<Ticket> slot.ticket] = None
    return tickets


cdef Py_ssize_t move_late(
    Lane lane, Slots source, Flight late, double now, bint rises
) except -1:
    """Move what is late, but for tickets with a deadline out of line."""
    cdef size_t place
    cdef PyObject *ticket
    cdef Py_ssize_t before = late.size
    for place in range(source.head, source.tail):
        ticket = source.at(place).ticket
        if ticket == NULL or (<Ticket> ticket).own_deadline:
            continue
        if (<Ticket> ticket).deadline <= now:
            lane.move(source, place, late)
        elif rises:                       # and so do the deadlines
            break
    return late.size - before


cdef double earliest_of(Slots source, bint rises) noexcept:
    """Give the first deadline that is not out of line."""
    cdef size_t place
    cdef PyObject *ticket
    cdef double when = INFINITY
    for place in range(source.head, source.tail):
        ticket = source.at(place).ticket
        if ticket != NULL and not (<Ticket> ticket).own_deadline:
            when = min(when, (<Ticket> ticket).deadline)
            if rises:
                break
    return when


cdef int check_timeout(object timeout) except -1:
    cdef bint positive
    if timeout is None:
        return 0
    if isinstance(timeout, bool) or not hasattr(type(timeout), "__float__"):
        raise TypeError(f"timeout must be a number of seconds or None, got {timeout!r}")
    try:
        positive = float(timeout) > 0
    except OverflowError:
        raise ValueError(
            f"timeout must be a finite number of seconds or None, got {timeout!r}"
        ) from None
    if not positive:
        raise ValueError(f"timeout must be > 0, got {timeout!r}")
    return 0
