# Dropping: making room for new items, where that is what an overflow does.

cdef int drop_for(Lane lane, Py_ssize_t count) except -1:
    """Refuse ``count`` new items, or drop the oldest queued ones for them."""
    # What waits for admission may exceed the capacity; that is not for these to make up for.
    cdef Py_ssize_t excess = min(count, lane.unsettled + count - lane.capacity)
    if excess <= 0:
        return 0
    if lane.overflow == REJECT or (excess > lane.live and excess > callers(lane.queue)):
        lane.refuse(count)
    drop_oldest(lane, excess)
    return 0


cdef int drop_oldest(Lane lane, Py_ssize_t count) except -1:
    """Drop the oldest queued items, until so many callers have gone."""
    cdef Flight oldest = new_flight(lane, count)
    cdef Slots queue = lane.queue
    cdef Py_ssize_t dropped = 0
    cdef bint some_waited = lane.some_wait()
    oldest.counted = DROPPED
    while dropped < count and lane.live:      # making the flight may have run a finalizer
        queue.skip_holes()
        dropped += mark_dropped(queue.at(queue.head))
        queue.head += 1
        lane.move(queue, queue.head - 1, oldest)
        lane.live -= 1
    lane.dropped += dropped
    lane.flights.append(oldest)
    oldest.fail(lane.dropped_error)
    if some_waited:
        lane.let_in()
    lane.waker.soon()
    return 0


cdef Py_ssize_t mark_dropped(Slot *slot) noexcept:
    """Have an item count as dropped; tell for how many callers."""
    if slot.index != SHARED:
        return 1
    (<Shared> slot.ticket).dropped = True
    return (<Shared> slot.ticket).count


cdef Py_ssize_t callers(Slots source) noexcept:
    """Count the callers' items in a row of slots, where some share theirs."""
    cdef Py_ssize_t count = 0
    cdef size_t place
    for place in range(source.head, source.tail):
        if source.at(place).ticket != NULL:
            count += 1
            if source.at(place).index == SHARED:
                count += (<Shared> source.at(place).ticket).count - 1
    return count
