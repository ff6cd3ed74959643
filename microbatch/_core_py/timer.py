"""A timer descriptor, for waits that a loop's own timer is too coarse for."""

import os
import time
from typing import Any


class TimerDescriptor:
    """Be a Linux timerfd on the monotonic clock, to the microsecond; ``fd`` is -1 without one."""

    def __init__(self) -> None:
        system: Any = os  # it has timerfd since 3.13
        self.fd: int = -1
        if hasattr(system, "timerfd_create"):
            flags = system.TFD_NONBLOCK | system.TFD_CLOEXEC
            self.fd = system.timerfd_create(time.CLOCK_MONOTONIC, flags=flags)

    def arm(self, when: float) -> None:
        """Make the descriptor readable at that time; at once where it has passed."""
        self._set(when)

    def disarm(self) -> None:
        """Make it not readable."""
        self._set(0.0)

    def _set(self, when: float) -> None:
        system: Any = os
        if self.fd >= 0:
            system.timerfd_settime(self.fd, flags=system.TFD_TIMER_ABSTIME, initial=when)

    def close(self) -> None:
        """Give the descriptor back to the system; closing again does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __del__(self) -> None:
        self.close()
