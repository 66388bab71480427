"""Runs graphs of steps on this machine: durable, limited, explained.

`engine.WorkflowEngine` is its face; `model.py` says what a workflow is. What becomes of one:

    files/ definition.py decorators.py     how people write it
    planning/                              its document, what is wrong with it, its plan
    machine/ admission/                    pure: what follows from what happened; who may start
    performing/                            acts on what these decided, after `journal/` has kept it
    steps/ functions/ spawner/             what steps do: types, Python functions, processes
    spread/ remote_step.py                 the same on the peers of a coterie
    pictures/                              graphs and timelines
"""
