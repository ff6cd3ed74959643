# Batches: items that were taken together, from then to settling the last.

cdef struct Seat:
    Entry *entry          # NULL once the item is settled or given up
    double since          # its submission

cdef enum Counted:
    NOT_YET
    LATE
    DROPPED


@cython.final
cdef class InFlightBatch(Kept):
    """Items that were taken together, for a handler call or to be settled without one."""

    __class_getitem__ = classmethod(GenericAlias)

    cdef Seat *seats
    cdef Py_ssize_t room
    cdef readonly Py_ssize_t size
    cdef Counted counted              # already, so not once more when they are settled
    cdef readonly double departed     # when it was taken
    cdef readonly size_t number       # among those that were taken for a slot, from 1 on
    cdef readonly double ended        # when its handler call ended; 0: it is under way
    cdef readonly Py_ssize_t failed   # items that got an exception
    cdef InFlightBatch whole          # what it is a part of
    cdef readonly list origins        # where the items of a part were seated
    cdef public object task           # these are their owner's
    cdef public object reason
    cdef public object places
    cdef public Py_ssize_t attempt
    cdef readonly KeyQueue queue      # None where it was not taken by key
    cdef bint of_key                  # whether it counts among those of its key
    cdef object context               # of its handler call, while that is under way
    cdef Load load

    def __dealloc__(self):
        PyMem_Free(self.seats)

    @property
    def name(self):
        return self.lane.name

    @property
    def weight(self):
        return self.load.weight

    @property
    def alive(self):
        return self.held

    @property
    def key(self):
        return None if self.queue is None else self.queue.key

    @property
    def batch(self):
        return self if self.whole is None else self.whole

    @property
    def items(self):
        cdef list items = []
        cdef Py_ssize_t place
        cdef Entry *entry
        for place in range(self.size):
            entry = self.seats[place].entry
            if entry != NULL:
                items.append(item_of(entry))
        return items

    @property
    def waits(self):
        return [self.departed - self.seats[place].since for place in range(self.size)]

    @property
    def contexts(self):
        cdef Py_ssize_t place
        return [context_of(self.seats[place].entry) for place in range(self.size)]

    @property
    def deadlines(self):
        cdef Py_ssize_t place
        return [deadline_of(self.seats[place].entry) for place in range(self.size)]

    @property
    def first_deadline(self):
        cdef double first = INFINITY
        cdef Py_ssize_t place
        cdef Entry *entry
        cdef Entry *other
        for place in range(self.size):
            entry = self.seats[place].entry
            if entry != NULL:
                first = min(first, (<Ticket> entry.ticket).deadline)
                other = joined_of(entry)
                while other != NULL:
                    first = min(first, (<Ticket> other.ticket).deadline)
                    other = other.after
        return first

    @property
    def awaited(self):
        cdef Py_ssize_t place
        return tuple([place for place in range(self.size) if self.seats[place].entry != NULL])

    def end(self):
        self.ended = self.lane.now()
        self.lane.measures.handler_time.record(self.ended - self.departed)
        if self.context is not None:
            forget_call(self.lane, self)
        if self.of_key:
            self.of_key = False
            if self.lane.free_slots <= 0 or self.queue.heap == &self.lane.blocked:
                self.queue.freed = self.ended
            if self.lane.learns:
                learn_from(self.lane, self)
            self.queue.in_flight -= 1
            self.queue.stand()
            self.queue.let_go()
            if self.lane.gone:
                self.lane.gone.clear()

    # ------------------------------------------------------------------------------------ settling
    def settle(self, Py_ssize_t place, value, individual):
        if not 0 <= place < self.size:
            raise IndexError(f"place must be from 0 to {self.size - 1} in this batch, got {place}")
        if self.seats[place].entry == NULL:
            return False
        self.settle_seat(place, value, individual, None)
        go_on(self.lane)
        return True

    def resolve(self, tuple results, individual):
        self.hand_out(results, individual, None)

    def answer(self, tuple results, own_errors):
        self.hand_out(results, None, own_errors)

    cdef int hand_out(self, tuple results, object individual, object own_errors) except -1:
        cdef Py_ssize_t place
        cdef Entry *entry
        if len(results) != self.size:
            raise ValueError(f"results must be {self.size} for this batch, got {len(results)}")
        for place in range(self.size):
            entry = self.seats[place].entry
            if entry == NULL:
                continue
            value = <object> PyTuple_GET_ITEM(results, place)
            if not PyExceptionInstance_Check(value) and entry.extra == NULL:
                settle(self.lane, entry, RETURNED, value, self.counted)
                continue
            if individual is None and PyExceptionInstance_Check(value):
                individual = own_errors(self, results)
            self.settle_seat(place, value, individual, None)
        go_on(self.lane)
        return 0

    def fail(self, make_error):
        self.fail_all(make_error)
        go_on(self.lane)

    cdef int fail_all(self, object make_error) except -1:
        cdef Py_ssize_t place
        for place in range(self.size):
            self.settle_seat(place, None, None, make_error)
        return 0

    cdef int settle_seat(
        self, Py_ssize_t place, object value, object individual, object make_error
    ) except -1:
        """Settle all who wait for one item: whoever has the seat, until nobody has it."""
        cdef Entry *entry = self.seats[place].entry
        cdef Ticket ticket
        cdef bint fails = make_error is not None or PyExceptionInstance_Check(value)
        cdef InFlightBatch whole = self if self.whole is None else self.whole
        cdef bint failed = False
        if entry != NULL and is_shared(entry):
            (<Shared> entry.extra.shared).hide()
        while entry != NULL:
            if fails:
                ticket = <Ticket> entry.ticket
                outcome = individual(value) if make_error is None else make_error(ticket)
                if self.seats[place].entry == entry:      # and not given up meanwhile
                    failed = True
                    settle(self.lane, entry, RAISED, outcome, self.counted)
            else:
                settle(self.lane, entry, RETURNED, value, self.counted)
            entry = self.seats[place].entry
        whole.failed += failed
        return 0

    # ------------------------------------------------------------------------------------- seating
    cdef inline int reserve(self, Py_ssize_t count) except -1:
        """Have seats for so many in all."""
        cdef Seat *seats
        if count > self.room:
            count = max(count, 2 * self.room)
            seats = <Seat *> PyMem_Realloc(self.seats, count * sizeof(Seat))
            if seats == NULL:
                raise MemoryError
            self.seats, self.room = seats, count
        return 0

    cdef inline int seat(self, Entry *entry) except -1:
        """Give an entry that stands nowhere the next seat."""
        self.seats[self.size].entry, self.seats[self.size].since = entry, since_of(entry)
        entry.stage, entry.where = IN_FLIGHT, <PyObject *> self
        entry.place = <unsigned int> self.size
        self.size = self.size + 1
        add_load(&self.load, load_of(entry))
        self.hold()
        return 0

    def part(self, Py_ssize_t start, Py_ssize_t stop):
        cdef InFlightBatch part = new_batch(self.lane)
        cdef Py_ssize_t place
        cdef Entry *entry
        part.reserve(min(stop, self.size) - max(start, 0))
        part.whole = self.batch
        part.departed, part.reason, part.counted = self.departed, self.reason, self.counted
        part.queue, part.origins = self.queue, []
        for place in range(max(start, 0), min(stop, self.size)):
            entry = self.seats[place].entry
            if entry != NULL:
                part.take_over(self, entry)
                part.origins.append(place)
        return part

    cdef inline int take_over(self, InFlightBatch other, Entry *entry) except -1:
        other.seats[entry.place].entry = NULL
        other.let_go()
        self.seat(entry)
        return 0


cdef InFlightBatch new_batch(Lane lane):
    cdef InFlightBatch batch = InFlightBatch.__new__(InFlightBatch)
    batch.lane, batch.attempt = lane, 1
    return batch


cdef int take(InFlightBatch batch, KeyQueue queue, list items) except -1:
    """Take as many entries of a key as fit into a batch, and into the list of their items."""
    cdef Lane lane = queue.lane
    cdef Py_ssize_t most = min(<Py_ssize_t> len(items), queue.entries.count)
    cdef Entry *entry
    batch.reserve(most)
    queue.hold()                          # for the batch
    while batch.size < most:
        entry = queue.next()
        if batch.size and not fits(batch.load, load_of(entry), lane.batch_load):
            break
        list_remove(&queue.entries, entry)
        if lane.ranked:
            heap_remove(&queue.ranks, entry.place)
        items[batch.size] = item_of(entry)
        batch.seat(entry)
        if is_shared(entry):
            (<Shared> entry.extra.shared).depart()
    take_load(&queue.load, batch.load)
    queue.held -= batch.size
    lane.queued -= batch.size
    batch.queue, batch.of_key = queue, True
    queue.in_flight += 1
    queue.wait_no_more()
    del items[batch.size:]
    return 0


cdef inline object item_of(Entry *entry):
    cdef Ticket ticket = <Ticket> entry.ticket
    if entry == &ticket.entry:
        return ticket.value
    return (<list> ticket.value)[entry - (<ManyTicket> ticket).entries]


cdef inline Entry *joined_of(Entry *entry) noexcept:
    """Give the first of those who share an entry's item."""
    return (<Shared> entry.extra.shared).joined.first if is_shared(entry) else NULL


cdef object context_of(Entry *entry):
    return None if entry == NULL else (<Ticket> entry.ticket).context_or_traceback


cdef object deadline_of(Entry *entry):
    """Say when nobody waits for an item any more; infinity where that is never."""
    cdef double last
    if entry == NULL:
        return None
    last = (<Ticket> entry.ticket).deadline
    entry = joined_of(entry)
    while entry != NULL:
        last = max(last, (<Ticket> entry.ticket).deadline)
        entry = entry.after
    return last
