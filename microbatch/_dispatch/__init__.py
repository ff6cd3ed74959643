"""When a batch goes, and who waits for it.

Read first dispatcher, which has the policy of one batcher on one loop, and forming, which says when
a batch goes and why. Then what a dispatcher does besides: timeouts, reordering (for results in
order), deadlocks, observing, configuring, snapshots (of what is counted). The registry has one
dispatcher for each loop; items refuses what is not several of them; notices warn of what went wrong
where nobody waits.
"""
