"""How full batches get, and how fast answers come back, under traffic as it is.

``rows`` lists the traffic that is played in virtual time, with the very core; ``stage`` plays it
and ``figures`` reads what came out. ``changes`` is traffic that changes. ``over_http`` and
``from_threads`` measure real clients, against the peers of the ``conformance`` package too.
"""
