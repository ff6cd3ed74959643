# Sharing: equal items that are queued together, or in flight, and handled once for all callers.

cdef Py_ssize_t SHARED = -2               # the index of a slot whose ticket is a Shared


@cython.internal
cdef class Rider(Ticket):
    """The ticket of one caller who shares an item."""

    cdef Shared shared                # None once it has left


@cython.final
@cython.internal
cdef class Shared(Ticket):
    """Stand in the queue, and then in a flight, for all callers of an item.

    Nobody awaits it. It is given up with the last of its callers, and has no deadline but theirs.
    """

    cdef Group group
    cdef object same
    cdef Slots riders
    cdef Py_ssize_t count             # of those on board
    cdef bint stands                  # whether it is queued, or was
    cdef bint dropped                 # so its callers are counted already
    cdef Shared heir                  # that takes callers in its stead

    cdef int board(self, Ticket ticket, object item, Py_ssize_t index) except -1:
        """Take one caller's item on board."""
        cdef Slot *slot = self.riders.append()
        Py_INCREF(ticket)
        Py_INCREF(item)
        slot.ticket, slot.item, slot.index = <PyObject *> ticket, <PyObject *> item, index
        if index < 0:
            ticket.state = self.state
            ticket.place = self.riders.tail - 1
            (<Rider> ticket).shared = self
        self.count += 1
        return 0

    cdef bint leave(self) noexcept:
        """Count one who leaves or is settled; tell whether others are left."""
        self.count -= 1
        if self.count:
            self.lane.joined -= 1
        return self.count > 0

    cdef int depart(self) except -1:
        """Take no more callers; those on board are in flight."""
        cdef size_t place
        cdef Slot *slot
        for place in range(self.riders.head, self.riders.tail):
            slot = self.riders.at(place)
            if slot.ticket != NULL and slot.index < 0:
                (<Ticket> slot.ticket).state = IN_FLIGHT
        return 0

    cdef int forget(self) except -1:
        """Hide from new callers, behind the heir if there is one."""
        cdef dict shared = self.group.shared
        try:
            if shared.get(self.same) is self:
                if self.heir is not None and self.heir.state == QUEUED:
                    shared[self.same] = self.heir
                else:
                    del shared[self.same]
            if self.group.groups.joins_in_flight and not shared:
                self.group.groups.forget(self.group)
        except Exception:                 # whatever comparing does, the item goes on
            pass
        return 0


cdef Shared new_shared(Lane lane, Group group, object same):
    cdef Shared shared = Shared.__new__(Shared)
    lane.start(shared, None)
    shared.group, shared.same = group, same
    shared.riders = Slots.__new__(Slots)
    shared.riders.small = True
    return shared


cdef int settle_shared(
    Slot *slot, object value, object individual, object make_error, bint counted
) except -1:
    """Settle every caller's item with a value, or with an exception of its own."""
    cdef Shared shared = <Shared> slot.ticket
    cdef object item = <object> slot.item     # to let go of last
    cdef list settling = shared.lane.settling
    settling.append(shared)
    Py_DECREF(shared)
    Py_DECREF(item)
    slot.ticket = slot.item = NULL
    shared.state, shared.flight = RETURNED, None
    try:
        settle_riders(shared, value, individual, make_error, counted)
    finally:
        settling.remove(shared)
        shared.lane.groups.gone.append(shared)
    return 0


cdef int settle_riders(
    Shared shared, object value, object individual, object make_error, bint counted
) except -1:
    cdef Slot *rider
    cdef State state
    cdef size_t place
    for place in range(shared.riders.head, shared.riders.tail):
        rider = shared.riders.at(place)
        if rider.ticket == NULL:
            continue
        state, outcome = RETURNED, value
        if make_error is not None:
            state, outcome = RAISED, make_error(<Ticket> rider.ticket)
        elif PyExceptionInstance_Check(value):
            state, outcome = RAISED, individual(value)
        if rider.ticket == NULL:              # cancelled meanwhile
            continue
        if rider.index < 0:
            (<Rider> rider.ticket).shared = None
        shared.leave()
        shared.lane.settle(rider, state, outcome, counted)
    return 0


set_await(Rider, ticket_next, ticket_send)
set_await(Shared, ticket_next, ticket_send)
