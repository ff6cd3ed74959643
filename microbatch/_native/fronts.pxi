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
        if self.lane.waker.thread == thread_ident():
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
        raise NotImplementedError


cdef class Front:
    """Be what items are submitted to."""

    cdef readonly Router router
    cdef object __weakref__

    __class_getitem__ = classmethod(GenericAlias)

    def __init__(self, Router router not None):
        self.router = router

    def submit(self, item, *, timeout=...):
        return self.router.here().push(item, timeout)

    def submit_nowait(self, item, *, timeout=...):
        cdef Lane lane = self.router.here()
        if lane.unsettled >= lane.capacity and lane.overflow == WAIT and not lane.closed:
            lane.refuse(1)
        return lane.push(item, timeout)

    def _submit_waiting(self, item):
        cdef Lane lane = self.router.here()
        if lane.closed:
            lane.make_way(1)
        return lane.accept(item, UNSET)

    def submit_many(self, items, *, timeout=..., bint return_exceptions=False):
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
    cdef CallableFront pinned = new_like(front)
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
