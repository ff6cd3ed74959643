# Histograms: what a lane measures of its items and batches.

cdef enum:
    STEPS = 16                        # buckets for each doubling
    SHIFT = 48                        # leaves the exponent and the first bits of the fraction

cdef double LEAST = 2.0 ** -30
cdef double MOST = 2.0 ** 34
cdef long long ORIGIN = (1023 - 30) * STEPS


cdef inline long long bucket_of(double value) noexcept:
    """Number the buckets from 0; -1 is for what is not above LEAST."""
    cdef unsigned long long bits
    if not value > LEAST:
        return -1
    if value > MOST:
        return 64 * STEPS
    memcpy(&bits, &value, sizeof(bits))
    return <long long> ((bits - 1) >> SHIFT) - ORIGIN    # a bound belongs to the bucket below it


cdef double bound_of(long long bucket) noexcept:
    """Give the upper bound of a bucket, which is in it."""
    cdef double value
    cdef unsigned long long bits = <unsigned long long> (bucket + 1 + ORIGIN) << SHIFT
    if bucket >= 64 * STEPS:
        return INFINITY
    memcpy(&value, &bits, sizeof(bits))
    return value


@cython.final
cdef class Histogram:
    """Count values in buckets that grow with them: sixteen for each doubling."""

    cdef unsigned long long *counts   # of the buckets from ``first`` on: those between the extremes
    cdef long long first, length
    cdef readonly double sum, min, max

    def __cinit__(self):
        self.min, self.max = INFINITY, -INFINITY

    def __dealloc__(self):
        PyMem_Free(self.counts)

    def add(self, double value):
        self.record(value)

    cdef int record(self, double value) except -1:
        self.count(bucket_of(value), 1)
        self.sum += value
        self.min, self.max = min(self.min, value), max(self.max, value)
        return 0

    @property
    def buckets(self):
        cdef long long bucket = self.first
        cdef list found = []
        while bucket < self.first + self.length:      # making a tuple may run a finalizer
            if bucket >= self.first and self.counts[bucket - self.first]:
                found.append((bound_of(bucket), self.counts[bucket - self.first]))
            bucket += 1
        return found

    cdef int add_waits(self, InFlightBatch batch) except -1:
        """Count the waits of a batch: neighbours fall into one bucket, mostly."""
        cdef double wait, total = 0.0, least = self.min, most = self.max
        cdef long long bucket, latest = -1
        cdef unsigned long long run = 0
        cdef Seat *seat = batch.seats
        cdef Seat *end = seat + batch.size
        while seat != end:
            wait = batch.departed - seat.since
            seat += 1
            total += wait
            least, most = min(least, wait), max(most, wait)
            bucket = bucket_of(wait)
            if bucket != latest:
                if run:
                    self.count(latest, run)
                latest, run = bucket, 0
            run += 1
        if run:
            self.count(latest, run)
        self.sum += total
        self.min, self.max = least, most
        return 0

    cdef inline int count(self, long long bucket, unsigned long long run) except -1:
        cdef long long place = bucket - self.first
        if <unsigned long long> place >= <unsigned long long> self.length:
            self.widen(bucket)
            place = bucket - self.first
        self.counts[place] += run
        return 0

    cdef int widen(self, long long bucket) except -1:
        """Have a count for this bucket too, and for some beside it."""
        cdef long long first = max(bucket - STEPS, -1)
        cdef long long end = min(bucket + STEPS, 64 * STEPS) + 1
        cdef unsigned long long *counts
        if self.length:
            first, end = min(first, self.first), max(end, self.first + self.length)
        counts = <unsigned long long *> PyMem_Calloc(end - first, sizeof(unsigned long long))
        if counts == NULL:
            raise MemoryError
        if self.length:
            memcpy(counts + (self.first - first), self.counts, self.length * sizeof(counts[0]))
        PyMem_Free(self.counts)
        self.counts, self.first, self.length = counts, first, end - first
        return 0


@cython.final
cdef class Measures:
    """The histograms of one lane."""

    cdef readonly Histogram batch_size, occupancy, queue_wait, handler_time

    def __cinit__(self):
        self.batch_size, self.occupancy = Histogram(), Histogram()
        self.queue_wait, self.handler_time = Histogram(), Histogram()

    cdef int departed(self, InFlightBatch batch, Py_ssize_t batch_size) except -1:
        """Measure a batch that was taken just now."""
        self.queue_wait.add_waits(batch)
        self.batch_size.record(batch.size)
        self.occupancy.record(batch.size / <double> batch_size)
        return 0
