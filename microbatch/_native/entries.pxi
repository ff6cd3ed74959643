# Entries: an item that waits for its result. Whatever is here runs no code but its own.

cdef enum Stage:
    OVER                  # or not accepted yet
    WAITING               # for admission
    QUEUED
    JOINED                # it shares another entry's item
    IN_FLIGHT

cdef struct Extra:
    # What is known of an entry in a lane that asks about its items.
    Load load
    double rank           # the lowest goes first
    double since          # the submission of the first who waited for it
    size_t number         # in the order of admission
    PyObject *shared      # by which equal items find it

cdef struct Entry:
    PyObject *ticket      # which its lane owns until it is settled
    PyObject *where       # the key that it stands in line for, what it shares, or its batch
    Entry *before         # its neighbours there
    Entry *after
    Extra *extra
    unsigned int place    # in its batch, or in the heap of its key
    unsigned char stage

cdef struct EntryList:
    Entry *first
    Entry *last
    Py_ssize_t count


cdef inline void list_append(EntryList *row, Entry *entry) noexcept:
    entry.before, entry.after = row.last, NULL
    if row.last == NULL:
        row.first = entry
    else:
        row.last.after = entry
    row.last = entry
    row.count += 1


cdef inline void list_remove(EntryList *row, Entry *entry) noexcept:
    list_link(row, entry.before, entry.after, entry.after, entry.before)
    row.count -= 1


cdef inline void list_replace(EntryList *row, Entry *entry, Entry *other) noexcept:
    other.before, other.after = entry.before, entry.after
    list_link(row, entry.before, other, entry.after, other)


cdef inline void list_link(
    EntryList *row, Entry *before, Entry *its_after, Entry *after, Entry *its_before
) noexcept:
    if before == NULL:
        row.first = its_after
    else:
        before.after = its_after
    if after == NULL:
        row.last = its_before
    else:
        after.before = its_before


cdef inline Load load_of(Entry *entry) noexcept:
    return Load(1.0) if entry.extra == NULL else entry.extra.load


cdef inline double since_of(Entry *entry) noexcept:
    return (<Ticket> entry.ticket).submitted if entry.extra == NULL else entry.extra.since


cdef inline double rank_of(Entry *entry) noexcept:
    return (<Ticket> entry.ticket).submitted if entry.extra == NULL else entry.extra.rank


cdef inline size_t number_of(Entry *entry) noexcept:
    return 0 if entry.extra == NULL else entry.extra.number


cdef inline void free_extra(Entry *entry) noexcept:
    if entry.extra != NULL:
        PyMem_Free(entry.extra)
        entry.extra = NULL


# A binary heap of whatever knows its place in it, so that it can leave from anywhere.
cdef struct Node:
    double order
    size_t number         # of equal ones the lower goes first
    unsigned int *place
    void *what

cdef struct Heap:
    Node *nodes
    size_t count
    size_t room


cdef int heap_reserve(Heap *heap, size_t count) except -1:
    cdef size_t room = max(<size_t> 8, 2 * count)
    cdef Node *nodes
    if count > heap.room or (heap.room > 1024 and count * 8 < heap.room):
        nodes = <Node *> PyMem_Realloc(heap.nodes, room * sizeof(Node))
        if nodes == NULL:
            raise MemoryError
        heap.nodes, heap.room = nodes, room
    return 0


cdef void heap_add(
    Heap *heap, double order, size_t number, unsigned int *place, void *what
) noexcept:
    """Add one, for which there is room."""
    cdef Node node
    node.order, node.number, node.place, node.what = order, number, place, what
    heap.count += 1
    heap_sift(heap, heap.count - 1, node)


cdef void heap_remove(Heap *heap, size_t place) noexcept:
    heap.count -= 1
    if place != heap.count:
        heap_sift(heap, place, heap.nodes[heap.count])


cdef inline bint goes_before(Node *one, Node *other) noexcept:
    return one.order < other.order or (one.order == other.order and one.number < other.number)


cdef void heap_sift(Heap *heap, size_t place, Node node) noexcept:
    """Put a node where it belongs, up or down from a place that is free."""
    cdef size_t next
    while place and goes_before(&node, &heap.nodes[(place - 1) // 2]):
        heap_put(heap, place, heap.nodes[(place - 1) // 2])
        place = (place - 1) // 2
    while 2 * place + 1 < heap.count:
        next = 2 * place + 1
        if next + 1 < heap.count and goes_before(&heap.nodes[next + 1], &heap.nodes[next]):
            next += 1
        if not goes_before(&heap.nodes[next], &node):
            break
        heap_put(heap, place, heap.nodes[next])
        place = next
    heap_put(heap, place, node)


cdef inline void heap_put(Heap *heap, size_t place, Node node) noexcept:
    heap.nodes[place] = node
    node.place[0] = <unsigned int> place
