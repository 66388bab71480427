"""Workflows of the engine on the peers of a coterie: as runs whose jobs are steps, or one job that is all of it.

`document.py` translates, on the machine that submits. `coterie.engine.remote_step` is what the jobs run, on whichever
peer claimed them. What a run promises (claims, leases, takeover, one accepted result) thereby holds for steps too.
"""
