# Flights: the items of one handler call.

@cython.final
cdef class Flight(Slots):
    """The items of one handler call, from taking them to settling the last."""

    __class_getitem__ = classmethod(GenericAlias)

    cdef readonly Py_ssize_t size
    cdef readonly Py_ssize_t alive
    cdef Counted counted              # already, so not once more when they are settled
    cdef readonly double departed     # when it was taken
    cdef readonly double ended        # when its handler call ended; 0: it is under way
    cdef readonly Py_ssize_t failed   # items that got an exception
    cdef Flight whole                 # what it is a part of
    cdef public object task           # these are their owner's
    cdef public object reason
    cdef public object places
    cdef public Py_ssize_t attempt
    cdef readonly Group group
    cdef object context               # of its handler call, while that is under way
    cdef readonly double weight
    cdef bint rises                   # whether those after a slot were submitted after it

    @property
    def name(self):
        return self.lane.name

    @property
    def batch(self):
        return self if self.whole is None else self.whole

    @property
    def items(self):
        cdef Slot *slot = self.ring
        cdef Slot *end = slot + self.tail
        cdef list items = []
        while slot != end:
            if slot.ticket != NULL:
                items.append(<object> slot.item)
            slot += 1
        return items

    @property
    def waits(self):
        return [self.departed - self.ring[place].submitted for place in range(self.tail)]

    @property
    def contexts(self):
        cdef list contexts = [None] * self.tail
        cdef size_t place
        for place in range(self.tail):
            if self.ring[place].ticket != NULL:
                contexts[place] = (<Ticket> self.ring[place].ticket).captured
        return contexts

    @property
    def deadlines(self):
        cdef list deadlines = [None] * self.tail
        cdef size_t place
        for place in range(self.tail):
            if self.ring[place].ticket != NULL:
                deadlines[place] = deadline_of(&self.ring[place])
        return deadlines

    @property
    def first_deadline(self):
        cdef double first = INFINITY
        cdef Ticket ticket
        for ticket in tickets_of(self, {}):
            first = min(first, ticket.deadline)
        return first

    @property
    def awaited(self):
        return tuple([place for place in range(self.tail) if self.ring[place].ticket != NULL])

    def end(self):
        self.ended = self.lane.now()
        self.lane.measures.handler_time.record(self.ended - self.departed)
        if self.context is not None:
            self.lane.forget_call(self)

    cdef inline int count_failure(self) except -1:
        if self.whole is None:
            self.failed += 1
        else:
            self.whole.failed += 1
        return 0

    def settle(self, Py_ssize_t place, value, individual):
        cdef Slot *slot
        cdef State state = RETURNED
        cdef bint some_waited = self.lane.some_wait()
        if not 0 <= place < self.size:
            raise IndexError(f"place must be from 0 to {self.size - 1} in this flight, got {place}")
        slot = &self.ring[place]
        if slot.ticket == NULL:
            return False
        if slot.index == SHARED:
            if PyExceptionInstance_Check(value):
                self.count_failure()
            self.alive -= 1
            settle_shared(slot, value, individual, None, self.counted)
        else:
            if PyExceptionInstance_Check(value):
                state, value = RAISED, individual(value)
                if slot.ticket == NULL:
                    return False
                self.count_failure()
            self.alive -= 1
            self.lane.settle(slot, state, value, self.counted)
        if self.alive == 0:
            self.land()
        self.lane.go_on(some_waited)
        return True

    def part(self, Py_ssize_t start, Py_ssize_t stop):
        cdef Flight part = new_flight(self.lane, 1)
        cdef Py_ssize_t place
        part.whole = self if self.whole is None else self.whole
        part.departed, part.reason, part.counted = self.departed, self.reason, self.counted
        part.group, part.rises = self.group, self.rises
        for place in range(max(start, 0), min(stop, self.size)):
            if self.ring[place].ticket != NULL:
                part.weight += self.weight_of(place)
                self.lane.move(self, place, part)
        self.alive -= part.size
        if part.size:
            self.lane.flights.append(part)
            if self.alive == 0:
                self.land()
        return part

    def resolve(self, tuple results, individual):
        self.hand_out(results, individual, None)

    def answer(self, tuple results, own_errors):
        self.hand_out(results, None, own_errors)

    cdef int hand_out(self, tuple results, object individual, object own_errors) except -1:
        cdef size_t place
        cdef Slot *slot
        cdef bint some_waited = self.lane.some_wait(), fails
        if len(results) != self.size:
            raise ValueError(
                f"results must be {self.size} for this flight, got {len(results)}"
            )
        for place in range(self.tail):
            slot = &self.ring[place]
            if slot.ticket == NULL:
                continue
            value = <object> PyTuple_GET_ITEM(results, place)
            fails = PyExceptionInstance_Check(value)
            if fails and individual is None:
                individual = own_errors(self, results)
            if slot.ticket == NULL:           # so it was given up meanwhile
                continue
            if slot.index == SHARED:
                if fails:
                    self.count_failure()
                settle_shared(slot, value, individual, None, self.counted)
            elif not fails:
                self.lane.settle(slot, RETURNED, value, self.counted)
            else:
                value = individual(value)
                if slot.ticket != NULL:
                    self.count_failure()
                    self.lane.settle(slot, RAISED, value, self.counted)
        self.land()
        self.lane.go_on(some_waited)
        return 0

    def fail(self, make_error):
        cdef bint some_waited = self.lane.some_wait()
        self.fail_all(make_error)
        self.lane.go_on(some_waited)

    cdef int fail_all(self, object make_error) except -1:
        cdef size_t place
        cdef Slot *slot
        for place in range(self.tail):
            slot = &self.ring[place]
            if slot.ticket == NULL:
                continue
            if slot.index == SHARED:
                self.count_failure()
                settle_shared(slot, None, None, make_error, self.counted)
                continue
            error = make_error(<Ticket> slot.ticket)
            if slot.ticket != NULL:
                self.count_failure()
                self.lane.settle(slot, RAISED, error, self.counted)
        self.land()
        return 0

    cdef int land(self) except -1:
        self.alive = 0
        self.head = self.tail             # nothing but holes
        if self in self.lane.flights:
            self.lane.flights.remove(self)
        return 0


cdef double deadline_of(Slot *slot) noexcept:
    """Say when nobody waits for a slot's item any more; infinity where that is never."""
    cdef Slots riders
    cdef Slot *rider
    cdef size_t place
    cdef double last = -INFINITY
    if slot.index != SHARED:
        return (<Ticket> slot.ticket).deadline
    riders = (<Shared> slot.ticket).riders
    for place in range(riders.head, riders.tail):
        rider = riders.at(place)
        if rider.ticket != NULL:
            last = max(last, (<Ticket> rider.ticket).deadline)
    return last


cdef Flight new_flight(Lane lane, size_t capacity):
    cdef Flight flight = Flight.__new__(Flight)
    flight.lane, flight.rises, flight.attempt = lane, True, 1
    flight.wide = lane.groups is not None
    flight.reserve(capacity)
    return flight
