"""Runs as the API shows them: executions of the state machines, joined with what their functions wrote down."""
