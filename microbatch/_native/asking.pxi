# Asking: what is to be known of items before anything of these is accepted.

cdef struct Own:
    # What a submission says itself, in place of the options; UNSET where it does not.
    PyObject *timeout
    PyObject *weight
    PyObject *key
    PyObject *priority


cdef inline Own own_of(object timeout, object weight, object key, object priority) noexcept:
    return Own(<PyObject *> timeout, <PyObject *> weight, <PyObject *> key, <PyObject *> priority)


cdef Own NOTHING = own_of(UNSET, UNSET, UNSET, UNSET)


cdef inline bint is_asked(Lane lane, const Own *own) noexcept:
    """Tell whether more is to be known of an item than that it is one."""
    cdef PyObject *unset = NOTHING.weight
    return lane.asks or (own != &NOTHING and (
        own.weight != unset or own.key != unset or own.priority != unset
    ))


cdef int ask_all(
    Lane lane, Ticket ticket, Entry *entries, Py_ssize_t count, const Own *own
) except -1:
    """Ask about the items of a ticket; whatever the functions raise goes on to the caller."""
    cdef Py_ssize_t index
    for index in range(count):
        ask(lane, &entries[index], item_of(&entries[index]), own)
    return 0


cdef int ask(Lane lane, Entry *entry, object item, const Own *own) except -1:
    cdef double heavy, urgent
    cdef KeyQueue queue
    cdef Shared shared
    weight, key, priority = <object> own.weight, <object> own.key, <object> own.priority
    if weight is UNSET:
        weight = 1.0 if lane.weigh is None else lane.weigh(item)
    heavy = check_weight(weight)
    if lane.refuses_overweight and heavy > lane.batch_load.weight:
        lane.rejected += 1
        raise OverweightError(
            f"weight must be <= max_batch_weight ({lane.batch_load.weight:g}) "
            f"for batcher {lane.name!r}, got {heavy:g}"
        )
    if priority is UNSET:
        priority = 0.0 if lane.priority is None else lane.priority(item)
    urgent = check_priority(priority)
    if key is UNSET:
        key = None if lane.key is None else lane.key(item)
    queue = hold_keyed(lane, KeyQueue, NULL, key, "key must be hashable")
    entry.where = <PyObject *> queue
    note(lane, entry, heavy, urgent)
    if lane.dedupe is not None:
        same = lane.dedupe(item)
        shared = hold_keyed(
            lane, Shared, entry.where, same, "dedupe must give what is hashable"
        )
        entry.extra.shared = <PyObject *> shared
    return 0


cdef int note(Lane lane, Entry *entry, double weight, double priority) except -1:
    """Note what was said of an item, and have room for its key wherever that may stand."""
    reserve_keys(lane)
    entry.extra = <Extra *> PyMem_Calloc(1, sizeof(Extra))
    if entry.extra == NULL:
        raise MemoryError
    entry.extra.load, entry.extra.rank = Load(weight), priority * lane.ageing
    return 0


cdef int forget_asked(Lane lane, Entry *entries, Py_ssize_t count) except -1:
    """Let go of what was noted of items that are not accepted."""
    cdef Py_ssize_t index
    for index in range(count):
        if entries[index].stage == OVER and entries[index].where != NULL:
            (<KeyQueue> entries[index].where).let_go()
            entries[index].where = NULL
            if is_shared(&entries[index]):
                (<Shared> entries[index].extra.shared).let_go()
            free_extra(&entries[index])
    if lane.gone:
        lane.gone.clear()
    return 0


cdef double check_weight(object weight) except? -1.0:
    cdef double number = check_number("weight", weight)
    if not 0.0 <= number < INFINITY:
        raise ValueError(f"weight must be >= 0 and finite, got {weight!r}")
    return number


cdef double check_priority(object priority) except? -1.0:
    cdef double number = check_number("priority", priority)
    if not -INFINITY < number < INFINITY:
        raise ValueError(f"priority must be finite, got {priority!r}")
    return number


cdef inline double check_number(str name, object value) except? -1.0:
    if type(value) is float:
        return <double> value
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        return float(value)
    except OverflowError:
        return INFINITY


cdef double seconds_of(object timeout) except? -2.0:
    """Check a timeout, and give it in seconds; -1 where it is not given."""
    cdef double seconds
    if timeout is UNSET:
        return -1.0
    if timeout is None:
        return INFINITY
    if isinstance(timeout, bool) or not hasattr(type(timeout), "__float__"):
        raise TypeError(f"timeout must be a number of seconds or None, got {timeout!r}")
    try:
        seconds = float(timeout)
    except OverflowError:
        raise ValueError(
            f"timeout must be a finite number of seconds or None, got {timeout!r}"
        ) from None
    if not seconds > 0.0:
        raise ValueError(f"timeout must be > 0, got {timeout!r}")
    return seconds
