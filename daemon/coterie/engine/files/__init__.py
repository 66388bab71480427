"""Workflow files of the engine: `coterie: 1`, as YAML or JSON."""
