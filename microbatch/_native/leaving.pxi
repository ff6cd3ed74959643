# Leaving: callers who cancel, and what is late or is given up.

cdef int cancel(Lane lane, Ticket ticket, object message) except -1:
    cdef dict hit = {}
    cdef Py_ssize_t index, left = 0
    if ticket.state != PENDING:           # a finalizer came first
        return 0
    for index in range(count_of(ticket)):
        if entries_of(ticket)[index].stage != OVER:
            recount(lane, &entries_of(ticket)[index], hit)
            detach(lane, &entries_of(ticket)[index])
            left += 1
    lane.unsettled -= left
    lane.cancelled += left
    value = ticket.value                  # to let go of last
    ticket.value = message
    finish(lane, ticket, CANCELLED)
    try:
        lane.waker.soon()
    finally:
        go_on(lane)
        tell_abandoned(lane, hit)
    return 0


cdef inline Entry *entries_of(Ticket ticket) noexcept:
    return (<ManyTicket> ticket).entries if ticket.entry.ticket == NULL else &ticket.entry


cdef inline Py_ssize_t count_of(Ticket ticket) noexcept:
    return (<ManyTicket> ticket).count if ticket.entry.ticket == NULL else 1


cdef InFlightBatch recount(Lane lane, Entry *entry, dict hit):
    """Take back that an item was counted as it left; give the batch that it was in, or None."""
    cdef InFlightBatch batch = batch_of(entry)
    if batch is None:
        return None
    if batch.counted == LATE:
        lane.late -= 1
    elif batch.counted == DROPPED:
        lane.dropped -= 1
    hit[batch] = None
    return batch


cdef int tell_abandoned(Lane lane, dict hit) except -1:
    """Tell the lane's owner of the batches that nobody waits for any more."""
    cdef InFlightBatch batch
    for batch in hit:
        if batch.held == 0:
            lane.on_abandoned(batch)
    return 0


# ---------------------------------------------------------------------------------------- lateness
cdef int take_late(
    Lane lane, InFlightBatch queued, InFlightBatch in_flight, dict hit, double now
) except -1:
    """Take what is late, by where it was."""
    cdef Ticket ticket
    queued.counted = in_flight.counted = LATE
    while True:
        ticket = next_late(lane, now)
        if ticket is None:
            lane.late += queued.size + in_flight.size
            return 0
        untime(lane, ticket)
        take_ticket(lane, ticket, queued, in_flight, hit)


cdef int move(Lane lane, Entry *entry, InFlightBatch target, dict hit) except -1:
    """Move one waiter's item into a batch of its own kind."""
    target.reserve(target.size + 1)
    recount(lane, entry, hit)
    detach(lane, entry)
    target.seat(entry)
    return 0


cdef int take_ticket(
    Lane lane, Ticket ticket, InFlightBatch queued, InFlightBatch in_flight, dict hit
) except -1:
    """Take what is left of one ticket, by where it was."""
    cdef Entry *entry
    cdef Py_ssize_t index
    for index in range(count_of(ticket)):
        entry = &entries_of(ticket)[index]
        if entry.stage != OVER:
            move(lane, entry, queued if batch_of(entry) is None else in_flight, hit)
    return 0


cdef int take_all(Lane lane, TicketList *tickets, InFlightBatch target, dict hit) except -1:
    """Take every item; those that are shared stay so."""
    cdef PyObject *ticket = tickets.first
    cdef Entry *entry
    cdef Py_ssize_t index
    while ticket != NULL:
        for index in range(count_of(<Ticket> ticket)):
            entry = &entries_of(<Ticket> ticket)[index]
            target.reserve(target.size + 1)
            if entry.stage == IN_FLIGHT:
                target.take_over(recount(lane, entry, hit), entry)
            elif entry.stage == WAITING or entry.stage == QUEUED:
                unqueue(lane, entry)
                target.seat(entry)
        ticket = (<Ticket> ticket).newer
    return 0


cdef list finish_taking(Lane lane, dict hit):
    """Tell of the batches that items were taken out of, and give them."""
    go_on(lane)
    tell_abandoned(lane, hit)
    return list(hit)
