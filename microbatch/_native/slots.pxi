# The ring of slots that queues and flights are made of.

cdef struct Slot:
    PyObject *ticket     # owned; NULL once the item is settled: a hole
    PyObject *item       # owned
    Py_ssize_t index     # the item's place among those of its ticket; -1: it is the only one
    double submitted


cdef struct Trait:
    # What is known of a slot's item in a lane whose items stand in groups.
    PyObject *group      # owned, in the queue alone
    double weight
    double rank
    size_t number        # in the order of admission; 0: not admitted
    size_t before        # its neighbours by age in the group, as masked places; or NOWHERE
    size_t after


@cython.internal
cdef class Slots:
    """A power-of-two ring of slots; places are absolute, and masked where the ring is read."""

    cdef Lane lane
    cdef Slot *ring
    cdef size_t mask
    cdef Trait *traits   # one for each place of the ring, where the row is wide
    cdef size_t head
    cdef size_t tail
    cdef bint wide
    cdef bint small      # so a ring of a few will do

    def __dealloc__(self):
        slots_drop(self)
        PyMem_Free(self.ring)
        PyMem_Free(self.traits)

    cdef inline Slot *at(self, size_t place) noexcept:
        return &self.ring[place & self.mask]

    cdef inline size_t length(self) noexcept:
        return self.tail - self.head

    cdef inline Slot *append(self) except NULL:
        """Give the next free slot; who calls it fills it at once."""
        if self.ring == NULL or self.tail - self.head > self.mask:
            self.make_room(1)
        self.tail += 1
        return &self.ring[(self.tail - 1) & self.mask]

    cdef int make_room(self, size_t count) except -1:
        """Squeeze the holes out, and have room for ``count`` more, and not for those alone."""
        cdef size_t live = 0, size = 1 if self.small else 16, place
        for place in range(self.head, self.tail):
            live += self.at(place).ticket != NULL
        while size < live + count or size < 2 * live:
            size *= 2
        self.resize(size)
        return 0

    cdef inline int reserve(self, size_t count) except -1:
        """Have room for ``count`` more."""
        if self.ring == NULL or self.tail - self.head + count > self.mask + 1:
            self.make_room(count)
        return 0

    cdef int resize(self, size_t size) except -1:
        """Move the live slots to the start of a ring of ``size``."""
        cdef Slot *ring = <Slot *> PyMem_Malloc(size * sizeof(Slot))
        cdef Trait *traits = NULL
        cdef Slot *slot
        cdef size_t place, count = 0
        if self.wide:
            traits = <Trait *> PyMem_Calloc(size, sizeof(Trait))
        if ring == NULL or (self.wide and traits == NULL):
            PyMem_Free(ring)
            PyMem_Free(traits)
            raise MemoryError
        for place in range(self.head, self.tail):
            slot = self.at(place)
            if slot.ticket != NULL:
                ring[count] = slot[0]
                if traits != NULL and self.traits != NULL:
                    traits[count] = self.traits[place & self.mask]
                (<Ticket> slot.ticket).place = count
                count += 1
        PyMem_Free(self.ring)
        PyMem_Free(self.traits)
        self.ring, self.traits = ring, traits
        self.mask = size - 1
        self.head = 0
        self.tail = count
        if self.lane is not None and self is self.lane.queue:
            self.lane.groups.relink()
        return 0

    cdef int widen(self, Lane lane) except -1:
        """Become the queue of a lane whose items stand in groups."""
        self.wide = True
        self.resize(self.mask + 1 if self.ring != NULL else 16)
        self.lane = lane
        return 0

    cdef inline double weight_of(self, size_t place) noexcept:
        return 1.0 if self.traits == NULL else self.traits[place & self.mask].weight

    cdef inline void skip_holes(self) noexcept:
        while self.head != self.tail and self.at(self.head).ticket == NULL:
            self.head += 1


cdef void slots_drop(Slots self) noexcept:
    """Let go of whatever the slots hold."""
    cdef Slot *slot
    cdef PyObject *ticket
    cdef PyObject *item
    cdef PyObject *group = NULL
    while self.head != self.tail:
        slot = self.at(self.head)
        ticket, item = slot.ticket, slot.item
        slot.ticket = slot.item = NULL
        if self.traits != NULL:
            group = self.traits[self.head & self.mask].group
            self.traits[self.head & self.mask].group = NULL
        self.head += 1
        Py_XDECREF(ticket)
        Py_XDECREF(item)
        Py_XDECREF(group)


cdef int slots_visit(Slots self, visitproc visit, void *arg) noexcept:
    cdef size_t place
    cdef Slot *slot
    cdef int stop
    for place in range(self.head, self.tail):
        slot = self.at(place)
        stop = visit_one(slot.ticket, visit, arg) or visit_one(slot.item, visit, arg)
        if not stop and self.traits != NULL:
            stop = visit_one(self.traits[place & self.mask].group, visit, arg)
        if stop:
            return stop
    return 0


# The garbage collector has to see through the ring, which is no field that Cython knows of.
cdef int slots_traverse(PyObject *self, visitproc visit, void *arg) noexcept:
    return slots_visit(<Slots> self, visit, arg) or traverse_slots_fields(self, visit, arg)


cdef int flight_traverse(PyObject *self, visitproc visit, void *arg) noexcept:
    return slots_visit(<Slots> self, visit, arg) or traverse_flight_fields(self, visit, arg)


cdef int slots_clear(PyObject *self) noexcept:
    slots_drop(<Slots> self)
    return clear_slots_fields(self)


cdef int flight_clear(PyObject *self) noexcept:
    slots_drop(<Slots> self)
    return clear_flight_fields(self)


cdef traverseproc traverse_slots_fields = set_traverse(Slots, slots_traverse)
cdef traverseproc traverse_flight_fields = set_traverse(Flight, flight_traverse)
cdef inquiry clear_slots_fields = set_clear(Slots, slots_clear)
cdef inquiry clear_flight_fields = set_clear(Flight, flight_clear)
