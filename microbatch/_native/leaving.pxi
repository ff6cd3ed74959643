# Leaving: taking items out of wherever they are, before they are settled.

@cython.final
@cython.internal
@cython.freelist(8)
cdef class Leaving:
    """Move items into ``queued`` and ``in_flight``, by where they are.

    ``hit`` collects the flights that they were in. Whatever is needed is allocated beforehand: a
    collection in the middle could run a finalizer, which might move the slots.
    """

    cdef Lane lane
    cdef Flight queued, in_flight
    cdef Flight emptied               # for shared items that nobody waits for any more
    cdef list hit
    cdef list flights                 # where items may be that don't know their place

    cdef int take(self, Ticket ticket) except -1:
        """Take out what is left of one ticket."""
        if isinstance(ticket, Many):
            self.take_many(<Many> ticket)
        elif isinstance(ticket, Rider) and (<Rider> ticket).shared is not None:
            self.take_rider(<Rider> ticket)
        elif ticket.flight is None:
            self.lane.move(self.lane.queue, ticket.place, self.queued)
            self.lane.live -= 1
        else:
            flight = ticket.flight
            self.lane.move(flight, ticket.place, self.in_flight)
            self.lose(flight, 1)
        return 0

    cdef int take_rider(self, Rider rider) except -1:
        cdef Shared shared = rider.shared
        rider.shared = None
        self.lane.move(shared.riders, rider.place, self.target(shared))
        self.leave(shared)
        return 0

    cdef int take_many(self, Many many) except -1:
        cdef Flight flight
        cdef size_t queued = self.queued.tail, in_flight = self.in_flight.tail
        cdef Lane lane = self.lane
        if lane.groups is None or lane.groups.dedupe is None:
            lane.live -= self.move_of(lane.queue, many, self.queued)
            for flight in self.flights:
                self.lose(flight, self.move_of(flight, many, self.in_flight))
        else:
            self.take_shares(lane.queue, many)
            for flight in self.flights:
                self.take_shares(flight, many)
                self.lose(flight, self.move_of(flight, many, self.in_flight))
            for shared in lane.settling:
                self.take_share(<Shared> shared, many)
        sort_by_index(self.queued, queued)
        sort_by_index(self.in_flight, in_flight)
        return 0

    cdef int take_shares(self, Slots source, Many many) except -1:
        """Take out what one ticket shares with others."""
        cdef size_t place
        for place in range(source.head, source.tail):
            if source.at(place).ticket != NULL and source.at(place).index == SHARED:
                self.take_share(<Shared> source.at(place).ticket, many)
        return 0

    cdef int take_share(self, Shared shared, Many many) except -1:
        cdef Py_ssize_t _
        for _ in range(self.move_of(shared.riders, many, self.target(shared))):
            self.leave(shared)
        return 0

    cdef inline Flight target(self, Shared shared):
        return self.queued if shared.state == QUEUED else self.in_flight

    cdef Py_ssize_t move_of(self, Slots source, Ticket ticket, Flight target) except -1:
        cdef size_t place
        cdef Py_ssize_t before = target.size
        for place in range(source.head, source.tail):
            if source.at(place).ticket == <PyObject *> ticket:
                self.lane.move(source, place, target)
        return target.size - before

    cdef int leave(self, Shared shared) except -1:
        """Take one caller from a shared item, which is given up with the last."""
        cdef Flight flight = shared.flight
        cdef bint others = shared.leave()
        if shared.dropped:
            self.lane.dropped -= 1
        if others or shared.state > IN_FLIGHT:    # or it is being settled
            if flight is not None:
                self.note(flight)
            return 0
        if flight is None:
            self.lane.move(self.lane.queue, shared.place, self.emptied)
            self.lane.live -= 1
        else:
            self.lane.move(flight, shared.place, self.emptied)
            self.lower(flight, 1)
        shared.state, shared.flight = CANCELLED, None
        self.lane.groups.gone.append(shared)
        return 0

    cdef int note(self, Flight flight) except -1:
        if flight not in self.hit:
            self.hit.append(flight)
        return 0

    cdef int lose(self, Flight flight, Py_ssize_t count) except -1:
        """Tell a flight that so many of its items have left."""
        if count == 0:
            return 0
        if flight.counted == LATE:    # and now they come to another end
            self.lane.late -= count
        elif flight.counted == DROPPED:
            self.lane.dropped -= count
        self.lower(flight, count)
        return 0

    cdef int lower(self, Flight flight, Py_ssize_t count) except -1:
        self.note(flight)
        flight.alive -= count
        if flight.alive == 0:
            flight.land()
        return 0

    cdef int take_all(self) except -1:
        """Take out every item of the lane; those that are shared stay so."""
        cdef Flight flight
        self.lane.live -= self.move_each(self.lane.queue)
        for flight in self.flights:
            self.lose(flight, self.move_each(flight))
        return 0

    cdef Py_ssize_t move_each(self, Slots source) except -1:
        cdef size_t place
        cdef Py_ssize_t before = self.queued.size
        for place in range(source.head, source.tail):
            if source.at(place).ticket == NULL:
                continue
            if source.at(place).index == SHARED:
                self.undrop(<Shared> source.at(place).ticket)
            self.lane.move(source, place, self.queued)
        return self.queued.size - before

    cdef int undrop(self, Shared shared) except -1:
        if shared.dropped:
            shared.dropped = False
            self.lane.dropped -= shared.count - 1     # lose() counts the item itself
        return 0

    cdef int tell_abandoned(self) except -1:
        """Tell the lane's owner of the flights that nobody waits for any more."""
        cdef Flight flight
        for flight in self.hit:
            if flight.alive == 0:
                self.lane.on_abandoned(flight)
        return 0


cdef Leaving new_leaving(Lane lane, bint apart, bint everywhere):
    """Make one that tells apart, or not, what was queued and what was in flight.

    It looks ``everywhere``, but for what knows its place.
    """
    cdef Leaving leaving = Leaving.__new__(Leaving)
    leaving.lane, leaving.hit = lane, []
    leaving.queued = new_flight(lane, 1)
    leaving.in_flight = new_flight(lane, 1) if apart else leaving.queued
    if lane.groups is not None and lane.groups.dedupe is not None:
        leaving.emptied = new_flight(lane, 1)
    if everywhere:            # a slice is no copy when its making runs a finalizer
        leaving.flights = list(lane.flights)
    return leaving


cdef int sort_by_index(Flight flight, size_t start) noexcept:
    """Sort a Many's slots, which come in the order of the batches that they were in."""
    cdef size_t place, hole
    cdef Slot moved
    cdef double weight
    for place in range(start + 1, flight.tail):
        moved, hole, weight = flight.ring[place], place, flight.weight_of(place)
        while hole > start and flight.ring[hole - 1].index > moved.index:
            flight.ring[hole] = flight.ring[hole - 1]
            if flight.traits != NULL:
                flight.traits[hole].weight = flight.traits[hole - 1].weight
            hole -= 1
        flight.ring[hole] = moved
        if flight.traits != NULL:
            flight.traits[hole].weight = weight
    return 0
