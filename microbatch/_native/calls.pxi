# Calls: what a batched function gives, a ticket that is a coroutine too.

@cython.final
cdef class BatchedCall(Ticket):
    """One call of a batched function: a coroutine to whoever asks for one, and a ticket.

    It has been submitted by the call, so awaiting it, a task of it, and ``gather`` wait for the
    same item. A task that is cancelled before its first step gives the item up, and so does
    ``close()``. ``asyncio.wait`` takes no coroutines: ``submit()`` gives what it wants.
    """

    def __await__(self):
        return self

    def close(self):
        """Give the item up, unless it is done."""
        give_up(self)

    @property
    def __qualname__(self):               # asyncio names tasks by it where it shows them
        return self.lane.name


cdef int give_up(Ticket ticket) noexcept:
    """Cancel a ticket unless it is done, from whatever thread: that may be a collector's."""
    if ticket.state == PENDING:
        ticket.lane.on_given_up(ticket)
    return 0


cdef PyObject *call_send(PyObject *self, PyObject *value) noexcept:
    cdef PyObject *outcome = NULL
    cdef PySendResult result = ticket_send(self, value, &outcome)
    if result == PYGEN_RETURN:
        stop_iteration(<object> outcome)
        Py_DECREF(<object> outcome)
        return NULL
    return outcome                        # the call itself, or NULL with an exception


cdef PyObject *call_throw(PyObject *self, PyObject *args) noexcept:
    if count_thrown(<tuple> args):
        give_up(<Ticket> self)
        raise_thrown(<tuple> args)
    return NULL


cdef bint count_thrown(tuple args) noexcept:
    """Tell whether throw() was given one to three arguments; else set a TypeError."""
    if 1 <= len(args) <= 3:
        return True
    text = f"throw() takes from 1 to 3 arguments, got {len(args)}"
    PyErr_SetObject(TypeError, text)
    return False


cdef void raise_thrown(tuple args) noexcept:
    kind, value, traceback = args + (None,) * (3 - len(args))
    raise_given(kind, value, traceback)


cdef PyMethodDef send_method = PyMethodDef(
    "send", call_send, METH_O, "send($self, value, /)\n--\n\nGive the call itself while it waits."
)
cdef PyMethodDef throw_method = PyMethodDef(
    "throw", call_throw, METH_VARARGS, "Give the item up unless it is done, and raise."
)

set_like_base(BatchedCall)
set_await(BatchedCall, ticket_next, ticket_send)
set_method(BatchedCall, &send_method)
set_method(BatchedCall, &throw_method)
