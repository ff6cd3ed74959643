# Lanes: the queue, the deadlines, the timer and the wake-ups of one batcher on one loop.

@cython.final
cdef class Lane:
    """The queue, the deadlines and the wake-ups of one batcher on one loop."""

    cdef readonly object loop
    cdef readonly str name
    cdef object clock, call_soon, call_soon_threadsafe, call_at
    cdef object on_due, on_abandoned, on_idle, on_given_up, on_own_wait, hold
    cdef object cancelled_error, invalid_state_error
    cdef object get_loop
    cdef object mark                  # the loop's mark while this lane's loop last ran
    cdef bint native_clock

    cdef Py_ssize_t batch_size, capacity, gate
    cdef double latency, timeout, batch_weight
    cdef Overflow overflow
    cdef readonly bint closed
    cdef public bint slot_free        # whether a handler call may start now

    cdef Slots queue
    cdef list flights
    cdef OwnDeadlines own_deadlines
    cdef Py_ssize_t live              # items in the queue, those that wait for admission too
    cdef readonly Py_ssize_t unsettled
    cdef readonly Py_ssize_t joined   # of these, how many are handled with an equal one
    cdef Groups groups                # None: items stand in line
    cdef list settling                # the shared items that are being settled just now

    cdef object held, timer
    cdef double armed
    cdef bint due_scheduled
    cdef Waker waker
    cdef list running                 # the flights whose handler calls are under way
    cdef size_t contexts              # a bit for the context of each of these
    cdef bint waits_noted
    cdef public bint in_line          # handlers may wait in vain though a slot is free
    cdef readonly Measures measures
    cdef bint capture                 # the context of each submission

    cdef readonly Py_ssize_t submitted, completed, failed, cancelled, late, rejected, dropped
    cdef readonly Py_ssize_t deduplicated

    def __init__(
        self, loop, str name, *, clock, call_soon, call_soon_threadsafe, call_at, on_due,
        on_abandoned, on_idle, on_given_up, on_own_wait, on_callback_error, hold, cancelled_error,
        invalid_state_error, done_future,
    ):
        self.loop, self.name = loop, name
        self.get_loop = lambda: loop
        self.clock, self.call_at = clock, call_at
        self.call_soon, self.call_soon_threadsafe = call_soon, call_soon_threadsafe
        self.on_due, self.on_abandoned, self.on_idle = on_due, on_abandoned, on_idle
        self.on_given_up, self.on_own_wait, self.hold = on_given_up, on_own_wait, hold
        self.cancelled_error, self.invalid_state_error = cancelled_error, invalid_state_error
        self.waker = new_waker(self, on_callback_error, done_future)
        self.native_clock = NATIVE_CLOCK and clock is time.monotonic
        self.queue, self.flights, self.settling = Slots.__new__(Slots), [], []
        self.running = []
        self.own_deadlines = OwnDeadlines.__new__(OwnDeadlines)
        self.own_deadlines.heap = []
        self.armed = self.timeout = self.batch_weight = INFINITY
        self.measures = Measures()

    def configure(
        self, *, Py_ssize_t max_batch_size, double max_latency, capacity, str overflow, timeout,
        max_batch_weight=None, bint capture=False,
    ):
        cdef double seconds = INFINITY if timeout is None else timeout
        if self.groups is not None:
            self.groups.admit()           # by the capacity so far: what is admitted stays so
        self.batch_size, self.latency = max_batch_size, max_latency
        self.capacity = PY_SSIZE_T_MAX if capacity is None else capacity
        self.batch_weight = INFINITY if max_batch_weight is None else max_batch_weight
        self.overflow = OVERFLOW[overflow]
        self.capture = capture
        if not self.closed:
            self.gate = PY_SSIZE_T_MAX if self.overflow == WAIT else self.capacity
        changed, self.timeout = seconds != self.timeout, seconds
        if changed and self.unsettled:
            retime(self)
            self.arm(next_deadline(self))
        if self.groups is not None:
            self.groups.reconsider()

    def group(
        self, *, key=None, weigh=None, priority=None, dedupe=None, bint dedupe_in_flight=False,
        bint refuse_overweight=False, double ageing=1.0, max_batches_per_key=None,
    ):
        if self.groups is not None:
            raise RuntimeError("a lane must be grouped only once")
        cdef Groups groups = self.group_items()
        groups.key, groups.weigh, groups.priority, groups.dedupe = key, weigh, priority, dedupe
        groups.ageing, groups.joins_in_flight = ageing, dedupe_in_flight
        if priority is not None:
            groups.rank_all()
        groups.refuses_overweight = refuse_overweight
        if max_batches_per_key is not None:
            groups.most_per_key = max_batches_per_key

    @property
    def grouped(self):
        return self.groups is not None

    def close(self):
        self.closed, self.gate = True, 0

    # ------------------------------------------------------------------------------- submitting
    cdef inline Ticket push(self, object item, object timeout, bint call):
        if timeout is not UNSET:
            check_timeout(timeout)
        if self.groups is not None:
            return self.push_asked(item, timeout, UNSET, UNSET, UNSET, call)
        if self.unsettled >= self.gate:
            self.make_way(1)
        return self.accept(item, timeout, call)

    cdef Ticket accept(self, object item, object timeout, bint call):
        cdef Ticket ticket = new_ticket(call)
        cdef Slot *slot
        self.start(ticket, timeout)
        if self.groups is not None:           # since a moment ago: a finalizer came first
            self.groups.stand(ticket, item, -1, self.groups.ask_nothing())
            self.accepted(ticket, 1)
            return ticket
        slot = self.queue.append()
        Py_INCREF(ticket)
        Py_INCREF(item)
        slot.ticket, slot.item, slot.index = <PyObject *> ticket, <PyObject *> item, -1
        ticket.place = self.queue.tail - 1
        self.live += 1
        self.accepted(ticket, 1)
        return ticket

    cdef Ticket push_asked(
        self, object item, object timeout, object weight, object key, object priority, bint call
    ):
        """Accept one item after asking where it belongs."""
        cdef Asked asked
        if timeout is not UNSET:
            check_timeout(timeout)
        self.refuse_early(1, weight)
        asked = self.group_items().ask(item, weight, key, priority)
        if self.unsettled >= self.gate:
            try:
                self.make_way(1)
            except BaseException:
                self.groups.refuse_one(asked)
                raise
        return self.accept_asked(item, timeout, asked, call)

    cdef Ticket accept_asked(self, object item, object timeout, Asked asked, bint call):
        cdef Ticket ticket = new_ticket(call) if asked.shared is None else new_rider(call)
        self.start(ticket, timeout)
        if asked.shared is not None:
            ticket.own_deadline = True
            self.groups.renew(asked)
        self.groups.stand(ticket, item, -1, asked)
        self.accepted(ticket, 1)
        self.tidy()
        return ticket

    cdef int refuse_early(self, Py_ssize_t count, object weight) except -1:
        if self.closed:
            self.make_way(count)
        if weight is not UNSET and self.batch_weight == INFINITY:
            raise ValueError(f"weight must not be given without max_batch_weight, got {weight!r}")
        return 0

    cdef Groups group_items(self):
        """Have items stand in groups; those queued already have no key, and weigh 1."""
        cdef Groups groups
        cdef Group group
        if self.groups is None:
            groups = new_groups(self)
            group = groups.new_group(None)
            if self.groups is None:           # still, whatever finalizers did
                self.queue.widen(self)
                self.groups = groups
                groups.take_over(group)
        return self.groups

    cdef Many push_many(
        self, list items, object timeout, object key, object priority, bint return_exceptions
    ):
        cdef Many many
        cdef Slot *slot
        cdef list every = None
        cdef Py_ssize_t index, count = len(items)
        if timeout is not UNSET:
            check_timeout(timeout)
        if self.groups is not None or key is not UNSET or priority is not UNSET:
            self.refuse_early(count, UNSET)
            every = self.group_items().ask_all(items, UNSET, key, priority)
        if self.closed or count > self.gate - self.unsettled:
            try:
                self.make_way(count)
            except BaseException:
                if every is not None:
                    self.groups.refuse(every)
                raise
        many = Many.__new__(Many)
        self.start(many, timeout)
        many.return_exceptions, many.first_failure = return_exceptions, -1
        many.remaining, many.values = count, [None] * count
        if count == 0:
            many.state = many.conclude()
            return many
        if every is None and self.groups is not None:     # since a moment ago
            every = [self.groups.ask_nothing() for _ in items]
        if every is not None:
            self.stand_many(many, items, every)
            return many
        self.queue.reserve(count)
        for index in range(count):
            item = items[index]
            slot = self.queue.append()
            Py_INCREF(many)
            Py_INCREF(item)
            slot.ticket, slot.item, slot.index = <PyObject *> many, <PyObject *> item, index
        self.live += count
        self.accepted(many, count)
        return many

    cdef int stand_many(self, Many many, list items, list every) except -1:
        cdef Py_ssize_t index, count = len(items)
        if self.groups.dedupe is not None:
            many.own_deadline = True
            self.groups.renew_all(every)
        self.queue.reserve(count)
        for index in range(count):
            self.groups.stand(many, items[index], index, <Asked> every[index])
        self.accepted(many, count)
        self.tidy()
        return 0

    cdef inline int start(self, Ticket ticket, object timeout) except -1:
        ticket.lane = self
        ticket.submitted = self.now()
        if self.capture:
            ticket.captured = PyContext_CopyCurrent()
        if timeout is UNSET:
            ticket.deadline = ticket.submitted + self.timeout
        else:
            ticket.own_deadline = ticket.own_timeout = True
            ticket.deadline = INFINITY if timeout is None else ticket.submitted + <double> timeout
        return 0

    cdef inline int accepted(self, Ticket ticket, Py_ssize_t count) except -1:
        self.submitted += count
        self.unsettled += count
        if ticket.own_deadline and ticket.deadline != INFINITY:
            self.own_deadlines.add(ticket)
        if self.unsettled == count and self.hold is not None:
            self.held = self.hold()
        cdef double when = ticket.deadline
        cdef bint due = False, natural = False
        cdef Py_ssize_t queued
        if self.groups is None and self.slot_free:
            queued = self.count_queued()
            if queued:
                due = queued >= self.batch_size or self.is_crowded()
                if self.latency > 0.0:
                    when = min(when, ticket.submitted + self.latency)
                else:
                    natural = not due and not self.due_scheduled
        if due or natural or when < self.armed or self.groups is not None:
            self.attend_to(ticket, when, due, natural)
        return 0

    cdef int attend_to(self, Ticket ticket, double when, bint due, bint natural) except -1:
        """See to it that somebody comes for a new item; where that fails, it is given up."""
        try:
            if self.groups is not None:
                due = self.groups.look()
                when = min(when, self.groups.company())
            elif natural:
                self.soon_due()
            self.arm(when)
            if due:
                self.on_due()
        except BaseException:             # who submits it gets no ticket, but this
            self.withdraw(ticket)
            raise
        return 0

    cdef int withdraw(self, Ticket ticket) except -1:
        try:
            if ticket.state <= IN_FLIGHT:
                self.cancel(ticket, None)
        except Exception:                 # the loop does not call back, which is being told
            pass
        return 0

    cdef inline int soon_due(self) except -1:
        if not self.due_scheduled:
            self.schedule(self.due, &self.due_scheduled)
        return 0

    cdef int schedule(self, object callback, bint *mark) except -1:
        """Have the loop call back soon, and set the mark until it does, for it to be asked once.

        It may refuse other threads, and then has another way.
        """
        mark[0] = True
        try:
            try:
                self.call_soon(callback)
            except Exception:
                self.call_soon_threadsafe(callback)
        except BaseException:             # or nobody would ever ask again
            mark[0] = False
            raise
        return 0

    cdef int make_way(self, Py_ssize_t count) except -1:
        """Refuse ``count`` new items, or drop the oldest queued ones for them."""
        if self.closed:
            self.rejected += count
            raise BatcherClosedError(f"batcher {self.name!r} is closed")
        drop_for(self, count)
        return 0

    cdef int refuse(self, Py_ssize_t count) except -1:
        self.rejected += count
        raise CapacityError(
            f"batcher {self.name!r} has no room for {count} more: "
            f"capacity is {self.capacity}, {self.unsettled} items are unsettled"
        )

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
        if self.groups is not None:       # what was admitted stays so
            return max(self.live - self.beyond(), self.groups.admitted)
        return self.live - self.beyond()

    cdef inline Py_ssize_t beyond(self) noexcept:
        cdef Py_ssize_t load = self.unsettled - self.joined
        if load <= self.capacity:
            return 0
        return min(load - self.capacity, self.live)

    cdef inline bint some_wait(self) noexcept:
        """Tell whether items wait for admission."""
        return self.live > self.count_queued()

    cdef inline int go_on(self, bint some_waited) except -1:
        """Do what is to be done when items have been settled: some of others may have room now."""
        self.tidy()
        if some_waited:
            self.let_in()
        return 0

    cdef inline int let_in(self) except -1:
        """Have those looked at that waited for admission, where a batch could go."""
        if self.slot_free:
            self.soon_due()
        return 0

    @property
    def crowded(self):
        return self.is_crowded()

    cdef inline bint is_crowded(self) noexcept:
        """Tell whether nothing more could be admitted."""
        if self.overflow == WAIT:
            return self.unsettled - self.joined >= self.capacity
        return self.unsettled >= self.capacity

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
        return self.depart(self.take_live(min(limit, self.count_queued())))

    def next_group(self, double before, bint anyway):
        return self.group_items().next(before, anyway)

    def take_group(self, Group group not None):
        return self.depart(self.group_items().take(group))

    def leave_group(self, Flight flight not None):
        if flight.group is not None:
            self.group_items().land(flight.group)

    cdef Flight depart(self, Flight flight):
        flight.departed = self.now()
        self.measures.departed(flight, self.batch_size)
        self.flights.append(flight)
        self.tidy()
        return flight

    cdef inline int tidy(self) except -1:
        """Let groups and shared items go that are no longer needed; it may run the users' code."""
        if self.groups is not None:
            self.groups.tidy()
        return 0

    cdef Flight take_live(self, Py_ssize_t count):
        cdef Flight flight = new_flight(self, count)
        cdef Slots queue = self.queue
        count = min(count, self.live)         # making the flight may have run a finalizer
        while flight.size < count:
            queue.head += 1
            if queue.at(queue.head - 1).ticket != NULL:
                self.move(queue, queue.head - 1, flight)
        self.live -= count
        flight.weight = flight.size
        if self.live == 0 and self.queue.mask >= 4096:
            self.queue.resize(16)
        return flight

    cdef inline int move(self, Slots source, size_t place, Flight flight) except -1:
        """Hand a slot over to a flight; where it was, a hole stays."""
        cdef Slot *target = flight.append()
        cdef Slot *slot = source.at(place)
        if self.groups is not None:
            self.move_trait(source, place & source.mask, flight)
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

    cdef int move_trait(self, Slots source, size_t place, Flight flight) except -1:
        if flight.traits != NULL:
            flight.traits[flight.tail - 1].group = NULL
            flight.traits[flight.tail - 1].weight = source.weight_of(place)
        if source is self.queue:
            self.groups.left(place)
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
        if state == RAISED:
            ticket.captured = traceback_of(ticket.value)
        if ticket.own_deadline and ticket.deadline != INFINITY:
            self.own_deadlines.live -= 1
        if ticket.callback is not None:
            self.waker.add(ticket)
        return 0

    cdef int cancel(self, Ticket ticket, object message) except -1:
        cdef Leaving leaving = new_leaving(self, False, isinstance(ticket, Many))
        cdef bint some_waited = self.some_wait()
        if ticket.state > IN_FLIGHT:          # a finalizer came first
            return 0
        leaving.take(ticket)
        self.unsettled -= leaving.queued.size
        self.cancelled += leaving.queued.size
        ticket.value = message
        self.finish(ticket, CANCELLED)
        try:
            self.waker.soon()
            if some_waited:
                self.let_in()
        finally:
            self.tidy()
            leaving.tell_abandoned()
        return 0

    # ---------------------------------------------------------------------------------- deadlines
    cdef inline double now(self) except? -1.0:
        return monotonic() if self.native_clock else self.clock()

    def take_late(self):
        cdef double now = self.now() + RESOLUTION
        cdef Leaving leaving = new_leaving(self, True, True)
        cdef Flight flight
        if self.groups is not None:
            self.groups.admit()               # what is admitted stays so, whoever leaves
        take_late(self, leaving, now)
        for flight in (leaving.queued, leaving.in_flight):
            flight.counted = LATE
            self.late += flight.size
            if flight.size:
                self.flights.append(flight)
        self.tidy()
        leaving.tell_abandoned()
        return leaving.queued, leaving.in_flight, leaving.hit

    @property
    def overdue(self):
        cdef double when = next_deadline(self)
        return when != INFINITY and when <= self.now() + RESOLUTION

    def take_all(self):
        """Take every unsettled item, in flight ones too: what is left when closing times out."""
        cdef Leaving leaving = new_leaving(self, False, True)
        leaving.take_all()
        self.flights.append(leaving.queued)
        self.tidy()
        return leaving.queued

    # -------------------------------------------------------------------------------------- waits
    def began(self, Flight flight not None, context):
        flight.context = context
        self.running.append(flight)
        self.contexts |= context_bit(<PyObject *> context)

    def ended(self, Flight flight not None):
        if flight.context is not None:
            self.forget_call(flight)

    cdef int forget_call(self, Flight flight) except -1:
        flight.context = None
        self.running.remove(flight)
        self.contexts = 0
        for flight in self.running:
            self.contexts |= context_bit(<PyObject *> flight.context)
        return 0

    def look_at_waits(self):
        if not self.waits_noted:
            self.schedule(self.tell_waits, &self.waits_noted)

    def tell_waits(self):
        self.waits_noted = False
        self.on_own_wait()

    def whereabouts(self, Ticket ticket not None):
        if ticket.lane is not self or ticket.state > IN_FLIGHT:
            return None
        return whereabouts(self, ticket)

    def take_ticket(self, Ticket ticket not None):
        """Take what is left of one ticket, which is not done."""
        cdef Leaving leaving = new_leaving(self, False, True)
        leaving.take(ticket)
        self.flights.append(leaving.queued)
        self.tidy()
        leaving.tell_abandoned()
        return leaving.queued

    # -------------------------------------------------------------------------------------- timer
    cdef inline int arm(self, double when) except -1:
        if when < self.armed:
            self.arm_now(when)
        return 0

    cdef int arm_now(self, double when) except -1:
        if self.timer is not None:
            self.timer.cancel()
            self.armed, self.timer = INFINITY, None
        self.timer = self.call_at(when, self.fire)
        self.armed = when
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
        self.arm(next_deadline(self))
        if self.groups is not None:
            self.arm(self.groups.company())
        elif self.slot_free and self.count_queued():
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
