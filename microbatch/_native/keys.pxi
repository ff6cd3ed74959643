# Keys: the queued items of each key, and which key is next.

cdef struct Wait:
    double until          # when the wait for those who come back ends
    double answered       # and when whoever comes meanwhile will be
    Py_ssize_t enough     # of whom it ends before


@cython.final
cdef class KeyQueue(Keyed):
    """The queued items of one key, for batches of one key each; no key is a key too.

    ``in_flight`` counts the batches of this key that are under way.
    """

    cdef EntryList entries            # by age
    cdef Heap ranks                   # by rank, where there are priorities
    cdef Load load
    cdef readonly Py_ssize_t in_flight
    cdef double freed                 # when it could go again after a batch of it
    cdef Wait company                 # that is waited for
    cdef bint all_came                # as many as were enough
    cdef Heap *heap                   # of the lane, in which it stands unless it is empty
    cdef unsigned int place           # there
    cdef bint pressing                # whether a batch of it should go at once

    def __cinit__(self):
        self.company = no_wait()

    def __dealloc__(self):
        PyMem_Free(self.ranks.nodes)

    @property
    def queued(self):
        return self.entries.count

    @property
    def weight(self):
        return self.load.weight

    cdef inline Entry *next(self) noexcept:
        """Give the entry that is taken next, of a queue that is not empty."""
        return <Entry *> self.ranks.nodes[0].what if self.lane.ranked else self.entries.first

    cdef inline bint is_full(self) noexcept:
        return self.entries.count >= self.lane.batch_size

    cdef inline bint is_complete(self) noexcept:
        """Tell whether a batch of it need not wait for company."""
        return self.is_full() or is_heavy(self.load, self.lane.batch_load)

    cdef inline void append(self, Entry *entry) noexcept:
        """Take in an entry that is admitted."""
        cdef Lane lane = self.lane
        entry.stage, entry.where = QUEUED, <PyObject *> self
        list_append(&self.entries, entry)
        lane.queued += 1
        add_load(&self.load, load_of(entry))
        if entry.extra != NULL or lane.ranked:
            lane.number += 1
        if entry.extra != NULL:
            entry.extra.number = lane.number
        if lane.ranked:
            heap_add(&self.ranks, rank_of(entry), lane.number, &entry.place, entry)
        if (
            self.heap == NULL
            or (not self.pressing and self.is_complete())
            or (lane.ranked and self.next() == entry)
        ):
            self.stand()
        if lane.returning is self:
            self.came(<Ticket> entry.ticket, 1)

    cdef inline void remove(self, Entry *entry) noexcept:
        """Let an entry go; who calls this calls stand() after the last."""
        list_remove(&self.entries, entry)
        self.lane.queued -= 1
        take_load(&self.load, load_of(entry))
        if self.lane.ranked:
            heap_remove(&self.ranks, entry.place)

    cdef void replace(self, Entry *entry, Entry *other) noexcept:
        list_replace(&self.entries, entry, other)
        if self.lane.ranked:
            self.ranks.nodes[entry.place].place = &other.place
            self.ranks.nodes[entry.place].what = other
        take_load(&self.load, load_of(entry))
        add_load(&self.load, load_of(other))
        self.stand()

    cdef void stand(self) noexcept:
        """Stand in the heap where it belongs: ready, lingering for company, blocked, or none."""
        cdef Lane lane = self.lane
        cdef bint blocked = self.in_flight >= lane.most_per_key
        if self.entries.count == 0:
            self.load = Load(0.0)         # sums drift
        cdef bint pressing = not blocked and self.is_complete()
        lane.pressing += <Py_ssize_t> pressing - <Py_ssize_t> self.pressing
        self.pressing = pressing
        if self.entries.count == 0:
            self.stand_in(NULL)
        elif blocked:
            self.stand_in(&lane.blocked)
        elif pressing or (lane.latency == 0.0 and not self.is_awaiting()):
            self.stand_in(&lane.ready)
        else:
            self.stand_in(&lane.lingering)

    cdef inline double linger_end(self) noexcept:
        """Say when it will have waited for company: while it may go, and since its last batch."""
        cdef double since = since_of(self.entries.first)
        if self.lane.closed or self.lane.draining or since <= self.lane.flushed:
            return since
        return max(max(since, self.freed) + self.lane.latency, self.company.until)

    cdef inline bint is_awaiting(self) noexcept:
        """Tell whether it came into the wait for those who come back."""
        return since_of(self.entries.first) < self.company.until

    cdef void wait(self, Wait wait) noexcept:
        """Wait for those who come back, but for no more than are enough."""
        self.company, self.all_came = wait, self.entries.count >= wait.enough
        if self.all_came:
            self.company = no_wait()
        self.stand()

    cdef inline void wait_no_more(self) noexcept:
        self.wait(no_wait())

    cdef inline void came(self, Ticket ticket, Py_ssize_t count) noexcept:
        """Count who has come back; nobody waits for others until it is late.

        When enough have, a batch goes in the next turn, with whoever comes in this one.
        """
        note_arrivals(&self.lane.arrivals, ticket.submitted, count)
        if ticket.deadline < self.company.answered:
            self.wait_no_more()
        elif self.entries.count >= self.company.enough:
            self.wait(self.company)

    cdef void stand_in(self, Heap *heap) noexcept:
        """Stand in a heap: what lingers by when that ends, what is blocked by its age.

        What is ready stands by the rank of what goes next.
        """
        cdef Entry *entry
        cdef double order
        if self.heap != NULL:
            heap_remove(self.heap, self.place)
        self.heap = heap
        if heap == &self.lane.ready:
            entry = self.next()
            heap_add(heap, rank_of(entry), number_of(entry), &self.place, <void *> self)
        elif heap != NULL:
            entry = self.entries.first
            order = self.linger_end() if heap == &self.lane.lingering else since_of(entry)
            heap_add(heap, order, number_of(entry), &self.place, <void *> self)


cdef inline Wait no_wait() noexcept:
    return Wait(-INFINITY, -INFINITY, PY_SSIZE_T_MAX)


cdef inline void wait_for_company(Lane lane, Wait wait) noexcept:
    """Have the key of the latest batch wait."""
    if lane.returning is not None:
        lane.returning.wait(wait)


cdef int reserve_keys(Lane lane) except -1:
    """Have room for one key more in each of the heaps."""
    heap_reserve(&lane.ready, len(lane.kept) + 1)
    heap_reserve(&lane.lingering, len(lane.kept) + 1)
    heap_reserve(&lane.blocked, len(lane.kept) + 1)
    return 0


cdef void stop_lingering(Lane lane) noexcept:
    """Have the keys that linger wait for company no more."""
    while lane.lingering.count:
        (<KeyQueue> lane.lingering.nodes[0].what).stand_in(&lane.ready)


cdef inline void extend(Lane lane, Entry *entries, Py_ssize_t count) noexcept:
    """Have new entries without a key queued, of which nothing is known but their age."""
    # Here, and where else it is done for each item, there is no += on what an object holds: Cython
    # would take a reference to the object and give it back.
    cdef Entry *end = entries + count
    cdef Entry *entry = entries
    cdef Entry *before = lane.keyless.entries.last
    while entry != end:
        entry.stage, entry.where = QUEUED, <PyObject *> lane.keyless
        entry.before, entry.after = before, entry + 1
        before = entry
        entry += 1
    before.after = NULL
    list_link(&lane.keyless.entries, entries.before, entries, NULL, before)
    lane.keyless.entries.count = lane.keyless.entries.count + count
    add_load(&lane.keyless.load, Load(count))
    lane.keyless.held = lane.keyless.held + count
    lane.queued = lane.queued + count
    lane.unsettled = lane.unsettled + count
    if lane.keyless.heap == NULL or (not lane.keyless.pressing and lane.keyless.is_complete()):
        lane.keyless.stand()
    if lane.returning is lane.keyless:
        lane.keyless.came(<Ticket> entries.ticket, count)


cdef void rank_queue(KeyQueue queue) noexcept:
    """Go by rank from now on; what is queued is told apart by its age."""
    cdef Entry *entry = queue.entries.first
    while entry != NULL:
        queue.lane.number += 1
        heap_add(&queue.ranks, rank_of(entry), queue.lane.number, &entry.place, entry)
        entry = entry.after
    queue.stand()


cdef int learn_from(Lane lane, InFlightBatch batch) except -1:
    """Learn of a batch that has ended, and count from now on who comes back."""
    cdef Py_ssize_t others = in_flight(lane) - batch.held
    if batch.queue is not lane.keyless:
        others = (batch.queue.in_flight - 1) * batch.size
    others += batch.queue.entries.count
    note_ended(&lane.ended_batches, batch.size, others, batch.ended - batch.departed)
    lane.arrivals.freed, lane.arrivals.in_turn = batch.ended, True
    return expect(lane, batch.queue)


cdef int expect(Lane lane, KeyQueue queue) except -1:
    """Have those be company that come to this queue, or to none."""
    former, lane.returning = lane.returning, queue
    if queue is not None:
        queue.hold()
    if former is not None:
        (<KeyQueue> former).wait_no_more()
        (<KeyQueue> former).let_go()
    return 0


# ---------------------------------------------------------------------------------------- deciding
cdef inline double linger_end(Lane lane) noexcept:
    """Say when the first of the keys that linger will have waited; infinity where none does."""
    return lane.lingering.nodes[0].order if lane.lingering.count else INFINITY


cdef KeyQueue due_key(Lane lane, double now):
    """Give the key of which a batch should go now: of those that may, the one by rank."""
    cdef KeyQueue queue
    while linger_end(lane) <= now + RESOLUTION:
        queue = <KeyQueue> lane.lingering.nodes[0].what
        queue.stand_in(&lane.ready)
    if lane.ready.count:
        return <KeyQueue> lane.ready.nodes[0].what
    if lane.lingering.count and is_crowded(lane):
        return <KeyQueue> lane.lingering.nodes[0].what
    return None


cdef str reason_of(KeyQueue queue, double now):
    """Say why a batch of a key goes now that should."""
    cdef Lane lane = queue.lane
    cdef double since = since_of(queue.entries.first)
    if queue.is_full():
        return "size"
    if is_heavy(queue.load, lane.batch_load):
        return "weight"
    if is_crowded(lane):
        return "capacity"
    if lane.closed:
        return "close"
    if lane.draining or since <= lane.flushed:
        return "flush"
    if queue.all_came:
        return "expected"
    return "latency" if lane.latency > 0.0 or queue.is_awaiting() else "natural"
