"""What event loops do not do, or tell, by themselves.

Each module but the first stands alone: timer calls back to within microseconds, by the descriptor
that loop_timer has for all who wait on a loop; closing tells that a loop was closed, cancelling
cancels from any thread, missing says what to use where no loop runs.
"""
