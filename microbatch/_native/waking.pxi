# Waking: the callbacks of settled tickets, many of them in one callback of the loop.

@cython.internal
cdef class Waker:
    """Call the callbacks of the tickets that one lane has settled."""

    cdef Lane lane
    cdef list settled                 # those with callbacks
    cdef Py_ssize_t called            # how many of these are done
    cdef object on_callback_error, done_future
    cdef bint scheduled
    cdef unsigned long thread         # that runs callbacks now; 0: none does
    cdef long process                 # the count of forks when it began to

    cdef int soon(self) except -1:
        if not self.scheduled:
            schedule(self.lane, self.run_scheduled, &self.scheduled)
        return 0

    def run_scheduled(self):
        self.scheduled = False
        self.run()
        if self.lane.unsettled == 0:
            rest(self.lane)

    cdef int run(self) except -1:
        """Call what stands there now; what a callback adds is for the next time."""
        cdef Py_ssize_t left = len(self.settled) - self.called
        self.thread, self.process = thread_ident(), forks
        try:
            while left and self.called < len(self.settled):   # a callback may call the others
                left -= 1
                self.call_back(self.next())
        except BaseException:
            self.soon()
            raise
        finally:
            self.thread = 0
        return 0

    cdef inline bint runs_here(self) noexcept:
        """Tell whether this thread, in this process, is in the middle of run()."""
        return self.thread == thread_ident() and self.process == forks

    cdef inline Ticket next(self):
        cdef Ticket ticket = <Ticket> self.settled[self.called]
        self.called += 1
        if self.called == len(self.settled) or self.called == 1024:
            called, self.called = self.called, 0
            del self.settled[:called]
        return ticket

    cdef inline int call_back(self, Ticket ticket) except -1:
        callback, context = ticket.callback, ticket.context
        ticket.callback = ticket.context = None
        if context is not None:
            self.call(callback, context, ticket)
        elif callback is not None:
            self.call_each(ticket, callback)
        return 0

    cdef int call_each(self, Ticket ticket, list callbacks) except -1:
        try:
            while callbacks:
                callback, context = callbacks.pop(0)
                self.call(callback, context, ticket)
        finally:
            if callbacks:             # after an exit request: another time, before later ones
                set_callbacks(ticket, callbacks + callbacks_of(ticket))
                self.settled.append(ticket)
        return 0

    cdef inline int call(self, object callback, object context, Ticket ticket) except -1:
        cdef PyObject *answer
        if enter_context(context):
            self.report(callback, ticket)
            return 0
        answer = call_one(
            callback,
            self.done_future if ticket.state == RETURNED and wakes_task(callback) else ticket,
        )
        leave_context(context)
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
    waker.lane, waker.settled = lane, []
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
