"""Files in, files out: each row of a file through a batch handler, and its answer in its place.

    files      BlockReader (bytes, as they come), LineWriter (lines, as they are ready)
    jsonl      JsonLines (bytes to rows), encode (results and failures to lines)
    loading    load (a handler by its name), batcher_for (the batcher it is served by)
    run        Run: rows through a batcher into a writer, in order and in bounded memory

A run knows its rows only as a RowSource and its answers only as lines for a RowSink, so another
format or another place is another source or sink.
"""
