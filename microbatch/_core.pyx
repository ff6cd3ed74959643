# cython: language_level=3, binding=False, boundscheck=False, wraparound=False
# cython: initializedcheck=False, nonecheck=True, embedsignature=True, embedsignature.format=clinic
"""The per-item half of microbatch, in C: tickets, the queue, deadlines, settling and waking.

No policy lives here. The clock and the ways to be called back are handed in, so the same code runs
under any event loop, under a virtual clock, and with no loop at all. ``_core.pyi`` is the contract
of every public name; ``_core_py.py`` says the same in plain Python.
"""

cimport cython
from cpython.exc cimport PyErr_SetObject
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject, PyTypeObject, visitproc
from cpython.ref cimport Py_CLEAR, Py_DECREF, Py_INCREF, Py_XDECREF
from types import GenericAlias

import heapq
import time

from microbatch.errors import BatcherClosedError, CapacityError

cdef extern from "Python.h":
    int PyExceptionInstance_Check(object)
    int PyContext_Enter(object) except -1
    int PyContext_Exit(object) except -1
    object PyContext_CopyCurrent()
    PyObject *call_one "PyObject_CallOneArg"(object, object)
    object PyLong_FromVoidPtr(void *)
    PyObject *PyTuple_GET_ITEM(object, Py_ssize_t)
    void PyException_SetTraceback(object, object)
    Py_ssize_t PY_SSIZE_T_MAX

    ctypedef int (*inquiry)(PyObject *) noexcept
    ctypedef int (*traverseproc)(PyObject *, visitproc, void *) noexcept
    ctypedef PyObject *(*iternextfunc)(PyObject *) noexcept
    ctypedef object (*ternaryfunc)(PyObject *, PyObject *, PyObject *)

    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT

    ctypedef PySendResult (*sendfunc)(PyObject *, PyObject *, PyObject **) noexcept

    ctypedef struct PyAsyncMethods:
        sendfunc am_send

cdef extern from *:
    """
    #include <time.h>
    #if defined(CLOCK_MONOTONIC) && !defined(_WIN32) && !defined(__APPLE__)
    #define MICROBATCH_NATIVE_CLOCK 1
    static double microbatch_monotonic(void)
    {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    }
    #else
    #define MICROBATCH_NATIVE_CLOCK 0
    static double microbatch_monotonic(void) { return 0.0; }
    #endif

    /* What asyncio keeps in the thread's state while a loop runs, NULL where it keeps nothing there:
       looking at it is many times cheaper than asyncio.get_running_loop(), which asks for the
       process number too on 3.11. */
    static PyObject *microbatch_loop_mark(void)
    {
        static PyObject *key = NULL;
        PyObject *state = PyThreadState_GetDict();
        if (key == NULL)
            key = PyUnicode_InternFromString("__asyncio_running_event_loop__");
        return state == NULL || key == NULL ? NULL : PyDict_GetItem(state, key);
    }

    /* Set StopIteration with this value, without the arguments that its constructor would parse. */
    static void microbatch_stop_iteration(PyObject *value)
    {
        static PyObject *no_arguments = NULL;
        PyTypeObject *type = (PyTypeObject *)PyExc_StopIteration;
        PyObject *stop;
        if (no_arguments == NULL && (no_arguments = PyTuple_New(0)) == NULL)
            return;
        stop = type->tp_new(type, no_arguments, NULL);
        if (stop == NULL)
            return;
        Py_INCREF(value);
        Py_XSETREF(((PyStopIterationObject *)stop)->value, value);
    #if PY_VERSION_HEX >= 0x030C0000
        PyErr_SetRaisedException(stop);
    #else
        Py_INCREF(PyExc_StopIteration);
        PyErr_Restore(PyExc_StopIteration, stop, NULL);
    #endif
    }

    /* A task's wake-up is a bound C function; it asks its argument only whether it failed. */
    static int microbatch_wakes_task(PyObject *callback)
    {
        static PyMethodDef *known = NULL;
        PyMethodDef *method;
        if (!PyCFunction_Check(callback))
            return 0;
        method = ((PyCFunctionObject *)callback)->m_ml;
        if (method == known)
            return 1;
        if (strcmp(method->ml_name, "TaskWakeupMethWrapper") && strcmp(method->ml_name, "task_wakeup"))
            return 0;
        known = method;
        return 1;
    }

    #ifdef __linux__
    #include <sys/timerfd.h>
    #include <unistd.h>
    static int microbatch_timer_open(void)
    {
        return timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    }
    static void microbatch_timer_set(int fd, double when)
    {
        struct itimerspec spec = {{0, 0}, {0, 0}};
        spec.it_value.tv_sec = (time_t)when;
        spec.it_value.tv_nsec = (long)((when - (double)spec.it_value.tv_sec) * 1e9);
        /* Setting it anew also takes back what was readable. */
        timerfd_settime(fd, TFD_TIMER_ABSTIME, &spec, NULL);
    }
    static void microbatch_timer_close(int fd) { close(fd); }
    #else
    static int microbatch_timer_open(void) { return -1; }
    static void microbatch_timer_set(int fd, double when) { }
    static void microbatch_timer_close(int fd) { }
    #endif

    /* The slots that a Cython class has no syntax for. */
    #define MICROBATCH_TYPE(type) ((PyTypeObject *)(type))
    static void microbatch_set_await(
        PyObject *type, PyObject *(*next)(PyObject *),
        PySendResult (*send)(PyObject *, PyObject *, PyObject **))
    {
        MICROBATCH_TYPE(type)->tp_iternext = next;
        MICROBATCH_TYPE(type)->tp_as_async->am_send = send;
    }
    static void microbatch_set_call(PyObject *type, ternaryfunc call)
    {
        MICROBATCH_TYPE(type)->tp_call = call;
    }
    static traverseproc microbatch_set_traverse(PyObject *type, traverseproc traverse)
    {
        traverseproc before = MICROBATCH_TYPE(type)->tp_traverse;
        MICROBATCH_TYPE(type)->tp_traverse = traverse;
        return before;
    }
    static inquiry microbatch_set_clear(PyObject *type, inquiry clear)
    {
        inquiry before = MICROBATCH_TYPE(type)->tp_clear;
        MICROBATCH_TYPE(type)->tp_clear = clear;
        return before;
    }
    static int microbatch_visit(PyObject *object, visitproc visit, void *arg)
    {
        Py_VISIT(object);
        return 0;
    }
    """
    const bint NATIVE_CLOCK "MICROBATCH_NATIVE_CLOCK"
    double monotonic "microbatch_monotonic"() noexcept nogil
    PyObject *loop_mark "microbatch_loop_mark"() noexcept
    void stop_iteration "microbatch_stop_iteration"(object) noexcept
    bint wakes_task "microbatch_wakes_task"(object) noexcept
    void set_await "microbatch_set_await"(object, iternextfunc, sendfunc)
    void set_call "microbatch_set_call"(object, ternaryfunc)
    int timer_open "microbatch_timer_open"() noexcept
    void timer_set "microbatch_timer_set"(int, double) noexcept
    void timer_close "microbatch_timer_close"(int) noexcept
    traverseproc set_traverse "microbatch_set_traverse"(object, traverseproc)
    inquiry set_clear "microbatch_set_clear"(object, inquiry)
    int visit_one "microbatch_visit"(PyObject *, visitproc, void *) noexcept

cdef double INFINITY = float("inf")
# A loop may fire a timer one tick of its clock's resolution early.
cdef double RESOLUTION = 1e-9

cdef enum State:
    QUEUED
    IN_FLIGHT
    RETURNED
    RAISED
    CANCELLED

cdef enum Overflow:
    WAIT
    REJECT
    DROP_OLDEST

OVERFLOW = {"wait": WAIT, "reject": REJECT, "drop_oldest": DROP_OLDEST}
UNSET = ...


# ---------------------------------------------------------------------------------------- slots
cdef struct Slot:
    PyObject *ticket     # owned; NULL once the item is settled: a hole
    PyObject *item       # owned
    Py_ssize_t index     # the item's place among those of its ticket


@cython.internal
cdef class Slots:
    """A power-of-two ring of slots; places are absolute, and masked where the ring is read."""

    cdef Lane lane
    cdef Slot *ring
    cdef size_t mask
    cdef size_t head
    cdef size_t tail

    def __dealloc__(self):
        slots_drop(self)
        PyMem_Free(self.ring)

    cdef inline Slot *at(self, size_t place) noexcept:
        return &self.ring[place & self.mask]

    cdef inline size_t length(self) noexcept:
        return self.tail - self.head

    cdef inline Slot *append(self) except NULL:
        """Give the next free slot; who calls it fills it at once."""
        if self.ring == NULL or self.tail - self.head > self.mask:
            self.make_room()
        self.tail += 1
        return &self.ring[(self.tail - 1) & self.mask]

    cdef int make_room(self) except -1:
        """Squeeze the holes out, or double the ring where there are too few of them."""
        cdef size_t live = 0, place
        for place in range(self.head, self.tail):
            live += self.at(place).ticket != NULL
        self.resize(16 if self.ring == NULL else (self.mask + 1) * (1 if live <= self.mask // 2 else 2))
        return 0

    cdef int resize(self, size_t size) except -1:
        """Move the live slots to the start of a ring of ``size``."""
        cdef Slot *ring = <Slot *> PyMem_Malloc(size * sizeof(Slot))
        cdef Slot *slot
        cdef size_t place, count = 0
        if ring == NULL:
            raise MemoryError
        for place in range(self.head, self.tail):
            slot = self.at(place)
            if slot.ticket != NULL:
                ring[count] = slot[0]
                (<Ticket> slot.ticket).place = count
                count += 1
        PyMem_Free(self.ring)
        self.ring = ring
        self.mask = size - 1
        self.head = 0
        self.tail = count
        return 0

    cdef inline void skip_holes(self) noexcept:
        while self.head != self.tail and self.at(self.head).ticket == NULL:
            self.head += 1


cdef void slots_drop(Slots self) noexcept:
    """Let go of whatever the slots hold."""
    cdef Slot *slot
    cdef PyObject *ticket
    cdef PyObject *item
    while self.head != self.tail:
        slot = self.at(self.head)
        ticket, item = slot.ticket, slot.item
        self.head += 1
        Py_XDECREF(ticket)
        Py_XDECREF(item)


cdef traverseproc traverse_fields
cdef inquiry clear_fields


cdef int slots_traverse(PyObject *self, visitproc visit, void *arg) noexcept:
    cdef size_t place
    cdef Slot *slot
    cdef int stop = traverse_fields(self, visit, arg)
    if stop:
        return stop
    for place in range((<Slots> self).head, (<Slots> self).tail):
        slot = &(<Slots> self).ring[place & (<Slots> self).mask]
        stop = visit_one(slot.ticket, visit, arg) or visit_one(slot.item, visit, arg)
        if stop:
            return stop
    return 0


cdef int slots_clear(PyObject *self) noexcept:
    slots_drop(<Slots> self)
    return clear_fields(self)


traverse_fields = set_traverse(Slots, slots_traverse)
clear_fields = set_clear(Slots, slots_clear)


# --------------------------------------------------------------------------------------- tickets
@cython.freelist(1024)
cdef class Ticket:
    """Be the awaitable answer to one submitted item; made by a batcher, never by hand."""

    cdef Lane lane
    cdef Flight flight            # set while in flight
    cdef object value             # the result, the exception, or the message of a cancellation
    cdef object callback          # the first callback, and its context
    cdef object context
    cdef list more                # further (callback, context) pairs
    cdef size_t place             # where its slot is: in the queue, or in the flight
    cdef readonly double deadline
    cdef readonly double submitted
    cdef public bint _asyncio_future_blocking
    cdef unsigned char state
    cdef bint own_deadline        # set for this item alone, so it stands in the heap

    __class_getitem__ = classmethod(GenericAlias)

    def __init__(self):
        raise TypeError("a Ticket is made by submitting an item, never by hand")

    def __await__(self):
        return self

    def __iter__(self):
        return self

    @property
    def get_loop(self):
        return self.lane.get_loop

    def done(self):
        return self.state > IN_FLIGHT

    def cancelled(self):
        return self.state == CANCELLED

    def result(self):
        if self.state == RETURNED:
            return self.value
        if self.state == RAISED:
            PyException_SetTraceback(self.value, None)
            raise self.value
        raise self._why_no_result()

    def exception(self):
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
        return self.lane.cancelled_error() if self.value is None else self.lane.cancelled_error(self.value)

    def cancel(self, msg=None):
        if self.state > IN_FLIGHT:
            return False
        self.lane.cancel(self, msg)
        return True

    def add_done_callback(self, fn, *, context=None):
        if context is None:
            context = PyContext_CopyCurrent()
        if self.callback is None:
            self.callback = fn
            self.context = context
            if self.state > IN_FLIGHT:
                self.lane.to_wake(self)
                self.lane.wake_soon()
        elif self.more is None:
            self.more = [(fn, context)]
        else:
            self.more.append((fn, context))

    def remove_done_callback(self, fn):
        kept = [pair for pair in self.callbacks() if pair[0] != fn]
        removed = self.callback_count() - len(kept)
        self.callback, self.context = kept[0] if kept else (None, None)
        self.more = kept[1:] or None
        return removed

    cdef list callbacks(self):
        if self.callback is None:
            return []
        return [(self.callback, self.context), *(self.more or ())]

    cdef Py_ssize_t callback_count(self):
        return 0 if self.callback is None else 1 if self.more is None else 1 + len(self.more)

    def __repr__(self):
        words = ("queued", "in flight", "returned", "raised", "cancelled")
        return f"<Ticket of {self.lane.name!r}: {words[self.state]}>"


cdef class Many(Ticket):
    """Be the one ticket of many items; its result is the list of theirs."""

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
    if state > IN_FLIGHT:
        value[0] = NULL
        set_error(<Ticket> self)
        return PYGEN_ERROR
    (<Ticket> self)._asyncio_future_blocking = True
    Py_INCREF(<object> self)
    value[0] = self
    return PYGEN_NEXT


cdef void set_error(Ticket self) noexcept:
    try:
        error = self.exception()
        PyException_SetTraceback(error, None)
    except BaseException as raised:
        error = raised
    PyErr_SetObject(type(error), error)


set_await(Ticket, ticket_next, ticket_send)
set_await(Many, ticket_next, ticket_send)


# --------------------------------------------------------------------------------------- flights
cdef class Flight(Slots):
    """Be the items of one handler call, from taking them to settling the last."""

    __class_getitem__ = classmethod(GenericAlias)

    cdef readonly Py_ssize_t size
    cdef readonly Py_ssize_t alive
    cdef bint counted                 # as late or dropped, so not once more when it is settled
    cdef readonly double departed     # when it was taken
    cdef public object task           # these two are their owner's
    cdef public object reason

    @property
    def items(self):
        return [
            <object> self.ring[place].item
            for place in range(self.tail) if self.ring[place].ticket != NULL
        ]

    @property
    def waits(self):
        return [
            self.departed - (<Ticket> self.ring[place].ticket).submitted
            for place in range(self.tail) if self.ring[place].ticket != NULL
        ]

    def resolve(self, tuple results, individual):
        cdef size_t place
        cdef Slot *slot
        for place in range(self.tail):
            slot = &self.ring[place]
            if slot.ticket == NULL:
                continue
            value = <object> PyTuple_GET_ITEM(results, place)
            if not PyExceptionInstance_Check(value):
                self.lane.settle(slot, RETURNED, value, self.counted)
                continue
            value = individual(value)
            if slot.ticket != NULL:
                self.lane.settle(slot, RAISED, value, self.counted)
        self.land()

    def fail(self, make_error):
        cdef size_t place
        cdef Slot *slot
        for place in range(self.tail):
            slot = &self.ring[place]
            if slot.ticket == NULL:
                continue
            error = make_error(<Ticket> slot.ticket)
            if slot.ticket != NULL:
                self.lane.settle(slot, RAISED, error, self.counted)
        self.land()

    cdef int land(self) except -1:
        self.alive = 0
        if self in self.lane.flights:
            self.lane.flights.remove(self)
        return 0


cdef Flight new_flight(Lane lane, size_t capacity):
    cdef Flight flight = Flight.__new__(Flight)
    cdef size_t size = 1
    while size < capacity:
        size *= 2
    flight.lane = lane
    flight.resize(size)
    return flight


# ----------------------------------------------------------------------------------------- lanes
cdef class Lane:
    """Be the queue, the deadlines and the wake-ups of one batcher on one loop."""

    cdef readonly object loop
    cdef readonly str name
    cdef object clock, call_soon, call_at
    cdef object on_due, on_abandoned, on_idle, on_callback_error, hold
    cdef object cancelled_error, invalid_state_error, done_future
    cdef object get_loop
    cdef object mark                  # the loop's mark while this lane's loop last ran
    cdef bint native_clock

    cdef Py_ssize_t batch_size, capacity, gate
    cdef double latency, timeout
    cdef Overflow overflow
    cdef readonly bint closed
    cdef bint slot_free

    cdef Slots queue, settled         # settled: tickets whose callbacks are still to be called
    cdef list flights, heap           # heap: (deadline, number, ticket) of own deadlines
    cdef Py_ssize_t heap_number, heap_live
    cdef Py_ssize_t live              # items in the queue, those that wait for admission too
    cdef readonly Py_ssize_t unsettled

    cdef object held, timer
    cdef double armed
    cdef bint due_scheduled, wake_scheduled

    cdef readonly Py_ssize_t submitted, completed, failed, cancelled, late, rejected, dropped

    def __init__(
        self, loop, str name, *, clock, call_soon, call_at, on_due, on_abandoned, on_idle,
        on_callback_error, hold, cancelled_error, invalid_state_error, done_future,
    ):
        self.loop, self.name = loop, name
        self.get_loop = lambda: loop
        self.clock, self.call_soon, self.call_at = clock, call_soon, call_at
        self.on_due, self.on_abandoned, self.on_idle = on_due, on_abandoned, on_idle
        self.on_callback_error, self.hold = on_callback_error, hold
        self.cancelled_error, self.invalid_state_error = cancelled_error, invalid_state_error
        self.done_future = done_future
        self.native_clock = NATIVE_CLOCK and clock is time.monotonic
        self.queue, self.settled = Slots.__new__(Slots), Slots.__new__(Slots)
        self.flights, self.heap = [], []
        self.armed = INFINITY

    def configure(
        self, *, Py_ssize_t max_batch_size, double max_latency, capacity, str overflow, timeout,
    ):
        self.batch_size, self.latency = max_batch_size, max_latency
        self.capacity = PY_SSIZE_T_MAX if capacity is None else capacity
        self.timeout = INFINITY if timeout is None else timeout
        self.overflow = OVERFLOW[overflow]
        self.gate = PY_SSIZE_T_MAX if self.overflow == WAIT else self.capacity

    def close(self):
        self.closed, self.gate = True, 0

    def open_slot(self, bint slot_free):
        self.slot_free = slot_free

    # ------------------------------------------------------------------------------- submitting
    cdef inline Ticket push(self, object item, object timeout):
        if timeout is not UNSET:
            check_timeout(timeout)
        if self.unsettled >= self.gate:
            self.make_way(1)
        return self.accept(item, timeout)

    cdef Ticket accept(self, object item, object timeout):
        cdef Ticket ticket = Ticket.__new__(Ticket)
        cdef Slot *slot
        self.start(ticket, timeout)
        slot = self.queue.append()
        Py_INCREF(ticket)
        Py_INCREF(item)
        slot.ticket, slot.item, slot.index = <PyObject *> ticket, <PyObject *> item, -1
        ticket.place = self.queue.tail - 1
        self.accepted(ticket, 1)
        return ticket

    cdef Many push_many(self, list items, object timeout, bint return_exceptions):
        cdef Many many
        cdef Slot *slot
        cdef Py_ssize_t index, count = len(items)
        if timeout is not UNSET:
            check_timeout(timeout)
        if self.closed or count > self.gate - self.unsettled:
            self.make_way(count)
        many = Many.__new__(Many)
        self.start(many, timeout)
        many.return_exceptions, many.first_failure = return_exceptions, -1
        many.remaining, many.values = count, [None] * count
        for index in range(count):
            item = items[index]
            slot = self.queue.append()
            Py_INCREF(many)
            Py_INCREF(item)
            slot.ticket, slot.item, slot.index = <PyObject *> many, <PyObject *> item, index
        if count:
            self.accepted(many, count)
        else:
            many.state = many.conclude()
        return many

    cdef inline int start(self, Ticket ticket, object timeout) except -1:
        ticket.lane = self
        ticket.submitted = self.now()
        if timeout is UNSET:
            ticket.deadline = ticket.submitted + self.timeout
        else:
            self.start_own(ticket, timeout)
        return 0

    cdef int start_own(self, Ticket ticket, object timeout) except -1:
        """Give the ticket a deadline of its own, out of line with its neighbours'."""
        ticket.own_deadline = True
        ticket.deadline = INFINITY if timeout is None else ticket.submitted + <double> timeout
        if timeout is None:
            return 0
        if len(self.heap) > 64 and len(self.heap) > 2 * self.heap_live:
            self.heap = [entry for entry in self.heap if (<Ticket> entry[2]).state <= IN_FLIGHT]
            heapq.heapify(self.heap)
        self.heap_number += 1
        self.heap_live += 1
        heapq.heappush(self.heap, (ticket.deadline, self.heap_number, ticket))
        return 0

    cdef inline int accepted(self, Ticket ticket, Py_ssize_t count) except -1:
        self.live += count
        self.submitted += count
        self.unsettled += count
        if self.unsettled == count and self.hold is not None:
            self.held = self.hold()
        cdef double when = ticket.deadline
        cdef bint due = False
        if self.slot_free:
            due = self.live >= self.batch_size or self.unsettled >= self.capacity
            if self.latency > 0.0:
                when = min(when, ticket.submitted + self.latency)
            elif not due and not self.due_scheduled:
                self.due_scheduled = True
                self.call_soon(self.due)
        self.arm(when)
        if due:
            self.on_due()
        return 0

    cdef int make_way(self, Py_ssize_t count) except -1:
        """Refuse ``count`` new items, or drop the oldest queued ones for them."""
        if self.closed:
            self.rejected += count
            raise BatcherClosedError(f"batcher {self.name!r} is closed")
        if self.overflow == REJECT or self.live + self.capacity - self.unsettled < count:
            self.refuse(count)
        self.drop_oldest(count - (self.capacity - self.unsettled))
        return 0

    cdef int refuse(self, Py_ssize_t count) except -1:
        self.rejected += count
        raise CapacityError(
            f"batcher {self.name!r} has no room for {count} more: "
            f"capacity is {self.capacity}, {self.unsettled} items are unsettled"
        )

    cdef int drop_oldest(self, Py_ssize_t count) except -1:
        cdef Flight oldest = self.take_live(count)
        oldest.counted = True
        self.dropped += count
        oldest.fail(self.dropped_error)
        self.wake_soon()
        return 0

    def dropped_error(self, Ticket ticket):
        return CapacityError(
            f"batcher {self.name!r} dropped its oldest queued item: capacity is {self.capacity}"
        )

    # ----------------------------------------------------------------------------------- taking
    @property
    def queued(self):
        return self.count_queued()

    @property
    def waiting(self):
        return self.live - self.count_queued()

    cdef inline Py_ssize_t count_queued(self) noexcept:
        """Count the admitted ones: the room that those in flight leave, first come first served."""
        if self.unsettled <= self.capacity:
            return self.live
        return max(self.live - (self.unsettled - self.capacity), 0)

    @property
    def oldest(self):
        return self.head_submitted()

    def waited(self, double seconds):
        """Tell whether the oldest queued item has waited that long."""
        return self.head_submitted() + seconds <= self.now() + RESOLUTION

    cdef double head_submitted(self):
        self.queue.skip_holes()
        if self.live == 0:
            return INFINITY
        return (<Ticket> self.queue.at(self.queue.head).ticket).submitted

    def take(self, Py_ssize_t limit):
        cdef Flight flight = self.take_live(min(limit, self.count_queued()))
        flight.departed = self.now()
        self.flights.append(flight)
        return flight

    cdef Flight take_live(self, Py_ssize_t count):
        cdef Flight flight = new_flight(self, count)
        while flight.size < count:
            self.queue.skip_holes()
            self.move(self.queue.at(self.queue.head), flight)
            self.queue.head += 1
        self.live -= count
        if self.live == 0 and self.queue.mask >= 4096:
            self.queue.resize(16)
        return flight

    cdef inline int move(self, Slot *slot, Flight flight) except -1:
        """Hand a slot over to a flight; where it was, a hole stays."""
        cdef Slot *target = flight.append()
        target[0] = slot[0]
        slot.ticket = slot.item = NULL
        flight.size += 1
        flight.alive += 1
        if target.index < 0:
            (<Ticket> target.ticket).flight = flight
            (<Ticket> target.ticket).place = flight.tail - 1
            (<Ticket> target.ticket).state = IN_FLIGHT
        return 0

    # --------------------------------------------------------------------------------- settling
    cdef int settle(self, Slot *slot, State state, object value, bint counted) except -1:
        cdef Ticket ticket = <Ticket> slot.ticket
        cdef object item = <object> slot.item
        cdef Py_ssize_t index = slot.index
        Py_DECREF(ticket)
        Py_DECREF(item)
        slot.ticket = slot.item = NULL
        self.unsettled -= 1
        if not counted:
            if state == RETURNED:
                self.completed += 1
            else:
                self.failed += 1
        if index < 0:
            ticket.value = value
        elif (<Many> ticket).store(index, state, value):
            state = (<Many> ticket).conclude()
        else:
            return 0
        self.finish(ticket, state)
        return 0

    cdef inline int finish(self, Ticket ticket, State state) except -1:
        ticket.state = state
        ticket.flight = None
        if ticket.own_deadline and ticket.deadline != INFINITY:
            self.heap_live -= 1
        if ticket.callback is not None:
            self.to_wake(ticket)
        return 0

    cdef int cancel(self, Ticket ticket, object message) except -1:
        cdef Flight given_up = new_flight(self, 1)
        cdef list hit = []
        self.extract(ticket, given_up, hit)
        self.unsettled -= given_up.size
        self.cancelled += given_up.size
        ticket.value = message
        self.finish(ticket, CANCELLED)
        self.wake_soon()
        self.tell_abandoned(hit)
        return 0

    cdef int extract(self, Ticket ticket, Flight target, list hit) except -1:
        """Move what is left of one ticket into ``target``, wherever it is."""
        cdef Flight flight
        if not isinstance(ticket, Many):
            if ticket.flight is None:
                self.move(self.queue.at(ticket.place), target)
                self.live -= 1
            else:
                flight = ticket.flight
                self.move(flight.at(ticket.place), target)
                self.lose(flight, 1, hit)
            return 0
        self.live -= self.move_all(self.queue, ticket, target)
        for flight in self.flights[:]:
            self.lose(flight, self.move_all(flight, ticket, target), hit)
        return 0

    cdef Py_ssize_t move_all(self, Slots source, Ticket ticket, Flight target) except -1:
        cdef size_t place
        cdef Py_ssize_t before = target.size
        for place in range(source.head, source.tail):
            if source.at(place).ticket == <PyObject *> ticket:
                self.move(source.at(place), target)
        return target.size - before

    cdef int lose(self, Flight flight, Py_ssize_t count, list hit) except -1:
        if count == 0:
            return 0
        if flight not in hit:
            hit.append(flight)
        if flight.counted:            # as late, and now it comes to another end
            self.late -= count
        flight.alive -= count
        if flight.alive == 0:
            flight.land()
        return 0

    cdef int tell_abandoned(self, list hit) except -1:
        cdef Flight flight
        for flight in hit:
            if flight.alive == 0:
                self.on_abandoned(flight)
        return 0

    # ---------------------------------------------------------------------------------- deadlines
    cdef inline double now(self) except? -1.0:
        return monotonic() if self.native_clock else self.clock()

    def take_late(self):
        cdef double now = self.now() + RESOLUTION
        cdef Flight queued = new_flight(self, 1), in_flight = new_flight(self, 1), flight
        cdef Ticket ticket
        cdef list hit = []
        self.live -= self.move_late(self.queue, queued, now)
        for flight in self.flights[:]:
            if not flight.counted:
                self.lose(flight, self.move_late(flight, in_flight, now), hit)
        while self.heap and <double> self.heap[0][0] <= now:
            ticket = heapq.heappop(self.heap)[2]
            if ticket.state <= IN_FLIGHT:
                self.extract(ticket, queued if ticket.state == QUEUED else in_flight, hit)
        for flight in (queued, in_flight):
            flight.counted = True
            self.late += flight.size
            if flight.size:
                self.flights.append(flight)
        self.tell_abandoned(hit)
        return queued, in_flight, hit

    cdef Py_ssize_t move_late(self, Slots source, Flight late, double now) except -1:
        """Move what is late; deadlines rise along the slots, but for a ticket's own."""
        cdef size_t place
        cdef Ticket ticket
        cdef Py_ssize_t before = late.size
        for place in range(source.head, source.tail):
            if source.at(place).ticket == NULL:
                continue
            ticket = <Ticket> source.at(place).ticket
            if ticket.own_deadline:
                continue
            if ticket.deadline > now:
                break
            self.move(source.at(place), late)
        return late.size - before

    cdef double earliest(self, Slots source) noexcept:
        cdef size_t place
        cdef PyObject *ticket
        if self.timeout == INFINITY:
            return INFINITY
        for place in range(source.head, source.tail):
            ticket = source.at(place).ticket
            if ticket != NULL and not (<Ticket> ticket).own_deadline:
                return (<Ticket> ticket).deadline
        return INFINITY

    @property
    def overdue(self):
        return self.next_deadline() <= self.now() + RESOLUTION

    cdef double next_deadline(self):
        cdef Flight flight
        cdef double when = self.earliest(self.queue)
        while self.heap and (<Ticket> self.heap[0][2]).state > IN_FLIGHT:
            heapq.heappop(self.heap)
        if self.heap:
            when = min(when, <double> self.heap[0][0])
        for flight in self.flights:
            if not flight.counted:
                when = min(when, self.earliest(flight))
        return when

    def take_all(self):
        """Take every unsettled item, in flight ones too: what is left when closing times out."""
        cdef Flight every = new_flight(self, 1), flight
        cdef list hit = []
        cdef size_t place
        self.live -= self.move_each(self.queue, every)
        for flight in self.flights[:]:
            self.lose(flight, self.move_each(flight, every), hit)
        self.flights.append(every)
        return every

    cdef Py_ssize_t move_each(self, Slots source, Flight target) except -1:
        cdef size_t place
        cdef Py_ssize_t before = target.size
        for place in range(source.head, source.tail):
            if source.at(place).ticket != NULL:
                self.move(source.at(place), target)
        return target.size - before

    # -------------------------------------------------------------------------------------- timer
    cdef inline int arm(self, double when) except -1:
        if when < self.armed:
            self.arm_now(when)
        return 0

    cdef int arm_now(self, double when) except -1:
        if self.timer is not None:
            self.timer.cancel()
        self.armed = when
        self.timer = self.call_at(when, self.fire)
        return 0

    def fire(self):
        self.armed, self.timer = INFINITY, None
        self.on_due()

    def due(self):
        self.due_scheduled = False
        self.on_due()

    def rearm(self):
        if self.unsettled == 0:
            self.rest()
            return
        self.arm(self.next_deadline())
        if self.slot_free and self.live:
            self.arm(self.head_submitted() + self.latency)

    cdef int rest(self) except -1:
        if self.timer is not None:
            self.timer.cancel()
            self.armed, self.timer = INFINITY, None
        self.held = None
        self.on_idle()
        return 0

    # ------------------------------------------------------------------------------------- waking
    cdef inline int to_wake(self, Ticket ticket) except -1:
        cdef Slot *slot = self.settled.append()
        Py_INCREF(ticket)
        slot.ticket, slot.item = <PyObject *> ticket, NULL
        return 0

    cpdef int wake_soon(self) except -1:
        if not self.wake_scheduled:
            self.wake_scheduled = True
            self.call_soon(self.woken)
        return 0

    def woken(self):
        self.wake_scheduled = False
        self.wake()
        if self.unsettled == 0:
            self.rest()

    def wake(self):
        cdef size_t left = self.settled.length()
        cdef Slot *slot
        cdef Ticket ticket
        try:
            while left:
                left -= 1
                slot = self.settled.at(self.settled.head)
                ticket = <Ticket> slot.ticket
                Py_DECREF(ticket)
                slot.ticket = NULL
                self.settled.head += 1
                self.call_back(ticket)
        except BaseException:
            self.wake_soon()
            raise

    cdef inline int call_back(self, Ticket ticket) except -1:
        callback, context, more = ticket.callback, ticket.context, ticket.more
        ticket.callback = ticket.context = ticket.more = None
        if callback is not None:
            self.call(callback, context, ticket)
        if more is not None:
            for callback, context in more:
                self.call(callback, context, ticket)
        return 0

    cdef inline int call(self, object callback, object context, Ticket ticket) except -1:
        cdef PyObject *answer
        PyContext_Enter(context)
        answer = call_one(callback, self.done_future if wakes_task(callback) else ticket)
        PyContext_Exit(context)
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


cdef int raise_current() except -1:
    return -1


cdef int check_timeout(object timeout) except -1:
    if timeout is None:
        return 0
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout must be a number of seconds or None, got {timeout!r}")
    if not timeout > 0:
        raise ValueError(f"timeout must be > 0, got {timeout!r}")
    return 0


# ---------------------------------------------------------------------------------------- fronts
cdef class Router:
    """Know the lane of the running loop."""

    cdef Lane lane                    # the last one used; it knows its loop's mark

    cdef inline Lane here(self):
        cdef PyObject *mark = loop_mark()
        if self.lane is not None and mark != NULL and mark == <PyObject *> self.lane.mark:
            return self.lane
        return self.look(mark)

    cdef Lane look(self, PyObject *mark):
        cdef Lane lane = self.find_lane()
        if mark != NULL:
            lane.mark = <object> mark
        self.lane = lane
        return lane

    def find_lane(self):
        raise NotImplementedError


cdef class Front:
    """Be what items are submitted to."""

    cdef readonly Router router
    cdef object __weakref__

    __class_getitem__ = classmethod(GenericAlias)

    def __init__(self, Router router not None):
        self.router = router

    def submit(self, item, *, timeout=UNSET):
        return self.router.here().push(item, timeout)

    def submit_nowait(self, item, *, timeout=UNSET):
        cdef Lane lane = self.router.here()
        if lane.unsettled >= lane.capacity and lane.overflow == WAIT and not lane.closed:
            lane.refuse(1)
        return lane.push(item, timeout)

    def _submit_waiting(self, item):
        cdef Lane lane = self.router.here()
        if lane.closed:
            lane.make_way(1)
        return lane.accept(item, UNSET)

    def submit_many(self, items, *, timeout=UNSET, bint return_exceptions=False):
        cdef Lane lane = self.router.here()
        return lane.push_many(list(items), timeout, return_exceptions)


cdef class CallableFront(Front):
    """Be a front that is called as its function would be, and is bound to instances as a method."""

    cdef Py_ssize_t arity             # how many arguments are the item; 0: only a method, unbound
    cdef object bind                  # (*args, **kwargs) -> item, where they are not
    cdef readonly object instance     # what it is bound to, alive as long as this
    cdef readonly dict bound          # the identity of an instance -> its own front, unpinned
    cdef public object definition     # what was decorated: its owner's

    def set_call(self, Py_ssize_t arity, bind):
        self.arity, self.bind, self.bound = arity, bind, {}

    def pinned(self, instance):
        """Give a front like this one that keeps ``instance`` alive."""
        return pin(self, instance)

    def __get__(self, instance, owner):
        if instance is not None:
            front = self.bound.get(PyLong_FromVoidPtr(<PyObject *> instance))
            if front is not None:
                return pin(front, instance)
        return self.bind_to(instance, owner)

    def __call__(self, *args, **kwargs):
        return call_front(<PyObject *> self, <PyObject *> args, <PyObject *> kwargs)


cdef CallableFront pin(CallableFront front, object instance):
    cdef CallableFront pinned = type(front).__new__(type(front))
    pinned.router, pinned.arity, pinned.bind = front.router, front.arity, front.bind
    pinned.bound, pinned.definition, pinned.instance = front.bound, front.definition, instance
    return pinned


cdef object call_front(PyObject *self, PyObject *arguments, PyObject *keywords):
    cdef CallableFront front = <CallableFront> self
    cdef tuple args = <tuple> arguments
    if front.arity == 0:
        return front.call_unbound(args, {} if keywords == NULL else <object> keywords)
    if keywords != NULL or len(args) != front.arity:
        kwargs = {} if keywords == NULL else <object> keywords
        return front.router.here().push(front.bind(*args, **kwargs), UNSET)
    return front.router.here().push(args[0] if front.arity == 1 else args, UNSET)


set_call(CallableFront, call_front)


# ----------------------------------------------------------------------------------------- timer
cdef class TimerDescriptor:
    """Be a Linux timerfd on the monotonic clock, to the microsecond; ``fd`` is -1 elsewhere."""

    cdef readonly int fd

    def __cinit__(self):
        self.fd = timer_open()

    def arm(self, double when):
        """Make the descriptor readable at that time; at once where it has passed."""
        timer_set(self.fd, when)

    def disarm(self):
        timer_set(self.fd, 0.0)

    def close(self):
        if self.fd >= 0:
            timer_close(self.fd)
            self.fd = -1

    def __dealloc__(self):
        if self.fd >= 0:
            timer_close(self.fd)
