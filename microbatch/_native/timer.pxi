# A timer descriptor, for waits that a loop's own timer is too coarse for.

@cython.final
cdef class TimerDescriptor:
    """A Linux timerfd on the monotonic clock, to the microsecond; ``fd`` is -1 without one."""

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
