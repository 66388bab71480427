"""Runs a graph of nodes on this machine, each as soon as its own needs are done. It knows nothing of workflows."""

from coterie.engine.dag_run import DagRun, NodeEnded, NodeStarted, Transition
from coterie.engine.driver import Ended, Execute, Journal, NoJournal, run_graph
from coterie.engine.graph import BadGraph, Graph, Group, Node, Outcome

__all__ = [
    "BadGraph",
    "DagRun",
    "Ended",
    "Execute",
    "Graph",
    "Group",
    "Journal",
    "NoJournal",
    "Node",
    "NodeEnded",
    "NodeStarted",
    "Outcome",
    "Transition",
    "run_graph",
]
