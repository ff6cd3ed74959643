# Accepting: a ticket and its items come in. The user's code runs before, or after, never within.

cdef Ticket submit_one(Lane lane, object item, const Own *own, bint call, bint waits):
    """Accept one item; with ``waits`` it waits for admission, whatever overflow says."""
    cdef Ticket ticket
    cdef double seconds = seconds_of(<object> own.timeout)
    ticket = BatchedCall.__new__(BatchedCall) if call else Ticket.__new__(Ticket)
    ticket.value, ticket.entry.ticket = item, <PyObject *> ticket
    if is_asked(lane, own):
        bring_in_asked(lane, ticket, &ticket.entry, 1, seconds, waits, own)
    else:
        bring_in(lane, ticket, &ticket.entry, 1, seconds, waits)
    return ticket


cdef Ticket submit_many(Lane lane, list items, const Own *own, bint return_exceptions):
    cdef ManyTicket many
    cdef Py_ssize_t index, count = len(items)
    cdef double seconds = seconds_of(<object> own.timeout)
    many = ManyTicket.__new__(ManyTicket)
    many.entries = <Entry *> PyMem_Calloc(max(count, 1), sizeof(Entry))
    if many.entries == NULL:
        raise MemoryError
    many.value, many.count, many.remaining = items, count, count
    many.return_exceptions, many.first_failure = return_exceptions, -1
    for index in range(count):
        many.entries[index].ticket = <PyObject *> many
    if is_asked(lane, own):
        bring_in_asked(lane, many, many.entries, count, seconds, False, own)
    else:
        bring_in(lane, many, many.entries, count, seconds, False)
    return many


cdef int bring_in_asked(
    Lane lane, Ticket ticket, Entry *entries, Py_ssize_t count, double seconds, bint waits,
    const Own *own,
) except -1:
    """Ask where items belong, unless they are refused anyway, and accept them."""
    if lane.closed:
        refuse(lane, count)
    if own.weight != NOTHING.weight and lane.batch_load.weight == INFINITY:
        weight = <object> own.weight
        raise ValueError(f"weight must not be given without max_batch_weight, got {weight!r}")
    try:
        lane.asks = True
        if own.priority != NOTHING.priority:
            lane.go_by_rank()
        ask_all(lane, ticket, entries, count, own)
        bring_in(lane, ticket, entries, count, seconds, waits)
    finally:
        forget_asked(lane, entries, count)
    return 0


cdef inline int bring_in(
    Lane lane, Ticket ticket, Entry *entries, Py_ssize_t count, double seconds, bint waits
) except -1:
    """Accept a ticket with its items, and see to it that somebody comes for them."""
    ticket.lane = lane
    if lane.capture:
        ticket.context_or_traceback = PyContext_CopyCurrent()
    ticket.submitted = lane.now()
    ticket.timing = USUAL if seconds < 0.0 else OWN
    ticket.deadline = ticket.submitted + (lane.timeout if seconds < 0.0 else seconds)
    if count == 0 and not lane.closed:
        ticket.state = RETURNED
        return 0
    if lane.unsettled + count <= lane.gate or (waits and not lane.closed):
        return commit(lane, ticket, entries, count, None)
    dropped = new_batch(lane)
    refuse(lane, count)
    return commit(lane, ticket, entries, count, dropped)


@cython.nonecheck(False)
cdef inline int commit(
    Lane lane, Ticket ticket, Entry *entries, Py_ssize_t count, InFlightBatch dropped
) except -1:
    """Put all in its place; nothing runs meanwhile but what is written here."""
    cdef Py_ssize_t index
    cdef bint plain = entries.where == NULL and has_room(lane, count)
    if ticket.timing == OWN:
        heap_reserve(&lane.own_deadlines, lane.own_deadlines.count + 1)
    if not plain:
        find_places(lane, entries, count)
    if dropped is not None:
        make_room(lane, count, dropped)
    own(lane, ticket)
    lane.submitted = lane.submitted + count
    if plain:
        extend(lane, entries, count)
    else:
        for index in range(count):
            accept(lane, &entries[index], ticket.submitted)
    if dropped is not None or calls_for_attention(lane, ticket, count):
        attend(lane, ticket, count, dropped)
    return 0


cdef inline bint calls_for_attention(Lane lane, Ticket ticket, Py_ssize_t count) noexcept:
    """Tell whether nobody would come in time for new items."""
    if lane.unsettled == count or ticket.deadline < lane.armed:
        return True
    if lane.free_slots <= 0 or lane.queued == 0:
        return False
    if is_pressed(lane) or (lane.ready.count and not lane.due_scheduled):
        return True
    return linger_end(lane) < lane.armed


cdef int attend(Lane lane, Ticket ticket, Py_ssize_t count, InFlightBatch dropped) except -1:
    """See to it that somebody comes for new items; where that fails, they are given up."""
    cdef double when = ticket.deadline
    cdef bint due = False
    try:
        if dropped is not None:
            dropped.fail(lane.dropped_error)
            lane.waker.soon()
        if lane.unsettled == count and lane.pin is not None:
            lane.pinned = lane.pin()
        if lane.free_slots > 0 and lane.queued:
            due = is_pressed(lane)
            when = min(when, linger_end(lane))
            if not due and lane.ready.count:
                soon_due(lane)
        if when < lane.armed:
            arm(lane, when)
        if due:
            lane.on_due()
    except BaseException:                 # who submits it gets no ticket, but this
        withdraw(lane, ticket)
        raise
    return 0


cdef int withdraw(Lane lane, Ticket ticket) except -1:
    try:
        if ticket.state == PENDING:
            cancel(lane, ticket, None)
    except Exception:                     # the loop does not call back, which is being told
        pass
    return 0


cdef int find_places(Lane lane, Entry *entries, Py_ssize_t count) except -1:
    """Give items without a key the queue for these; have room by rank for all."""
    cdef Py_ssize_t index
    for index in range(count):
        if entries[index].where == NULL:
            entries[index].where = <PyObject *> lane.keyless
            lane.keyless.held += 1
        if lane.ranked:
            queue = <KeyQueue> entries[index].where
            heap_reserve(&(<KeyQueue> queue).ranks, (<KeyQueue> queue).held)
    return 0


cdef inline int accept(Lane lane, Entry *entry, double submitted) except -1:
    """Give an item its place in the queue, or with an equal one."""
    lane.unsettled += 1
    if entry.extra != NULL:
        entry.extra.rank += submitted
        entry.extra.since = submitted
        if entry.extra.shared != NULL and share(lane, entry):
            return 0
    if lane.waiting_entries.count == 0 and admitted(lane) <= lane.capacity:
        (<KeyQueue> entry.where).append(entry)
    else:
        entry.stage = WAITING
        list_append(&lane.waiting_entries, entry)
    return 0


cdef bint share(Lane lane, Entry *entry) except -1:
    """Have an entry join an equal one, and tell whether it could; or stand for others."""
    cdef Shared shared = <Shared> entry.extra.shared
    cdef bint joins = shared.leader != NULL and shared.found
    if joins:
        if lane.returning is <KeyQueue> entry.where:
            lane.returning.came(<Ticket> entry.ticket, 0)
        (<KeyQueue> entry.where).let_go()
        entry.extra.shared = NULL
        shared.join(entry)
    elif shared.leader == NULL:
        shared.lead(entry)
    else:
        entry.extra.shared = NULL
    shared.let_go()
    return joins
