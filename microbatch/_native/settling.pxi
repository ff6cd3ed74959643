# Settling: each waiter gets what became of its item.

cdef inline int settle(
    Lane lane, Entry *entry, State state, object value, Counted counted
) except -1:
    """Give one waiter what became of its item."""
    cdef Ticket ticket = <Ticket> entry.ticket
    if entry.extra == NULL:
        vacate(entry)
    else:
        detach(lane, entry)
    former = ticket.value             # to let go of last
    lane.unsettled = lane.unsettled - 1
    if counted == NOT_YET:
        if state == RETURNED:
            lane.completed = lane.completed + 1
        else:
            lane.failed = lane.failed + 1
    if entry != &ticket.entry:
        return store(<ManyTicket> ticket, entry, state, value)
    ticket.value = value
    finish(lane, ticket, state)
    return 0


cdef int store(ManyTicket many, Entry *entry, State state, object value) except -1:
    """Keep one item's outcome, and have the ticket done with the last."""
    cdef list values = many.value
    cdef Py_ssize_t index = entry - many.entries
    item = values[index]                  # to let go of last
    values[index] = value
    if state == RAISED and not 0 <= many.first_failure < index:
        many.first_failure = index
    many.remaining = many.remaining - 1
    if many.remaining:
        return 0
    if many.first_failure < 0 or many.return_exceptions:
        return finish(many.lane, many, RETURNED)
    many.value = values[many.first_failure]
    return finish(many.lane, many, RAISED)


cdef inline int go_on(Lane lane) except -1:
    """Do what is to be done when items have left: others may have room now, or be due."""
    cdef bint admitted = admit(lane)
    if lane.free_slots > 0 and (admitted or is_pressed(lane)):
        soon_due(lane)
    if lane.gone:
        lane.gone.clear()
    return 0
