# Fronts: what items are submitted to.

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


cdef class Front:
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
        return push(self.router.here(), self.whole(item), timeout, weight, key, priority)

    def submit_nowait(self, item, *, timeout=..., weight=..., key=..., priority=...):
        """Submit one item as submit() does; raise CapacityError where it would have to wait."""
        cdef Lane lane = self.router.here()
        if lane.overflow == WAIT and lane.is_crowded() and not lane.closed:
            lane.refuse(1)
        return push(lane, self.whole(item), timeout, weight, key, priority)

    def _submit_waiting(self, item):
        """Submit one item as submit() does, and at capacity wait, whatever ``overflow`` says."""
        cdef Lane lane = self.router.here()
        if lane.closed:
            lane.make_way(1)
        if lane.groups is None:
            return lane.accept(self.whole(item), UNSET, False)
        asked = lane.groups.ask(self.whole(item), UNSET, UNSET, UNSET)
        return lane.accept_asked(item, UNSET, asked, False)

    def submit_many(
        self, items, *, timeout=..., key=..., priority=..., bint return_exceptions=False
    ):
        """Submit items with one ticket for all, whose result is the list of their results.

        It settles when all have. Where items fail, it raises the exception of the first of them
        by place, or with ``return_exceptions`` has each exception in its place. The items may be
        handled in several batches. Raises TypeError for what is one item, or has no order, or is a
        table: text, bytes, a mapping, a set, a data frame. For the rest it is as submit().
        """
        cdef Lane lane = self.router.here()
        if type(items) is not list:
            self.router.check_items(items)
        cdef list every = list(items)
        if self.width > 1:
            for item in every:
                self.whole(item)
        return lane.push_many(every, timeout, key, priority, return_exceptions)

    cdef inline object whole(self, object item):
        """Give an item back; TypeError where it lacks one value for each parameter."""
        if self.width > 1 and not (isinstance(item, (tuple, list)) and len(item) == self.width):
            raise TypeError(
                f"an item must be a tuple of {self.width} values, one for each parameter, "
                f"got {item!r}"
            )
        return item


cdef inline Ticket push(
    Lane lane, object item, object timeout, object weight, object key, object priority
):
    if weight is UNSET and key is UNSET and priority is UNSET:
        return lane.push(item, timeout, False)
    return lane.push_asked(item, timeout, weight, key, priority, False)


cdef class CallableFront(Front):
    """A front that is called as its function would be, and is bound to instances as a method.

    A subclass has ``bind_to(instance, owner)``, which gives the front of an instance and may keep
    it in ``bound``, by the instance's ``id()``; ``call_unbound(args, kwargs)``, for what is not
    callable as it stands; and ``refused(kwargs, error)``, which gives the error of a call with
    wrong arguments.
    """

    cdef Py_ssize_t arity             # how many arguments are the item; 0: only a method, unbound
    cdef object bind                  # (*args, **kwargs) -> item, where they are not
    cdef readonly object instance     # what it is bound to, alive as long as this
    cdef readonly dict bound          # the identity of an instance -> its own front, unpinned
    cdef public object definition     # what was decorated: its owner's

    def set_call(self, Py_ssize_t arity, bind, Py_ssize_t width=1):
        self.arity, self.bind, self.width, self.bound = arity, bind, width, {}

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
    cdef CallableFront pinned = new_like(front)
    pinned.router, pinned.arity, pinned.bind = front.router, front.arity, front.bind
    pinned.bound, pinned.definition, pinned.instance = front.bound, front.definition, instance
    pinned.width = front.width
    return pinned


cdef object call_front(PyObject *self, PyObject *arguments, PyObject *keywords):
    cdef CallableFront front = <CallableFront> self
    cdef tuple args = <tuple> arguments
    if front.arity == 0:
        return front.call_unbound(args, {} if keywords == NULL else <object> keywords)
    if keywords != NULL or len(args) != front.arity:
        kwargs = {} if keywords == NULL else <object> keywords
        return front.router.here().push(bind_call(front, args, kwargs), UNSET, True)
    return front.router.here().push(args[0] if front.arity == 1 else args, UNSET, True)


cdef inline object bind_call(CallableFront front, tuple args, dict kwargs):
    try:
        return front.bind(*args, **kwargs)
    except TypeError as error:
        raise front.refused(kwargs, error) from None


set_call(CallableFront, call_front)
