# Lanes: the queue, the deadlines, the timer and the wake-ups of one batcher on one loop.

@cython.final
cdef class Lane:
    """Be the queue, the deadlines and the wake-ups of one batcher on one loop."""

    cdef readonly object loop
    cdef readonly str name
    cdef object clock, call_soon, call_at
    cdef object on_due, on_abandoned, on_idle, hold
    cdef object cancelled_error, invalid_state_error
    cdef object get_loop
    cdef object mark                  # the loop's mark while this lane's loop last ran
    cdef bint native_clock

    cdef Py_ssize_t batch_size, capacity, gate
    cdef double latency, timeout
    cdef Overflow overflow
    cdef readonly bint closed
    cdef public bint slot_free        # whether a handler call may start now

    cdef Slots queue
    cdef list flights
    cdef OwnDeadlines own_deadlines
    cdef Py_ssize_t live              # items in the queue, those that wait for admission too
    cdef readonly Py_ssize_t unsettled

    cdef object held, timer
    cdef double armed
    cdef bint due_scheduled
    cdef Waker waker
    cdef readonly Measures measures
    cdef bint capture                 # the context of each submission

    cdef readonly Py_ssize_t submitted, completed, failed, cancelled, late, rejected, dropped

    def __init__(
        self, loop, str name, *, clock, call_soon, call_at, on_due, on_abandoned, on_idle,
        on_callback_error, hold, cancelled_error, invalid_state_error, done_future,
    ):
        self.loop, self.name = loop, name
        self.get_loop = lambda: loop
        self.clock, self.call_soon, self.call_at = clock, call_soon, call_at
        self.on_due, self.on_abandoned, self.on_idle = on_due, on_abandoned, on_idle
        self.hold = hold
        self.cancelled_error, self.invalid_state_error = cancelled_error, invalid_state_error
        self.waker = new_waker(self, call_soon, on_callback_error, done_future)
        self.native_clock = NATIVE_CLOCK and clock is time.monotonic
        self.queue, self.flights = Slots.__new__(Slots), []
        self.own_deadlines = OwnDeadlines.__new__(OwnDeadlines)
        self.own_deadlines.heap = []
        self.armed = INFINITY
        self.measures = Measures()

    def configure(
        self, *, Py_ssize_t max_batch_size, double max_latency, capacity, str overflow, timeout,
        bint capture=False,
    ):
        self.batch_size, self.latency = max_batch_size, max_latency
        self.capacity = PY_SSIZE_T_MAX if capacity is None else capacity
        self.timeout = INFINITY if timeout is None else timeout
        self.overflow = OVERFLOW[overflow]
        self.capture = capture
        if not self.closed:
            self.gate = PY_SSIZE_T_MAX if self.overflow == WAIT else self.capacity

    def close(self):
        self.closed, self.gate = True, 0

    # ------------------------------------------------------------------------------- submitting
    cdef inline Ticket push(self, object item, object timeout):
        if timeout is not UNSET:
            check_timeout(timeout)
        if self.unsettled >= self.gate:
            self.make_way(1)
        return self.accept(item, timeout)

    cdef Ticket accept(self, object item, object timeout):
        cdef Ticket ticket = Ticket.__new__(Ticket)
        cdef Slot *slot
        self.start(ticket, timeout)
        slot = self.queue.append()
        Py_INCREF(ticket)
        Py_INCREF(item)
        slot.ticket, slot.item, slot.index = <PyObject *> ticket, <PyObject *> item, -1
        ticket.place = self.queue.tail - 1
        self.accepted(ticket, 1)
        return ticket

    cdef Many push_many(self, list items, object timeout, bint return_exceptions):
        cdef Many many
        cdef Slot *slot
        cdef Py_ssize_t index, count = len(items)
        if timeout is not UNSET:
            check_timeout(timeout)
        if self.closed or count > self.gate - self.unsettled:
            self.make_way(count)
        many = Many.__new__(Many)
        self.start(many, timeout)
        many.return_exceptions, many.first_failure = return_exceptions, -1
        many.remaining, many.values = count, [None] * count
        self.queue.reserve(count)
        for index in range(count):
            item = items[index]
            slot = self.queue.append()
            Py_INCREF(many)
            Py_INCREF(item)
            slot.ticket, slot.item, slot.index = <PyObject *> many, <PyObject *> item, index
        if count:
            self.accepted(many, count)
        else:
            many.state = many.conclude()
        return many

    cdef inline int start(self, Ticket ticket, object timeout) except -1:
        ticket.lane = self
        ticket.submitted = self.now()
        if self.capture:
            ticket.captured = PyContext_CopyCurrent()
        if timeout is UNSET:
            ticket.deadline = ticket.submitted + self.timeout
        else:
            ticket.own_deadline = True
            ticket.deadline = INFINITY if timeout is None else ticket.submitted + <double> timeout
        return 0

    cdef inline int accepted(self, Ticket ticket, Py_ssize_t count) except -1:
        self.live += count
        self.submitted += count
        self.unsettled += count
        if ticket.own_deadline and ticket.deadline != INFINITY:
            self.own_deadlines.add(ticket)
        if self.unsettled == count and self.hold is not None:
            self.held = self.hold()
        cdef double when = ticket.deadline
        cdef bint due = False
        cdef Py_ssize_t queued = self.count_queued()
        if self.slot_free and queued:
            due = queued >= self.batch_size or self.unsettled >= self.capacity
            if self.latency > 0.0:
                when = min(when, ticket.submitted + self.latency)
            elif not due:
                self.soon_due()
        self.arm(when)
        if due:
            self.on_due()
        return 0

    cdef inline int soon_due(self) except -1:
        if not self.due_scheduled:
            self.due_scheduled = True
            self.call_soon(self.due)
        return 0

    cdef int make_way(self, Py_ssize_t count) except -1:
        """Refuse ``count`` new items, or drop the oldest queued ones for them."""
        if self.closed:
            self.rejected += count
            raise BatcherClosedError(f"batcher {self.name!r} is closed")
        # What waits for admission may exceed the capacity; that is not for these to make up for.
        cdef Py_ssize_t excess = min(count, self.unsettled + count - self.capacity)
        if self.overflow == REJECT or excess > self.live:
            self.refuse(count)
        self.drop_oldest(excess)
        return 0

    cdef int refuse(self, Py_ssize_t count) except -1:
        self.rejected += count
        raise CapacityError(
            f"batcher {self.name!r} has no room for {count} more: "
            f"capacity is {self.capacity}, {self.unsettled} items are unsettled"
        )

    cdef int drop_oldest(self, Py_ssize_t count) except -1:
        cdef Flight oldest = self.take_live(count)
        oldest.counted = DROPPED
        self.dropped += oldest.size
        self.flights.append(oldest)
        oldest.fail(self.dropped_error)
        self.waker.soon()
        return 0

    def dropped_error(self, Ticket ticket):
        return CapacityError(
            f"batcher {self.name!r} dropped its oldest queued item: capacity is {self.capacity}"
        )

    # ----------------------------------------------------------------------------------- taking
    @property
    def queued(self):
        return self.count_queued()

    @property
    def waiting(self):
        return self.live - self.count_queued()

    cdef inline Py_ssize_t count_queued(self) noexcept:
        """Count the admitted ones: the room that those in flight leave, first come first served."""
        if self.unsettled <= self.capacity:
            return self.live
        return max(self.live - (self.unsettled - self.capacity), 0)

    @property
    def oldest(self):
        return self.head_submitted()

    def waited(self, double seconds):
        """Tell whether the oldest queued item has waited that long."""
        return self.head_submitted() + seconds <= self.now() + RESOLUTION

    cdef double head_submitted(self):
        self.queue.skip_holes()
        if self.live == 0:
            return INFINITY
        return (<Ticket> self.queue.at(self.queue.head).ticket).submitted

    def take(self, Py_ssize_t limit):
        cdef Flight flight = self.take_live(min(limit, self.count_queued()))
        flight.departed = self.now()
        self.measures.departed(flight, self.batch_size)
        self.flights.append(flight)
        return flight

    cdef Flight take_live(self, Py_ssize_t count):
        cdef Flight flight = new_flight(self, count)
        cdef Slots queue = self.queue
        cdef Slot *slot
        count = min(count, self.live)         # making the flight may have run a finalizer
        while flight.size < count:
            slot = queue.at(queue.head)
            queue.head += 1
            if slot.ticket != NULL:
                self.move(slot, flight)
        self.live -= count
        if self.live == 0 and self.queue.mask >= 4096:
            self.queue.resize(16)
        return flight

    cdef inline int move(self, Slot *slot, Flight flight) except -1:
        """Hand a slot over to a flight; where it was, a hole stays."""
        cdef Slot *target = flight.append()
        target[0] = slot[0]
        target.submitted = (<Ticket> slot.ticket).submitted
        slot.ticket = slot.item = NULL
        flight.size += 1
        flight.alive += 1
        if target.index < 0:
            (<Ticket> target.ticket).flight = flight
            (<Ticket> target.ticket).place = flight.tail - 1
            (<Ticket> target.ticket).state = IN_FLIGHT
        return 0

    # --------------------------------------------------------------------------------- settling
    cdef int settle(self, Slot *slot, State state, object value, bint counted) except -1:
        cdef Ticket ticket = <Ticket> slot.ticket
        cdef object item = <object> slot.item
        cdef Py_ssize_t index = slot.index
        Py_DECREF(ticket)
        Py_DECREF(item)
        slot.ticket = slot.item = NULL
        self.unsettled -= 1
        if not counted:
            if state == RETURNED:
                self.completed += 1
            else:
                self.failed += 1
        if index < 0:
            ticket.value = value
        elif (<Many> ticket).store(index, state, value):
            state = (<Many> ticket).conclude()
        else:
            return 0
        self.finish(ticket, state)
        return 0

    cdef inline int finish(self, Ticket ticket, State state) except -1:
        ticket.state = state
        ticket.flight = None
        if ticket.own_deadline and ticket.deadline != INFINITY:
            self.own_deadlines.live -= 1
        if ticket.callback is not None:
            self.waker.add(ticket)
        return 0

    cdef int cancel(self, Ticket ticket, object message) except -1:
        cdef Flight given_up = new_flight(self, 1)
        cdef bint some_waited = self.live > self.count_queued()
        cdef list hit = []
        if ticket.state > IN_FLIGHT:          # a finalizer came first
            return 0
        self.extract(ticket, given_up, given_up, hit)
        self.unsettled -= given_up.size
        self.cancelled += given_up.size
        ticket.value = message
        self.finish(ticket, CANCELLED)
        if some_waited and self.slot_free:    # and may be admitted now
            self.soon_due()
        self.waker.soon()
        self.tell_abandoned(hit)
        return 0

    cdef int extract(self, Ticket ticket, Flight queued, Flight in_flight, list hit) except -1:
        """Move what is left of one ticket into ``queued`` and ``in_flight``, by where it is."""
        cdef Flight flight
        if not isinstance(ticket, Many):
            if ticket.flight is None:
                self.move(self.queue.at(ticket.place), queued)
                self.live -= 1
            else:
                flight = ticket.flight
                self.move(flight.at(ticket.place), in_flight)
                self.lose(flight, 1, hit)
            return 0
        self.live -= self.move_all(self.queue, ticket, queued)
        for flight in self.flights[:]:
            self.lose(flight, self.move_all(flight, ticket, in_flight), hit)
        return 0

    cdef Py_ssize_t move_all(self, Slots source, Ticket ticket, Flight target) except -1:
        cdef size_t place
        cdef Py_ssize_t before = target.size
        for place in range(source.head, source.tail):
            if source.at(place).ticket == <PyObject *> ticket:
                self.move(source.at(place), target)
        return target.size - before

    cdef int lose(self, Flight flight, Py_ssize_t count, list hit) except -1:
        if count == 0:
            return 0
        if flight not in hit:
            hit.append(flight)
        if flight.counted == LATE:    # and now they come to another end
            self.late -= count
        elif flight.counted == DROPPED:
            self.dropped -= count
        flight.alive -= count
        if flight.alive == 0:
            flight.land()
        return 0

    cdef int tell_abandoned(self, list hit) except -1:
        cdef Flight flight
        for flight in hit:
            if flight.alive == 0:
                self.on_abandoned(flight)
        return 0

    # ---------------------------------------------------------------------------------- deadlines
    cdef inline double now(self) except? -1.0:
        return monotonic() if self.native_clock else self.clock()

    def take_late(self):
        cdef double now = self.now() + RESOLUTION
        cdef Flight queued = new_flight(self, 1), in_flight = new_flight(self, 1), flight
        cdef list hit = []
        self.live -= move_late(self, self.queue, queued, now)
        for flight in self.flights[:]:
            if not flight.counted:
                self.lose(flight, move_late(self, flight, in_flight, now), hit)
        while self.own_deadlines.earliest() <= now:
            self.extract(self.own_deadlines.pop(), queued, in_flight, hit)
        for flight in (queued, in_flight):
            flight.counted = LATE
            self.late += flight.size
            if flight.size:
                self.flights.append(flight)
        self.tell_abandoned(hit)
        return queued, in_flight, hit

    @property
    def overdue(self):
        if self.timeout == INFINITY and not self.own_deadlines.heap:
            return False
        return self.next_deadline() <= self.now() + RESOLUTION

    cdef double next_deadline(self):
        cdef Flight flight
        cdef double when = INFINITY
        if self.timeout == INFINITY and not self.own_deadlines.heap:
            return when
        when = min(earliest_of(self.queue), self.own_deadlines.earliest())
        for flight in self.flights:
            if not flight.counted:
                when = min(when, earliest_of(flight))
        return when

    def take_all(self):
        """Take every unsettled item, in flight ones too: what is left when closing times out."""
        cdef Flight every = new_flight(self, 1), flight
        cdef list hit = []
        self.live -= self.move_each(self.queue, every)
        for flight in self.flights[:]:
            self.lose(flight, self.move_each(flight, every), hit)
        self.flights.append(every)
        return every

    cdef Py_ssize_t move_each(self, Slots source, Flight target) except -1:
        cdef size_t place
        cdef Py_ssize_t before = target.size
        for place in range(source.head, source.tail):
            if source.at(place).ticket != NULL:
                self.move(source.at(place), target)
        return target.size - before

    # -------------------------------------------------------------------------------------- timer
    cdef inline int arm(self, double when) except -1:
        if when < self.armed:
            self.arm_now(when)
        return 0

    cdef int arm_now(self, double when) except -1:
        if self.timer is not None:
            self.timer.cancel()
        self.armed = when
        self.timer = self.call_at(when, self.fire)
        return 0

    def fire(self):
        self.armed, self.timer = INFINITY, None
        self.on_due()

    def due(self):
        self.due_scheduled = False
        self.on_due()

    def rearm(self):
        if self.unsettled == 0:
            self.rest()
            return
        self.arm(self.next_deadline())
        if self.slot_free and self.count_queued():
            self.arm(self.head_submitted() + self.latency)

    cdef int rest_if_idle(self) except -1:
        if self.unsettled == 0:
            self.rest()
        return 0

    cdef int rest(self) except -1:
        if self.timer is not None:
            self.timer.cancel()
            self.armed, self.timer = INFINITY, None
        self.held = None
        self.on_idle()
        return 0

    # ------------------------------------------------------------------------------------- waking
    def wake(self):
        self.waker.run()

    def wake_soon(self):
        self.waker.soon()
