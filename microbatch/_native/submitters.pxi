# Submitters: what items are submitted to.

cdef class Router:
    """Know the lane of the running loop."""

    cdef object running_loop
    cdef Lane lane                    # the last one used

    def __init__(self, running_loop):
        self.running_loop = running_loop

    cdef inline Lane here(self):
        cdef PyObject *mark
        if self.lane is None:
            return self.look(NULL)
        if self.lane.waker.runs_here():
            return self.lane
        mark = loop_mark()
        if mark != NULL and mark == <PyObject *> self.lane.mark:
            return self.lane
        return self.look(mark)

    cdef Lane look(self, PyObject *mark):
        cdef Lane lane = self.lane
        loop = PyObject_CallNoArgs(self.running_loop)
        if lane is None or lane.loop is not loop:
            lane = self.lane = self.find_lane()
        if mark != NULL:
            lane.mark = <object> mark
        return lane

    def find_lane(self):
        """Give the running loop's lane; for the subclass to say."""
        raise NotImplementedError

    def check_items(self, items):
        """Raise TypeError for what are not several items; for the subclass to say."""


cdef class Submitter:
    """What items are submitted to."""

    cdef readonly Router router
    cdef Py_ssize_t width             # above 1 an item is a tuple or a list of so many values
    cdef object __weakref__

    __class_getitem__ = classmethod(GenericAlias)

    def __init__(self, Router router not None):
        self.router = router

    def submit(self, item, *, timeout=..., weight=..., key=..., priority=...):
        """Submit one item, and give the ticket to await for its result.

        ``timeout``, in seconds, replaces the option of that name for this item; None is no limit.
        ``weight``, ``key`` and ``priority`` replace what the options would say of it.
        At capacity the item waits for admission, or CapacityError is raised, or the oldest queued
        item is dropped, as ``overflow`` says. Raises BatcherClosedError after closing, and
        RuntimeError where no event loop runs.
        """
        cdef Own own = own_of(timeout, weight, key, priority)
        return submit_one(self.router.here(), self.whole(item), &own, False, False)

    def submit_nowait(self, item, *, timeout=..., weight=..., key=..., priority=...):
        """Submit one item as submit() does; raise CapacityError where it would have to wait."""
        cdef Own own = own_of(timeout, weight, key, priority)
        cdef Lane lane = self.router.here()
        if lane.overflow == WAIT and is_crowded(lane) and not lane.closed:
            refuse_for_want_of_room(lane, 1)
        return submit_one(lane, self.whole(item), &own, False, False)

    def _submit_waiting(self, item):
        """Submit one item as submit() does, and at capacity wait, whatever ``overflow`` says."""
        return submit_one(self.router.here(), self.whole(item), &NOTHING, False, True)

    def submit_many(
        self, items, *, timeout=..., key=..., priority=..., bint return_exceptions=False
    ):
        """Submit items with one ticket for all, whose result is the list of their results.

        It settles when all have. Where items fail, it raises the exception of the first of them
        by place, or with ``return_exceptions`` has each exception in its place. The items may be
        handled in several batches. Raises TypeError for what is one item, or has no order, or is a
        table: text, bytes, a mapping, a set, a data frame. For the rest it is as submit().
        """
        cdef Own own = own_of(timeout, UNSET, key, priority)
        cdef Lane lane = self.router.here()
        if type(items) is not list:
            self.router.check_items(items)
        cdef list every = list(items)
        if self.width > 1:
            for item in every:
                self.whole(item)
        return submit_many(lane, every, &own, return_exceptions)

    cdef inline object whole(self, object item):
        """Give an item back; TypeError where it lacks one value for each parameter."""
        if self.width > 1 and not (isinstance(item, (tuple, list)) and len(item) == self.width):
            raise TypeError(
                f"an item must be a tuple of {self.width} values, one for each parameter, "
                f"got {item!r}"
            )
        return item


cdef class CallableSubmitter(Submitter):
    """A submitter that is called as its function would be, and is bound to instances as a method.

    A subclass has ``bind_to(instance, owner)``, which gives the submitter of an instance and may
    keep it in ``bound``, by the instance's ``id()``; ``call_unbound(args, kwargs)``, for what is
    not callable as it stands; and ``refused(kwargs, error)``, which gives the error of a call with
    wrong arguments.
    """

    cdef Py_ssize_t arity             # how many arguments are the item; 0: only a method, unbound
    cdef object bind                  # (*args, **kwargs) -> item, where they are not
    cdef readonly object instance     # what it is bound to, alive as long as this
    cdef readonly dict bound          # the identity of an instance -> its own submitter, unpinned
    cdef public object definition     # what was decorated: its owner's

    def set_call(self, Py_ssize_t arity, bind, Py_ssize_t width=1):
        self.arity, self.bind, self.width, self.bound = arity, bind, width, {}

    def pinned(self, instance):
        """Give a submitter like this one that keeps ``instance`` alive."""
        return pin(self, instance)

    def __get__(self, instance, owner):
        if instance is not None:
            submitter = self.bound.get(PyLong_FromVoidPtr(<PyObject *> instance))
            if submitter is not None:
                return pin(submitter, instance)
        return self.bind_to(instance, owner)

    def __call__(self, *args, **kwargs):
        return call_submitter(<PyObject *> self, <PyObject *> args, <PyObject *> kwargs)


cdef CallableSubmitter pin(CallableSubmitter submitter, object instance):
    cdef CallableSubmitter pinned = new_like(submitter)
    pinned.router, pinned.definition = submitter.router, submitter.definition
    pinned.arity, pinned.width, pinned.bind = submitter.arity, submitter.width, submitter.bind
    pinned.bound, pinned.instance = submitter.bound, instance
    return pinned


cdef object call_submitter(PyObject *self, PyObject *arguments, PyObject *keywords):
    cdef CallableSubmitter submitter = <CallableSubmitter> self
    cdef tuple args = <tuple> arguments
    if submitter.arity == 0:
        return submitter.call_unbound(args, {} if keywords == NULL else <object> keywords)
    if keywords != NULL or len(args) != submitter.arity:
        kwargs = {} if keywords == NULL else <object> keywords
        item = bind_call(submitter, args, kwargs)
    else:
        item = args[0] if submitter.arity == 1 else args
    return submit_one(submitter.router.here(), item, &NOTHING, True, False)


cdef inline object bind_call(CallableSubmitter submitter, tuple args, dict kwargs):
    try:
        return submitter.bind(*args, **kwargs)
    except TypeError as error:
        raise submitter.refused(kwargs, error) from None


set_call(CallableSubmitter, call_submitter)
