# Arrivals: how soon after a batch of its key an item comes. This is what the wait is learned from.

cdef enum:
    BINS = 64

cdef struct Arrivals:
    # The first bin is for those who come before anything can go; the others are of equal width.
    unsigned long counts[BINS + 1]
    double width          # in seconds; 0: only the first bin counts
    double freed          # when the latest batch has ended
    bint in_turn          # and nothing could go since then

cdef struct Ended:
    # Sums over the batches that have ended.
    double batches
    double items
    double callers        # the items of each, and those that were queued or in flight otherwise
    double seconds        # of handler time
    double squares        # of sizes
    double products       # of sizes and seconds
    double turns          # seconds until the next batch went, where one was waiting
    double idle           # seconds until the next batch went


cdef inline void note_arrivals(Arrivals *arrivals, double submitted, Py_ssize_t count) noexcept:
    cdef double bin
    if arrivals.in_turn:
        arrivals.counts[0] += count
    elif arrivals.width > 0.0:
        bin = (submitted - arrivals.freed) / arrivals.width
        if 0.0 <= bin < BINS:
            arrivals.counts[<int> bin + 1] += count


cdef list take_arrivals(Arrivals *arrivals):
    """Give the counts, and begin anew."""
    cdef int bin
    cdef list counts = [0] * (BINS + 1)
    for bin in range(BINS + 1):
        counts[bin] = arrivals.counts[bin]
        arrivals.counts[bin] = 0
    return counts


cdef inline void note_ended(Ended *ended, double size, double others, double seconds) noexcept:
    ended.batches += 1
    ended.items += size
    ended.callers += size + others
    ended.seconds += seconds
    ended.squares += size * size
    ended.products += size * seconds


cdef tuple take_ended(Ended *ended):
    """Give the sums, and begin anew."""
    sums = (
        ended.batches, ended.items, ended.callers, ended.seconds, ended.squares, ended.products,
        ended.turns, ended.idle,
    )
    ended[0] = Ended(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    return sums
