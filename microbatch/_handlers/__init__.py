"""How a handler is called, and what its answer means for each caller.

Read first kinds, which makes of every handler what gives a coroutine (worker_calls: in a thread or
a process), and calling, which calls it for a batch: at once, in parts (partial_results) or step by
step (stream_calls). Then settling, which hands out what it answered: results and columns, and
own_exceptions, which copies exceptions (exception_copies). Last attempts and retrying, which call
it again. The answer_types are for type checkers.
"""
