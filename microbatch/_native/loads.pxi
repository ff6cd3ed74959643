# Loads: what items come to together beside their number, and how much of it a batch takes.

cdef struct Load:
    double weight


cdef inline void add_load(Load *sum, Load load) noexcept:
    sum.weight += load.weight


cdef inline void take_load(Load *sum, Load load) noexcept:
    sum.weight -= load.weight


cdef inline bint fits(Load sum, Load load, Load most) noexcept:
    """Tell whether this much may be added."""
    return sum.weight + load.weight <= most.weight


cdef inline bint is_heavy(Load sum, Load most) noexcept:
    """Tell whether a batch of this much need not wait for more."""
    return sum.weight >= most.weight
