"""A griffe extension: document overloaded functions of stubs, which have no implementation.

The first overload has the docstring, and the last takes what all of them take.
"""

from typing import Any

from griffe import Class, Extension


class Overloads(Extension):
    """Give a stub's overloaded methods a place among the members of their class."""

    def on_class_members(self, *, cls: Class, **kwargs: Any) -> None:
        for name, overloads in cls.overloads.items():
            if name not in cls.members:
                function = overloads[-1]
                function.docstring = overloads[0].docstring
                function.overloads = overloads[:-1]
                cls.set_member(name, function)
