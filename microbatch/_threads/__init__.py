"""The way of other threads to an event loop, and back.

Read first inbox, which brings calls to a loop and their outcomes back, and loop_thread, which runs
a loop in a thread of its own. Then bridge, which a BlockingBatcher opens and closes, attaching, for
loops that run already, and exiting, the end of the program.
"""
