"""What a run costs: speed on this machine, hours and memory on a GPU, a rehearsal without one."""
