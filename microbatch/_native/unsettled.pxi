# Unsettled tickets: a lane owns them, in lists by age, and knows when the next one is late.

cdef struct TicketList:
    PyObject *first
    PyObject *last


cdef inline void link(TicketList *row, Ticket ticket) noexcept:
    ticket.older, ticket.newer = row.last, NULL
    if row.last == NULL:
        row.first = <PyObject *> ticket
    else:
        (<Ticket> row.last).newer = <PyObject *> ticket
    row.last = <PyObject *> ticket


cdef inline void unlink(TicketList *row, Ticket ticket) noexcept:
    if ticket.older == NULL:
        row.first = ticket.newer
    else:
        (<Ticket> ticket.older).newer = ticket.newer
    if ticket.newer == NULL:
        row.last = ticket.older
    else:
        (<Ticket> ticket.newer).older = ticket.older


cdef inline void own(Lane lane, Ticket ticket) noexcept:
    """Own a ticket until it is settled."""
    Py_INCREF(ticket)
    link(&lane.usual if ticket.timing == USUAL else &lane.unusual, ticket)
    if ticket.timing == OWN and ticket.deadline == INFINITY:
        ticket.timing = UNTIMED
    elif ticket.timing == OWN:
        heap_add(
            &lane.own_deadlines, ticket.deadline, lane.submitted, &ticket.place, <void *> ticket
        )


cdef void untime(Lane lane, Ticket ticket) noexcept:
    """Have a ticket never late, or not once more."""
    if ticket.timing == USUAL:
        unlink(&lane.usual, ticket)
        link(&lane.unusual, ticket)
    elif ticket.timing == OWN:
        heap_remove(&lane.own_deadlines, ticket.place)
    ticket.timing = UNTIMED


cdef inline int finish(Lane lane, Ticket ticket, State state) except -1:
    """Have a ticket done, and own it no more."""
    former = ticket.context_or_traceback            # to let go of last
    unlink(&lane.usual if ticket.timing == USUAL else &lane.unusual, ticket)
    if ticket.timing == OWN:
        heap_remove(&lane.own_deadlines, ticket.place)
    ticket.state = state
    if state == RAISED:
        ticket.context_or_traceback = traceback_of(ticket.value)
    if ticket.callback is not None:
        lane.waker.settled.append(ticket)
    Py_DECREF(ticket)
    return 0


cdef int retime(Lane lane) except -1:
    """Give the tickets without a timeout of their own the one that is in force now."""
    cdef PyObject *ticket = lane.usual.first
    while ticket != NULL:
        (<Ticket> ticket).deadline = (<Ticket> ticket).submitted + lane.timeout
        ticket = (<Ticket> ticket).newer
    if lane.unsettled:
        arm(lane, next_deadline(lane))
    return 0


cdef double next_deadline(Lane lane) noexcept:
    """Say when the next ticket is late; infinity where none will be."""
    cdef double when = INFINITY
    if lane.usual.first != NULL:
        when = (<Ticket> lane.usual.first).deadline
    return min(when, lane.own_deadlines.nodes[0].order) if lane.own_deadlines.count else when


cdef Ticket next_late(Lane lane, double now):
    """Give a ticket whose deadline has passed, or None."""
    if lane.usual.first != NULL and (<Ticket> lane.usual.first).deadline <= now:
        return <Ticket> lane.usual.first
    if lane.own_deadlines.count and lane.own_deadlines.nodes[0].order <= now:
        return <Ticket> lane.own_deadlines.nodes[0].what
    return None


# -------------------------------------------------------------------------------------- collecting
# The garbage collector has to see the tickets that a lane owns, which no field of it shows.
cdef int visit_tickets(TicketList *row, visitproc visit, void *arg) noexcept:
    cdef PyObject *ticket = row.first
    cdef int stop = 0
    while ticket != NULL and not stop:
        stop = visit_one(ticket, visit, arg)
        ticket = (<Ticket> ticket).newer
    return stop


cdef void drop_tickets(TicketList *row) noexcept:
    cdef PyObject *ticket
    cdef Py_ssize_t index
    while row.first != NULL:
        ticket = row.first
        row.first = (<Ticket> ticket).newer
        (<Ticket> ticket).state = CANCELLED
        for index in range(count_of(<Ticket> ticket)):
            free_extra(&entries_of(<Ticket> ticket)[index])
            entries_of(<Ticket> ticket)[index].stage = OVER
        Py_DECREF(<object> ticket)
    row.last = NULL


cdef int lane_traverse(PyObject *self, visitproc visit, void *arg) noexcept:
    return (
        visit_tickets(&(<Lane> self).usual, visit, arg)
        or visit_tickets(&(<Lane> self).unusual, visit, arg)
        or traverse_lane_fields(self, visit, arg)
    )


cdef int lane_clear(PyObject *self) noexcept:
    drop_tickets(&(<Lane> self).usual)
    drop_tickets(&(<Lane> self).unusual)
    return clear_lane_fields(self)


cdef traverseproc traverse_lane_fields = set_traverse(Lane, lane_traverse)
cdef inquiry clear_lane_fields = set_clear(Lane, lane_clear)
