# Waits: handlers that wait for items of their own batcher, which may never be handled.

cdef inline size_t context_bit(PyObject *context) noexcept:
    """Give one bit of 64 for a context; most contexts that are not a handler's have none of its."""
    return (<size_t> 1) << ((<size_t> context >> 5) & 63)


cdef int note_wait(Lane lane, Ticket ticket, PyObject *here) except -1:
    """Have it looked into soon, where it is a handler of this lane that waits, in this context."""
    cdef Flight flight
    if ticket.state > IN_FLIGHT or (lane.slot_free and not lane.in_line and not lane.some_wait()):
        return 0                          # it need not wait long
    for flight in lane.running:
        if flight.context is <object> here:
            lane.look_at_waits()
            return 0
    return 0


cdef tuple whereabouts(Lane lane, Ticket ticket):
    """Give the batches that a ticket's items are in, and the groups of those that are queued."""
    cdef list batches = [], groups = []
    cdef Flight flight
    if isinstance(ticket, Rider) and (<Rider> ticket).shared is not None:
        ticket = (<Rider> ticket).shared
    if not isinstance(ticket, Many):
        if ticket.flight is None:
            groups.append(group_at(lane, ticket.place))
        else:
            batches.append(ticket.flight.batch)
        return batches, groups
    stand_in(lane, lane.queue, ticket, groups)
    for flight in list(lane.flights):
        if stand_in(lane, flight, ticket, None):
            batches.append(flight.batch)
    return batches, groups


cdef bint stand_in(Lane lane, Slots source, Ticket ticket, list groups) except -1:
    """Tell whether items of a ticket are there, and collect their groups."""
    cdef size_t place
    cdef bint found = False
    for place in range(source.head, source.tail):
        if has_item_of(source.at(place), <PyObject *> ticket):
            found = True
            if groups is not None:
                groups.append(group_at(lane, place))
    return found


cdef bint has_item_of(Slot *slot, PyObject *ticket) noexcept:
    cdef Slots riders
    cdef size_t place
    if slot.ticket == NULL or slot.index != SHARED:
        return slot.ticket == ticket
    riders = (<Shared> slot.ticket).riders
    for place in range(riders.head, riders.tail):
        if riders.at(place).ticket == ticket:
            return True
    return False


cdef Group group_at(Lane lane, size_t place):
    if lane.groups is None:
        return None
    return <Group> lane.queue.traits[place & lane.queue.mask].group
