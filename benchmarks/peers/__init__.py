"""The same work for microbatch and for its peers, as ratios to bare futures.

The adapters, one a file, and their environments are those of the ``conformance`` package.
"""
