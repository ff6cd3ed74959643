# Lanes: the queue, the deadlines, the timer and the wake-ups of one batcher on one loop.

@cython.final
cdef class Lane:
    """The queue, the deadlines and the wake-ups of one batcher on one loop."""

    cdef readonly object loop
    cdef readonly str name
    cdef object clock, call_soon, call_soon_threadsafe, call_at
    cdef object on_due, on_abandoned, on_idle, on_given_up, on_own_wait, pin
    cdef object cancelled_error, invalid_state_error
    cdef object get_loop
    cdef object mark                  # the loop's mark while this lane's loop last ran
    cdef bint native_clock

    cdef Py_ssize_t batch_size, capacity, gate
    cdef double latency, timeout, flushed
    cdef Load batch_load              # the most that a batch takes
    cdef Overflow overflow
    cdef readonly bint closed, draining
    cdef public Py_ssize_t free_slots     # handler calls that may start now
    cdef bint capture                 # the context of each submission

    cdef bint asks                    # about each item
    cdef bint ranked, refuses_overweight, joins_in_flight
    cdef object key, weigh, priority, dedupe
    cdef double ageing
    cdef Py_ssize_t most_per_key

    cdef TicketList usual, unusual    # unsettled ones by age: with the lane's timeout; with others
    cdef Heap own_deadlines           # of the unusual ones
    cdef KeyQueue keyless
    cdef Table table                  # the queues of keys, and by what equal items find each other
    cdef set kept                     # what entries point to
    cdef list gone                    # what none points to any more
    cdef bint learns                  # how long to wait for those who come back
    cdef KeyQueue returning           # of the latest batch; its key stays alive for those
    cdef Arrivals arrivals            # for it
    cdef Ended ended_batches
    cdef Heap ready, lingering, blocked               # the keys with queued items
    cdef Py_ssize_t pressing          # of which a batch should go at once
    cdef size_t number                # of items that were admitted
    cdef size_t taken                 # batches
    cdef EntryList waiting_entries    # for admission
    cdef readonly Py_ssize_t queued   # the admitted ones
    cdef readonly Py_ssize_t unsettled
    cdef readonly Py_ssize_t joined   # of these, how many are handled with an equal one
    cdef Py_ssize_t joined_in_flight

    cdef object pinned, timer
    cdef double armed
    cdef bint due_scheduled, waits_noted
    cdef Waker waker
    cdef list running                 # the batches whose handler calls are under way
    cdef size_t contexts              # a bit for the context of each of these
    cdef public bint in_line          # handlers may wait in vain though a slot is free
    cdef readonly Measures measures

    cdef readonly Py_ssize_t submitted, completed, failed, cancelled, late, rejected, dropped
    cdef readonly Py_ssize_t deduplicated

    def __cinit__(self):
        self.armed = self.timeout = self.batch_load.weight = INFINITY
        self.flushed, self.ageing, self.most_per_key = -INFINITY, 1.0, PY_SSIZE_T_MAX
        self.kept, self.gone, self.running, self.measures = set(), [], [], Measures()
        table_reserve(&self.table)
        self.keyless = hold_keyed(self, KeyQueue, NULL, None, "")
        reserve_keys(self)

    def __init__(
        self, loop, str name, *, clock, call_soon, call_soon_threadsafe, call_at, on_due,
        on_abandoned, on_idle, on_given_up, on_own_wait, on_callback_error, pin, cancelled_error,
        invalid_state_error, done_future,
    ):
        self.loop, self.name = loop, name
        self.get_loop = lambda: loop
        self.clock, self.call_at = clock, call_at
        self.call_soon, self.call_soon_threadsafe = call_soon, call_soon_threadsafe
        self.on_due, self.on_abandoned, self.on_idle = on_due, on_abandoned, on_idle
        self.on_given_up, self.on_own_wait, self.pin = on_given_up, on_own_wait, pin
        self.cancelled_error, self.invalid_state_error = cancelled_error, invalid_state_error
        self.waker = new_waker(self, on_callback_error, done_future)
        self.native_clock = NATIVE_CLOCK and clock is time.monotonic

    def __dealloc__(self):
        drop_tickets(&self.usual)
        drop_tickets(&self.unusual)
        PyMem_Free(self.table.buckets)
        PyMem_Free(self.own_deadlines.nodes)
        PyMem_Free(self.ready.nodes)
        PyMem_Free(self.lingering.nodes)
        PyMem_Free(self.blocked.nodes)

    def configure(
        self, *, Py_ssize_t max_batch_size, double max_latency, capacity, str overflow, timeout,
        max_batch_weight=None, key=None, weigh=None, priority=None, dedupe=None,
        bint dedupe_in_flight=False, bint refuse_overweight=False, double ageing=1.0,
        max_batches_per_key=None, bint learns=False, bint capture=False, bint draining=False,
    ):
        cdef double seconds = INFINITY if timeout is None else timeout
        former = self.key, self.weigh, self.priority, self.dedupe     # to let go of last
        if priority is not None:
            self.go_by_rank()
        self.batch_size, self.latency = max_batch_size, 0.0 if draining else max_latency
        self.capacity = PY_SSIZE_T_MAX if capacity is None else capacity
        self.batch_load.weight = INFINITY if max_batch_weight is None else max_batch_weight
        self.overflow, self.capture, self.draining = OVERFLOW[overflow], capture, draining
        self.key, self.weigh, self.priority, self.dedupe = key, weigh, priority, dedupe
        self.asks = self.asks or (refuse_overweight and self.batch_load.weight < 1.0) or any(
            function is not None for function in (key, weigh, priority, dedupe)
        )
        self.refuses_overweight, self.joins_in_flight = refuse_overweight, dedupe_in_flight
        self.ageing = ageing
        self.learns = learns and not draining
        wait_for_company(self, no_wait())     # other bounds hold now
        if not self.learns:
            expect(self, None)
        self.most_per_key = PY_SSIZE_T_MAX if max_batches_per_key is None else max_batches_per_key
        if not self.closed:
            self.gate = PY_SSIZE_T_MAX if self.overflow == WAIT else self.capacity
        admit(self)
        for kept in self.kept:
            if isinstance(kept, KeyQueue):
                (<KeyQueue> kept).stand()
        if seconds != self.timeout:
            self.timeout = seconds
            retime(self)
        if self.gone:
            self.gone.clear()

    def close(self):
        self.closed, self.gate = True, -1
        stop_lingering(self)

    def flush(self):
        self.flushed = self.now()
        stop_lingering(self)

    cdef int go_by_rank(self) except -1:
        """Have items taken by rank from now on, those that are queued already too."""
        if self.ranked:
            return 0
        for kept in self.kept:
            if isinstance(kept, KeyQueue):
                heap_reserve(&(<KeyQueue> kept).ranks, (<KeyQueue> kept).held)
        self.ranked = True
        for kept in self.kept:
            if isinstance(kept, KeyQueue):
                rank_queue(<KeyQueue> kept)
        return 0

    # ----------------------------------------------------------------------------------- accepting
    cdef inline double now(self) except? -1.0:
        return monotonic() if self.native_clock else self.clock()

    def dropped_error(self, Ticket ticket):
        return CapacityError(
            f"batcher {self.name!r} dropped its oldest queued item: capacity is {self.capacity}"
        )

    # -------------------------------------------------------------------------------------- taking
    @property
    def waiting(self):
        return self.waiting_entries.count

    @property
    def in_flight(self):
        return in_flight(self)

    def next_batch(self):
        cdef double now = self.now()
        cdef InFlightBatch batch
        cdef KeyQueue queue
        cdef list items
        cdef bint in_turn = self.arrivals.in_turn
        self.arrivals.in_turn = False
        if self.queued == 0 or self.free_slots <= 0:
            return None
        batch, items = new_batch(self), [None] * min(self.batch_size, self.queued)
        queue = due_key(self, now) if self.free_slots > 0 else None
        if queue is None:
            return None
        batch.departed, batch.reason = now, reason_of(queue, now)
        take(batch, queue, items)
        self.free_slots -= 1
        self.taken += 1
        if self.learns:
            self.ended_batches.idle += now - self.arrivals.freed
            self.ended_batches.turns += now - self.arrivals.freed if in_turn else 0.0
        batch.number = self.taken
        self.measures.departed(batch, self.batch_size)
        return batch, items

    # ------------------------------------------------------------------------------------ learning
    def wait(self, double until, double answered, Py_ssize_t enough):
        if answered <= next_deadline(self):
            wait_for_company(self, Wait(until, answered, enough))

    def take_arrivals(self, double width):
        self.arrivals.width = width
        return take_arrivals(&self.arrivals)

    def take_ended(self):
        return take_ended(&self.ended_batches)

    # ------------------------------------------------------------------------------------- leaving
    @property
    def overdue(self):
        cdef double when = next_deadline(self)
        return when != INFINITY and when <= self.now() + RESOLUTION

    def take_late(self):
        cdef double now = self.now() + RESOLUTION
        cdef InFlightBatch queued = new_batch(self), in_flight = new_batch(self)
        cdef dict hit = {}
        take_late(self, queued, in_flight, hit, now)
        return queued, in_flight, finish_taking(self, hit)

    def take_all(self):
        """Take every unsettled item, in flight ones too: what is left when closing times out."""
        cdef InFlightBatch target = new_batch(self)
        take_all(self, &self.usual, target, {})
        take_all(self, &self.unusual, target, {})
        go_on(self)
        return target

    def take_ticket(self, Ticket ticket not None):
        """Take what is left of one ticket, which is not done."""
        cdef InFlightBatch target = new_batch(self)
        cdef dict hit = {}
        take_ticket(self, ticket, target, target, hit)
        finish_taking(self, hit)
        return target

    # --------------------------------------------------------------------------------------- waits
    def began(self, InFlightBatch batch not None, context):
        batch.context = context
        self.running.append(batch)
        self.contexts |= context_bit(<PyObject *> context)

    def ended(self, InFlightBatch batch not None):
        if batch.context is not None:
            forget_call(self, batch)

    def look_at_waits(self):
        if not self.waits_noted:
            schedule(self, self.tell_waits, &self.waits_noted)

    def tell_waits(self):
        self.waits_noted = False
        self.on_own_wait()

    def whereabouts(self, Ticket ticket not None):
        if ticket.lane is not self or ticket.state != PENDING:
            return None
        return whereabouts(ticket)

    # --------------------------------------------------------------------------------------- timer
    def fire(self):
        self.armed, self.timer = INFINITY, None
        self.on_due()

    def due(self):
        self.due_scheduled = False
        self.on_due()

    def rearm(self):
        if self.unsettled == 0:
            rest(self)
            return
        arm(self, next_deadline(self))
        if self.free_slots > 0:
            arm(self, linger_end(self))
            if self.ready.count:          # an exit request came between
                arm(self, self.now())

    # -------------------------------------------------------------------------------------- waking
    def wake(self):
        self.waker.run()

    def wake_soon(self):
        self.waker.soon()
