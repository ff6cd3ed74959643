"""What event loops do not do, or tell, by themselves.

Each module stands alone: timer calls back to within microseconds, closing tells that a loop was
closed, cancelling cancels from any thread, missing says what to use where no loop runs.
"""
