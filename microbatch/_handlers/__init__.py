"""How a handler is called, and what its answer means for each caller.

Read first kinds, which makes of every handler what gives a coroutine (worker_calls: in a thread or
a process), and calling, which calls it for a batch: at once, in parts (partial_results) or step by
step (stream_calls). Then settling, which hands out what it answered: results and columns, and
own_exceptions, which copies exceptions (exception_copies). Then runs, which are all that a
dispatcher knows of this: how a batch goes through its handler, in one call. Last retry_runs, where
it takes several: one after another as attempts have it (retry_policy: tenacity's), each in one of
the handler_tasks. The answer_types are for type checkers.
"""
