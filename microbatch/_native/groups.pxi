# Groups: what is queued, by key, for batches of one key each, by weight and by priority.

cdef size_t NOWHERE = <size_t> -1
cdef Py_ssize_t SWEEP = 64

cdef struct Ranked:
    double rank
    size_t number        # stale when it is no longer the slot's
    size_t place


@cython.final
cdef class Group:
    """Be the queued items of one key, in the order in which they are taken.

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
        return self.is_full() or self.is_heavy()

    cdef inline bint blocked(self) noexcept:
        return self.in_flight >= self.groups.most_per_key

    cdef inline double get_oldest(self) noexcept:
        if self.first == NOWHERE:
            return INFINITY
        return (<Ticket> self.lane.queue.ring[self.first].ticket).submitted

    cdef inline double rank(self) noexcept:
        cdef size_t place = self.next()
        return INFINITY if place == NOWHERE else self.lane.queue.traits[place].rank

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


@cython.final
@cython.internal
@cython.freelist(64)
cdef class Asked:
    """Be what is known of an item before it is accepted; its group is held for it."""

    cdef Group group
    cdef double weight, priority
    cdef Shared shared


@cython.final
@cython.internal
cdef class Groups:
    """Put queued items into groups, and say which group is next.

    A group with queued items, and a batch to spare, has an entry in one of two heaps: the *young*
    by age, which wait for company, or the *ripe* by rank, which may go at once. An entry is stale
    when its number is no longer the group's.
    """

    cdef Lane lane
    cdef object key, weigh, priority, dedupe
    cdef bint refuses_overweight
    cdef double ageing
    cdef Py_ssize_t most_per_key
    cdef bint ranked
    cdef dict by_key
    cdef size_t cursor                # before it in the queue, all are admitted
    cdef Py_ssize_t admitted
    cdef size_t number, entry_number
    cdef list young, ripe             # (age or rank, number, group)
    cdef bint pressing                # whether a batch became full
    cdef list idle, gone              # to be forgotten, once it is safe to run the user's code

    # ------------------------------------------------------------------------------- submitting
    cdef list ask_all(self, list items, object weight, object key, object priority):
        """Ask the user's functions about items; whatever they raise goes on to the caller."""
        cdef list every = []
        try:
            for item in items:
                every.append(self.ask(item, weight, key, priority))
        except BaseException:
            self.refuse(every)
            raise
        return every

    cdef Asked ask(self, object item, object weight, object key, object priority):
        cdef Asked asked = Asked.__new__(Asked)
        cdef Group group
        cdef object rank
        if weight is UNSET:
            weight = 1.0 if self.weigh is None else self.weigh(item)
        asked.weight = check_weight(weight)
        if self.refuses_overweight and asked.weight > self.lane.batch_weight:
            self.lane.rejected += 1
            raise OverweightError(
                f"weight must be <= max_batch_weight ({self.lane.batch_weight:g}) "
                f"for batcher {self.lane.name!r}, got {asked.weight:g}"
            )
        if priority is UNSET:
            priority = 0.0 if self.priority is None else self.priority(item)
        asked.priority = check_priority(priority)
        if key is UNSET:
            key = None if self.key is None else self.key(item)
        group = self.by_key.get(key)
        if group is None:
            group = self.by_key.setdefault(key, self.new_group(key))
        group.held += 1
        asked.group = group
        if self.dedupe is not None:
            try:
                asked.shared = self.find_shared(group, item)
            except BaseException:
                self.let_go(group)
                raise
        return asked

    cdef Group new_group(self, object key):
        cdef Group group = Group.__new__(Group)
        group.lane, group.groups, group.key = self.lane, self, key
        group.first = group.last = NOWHERE
        if self.dedupe is not None:
            group.shared = {}
        return group

    cdef Shared find_shared(self, Group group, object item):
        cdef object same = self.dedupe(item)
        cdef Shared shared = group.shared.get(same)
        if shared is None or shared.state != QUEUED:
            shared = group.shared[same] = new_shared(self.lane, group, same)
        return shared

    cdef int refuse_one(self, Asked asked) except -1:
        """Forget about an item that is not accepted."""
        if asked.shared is not None and asked.shared.count == 0:
            asked.shared.forget()
        self.let_go(asked.group)
        return 0

    cdef int refuse(self, list every) except -1:
        for asked in every:
            self.refuse_one(asked)
        return 0

    cdef int let_go(self, Group group) except -1:
        group.held -= 1
        self.forget(group)
        return 0

    cdef int forget(self, Group group) except -1:
        """Drop a group that nothing refers to."""
        if group.held or group.in_flight:
            return 0
        try:
            if self.by_key.get(group.key) is group:
                del self.by_key[group.key]
        except Exception:                 # whatever comparing keys does, the items go on
            pass
        return 0

    cdef int stand(self, Ticket ticket, object item, Py_ssize_t index, Asked asked) except -1:
        """Give one item of a ticket a place in the queue, or with an equal one."""
        cdef Shared shared = asked.shared
        if shared is None:
            self.stand_alone(ticket, item, index, asked)
            return 0
        if shared.state != QUEUED:        # it departed meanwhile
            shared = new_shared(self.lane, asked.group, shared.same)
        if not shared.stands:
            shared.stands = True
            self.stand_alone(shared, item, SHARED, asked)
        else:
            asked.group.held -= 1         # whose item it is holds it
            self.lane.joined += 1
            self.lane.deduplicated += 1
        shared.board(ticket, item, index)
        return 0

    cdef int stand_alone(self, Ticket ticket, object item, Py_ssize_t index, Asked asked) except -1:
        cdef Slots queue = self.lane.queue
        cdef Slot *slot = queue.append()
        cdef Trait *trait = &queue.traits[(queue.tail - 1) & queue.mask]
        Py_INCREF(ticket)
        Py_INCREF(item)
        slot.ticket, slot.item, slot.index = <PyObject *> ticket, <PyObject *> item, index
        ticket.place = queue.tail - 1
        Py_INCREF(asked.group)
        trait.group, trait.weight, trait.number = <PyObject *> asked.group, asked.weight, 0
        trait.rank = ticket.submitted + asked.priority * self.ageing
        self.lane.live += 1
        if asked.priority != 0.0 and not self.ranked:
            self.rank_all()
        return 0

    cdef int rank_all(self) except -1:
        """Go by rank from now on."""
        cdef Group group
        self.ranked = True
        for group in self.by_key.values():
            group.rank_anew()
        return 0

    cdef int take_over(self) except -1:
        """Take in what was queued before items stood in groups."""
        cdef Slots queue = self.lane.queue
        cdef Group group = self.new_group(None)
        cdef Trait *trait
        cdef size_t place
        for place in range(queue.head, queue.tail):
            if queue.at(place).ticket == NULL:
                continue
            trait = &queue.traits[place & queue.mask]
            Py_INCREF(group)
            trait.group, trait.weight, trait.number = <PyObject *> group, 1.0, 0
            trait.rank = (<Ticket> queue.at(place).ticket).submitted
            group.held += 1
        if group.held:
            self.by_key[None] = group
        self.cursor = queue.head
        self.admit()
        return 0

    # -------------------------------------------------------------------------------- admission
    cdef int admit(self) except -1:
        """Let in what the capacity has room for."""
        cdef Lane lane = self.lane
        cdef Slots queue = lane.queue
        cdef size_t place
        while self.admitted < lane.live - lane.beyond():
            place = max(self.cursor, queue.head)
            while queue.at(place).ticket == NULL:
                place += 1
            self.cursor = place + 1
            self.let_in(place & queue.mask)
        return 0

    cdef int let_in(self, size_t place) except -1:
        cdef Trait *trait = &self.lane.queue.traits[place]
        cdef Group group = <Group> trait.group
        cdef double rank = trait.rank
        self.admitted += 1
        self.number += 1
        trait.number = self.number
        group.add(place)
        if group.blocked():
            return 0
        if group.entry == 0:
            self.enter(group)
        elif group.ripe:
            if self.ranked and rank <= group.rank():
                self.enter(group)
        elif group.presses():
            self.enter(group)
        return 0

    cdef int left(self, size_t place) except -1:
        """Take note that the slot at a (masked) place is no longer queued."""
        cdef Slots queue = self.lane.queue
        cdef Trait *trait = &queue.traits[place]
        cdef Group group = <Group> trait.group
        group.held -= 1
        if trait.number:
            self.admitted -= 1
            group.remove(place)
            trait.number = 0
        if group.held == 0:
            self.idle.append(group)
        trait.group = NULL
        Py_DECREF(group)
        if queue.ring[place].index == SHARED:
            (<Shared> queue.ring[place].ticket).depart()
            self.gone.append(<object> queue.ring[place].ticket)
        return 0

    cdef int tidy(self) except -1:
        """Forget what has gone."""
        cdef Shared shared
        cdef Group group
        cdef list gone, idle
        if self.gone:
            gone, self.gone = self.gone, []
            for shared in gone:
                shared.forget()
        if self.idle:
            idle, self.idle = self.idle, []
            for group in idle:
                self.forget(group)
        return 0

    cdef int relink(self) except -1:
        """Follow the queue's slots to their new places."""
        cdef Slots queue = self.lane.queue
        cdef Group group
        cdef size_t place
        for place in range(queue.tail):
            group = <Group> queue.traits[place].group
            group.first = group.last = NOWHERE
            group.ranked = 0
        self.cursor = 0
        for place in range(queue.tail):
            if queue.traits[place].number:
                group = <Group> queue.traits[place].group
                group.link(place)
                if self.ranked:
                    group.push_rank(place)
                self.cursor = place + 1
        return 0

    # ---------------------------------------------------------------------------- which is next
    cdef int enter(self, Group group) except -1:
        """Give a group its entry, in place of the one it had."""
        cdef bint presses = group.presses()
        self.pressing = self.pressing or presses
        self.entry_number += 1
        group.entry = self.entry_number
        group.ripe = presses or self.lane.latency == 0.0
        if group.ripe:
            self.ripe = self.pushed(self.ripe, group.rank(), group)
        else:
            self.young = self.pushed(self.young, group.get_oldest(), group)
        return 0

    cdef list pushed(self, list heap, double value, Group group):
        if len(heap) > 2 * len(self.by_key) + SWEEP:
            heap = [entry for entry in heap if entry[1] == (<Group> entry[2]).entry]
            heapq.heapify(heap)
        heapq.heappush(heap, (value, group.entry, group))
        return heap

    cdef int reconsider(self) except -1:
        """Enter all groups anew, when the options have changed."""
        cdef Group group
        for group in list(self.by_key.values()):
            if group.entry:
                self.enter(group)
        return 0

    cdef Group first_young(self):
        cdef Group group
        while self.young:
            value, number, group = self.young[0]
            if <size_t> number != group.entry:
                heapq.heappop(self.young)
            elif <double> value != group.get_oldest():    # its oldest item has gone
                heapq.heapreplace(self.young, (group.get_oldest(), number, group))
            else:
                return group
        return None

    cdef Group first_ripe(self):
        cdef Group group
        while self.ripe:
            value, number, group = self.ripe[0]
            if <size_t> number != group.entry:
                heapq.heappop(self.ripe)
            elif <double> value != group.rank():          # its first item has gone
                heapq.heapreplace(self.ripe, (group.rank(), number, group))
            else:
                return group
        return None

    cdef Group next(self, double before, bint anyway):
        cdef Group group
        self.admit()
        while True:
            group = self.first_young()
            if group is None or group.get_oldest() > before:
                break
            heapq.heappop(self.young)
            group.ripe = True
            self.ripe = self.pushed(self.ripe, group.rank(), group)
        while True:
            group = self.first_ripe()
            if group is None:
                return self.first_young() if anyway else None
            if group.presses() or group.get_oldest() <= before or self.lane.latency == 0.0:
                return group
            heapq.heappop(self.ripe)
            self.enter(group)             # those that made it ripe have gone

    cdef bint look(self) except -1:
        """Tell whether a batch should go at once, after a submission."""
        cdef Lane lane = self.lane
        self.pressing = False
        self.admit()
        if not lane.slot_free or not self.any():
            return False
        if self.pressing or lane.unsettled - lane.joined >= lane.capacity:
            return True
        if lane.latency == 0.0:
            lane.soon_due()
        return False

    cdef bint any(self):
        return self.first_young() is not None or self.first_ripe() is not None

    cdef double company(self) except? -1.0:
        """Say until when the first group waits for company; infinity where none may go."""
        cdef Group group
        if not self.lane.slot_free:
            return INFINITY
        group = self.first_young()
        return INFINITY if group is None else group.get_oldest() + self.lane.latency

    # ----------------------------------------------------------------------------------- taking
    cdef Flight take(self, Group group):
        cdef Lane lane = self.lane
        cdef Flight flight = new_flight(lane, min(lane.batch_size, group.queued))
        cdef size_t place
        cdef double weight
        while flight.size < lane.batch_size:
            place = group.next()
            if place == NOWHERE:
                break
            weight = lane.queue.traits[place].weight
            if flight.size and flight.weight + weight > lane.batch_weight:
                break
            flight.weight += weight
            lane.move(lane.queue, place, flight)
        lane.live -= flight.size
        flight.group, flight.rises = group, not self.ranked
        group.in_flight += 1
        group.entry = 0
        if group.queued and not group.blocked():
            self.enter(group)
        return flight

    cdef int land(self, Group group) except -1:
        group.in_flight -= 1
        if group.queued and group.entry == 0:
            self.enter(group)
        self.forget(group)
        return 0


cdef Groups new_groups(Lane lane):
    cdef Groups groups = Groups.__new__(Groups)
    groups.lane, groups.by_key, groups.ageing = lane, {}, 1.0
    groups.most_per_key = PY_SSIZE_T_MAX
    groups.young, groups.ripe, groups.idle, groups.gone = [], [], [], []
    return groups


cdef double check_weight(object weight) except? -1.0:
    cdef double number = check_number("weight", weight)
    if not 0.0 <= number < INFINITY:
        raise ValueError(f"weight must be >= 0 and finite, got {weight!r}")
    return number


cdef double check_priority(object priority) except? -1.0:
    cdef double number = check_number("priority", priority)
    if not -INFINITY < number < INFINITY:
        raise ValueError(f"priority must be finite, got {priority!r}")
    return number


cdef inline double check_number(str name, object value) except? -1.0:
    if type(value) is float:
        return <double> value
    if isinstance(value, bool) or not hasattr(type(value), "__float__"):
        raise TypeError(f"{name} must be a number, got {value!r}")
    return float(value)
