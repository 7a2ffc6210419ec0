"""Long runs: units of work that are kept when they are done, so that a run can be stopped, resumed and shared out."""
