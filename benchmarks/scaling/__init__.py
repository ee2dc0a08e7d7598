"""Training over ranks on paper: a simulator of Allreduce, a cost model, and what checks them on this machine."""
