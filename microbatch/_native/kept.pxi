# What entries point to, and how a key finds it. Only hashing and comparing run the user's code.

@cython.internal
cdef class Kept:
    """What entries point to; the lane keeps it while one of them does."""

    cdef Lane lane
    cdef Py_ssize_t held

    cdef inline int hold(self) except -1:
        if self.held == 0:
            self.lane.kept.add(self)
        self.held = self.held + 1
        return 0

    cdef inline int let_go(self) except -1:
        """Count one that points here no more; what none points to is freed later."""
        self.held = self.held - 1
        if self.held == 0:
            if isinstance(self, Keyed):
                (<Keyed> self).hide()
            self.lane.gone.append(self)
            self.lane.kept.discard(self)
        return 0


@cython.internal
cdef class Keyed(Kept):
    """What is found by a key, among those of one scope."""

    cdef readonly object key
    cdef Py_hash_t hash
    cdef PyObject *scope
    cdef PyObject *chain              # the next in its bucket
    cdef bint found                   # by its key, still

    cdef inline void hide(self) noexcept:
        if self.found:
            self.found = False
            table_remove(&self.lane.table, self)


cdef struct Table:
    # A hash table, since a dict would run the user's code to take something out.
    PyObject **buckets
    size_t size                       # a power of two
    size_t count
    size_t version                    # of what is in it


cdef int table_reserve(Table *table) except -1:
    """Have room for one more."""
    cdef size_t place, size = 2 * table.size if table.size else 8
    cdef PyObject **old = table.buckets
    cdef PyObject *at
    cdef PyObject *next
    if table.count < table.size:
        return 0
    table.buckets = <PyObject **> PyMem_Calloc(size, sizeof(PyObject *))
    if table.buckets == NULL:
        table.buckets = old
        raise MemoryError
    table.size, size = size, table.size
    for place in range(size):
        at = old[place]
        while at != NULL:
            next = (<Keyed> at).chain
            table_link(table, at)
            at = next
    PyMem_Free(old)
    return 0


cdef inline PyObject **bucket_at(Table *table, Py_hash_t hash) noexcept:
    return &table.buckets[<size_t> hash & (table.size - 1)]


cdef inline void table_link(Table *table, PyObject *keyed) noexcept:
    cdef PyObject **bucket = bucket_at(table, (<Keyed> keyed).hash)
    (<Keyed> keyed).chain = bucket[0]
    bucket[0] = keyed


cdef void table_add(Table *table, Keyed keyed) noexcept:
    """Add one, for which there is room."""
    table_link(table, <PyObject *> keyed)
    keyed.found = True
    table.count += 1
    table.version += 1


cdef void table_remove(Table *table, Keyed keyed) noexcept:
    cdef PyObject **at = bucket_at(table, keyed.hash)
    while at[0] != <PyObject *> keyed:
        at = &(<Keyed> at[0]).chain
    at[0], keyed.chain = keyed.chain, NULL
    table.count -= 1
    table.version += 1


cdef Keyed table_find(Table *table, PyObject *scope, object key, Py_hash_t hash):
    """Find by a key; where comparing keys has changed the table, look again."""
    cdef size_t version = table.version
    cdef PyObject *at = bucket_at(table, hash)[0]
    cdef Keyed keyed
    cdef bint same                    # so that nothing of a comparison outlives it
    while at != NULL:
        keyed = <Keyed> at
        same = keyed.hash == hash and keyed.scope == scope and (
            keyed.key is key or keyed.key == key
        )
        if table.version != version:
            version, at = table.version, bucket_at(table, hash)[0]
        elif same:
            return keyed
        else:
            at = keyed.chain
    return None


cdef Keyed hold_keyed(Lane lane, type kind, PyObject *scope, object key, str rule):
    """Give what stands for a key, a new one where there is none, and have it kept."""
    cdef Py_hash_t hash
    cdef Keyed keyed, fresh = None
    cdef size_t version
    try:
        hash = PyObject_Hash(key)
    except TypeError:
        raise TypeError(f"{rule}, got {key!r}") from None
    while True:
        version = lane.table.version
        keyed = table_find(&lane.table, scope, key, hash)
        if keyed is not None:
            keyed.hold()
            return keyed
        if lane.table.version != version:     # what was compared is gone, and ran a finalizer
            continue
        if fresh is not None:
            table_reserve(&lane.table)
            fresh.hold()
            table_add(&lane.table, fresh)
            return fresh
        fresh = kind.__new__(kind)            # it may run a finalizer, so look again
        fresh.lane, fresh.key, fresh.hash, fresh.scope = lane, key, hash, scope
