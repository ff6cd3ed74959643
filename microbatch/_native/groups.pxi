# Groups: the queued items of one key, for batches of one key each, by weight and by priority.

cdef size_t NOWHERE = <size_t> -1
cdef Py_ssize_t SWEEP = 64

cdef struct Ranked:
    double rank
    size_t number        # stale when it is no longer the slot's
    size_t place


@cython.final
cdef class Group:
    """The queued items of one key, in the order in which they are taken.

    ``queued`` counts those that could be taken, and ``weight`` is theirs together. ``in_flight``
    counts the batches of this key that are under way.
    """

    cdef Lane lane
    cdef Groups groups
    cdef readonly object key
    cdef readonly Py_ssize_t queued, in_flight
    cdef readonly double weight
    cdef dict shared                  # by what dedupe() says, where that is asked
    cdef Py_ssize_t held              # items that refer to it, the waiting ones too
    cdef bint pressing                # whether it counts as one of which a batch should go at once
    cdef size_t entry                 # the number of its entry in one of the heaps of Groups, or 0
    cdef bint ripe                    # which of the two
    cdef size_t first, last           # by age, linked through the queue's traits
    cdef Ranked *ranks                # a heap by rank, where there are priorities
    cdef size_t ranked, room

    def __dealloc__(self):
        PyMem_Free(self.ranks)

    @property
    def full(self):
        """Whether a batch of it would have no place left."""
        return self.is_full()

    @property
    def heavy(self):
        """Whether a batch of it would be as heavy as it may."""
        return self.is_heavy()

    @property
    def oldest(self):
        """When the oldest of its queued items was submitted; infinity without one."""
        return self.get_oldest()

    cdef inline bint is_full(self) noexcept:
        return self.queued >= self.lane.batch_size

    cdef inline bint is_heavy(self) noexcept:
        return self.weight >= self.lane.batch_weight

    cdef inline bint presses(self) noexcept:
        """Tell whether a batch of it should go at once."""
        return not self.blocked() and (self.is_full() or self.is_heavy())

    cdef inline bint blocked(self) noexcept:
        return self.in_flight >= self.groups.most_per_key

    cdef inline double get_oldest(self) noexcept:
        if self.first == NOWHERE:
            return INFINITY
        return (<Ticket> self.lane.queue.ring[self.first].ticket).submitted

    cdef inline size_t next(self) noexcept:
        """Give the place that is taken next."""
        cdef Slots queue = self.lane.queue
        if not self.groups.ranked:
            return self.first
        while self.ranked:
            if queue.traits[self.ranks[0].place].number == self.ranks[0].number:
                return self.ranks[0].place
            self.pop_rank()
        return NOWHERE

    cdef int add(self, size_t place) except -1:
        """Take in the slot at a (masked) place, as the youngest."""
        self.queued += 1
        self.weight += self.lane.queue.traits[place].weight
        self.link(place)
        if self.groups.ranked:
            self.push_rank(place)
        return 0

    cdef inline int link(self, size_t place) noexcept:
        cdef Trait *traits = self.lane.queue.traits
        traits[place].before, traits[place].after = self.last, NOWHERE
        if self.last == NOWHERE:
            self.first = place
        else:
            traits[self.last].after = place
        self.last = place
        return 0

    cdef inline int remove(self, size_t place) noexcept:
        cdef Trait *traits = self.lane.queue.traits
        cdef Trait *trait = &traits[place]
        if trait.before == NOWHERE:
            self.first = trait.after
        else:
            traits[trait.before].after = trait.after
        if trait.after == NOWHERE:
            self.last = trait.before
        else:
            traits[trait.after].before = trait.before
        self.queued -= 1
        if self.queued:
            self.weight -= trait.weight
        else:                             # sums drift; what is empty weighs nothing
            self.weight, self.entry = 0.0, 0
            self.ranked = 0               # stale all, and the ring may shrink under them
        return 0

    # ------------------------------------------------------------------------------ the heap
    cdef int push_rank(self, size_t place) except -1:
        cdef Trait *trait = &self.lane.queue.traits[place]
        cdef size_t child, parent
        if self.ranked > 2 * <size_t> self.queued + SWEEP:
            self.rank_anew()              # which takes this one in too
            return 0
        self.make_room(self.ranked + 1)
        child = self.ranked
        self.ranked += 1
        while child:
            parent = (child - 1) >> 1
            if self.ranks[parent].rank <= trait.rank:
                break                     # of equal ranks the older one goes first
            self.ranks[child] = self.ranks[parent]
            child = parent
        self.ranks[child].rank, self.ranks[child].number = trait.rank, trait.number
        self.ranks[child].place = place
        return 0

    cdef int pop_rank(self) noexcept:
        cdef Ranked moved
        cdef size_t parent = 0, child
        self.ranked -= 1
        moved = self.ranks[self.ranked]
        while True:
            child = 2 * parent + 1
            if child >= self.ranked:
                break
            if child + 1 < self.ranked and goes_before(self.ranks[child + 1], self.ranks[child]):
                child += 1
            if not goes_before(self.ranks[child], moved):
                break
            self.ranks[parent] = self.ranks[child]
            parent = child
        self.ranks[parent] = moved
        return 0

    cdef int make_room(self, size_t count) except -1:
        cdef size_t room = max(self.room, 16)
        cdef Ranked *ranks
        while room < count:
            room *= 2
        if room != self.room:
            ranks = <Ranked *> PyMem_Realloc(self.ranks, room * sizeof(Ranked))
            if ranks == NULL:
                raise MemoryError
            self.ranks, self.room = ranks, room
        return 0

    cdef int rank_anew(self) except -1:
        """Make the heap of what stands in line."""
        cdef size_t place = self.first
        self.ranked = 0
        while place != NOWHERE:
            self.push_rank(place)
            place = self.lane.queue.traits[place].after
        return 0


cdef inline bint goes_before(Ranked one, Ranked other) noexcept:
    return one.rank < other.rank or (one.rank == other.rank and one.number < other.number)
