"""The tasks of a look inside a network, which `workflow.inspect` lists."""
