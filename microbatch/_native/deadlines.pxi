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

    cdef double earliest(self) except? -1.0:
        while self.heap and (<Ticket> self.heap[0][2]).state > IN_FLIGHT:
            heapq.heappop(self.heap)
        return self.heap[0][0] if self.heap else INFINITY

    cdef Ticket pop(self):
        return heapq.heappop(self.heap)[2]


cdef Py_ssize_t move_late(Lane lane, Slots source, Flight late, double now) except -1:
    """Move what is late; deadlines rise along the slots, but for a ticket's own."""
    cdef size_t place
    cdef PyObject *ticket
    cdef Py_ssize_t before = late.size
    for place in range(source.head, source.tail):
        ticket = source.at(place).ticket
        if ticket == NULL or (<Ticket> ticket).own_deadline:
            continue
        if (<Ticket> ticket).deadline > now:
            break
        lane.move(source.at(place), late)
    return late.size - before


cdef double earliest_of(Slots source) noexcept:
    """Give the first deadline along the slots that is not a ticket's own."""
    cdef size_t place
    cdef PyObject *ticket
    for place in range(source.head, source.tail):
        ticket = source.at(place).ticket
        if ticket != NULL and not (<Ticket> ticket).own_deadline:
            return (<Ticket> ticket).deadline
    return INFINITY


cdef int check_timeout(object timeout) except -1:
    if timeout is None:
        return 0
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout must be a number of seconds or None, got {timeout!r}")
    if not timeout > 0:
        raise ValueError(f"timeout must be > 0, got {timeout!r}")
    return 0
