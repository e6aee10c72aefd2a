"""Dissection as a command: built from configs, run case by case, resumed."""
