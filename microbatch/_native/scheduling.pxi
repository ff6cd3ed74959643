# Scheduling: having the loop call back, soon or at a time; at most once for each purpose.

cdef int schedule(Lane lane, object callback, bint *mark) except -1:
    """Have the loop call back soon, and set the mark until it does, for it to be asked once.

    It may refuse other threads, and then has another way.
    """
    mark[0] = True
    try:
        try:
            lane.call_soon(callback)
        except Exception:
            lane.call_soon_threadsafe(callback)
    except BaseException:             # or nobody would ever ask again
        mark[0] = False
        raise
    return 0


cdef inline int soon_due(Lane lane) except -1:
    if not lane.due_scheduled:
        schedule(lane, lane.due, &lane.due_scheduled)
    return 0


cdef int arm(Lane lane, double when) except -1:
    """Have the one timer fire at that time, unless it does before."""
    if when < lane.armed:
        if lane.timer is not None:
            disarm(lane)
        lane.timer = lane.call_at(when, lane.fire)
        lane.armed = when
    return 0


cdef int disarm(Lane lane) except -1:
    timer, lane.timer, lane.armed = lane.timer, None, INFINITY
    if timer is not None:
        timer.cancel()
    return 0


cdef int rest(Lane lane) except -1:
    disarm(lane)
    lane.pinned = lane.mark = None      # the mark would keep the loop alive
    lane.on_idle()
    if lane.gone:
        lane.gone.clear()
    return 0
