# Deadlines that stand out of line: those of items with a timeout of their own.

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
