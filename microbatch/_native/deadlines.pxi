# Deadlines: those that rise along the slots, and those that stand out of line.

@cython.internal
cdef class OwnDeadlines:
    """Be a heap of tickets by deadline; settled ones leave it when they come up, or in a sweep."""

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

    cdef int replace(self, set tickets) except -1:
        """Take in these for those that stand here; their deadlines have changed."""
        cdef Ticket ticket
        for entry in self.heap:
            self.live -= (<Ticket> entry[2]).state <= IN_FLIGHT
        self.heap = []
        for ticket in sorted(tickets, key=submission_of):
            if ticket.own_deadline and ticket.deadline != INFINITY:
                self.add(ticket)
        return 0

    cdef double earliest(self) except? -1.0:
        while self.heap and (<Ticket> self.heap[0][2]).state > IN_FLIGHT:
            heapq.heappop(self.heap)
        return self.heap[0][0] if self.heap else INFINITY

    cdef Ticket pop(self):
        return heapq.heappop(self.heap)[2]


def submission_of(Ticket ticket):
    return ticket.submitted


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
    if timeout is None:
        return 0
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout must be a number of seconds or None, got {timeout!r}")
    if not timeout > 0:
        raise ValueError(f"timeout must be > 0, got {timeout!r}")
    return 0
