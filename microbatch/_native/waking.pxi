# Waking: the callbacks of settled tickets, many of them in one callback of the loop.

@cython.internal
cdef class Waker:
    """Call the callbacks of the tickets that one lane has settled."""

    cdef Lane lane
    cdef Slots settled
    cdef object on_callback_error, done_future
    cdef bint scheduled
    cdef unsigned long thread         # that runs callbacks now; 0: none does
    cdef long process                 # the count of forks when it began to

    cdef inline int add(self, Ticket ticket) except -1:
        cdef Slot *slot = self.settled.append()
        Py_INCREF(ticket)
        slot.ticket, slot.item = <PyObject *> ticket, NULL
        return 0

    cdef int soon(self) except -1:
        if not self.scheduled:
            self.lane.schedule(self.run_scheduled, &self.scheduled)
        return 0

    def run_scheduled(self):
        self.scheduled = False
        self.run()
        self.lane.rest_if_idle()

    cdef int run(self) except -1:
        """Call what stands there now; what a callback adds is for the next time."""
        cdef size_t left = self.settled.length()
        self.thread, self.process = thread_ident(), forks
        try:
            while left and self.settled.length():  # a callback may call the others itself
                left -= 1
                self.call_back(self.next())
        except BaseException:
            self.soon()
            raise
        finally:
            self.thread = 0
        if self.settled.mask >= 4096 and not self.settled.length():
            self.settled.resize(16)
        return 0

    cdef inline bint runs_here(self) noexcept:
        """Tell whether this thread, in this process, is in the middle of run()."""
        return self.thread == thread_ident() and self.process == forks

    cdef inline Ticket next(self):
        cdef Slot *slot = self.settled.at(self.settled.head)
        cdef Ticket ticket = <Ticket> slot.ticket
        Py_DECREF(ticket)
        slot.ticket = NULL
        self.settled.head += 1
        return ticket

    cdef inline int call_back(self, Ticket ticket) except -1:
        callback, context, more = ticket.callback, ticket.context, ticket.more
        ticket.callback = ticket.context = ticket.more = None
        if more is not None:
            self.call_each(ticket, [(callback, context), *more])
        elif callback is not None:
            self.call(callback, context, ticket)
        return 0

    cdef int call_each(self, Ticket ticket, list callbacks) except -1:
        try:
            while callbacks:
                callback, context = callbacks.pop(0)
                self.call(callback, context, ticket)
        finally:
            if callbacks:             # after an exit request: another time, before later ones
                ticket.set_callbacks(callbacks + ticket.callbacks())
                self.add(ticket)
        return 0

    cdef inline int call(self, object callback, object context, Ticket ticket) except -1:
        cdef PyObject *answer
        if enter(context):
            self.report(callback, ticket)
            return 0
        answer = call_one(
            callback,
            self.done_future if ticket.state == RETURNED and wakes_task(callback) else ticket,
        )
        leave(context)
        if answer == NULL:
            self.report(callback, ticket)
        else:
            Py_DECREF(<object> answer)
        return 0

    cdef int report(self, object callback, Ticket ticket) except -1:
        try:
            raise_current()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.on_callback_error(error, callback, ticket)
        return 0


cdef Waker new_waker(Lane lane, object on_callback_error, object done_future):
    cdef Waker waker = Waker.__new__(Waker)
    waker.lane, waker.settled = lane, Slots.__new__(Slots)
    waker.on_callback_error, waker.done_future = on_callback_error, done_future
    return waker


cdef int raise_current() except -1:
    return -1


cdef long forks = 0


def _forked():
    global forks
    forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
