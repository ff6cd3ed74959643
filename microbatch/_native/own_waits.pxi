# Waits: handlers that wait for items of their own batcher, which may never be handled.

cdef inline size_t context_bit(PyObject *context) noexcept:
    """Give one bit of 64 for a context; most contexts that are not a handler's have none of its."""
    return (<size_t> 1) << ((<size_t> context >> 5) & 63)


cdef int note_wait(Lane lane, Ticket ticket, PyObject *here) except -1:
    """Have it looked into soon, where it is a handler of this lane that waits, in this context."""
    cdef InFlightBatch batch
    if ticket.state != PENDING or (
        lane.free_slots > 0 and not lane.in_line and not lane.waiting_entries.count
    ):
        return 0                          # it need not wait long
    for batch in lane.running:
        if batch.context is <object> here:
            lane.look_at_waits()
            return 0
    return 0


cdef tuple whereabouts(Ticket ticket):
    """Give the batches that a ticket's items are in, and the keys of those that are queued."""
    cdef dict batches = {}
    cdef list queues = []
    cdef Entry *entry
    cdef InFlightBatch batch
    cdef Py_ssize_t index
    for index in range(count_of(ticket)):
        entry = &entries_of(ticket)[index]
        if entry.stage == OVER:
            continue
        batch = batch_of(entry)
        if batch is not None:
            batches[batch.batch] = None
        else:
            if entry.stage == JOINED:
                entry = (<Shared> entry.where).leader
            queues.append(<KeyQueue> entry.where)
    return list(batches), queues


cdef int forget_call(Lane lane, InFlightBatch batch) except -1:
    batch.context = None
    lane.running.remove(batch)
    lane.contexts = 0
    for batch in lane.running:
        lane.contexts |= context_bit(<PyObject *> batch.context)
    return 0
