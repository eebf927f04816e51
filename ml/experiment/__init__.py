"""The paper's comparison: its method, plan, tasks, evaluation and report."""
