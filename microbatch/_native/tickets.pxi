# Tickets: the awaitables that callers get, in the protocol of asyncio's futures.

@cython.freelist(1024)
cdef class Ticket:
    """The awaitable answer to one submission; made by a batcher, never by hand.

    Await it, or hand it to whatever takes an asyncio future: ``gather``, ``wait``, ``wait_for``,
    ``shield``, ``as_completed``. It settles exactly once. Cancelling it, or the task that awaits
    it, gives up its items and no others.
    """

    cdef Lane lane
    cdef Flight flight            # set while in flight
    cdef object value             # the result, the exception, or the message of a cancellation
    cdef object callback          # the first callback, and its context
    cdef object context
    # The context of the submission, where the lane captures it; of a failed ticket the traceback
    # that its exception came with.
    cdef object captured
    cdef list more                # further (callback, context) pairs
    cdef size_t place             # where its slot is: in the queue, or in the flight
    cdef readonly double deadline
    cdef readonly double submitted
    cdef public bint _asyncio_future_blocking
    cdef unsigned char state
    cdef unsigned char own_deadline   # out of line, so it stands in the heap
    cdef unsigned char own_timeout    # given with this ticket alone

    __class_getitem__ = classmethod(GenericAlias)

    def __init__(self):
        raise TypeError("a Ticket is made by submitting an item, never by hand")

    def __await__(self):                  # for whoever calls it by name; see set_await
        cdef TicketIterator iterator = TicketIterator.__new__(TicketIterator)
        iterator.ticket = self
        return iterator

    def __iter__(self):
        return self

    @property
    def get_loop(self):
        """Give the event loop that the ticket belongs to."""
        return self.lane.get_loop

    def done(self):
        """Tell whether the ticket has settled: with a result, an exception or a cancellation."""
        return self.state > IN_FLIGHT

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
            PyException_SetTraceback(self.value, self.captured)
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
        if self.state > IN_FLIGHT:
            return False
        self.lane.cancel(self, msg)
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

    cdef inline int add(self, object callback, object context) except -1:
        cdef PyObject *waits = <PyObject *> context
        if context is None:
            waits = current_context()
            context = PyContext_CopyCurrent()
        if self.lane.contexts & context_bit(waits):
            note_wait(self.lane, self, waits)
        if self.callback is None:
            self.callback = callback
            self.context = context
            if self.state > IN_FLIGHT:
                self.lane.waker.add(self)
                self.lane.waker.soon()
        elif self.more is None:
            self.more = [(callback, context)]
        else:
            self.more.append((callback, context))
        return 0

    def remove_done_callback(self, fn):
        """Take back every callback that equals ``fn``; give their number."""
        cdef list before = self.callbacks()
        kept = [pair for pair in before if pair[0] != fn]
        self.set_callbacks(kept)
        return len(before) - len(kept)

    cdef int set_callbacks(self, list pairs) except -1:
        self.callback, self.context = pairs[0] if pairs else (None, None)
        self.more = pairs[1:] or None
        return 0

    cdef list callbacks(self):
        if self.callback is None:
            return []
        return [(self.callback, self.context), *(self.more or ())]

    def __repr__(self):
        words = ("queued", "in flight", "returned", "raised", "cancelled")
        kind = "Call" if isinstance(self, (BatchedCall, RiderCall)) else "Ticket"
        return f"<{kind} of {self.lane.name!r}: {words[self.state]}>"


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
        ticket.add(<object> args[0], None)
    else:
        if keywords != keyword_context:
            check_keywords(<object> keywords)
        ticket.add(<object> args[0], <object> args[1])


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
cdef class TicketIterator:
    """A ticket driven by hand: what ``ticket.__await__()`` gives, as asyncio's futures do."""

    cdef Ticket ticket                # None once it is over

    def __iter__(self):
        return self

    def __next__(self):
        return self.send(None)

    def send(self, value):
        """Give the ticket while it waits; raise StopIteration with its result once it is there."""
        cdef Ticket ticket = self.ticket
        cdef PyObject *outcome = NULL
        cdef PySendResult result
        if ticket is None:
            raise StopIteration
        result = ticket_send(<PyObject *> ticket, NULL, &outcome)
        if result == PYGEN_NEXT:
            Py_DECREF(ticket)
            return ticket
        self.ticket = None
        if result == PYGEN_ERROR:
            raise_current()
        given = <object> outcome
        Py_DECREF(given)
        raise StopIteration(given)

    def throw(self, kind, value=None, traceback=None):
        """Raise, and end here; the ticket goes on."""
        self.ticket = None
        raise_given(kind, value, traceback)
        raise_current()

    def close(self):
        """End here; the ticket goes on."""
        self.ticket = None


@cython.final
@cython.internal
cdef class Many(Ticket):
    """The one ticket of many items; its result is the list of theirs."""

    cdef list values
    cdef Py_ssize_t remaining
    cdef Py_ssize_t first_failure      # -1: none so far
    cdef bint return_exceptions

    cdef bint store(self, Py_ssize_t index, State state, object value):
        """Keep one item's outcome, and answer whether that was the last."""
        self.values[index] = value
        if state == RAISED and not 0 <= self.first_failure < index:
            self.first_failure = index
        self.remaining -= 1
        return self.remaining == 0

    cdef State conclude(self):
        """Make one outcome of all."""
        values, self.values = self.values, None
        if self.first_failure >= 0 and not self.return_exceptions:
            self.value = values[self.first_failure]
            return RAISED
        self.value = values
        return RETURNED


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
    if state > IN_FLIGHT:
        set_error(<Ticket> self)
        return PYGEN_ERROR
    if (<Ticket> self)._asyncio_future_blocking:      # as it was given, and no task took it
        PyErr_SetObject(RuntimeError, "await wasn't used with future")
        return PYGEN_ERROR
    (<Ticket> self)._asyncio_future_blocking = True
    Py_INCREF(<object> self)
    value[0] = self
    return PYGEN_NEXT


cdef void set_error(Ticket self) noexcept:
    try:
        error = self.exception()
        if self.state == RAISED:
            PyException_SetTraceback(error, self.captured)
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
set_await(Many, ticket_next, ticket_send)
