"""From a workflow to its plan: its document, what is wrong with it, batches, cycles, the critical path."""
