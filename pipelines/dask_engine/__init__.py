"""Run pipelines on a Dask cluster.

Beam 2.77's DaskRunner drops what `finish_bundle` yields, computes side inputs several
times, puts 128 elements into one task and groups by Python's `hash`, which differs
between processes. This runner replaces it.

The launcher runs a pipeline in stages. A stage is a chain of ParDos, and each of its
tasks runs the chain on one bundle: one element after Create or Reshuffle. The outputs
return to the launcher, which groups and distributes them; they are names and counts,
not images. A lost worker therefore costs only the tasks that it was running, and no
stage, e.g. the commit, starts after the launcher has stopped.

- `cluster`: flags, connection, and checks of the workers.
- `stage`: what workers run.
- `runner`: what the launcher runs.
"""
