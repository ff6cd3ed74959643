# Sharing: equal items are handled once; one entry stands for them, and the others join it.

@cython.final
@cython.internal
cdef class Shared(Keyed):
    """How equal items find each other: the entry that stands for them, and those that joined it.

    When that one is settled or leaves, the first that joined stands in its place: with its own item
    while that is queued, with the one that was taken when it is in flight.
    """

    cdef KeyQueue queue               # its scope; its key is what dedupe() said
    cdef Entry *leader                # NULL: none so far, or it is over
    cdef EntryList joined

    cdef inline int join(self, Entry *entry) except -1:
        entry.stage, entry.where = JOINED, <PyObject *> self
        list_append(&self.joined, entry)
        self.lane.joined += 1
        self.lane.deduplicated += 1
        self.lane.joined_in_flight += self.leader.stage == IN_FLIGHT
        return 0

    cdef int lead(self, Entry *entry) except -1:
        """Have an entry stand for the equal ones that are to come."""
        self.leader, entry.extra.shared = entry, <PyObject *> self
        self.queue = <KeyQueue> entry.where
        self.hold()
        self.queue.hold()
        return 0

    cdef int leave(self, Entry *entry) except -1:
        list_remove(&self.joined, entry)
        self.lane.joined -= 1
        self.lane.joined_in_flight -= self.leader.stage == IN_FLIGHT
        return 0

    cdef inline void depart(self) noexcept:
        """Take note that the leader is in flight."""
        self.lane.joined_in_flight += self.joined.count
        if not self.lane.joins_in_flight:
            self.hide()

    cdef int hand_over(self) except -1:
        """Put the first that joined in the place of the leader."""
        cdef Entry *leader = self.leader
        cdef Entry *heir = self.joined.first
        self.leave(heir)
        heir.stage, heir.where, heir.place = leader.stage, leader.where, leader.place
        heir.extra.rank, heir.extra.since = leader.extra.rank, leader.extra.since
        heir.extra.number, heir.extra.shared = leader.extra.number, <PyObject *> self
        self.leader = heir
        if heir.stage == WAITING:
            list_replace(&self.lane.waiting_entries, leader, heir)
        elif heir.stage == QUEUED:
            (<KeyQueue> heir.where).replace(leader, heir)
        else:                             # and what was taken stays so
            (<InFlightBatch> heir.where).seats[heir.place].entry = heir
            heir.extra.load = leader.extra.load
            swap_items(leader, heir)
        return 0

    cdef int dissolve(self) except -1:
        """Take nobody more for this leader; the next equal item is handled anew."""
        self.leader.extra.shared = NULL
        self.leader = NULL
        self.let_go()
        self.queue.let_go()
        return 0


cdef int swap_items(Entry *one, Entry *other) except -1:
    cdef object first = item_of(one), second = item_of(other)
    set_item(one, second)
    set_item(other, first)
    return 0


cdef int set_item(Entry *entry, object item) except -1:
    cdef Ticket ticket = <Ticket> entry.ticket
    if entry == &ticket.entry:
        ticket.value = item
    else:
        (<list> ticket.value)[entry - (<ManyTicket> ticket).entries] = item
    return 0


cdef inline bint is_shared(Entry *entry) noexcept:
    """Tell whether an entry stands for equal ones, or could."""
    return entry.extra != NULL and entry.extra.shared != NULL


# ----------------------------------------------------------------------------------------- leaving
cdef int detach(Lane lane, Entry *entry) except -1:
    """Take an entry out of wherever it stands; who shares its item stands there now."""
    cdef Shared shared
    if is_shared(entry):
        shared = <Shared> entry.extra.shared
        if shared.joined.count:
            shared.hand_over()
            entry.stage = OVER
        else:
            shared.dissolve()
    if entry.stage == IN_FLIGHT:
        vacate(entry)
    elif entry.stage == JOINED:
        (<Shared> entry.where).leave(entry)
    elif entry.stage != OVER:
        unqueue(lane, entry)
    free_extra(entry)
    entry.stage, entry.where = OVER, NULL
    return 0


cdef inline int vacate(Entry *entry) except -1:
    """Have an entry leave its batch."""
    cdef InFlightBatch batch = <InFlightBatch> entry.where
    batch.seats[entry.place].entry = NULL
    batch.let_go()
    entry.stage, entry.where = OVER, NULL
    return 0


cdef int unqueue(Lane lane, Entry *entry) except -1:
    """Take an entry out of the line that it stands in, and with it those who share its item."""
    cdef KeyQueue queue = <KeyQueue> entry.where
    if entry.stage == WAITING:
        list_remove(&lane.waiting_entries, entry)
    else:
        queue.remove(entry)
        queue.stand()
    queue.let_go()
    if is_shared(entry):
        (<Shared> entry.extra.shared).depart()
    return 0


cdef InFlightBatch batch_of(Entry *entry):
    """Give the batch that an entry's item is in, or None."""
    if entry.stage == JOINED:
        entry = (<Shared> entry.where).leader
    return <InFlightBatch> entry.where if entry.stage == IN_FLIGHT else None
