# Grouping: which group an item belongs to, and which group is next.

@cython.final
@cython.internal
@cython.freelist(64)
cdef class Asked:
    """What is known of an item before it is accepted; its group is held for it."""

    cdef Group group
    cdef double weight, priority
    cdef Shared shared


@cython.final
@cython.internal
cdef class Groups:
    """Put queued items into groups, and say which group is next.

    A group with queued items, and a batch to spare, has an entry in one of two heaps: the *young*
    by age, which wait for company, or the *ripe* by rank, which may go at once. Of equal ones the
    group goes first whose item was admitted first. An entry is stale when its number is no longer
    the group's. Whatever is allocated may run a finalizer, which may submit and cancel.
    """

    cdef Lane lane
    cdef object key, weigh, priority, dedupe
    cdef bint refuses_overweight
    cdef bint joins_in_flight         # whether equal items may be shared until they are settled
    cdef double ageing
    cdef Py_ssize_t most_per_key
    cdef bint ranked
    cdef dict by_key
    cdef size_t cursor                # before it in the queue, all are admitted
    cdef Py_ssize_t admitted
    cdef size_t number, entry_number
    cdef list young, ripe             # (age or rank, number of the item, number of entry, group)
    cdef Py_ssize_t pressing          # groups of which a batch should go at once
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
        asked.group = self.hold_group(key)
        if self.dedupe is not None:
            try:
                asked.shared = self.find_shared(asked.group, item)
            except BaseException:
                self.let_go(asked.group)
                raise
        return asked

    cdef Asked ask_nothing(self):
        """Give what an item is that was pushed when items did not stand in groups yet."""
        cdef Asked asked = Asked.__new__(Asked)
        asked.weight, asked.group = 1.0, self.hold_group(None)
        return asked

    cdef Group hold_group(self, object key):
        cdef Group group
        try:
            group = self.by_key.get(key)
        except TypeError:
            check_hashable("key must be hashable", key)
            raise
        if group is None:
            group = self.by_key.setdefault(key, self.new_group(key))
        group.held += 1
        return group

    cdef Group new_group(self, object key):
        cdef Group group = Group.__new__(Group)
        group.lane, group.groups, group.key = self.lane, self, key
        group.first = group.last = NOWHERE
        if self.dedupe is not None:
            group.shared = {}
        return group

    cdef Shared find_shared(self, Group group, object item):
        cdef object same = self.dedupe(item)
        cdef Shared shared
        try:
            shared = group.shared.get(same)
        except TypeError:
            check_hashable("dedupe must give what is hashable", same)
            raise
        if shared is None or not self.takes_callers(shared):
            shared = group.shared[same] = new_shared(self.lane, group, same)
        return shared

    cdef inline bint takes_callers(self, Shared shared) noexcept:
        return shared.state == QUEUED or (self.joins_in_flight and shared.state == IN_FLIGHT)

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
        if group.held or group.in_flight or (self.joins_in_flight and group.shared):
            return 0
        try:
            if self.by_key.get(group.key) is group:
                del self.by_key[group.key]
                if group.held or group.in_flight:     # what compares keys has submitted an item
                    self.by_key.setdefault(group.key, group)
            if not self.by_key:
                self.drop_entries()
        except Exception:                 # whatever comparing keys does, the items go on
            return 0
        return 0

    cdef int drop_entries(self) except -1:
        """Let go of stale entries, where there are no others."""
        cdef list young = [], ripe = []
        cdef dict by_key = {}                 # what was large takes no room when it is empty
        if not self.by_key:                   # still
            self.by_key, by_key = by_key, self.by_key
            self.young, young = young, self.young
            self.ripe, ripe = ripe, self.ripe
        return 0

    cdef int renew(self, Asked asked) except -1:
        """See to it that an item that is shared can be, still; it may run finalizers."""
        cdef Shared shared = asked.shared
        while shared is not None and not self.takes_callers(shared):      # not any more
            if shared.heir is None:
                heir = new_shared(self.lane, shared.group, shared.same)
                if shared.heir is None:
                    shared.heir = heir
            asked.shared = shared = shared.heir
        return 0

    cdef int renew_all(self, list every) except -1:
        cdef Asked asked
        cdef bint again = True
        while again:
            again = False
            for asked in every:
                if asked.shared is not None and not self.takes_callers(asked.shared):
                    self.renew(asked)
                    again = True
        return 0

    # Between renewing and accepting nothing is allocated that could run a finalizer.
    cdef int stand(self, Ticket ticket, object item, Py_ssize_t index, Asked asked) except -1:
        """Give one item of a ticket a place in the queue, or with an equal one."""
        cdef Shared shared = asked.shared
        if shared is None:
            self.stand_alone(ticket, item, index, asked)
            return 0
        if not shared.stands:
            shared.stands = True
            shared.submitted = ticket.submitted
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

    cdef int take_over(self, Group group) except -1:
        """Take in what was queued before items stood in groups."""
        cdef Slots queue = self.lane.queue
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
        cdef bint moves_up
        self.admitted += 1
        self.number += 1
        trait.number = self.number
        group.add(place)
        self.reckon(group)
        if group.blocked():
            return 0
        if group.ripe and group.entry:
            moves_up = self.ranked and group.next() == place
        else:
            moves_up = group.pressing or group.entry == 0
        if moves_up:
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
            self.reckon(group)
            trait.number = 0
        if group.held == 0:
            self.idle.append(group)
        trait.group = NULL
        Py_DECREF(group)
        if queue.ring[place].index == SHARED:
            (<Shared> queue.ring[place].ticket).depart()
            if not self.joins_in_flight:
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
    cdef inline int reckon(self, Group group) noexcept:
        """Take note whether a batch of a group should go at once."""
        cdef bint presses = group.presses()
        self.pressing += <Py_ssize_t> presses - <Py_ssize_t> group.pressing
        group.pressing = presses
        return 0

    cdef int enter(self, Group group) except -1:
        """Give a group its entry, in place of the one it had."""
        self.entry_number += 1
        group.entry = self.entry_number
        group.ripe = group.pressing or self.lane.latency == 0.0
        self.push(group)
        return 0

    cdef int push(self, Group group) except -1:
        cdef tuple entry
        if group.ripe:
            entry = self.ripe_entry(group)
            if self.needs_sweep(self.ripe):
                self.ripe = swept(self.ripe)
            heapq.heappush(self.ripe, entry)
        else:
            entry = self.young_entry(group)
            if self.needs_sweep(self.young):
                self.young = swept(self.young)
            heapq.heappush(self.young, entry)
        return 0

    cdef tuple ripe_entry(self, Group group):
        """Give a group its place among those that may go at once."""
        cdef Trait *trait = &self.lane.queue.traits[group.next()]
        return (trait.rank, trait.number, group.entry, group)

    cdef tuple young_entry(self, Group group):
        """Give a group its place among those that wait for company."""
        return (group.get_oldest(), self.lane.queue.traits[group.first].number, group.entry, group)

    cdef inline bint needs_sweep(self, list heap):
        return len(heap) > 2 * len(self.by_key) + SWEEP

    cdef int reconsider(self) except -1:
        """Enter all groups anew, when the options have changed."""
        cdef Group group
        for group in list(self.by_key.values()):
            self.reckon(group)
            if group.entry:
                self.enter(group)
        return 0

    cdef int sort_out(self) except -1:
        """Let groups wait for company again of which no batch was taken when it could be."""
        cdef list ripe = self.ripe
        cdef Group group
        self.ripe = []
        for _, _, number, group in ripe:
            if <size_t> number == group.entry:
                self.enter(group)
        return 0

    cdef Group first_young(self):
        cdef tuple entry, now
        cdef Group group
        while self.young:
            entry = self.young[0]
            group = entry[3]
            if <size_t> entry[2] != group.entry:
                heapq.heappop(self.young)
            elif <size_t> entry[1] == self.lane.queue.traits[group.first].number:
                return group
            else:                                         # its oldest item has gone
                now = self.young_entry(group)
                if self.young and self.young[0] is entry:
                    heapq.heapreplace(self.young, now)
        return None

    cdef Group first_ripe(self):
        cdef tuple entry, now
        cdef Group group
        while self.ripe:
            entry = self.ripe[0]
            group = entry[3]
            if <size_t> entry[2] != group.entry:
                heapq.heappop(self.ripe)
            elif <size_t> entry[1] == self.lane.queue.traits[group.next()].number:
                return group
            else:                                         # its first item has gone
                now = self.ripe_entry(group)
                if self.ripe and self.ripe[0] is entry:
                    heapq.heapreplace(self.ripe, now)
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
            self.push(group)
        while True:
            group = self.first_ripe()
            if group is None:
                return self.first_young() if anyway else None
            if group.pressing or group.get_oldest() <= before or self.lane.latency == 0.0:
                return group
            heapq.heappop(self.ripe)
            self.enter(group)             # those that made it ripe have gone

    cdef bint look(self) except -1:
        """Tell whether a batch should go at once, after a submission."""
        cdef Lane lane = self.lane
        self.admit()
        if not lane.slot_free or not self.any():
            return False
        if self.pressing or lane.is_crowded():
            return True
        if lane.latency == 0.0:
            lane.soon_due()
        return False

    cdef bint any(self):
        return self.first_young() is not None or self.first_ripe() is not None

    cdef double company(self) except? -1.0:
        """Say until when the first group waits for company; infinity where none may go."""
        cdef Group group
        if not self.lane.slot_free or self.lane.latency == 0.0:
            return INFINITY
        self.admit()
        if len(self.ripe) > self.pressing:
            self.sort_out()
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
        self.reckon(group)
        group.entry = 0
        if group.queued and not group.blocked():
            self.enter(group)
        return flight

    cdef int land(self, Group group) except -1:
        group.in_flight -= 1
        self.reckon(group)
        if group.queued and group.entry == 0 and not group.blocked():
            self.enter(group)
        self.forget(group)
        return 0


cdef Groups new_groups(Lane lane):
    cdef Groups groups = Groups.__new__(Groups)
    groups.lane, groups.by_key, groups.ageing = lane, {}, 1.0
    groups.most_per_key = PY_SSIZE_T_MAX
    groups.young, groups.ripe, groups.idle, groups.gone = [], [], [], []
    return groups


cdef list swept(list heap):
    """Leave the stale entries out."""
    cdef list kept = [entry for entry in heap if entry[2] == (<Group> entry[3]).entry]
    heapq.heapify(kept)
    return kept


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
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        return float(value)
    except OverflowError:
        return INFINITY


cdef int check_hashable(str rule, object value) except -1:
    try:
        hash(value)
    except TypeError:
        raise TypeError(f"{rule}, got {value!r}") from None
    return 0
