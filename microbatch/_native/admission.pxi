# Admission: how many items there may be, and who goes where there are more.

cdef inline Py_ssize_t admitted(Lane lane) noexcept:
    """Count the admitted items that are not settled, those that are shared once."""
    return lane.unsettled - lane.joined - lane.waiting_entries.count


cdef inline Py_ssize_t in_flight(Lane lane) noexcept:
    """Count the items that are in batches, and not settled."""
    return admitted(lane) - lane.queued


cdef inline bint is_crowded(Lane lane) noexcept:
    """Tell whether nothing more could be admitted."""
    if lane.overflow == WAIT:
        return lane.unsettled - lane.joined >= lane.capacity
    return lane.unsettled >= lane.capacity


cdef inline bint is_pressed(Lane lane) noexcept:
    """Tell whether a batch should go at once, if a slot is free."""
    return lane.pressing or (lane.queued and is_crowded(lane))


cdef inline bint has_room(Lane lane, Py_ssize_t count) noexcept:
    """Tell whether so many new items go to the end of a queue, and no more is to be done."""
    return (
        lane.waiting_entries.count == 0 and admitted(lane) + count <= lane.capacity
        and not lane.ranked
    )


cdef bint admit(Lane lane) noexcept:
    """Let in what there is room for; tell whether there was any."""
    cdef Entry *entry = lane.waiting_entries.first
    cdef bint some = False
    while entry != NULL and admitted(lane) < lane.capacity:
        list_remove(&lane.waiting_entries, entry)
        (<KeyQueue> entry.where).append(entry)
        entry = lane.waiting_entries.first
        some = True
    return some


cdef inline Py_ssize_t excess(Lane lane, Py_ssize_t count) noexcept:
    """Count the callers in the way of ``count`` new ones."""
    # What waits for admission may exceed the capacity; that is not for these to make up for.
    return min(count, lane.unsettled + count - lane.capacity)


cdef int refuse(Lane lane, Py_ssize_t count) except -1:
    """Raise unless there is room for ``count`` more, or could be."""
    cdef Py_ssize_t callers = lane.queued + lane.waiting_entries.count
    callers += lane.joined - lane.joined_in_flight
    if lane.closed:
        lane.rejected += count
        raise BatcherClosedError(f"batcher {lane.name!r} is closed")
    if lane.overflow != DROP_OLDEST or excess(lane, count) > callers:
        refuse_for_want_of_room(lane, count)
    return 0


cdef int refuse_for_want_of_room(Lane lane, Py_ssize_t count) except -1:
    lane.rejected += count
    raise CapacityError(
        f"batcher {lane.name!r} has no room for {count} more: "
        f"capacity is {lane.capacity}, {lane.unsettled} items are unsettled"
    )


cdef int make_room(Lane lane, Py_ssize_t count, InFlightBatch dropped) except -1:
    """Move what is dropped for ``count`` new items into a batch: refuse() has found it enough."""
    return drop_oldest(lane, excess(lane, count), dropped)


cdef int drop_oldest(Lane lane, Py_ssize_t count, InFlightBatch dropped) except -1:
    """Move the oldest queued items into a batch, until so many callers have gone."""
    cdef Py_ssize_t most = lane.dropped + count
    cdef Entry *entry
    cdef Shared shared
    dropped.counted = DROPPED
    while lane.dropped < most:
        entry = oldest_of(lane)
        shared = <Shared> entry.extra.shared if is_shared(entry) else None
        while entry != NULL:              # and then those who share its item
            dropped.reserve(dropped.size + 1)
            detach(lane, entry)
            dropped.seat(entry)
            lane.dropped += 1
            entry = NULL if shared is None else shared.leader
    return 0


cdef Entry *oldest_of(Lane lane) noexcept:
    """Give the oldest entry that is in no batch; there is one."""
    cdef Entry *oldest = oldest_in(&lane.ready, lane.ready.count if lane.ranked else 1, NULL)
    oldest = oldest_in(&lane.lingering, lane.lingering.count, oldest)
    oldest = oldest_in(&lane.blocked, 1, oldest)
    return lane.waiting_entries.first if oldest == NULL else oldest


cdef Entry *oldest_in(Heap *keys, size_t count, Entry *oldest) noexcept:
    """Look at the first keys of a heap, of which one is enough where they stand by age."""
    # KeyQueue.stand_in() says by what they stand.
    cdef Entry *entry
    cdef size_t place
    for place in range(min(count, keys.count)):
        entry = (<KeyQueue> keys.nodes[place].what).entries.first
        if oldest == NULL or is_older(entry, oldest):
            oldest = entry
    return oldest


cdef inline bint is_older(Entry *one, Entry *other) noexcept:
    if since_of(one) == since_of(other):
        return number_of(one) < number_of(other)
    return since_of(one) < since_of(other)
