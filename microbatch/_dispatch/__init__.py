"""What is done for each batch, and who waits for it.

Which batch should go, and why, is decided in ``_native/keys.pxi``, by the lane. Read first
dispatcher, which takes the batches of one batcher on one loop from its lane, and calls the handler
for them, and lanes, which makes that lane and tells it the options. Then what a dispatcher does
besides: timeouts, reordering (for results in order), deadlocks, observing, snapshots (of what is
counted). The registry has one dispatcher for each loop; items refuses what is not several of them;
notices warn of what went wrong where nobody waits.
"""
