"""Streams of chunks, and ``map`` over iterables.

Read first channel, the buffer between a streaming handler call and the reader of one item, and
stream, which is what the reader holds. Then window, which says how far a map reads ahead, mapping
(for coroutines) and blocking_mapping (for threads).
"""
