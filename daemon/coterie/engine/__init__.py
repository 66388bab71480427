"""Runs graphs of steps on this machine: durable, limited, explained. `engine.WorkflowEngine` is its face."""
