# Tickets: the awaitables that callers get, in the protocol of asyncio's futures.

cdef enum State:
    PENDING
    RETURNED
    RAISED
    CANCELLED

cdef enum Timing:
    USUAL                         # late as the lane's timeout says
    OWN                           # with a timeout of its own
    UNTIMED                       # never late, or not once more


@cython.freelist(1024)
cdef class Ticket:
    """The awaitable answer to one submission; made by a batcher, never by hand.

    Await it, or hand it to whatever takes an asyncio future: ``gather``, ``wait``, ``wait_for``,
    ``shield``, ``as_completed``. It settles exactly once. Cancelling it, or the task that awaits
    it, gives up its items and no others.
    """

    cdef Lane lane
    # The item; once it is settled the result, the exception, or the message of a cancellation.
    cdef object value
    cdef object callback          # with a context; without, a list of (callback, context) pairs
    cdef object context
    # The context of the submission, where the lane captures it; of a failed ticket the traceback
    # that its exception came with.
    cdef object context_or_traceback
    cdef PyObject *older          # its neighbours among the lane's unsettled tickets
    cdef PyObject *newer
    cdef readonly double deadline
    cdef readonly double submitted
    cdef unsigned int place       # among those with deadlines of their own
    cdef unsigned char state
    cdef unsigned char blocking
    cdef unsigned char timing
    cdef Entry entry

    __class_getitem__ = classmethod(GenericAlias)

    def __init__(self):
        raise TypeError("a Ticket is made by submitting an item, never by hand")

    def __await__(self):                  # for whoever calls it by name; see set_await
        if self.state == PENDING:
            self.blocking = True
            yield self
            if self.state == PENDING:
                raise RuntimeError("await wasn't used with future")
        return self.result()

    def __iter__(self):
        return self

    @property
    def _asyncio_future_blocking(self):
        return self.blocking != 0

    @_asyncio_future_blocking.setter
    def _asyncio_future_blocking(self, bint value):
        self.blocking = value

    @property
    def get_loop(self):
        """Give the event loop that the ticket belongs to."""
        return self.lane.get_loop

    def done(self):
        """Tell whether the ticket has settled: with a result, an exception or a cancellation."""
        return self.state != PENDING

    def cancelled(self):
        """Tell whether the ticket was cancelled."""
        return self.state == CANCELLED

    def result(self):
        """Give the result, or raise what the ticket failed with.

        It is raised each time with the traceback that it came with, so that none grows.
        Raises the loop's CancelledError when it was cancelled, and its InvalidStateError before it
        is done.
        """
        if self.state == RETURNED:
            return self.value
        if self.state == RAISED:
            PyException_SetTraceback(self.value, self.context_or_traceback)
            raise self.value
        raise self._why_no_result()

    def exception(self):
        """Give what the ticket failed with, None when it has a result; else raise as result()."""
        if self.state == RETURNED:
            return None
        if self.state == RAISED:
            return self.value
        raise self._why_no_result()

    def _why_no_result(self):
        if self.state == CANCELLED:
            return self._make_cancelled_error()
        return self.lane.invalid_state_error("the result is not there yet")

    def _make_cancelled_error(self):
        if self.value is None:
            return self.lane.cancelled_error()
        return self.lane.cancelled_error(self.value)

    @property
    def _cancel_message(self):            # asyncio.gather reads it
        return self.value if self.state == CANCELLED else None

    def cancel(self, msg=None):
        """Give up the items, queued or in flight; False when the ticket is done already.

        Settles at once. The handler never sees what was still queued.
        """
        if self.state != PENDING:
            return False
        cancel(self.lane, self, msg)
        return True

    @property
    def add_done_callback(self):
        """Have ``fn(ticket)`` called by the loop once the ticket is done, in ``context``.

        Without a context it is called in a copy of this call's. Callbacks are called in the order
        in which they were added, never from within this call.
        """
        cdef AddDoneCallback bound = AddDoneCallback.__new__(AddDoneCallback)
        bound.vectorcall, bound.ticket = add_done_callback, self
        return bound

    def remove_done_callback(self, fn):
        """Take back every callback that equals ``fn``; give their number."""
        former = self.callback
        cdef list before = callbacks_of(self)
        kept = [pair for pair in before if pair[0] != fn]
        if self.callback is not former:   # the comparisons have changed them
            return self.remove_done_callback(fn)
        set_callbacks(self, kept)
        return len(before) - len(kept)

    def __repr__(self):
        words = ("queued", "returned", "raised", "cancelled")
        word = "in flight" if batch_of(&self.entry) is not None else words[self.state]
        kind = "Call" if isinstance(self, BatchedCall) else "Ticket"
        return f"<{kind} of {self.lane.name!r}: {word}>"


cdef inline int add_callback(Ticket ticket, object callback, object context) except -1:
    cdef PyObject *waits = <PyObject *> context
    if context is None:
        waits = current_context()
        context = PyContext_CopyCurrent()
    if ticket.lane.contexts & context_bit(waits):
        note_wait(ticket.lane, ticket, waits)
    if ticket.callback is not None:
        return add_another(ticket, callback, context)
    ticket.callback, ticket.context = callback, context
    if ticket.state != PENDING:
        ticket.lane.waker.settled.append(ticket)
        ticket.lane.waker.soon()
    return 0


cdef int add_another(Ticket ticket, object callback, object context) except -1:
    cdef object former = None
    cdef list pairs = None
    while pairs is None or ticket.callback is not former:     # making lists may run a finalizer
        former = ticket.callback
        pairs = [*callbacks_of(ticket), (callback, context)]
    return set_callbacks(ticket, pairs)


cdef int set_callbacks(Ticket ticket, list pairs) except -1:
    former = ticket.callback, ticket.context          # to let go of last
    if len(pairs) == 1:
        ticket.callback, ticket.context = pairs[0]
    else:
        ticket.callback, ticket.context = pairs or None, None
    return 0


cdef list callbacks_of(Ticket ticket):
    if ticket.context is None:
        return list(ticket.callback or ())
    return [(ticket.callback, ticket.context)]


@cython.freelist(8)
@cython.no_gc
@cython.internal
cdef class AddDoneCallback:
    """A ticket's bound method, at a third of the price: a task makes and calls one per await."""

    cdef vectorcallfunc vectorcall
    cdef Ticket ticket


cdef PyObject *keyword_context = NULL      # the keyword names that were seen to be ("context",)


cdef object add_done_callback(
    PyObject *self, PyObject *const *args, size_t count, PyObject *keywords
):
    cdef Ticket ticket = (<AddDoneCallback> self).ticket
    if PyVectorcall_NARGS(count) != 1:
        raise TypeError("add_done_callback() takes exactly one positional argument: the callback")
    if keywords == NULL or len(<tuple> keywords) == 0:
        add_callback(ticket, <object> args[0], None)
    else:
        if keywords != keyword_context:
            check_keywords(<object> keywords)
        add_callback(ticket, <object> args[0], <object> args[1])


cdef int check_keywords(tuple keywords) except -1:
    global keyword_context
    if keywords != ("context",):
        raise TypeError(f"add_done_callback() takes the keyword context only, got {keywords}")
    Py_INCREF(keywords)                    # so that its address stays its own
    Py_XDECREF(keyword_context)
    keyword_context = <PyObject *> keywords
    return 0


cdef AddDoneCallback probe = AddDoneCallback.__new__(AddDoneCallback)
set_vectorcall(AddDoneCallback, <char *> &probe.vectorcall - <char *> <PyObject *> probe)


@cython.final
@cython.internal
cdef class ManyTicket(Ticket):
    """The one ticket of many items; its value is their list, each item replaced by its result."""

    cdef Entry *entries
    cdef Py_ssize_t count
    cdef Py_ssize_t remaining
    cdef Py_ssize_t first_failure      # -1: none so far
    cdef bint return_exceptions

    def __dealloc__(self):
        PyMem_Free(self.entries)


cdef PyObject *ticket_next(PyObject *self) noexcept:
    cdef PyObject *value = NULL
    if ticket_send(self, NULL, &value) == PYGEN_RETURN:
        if value != <PyObject *> None:
            stop_iteration(<object> value)
        Py_DECREF(<object> value)
        return NULL
    return value


cdef PySendResult ticket_send(PyObject *self, PyObject *sent, PyObject **value) noexcept:
    """Hand the result over without an exception object, or the ticket itself while it waits."""
    cdef unsigned char state = (<Ticket> self).state
    if state == RETURNED:
        Py_INCREF((<Ticket> self).value)
        value[0] = <PyObject *> (<Ticket> self).value
        return PYGEN_RETURN
    value[0] = NULL
    if state != PENDING:
        set_error(<Ticket> self)
        return PYGEN_ERROR
    if (<Ticket> self).blocking:          # as it was given, and no task took it
        PyErr_SetObject(RuntimeError, "await wasn't used with future")
        return PYGEN_ERROR
    (<Ticket> self).blocking = True
    Py_INCREF(<object> self)
    value[0] = self
    return PYGEN_NEXT


cdef void set_error(Ticket self) noexcept:
    try:
        error = self.exception()
        if self.state == RAISED:
            PyException_SetTraceback(error, self.context_or_traceback)
    except BaseException as raised:
        error = raised
    PyErr_SetObject(type(error), error)


cdef object traceback_of(object error):
    """Give what an exception has been through so far; None where it was not raised."""
    cdef PyObject *traceback = PyException_GetTraceback(error)
    if traceback == NULL:
        return None
    found = <object> traceback
    Py_DECREF(found)                       # for it came with a reference
    return found


set_await(Ticket, ticket_next, ticket_send)
set_await(ManyTicket, ticket_next, ticket_send)
