"""What ``@batched`` makes of a function.

Read first binding, which makes an item of the arguments of a call, definition, which reads what was
decorated, and callable, which is what the decorator gives. Then what type checkers see: methods,
and the decorators themselves, plain, columnar (``columnar=True``) and streaming (``stream=True``).
"""
