"""What other libraries read and write: files of weights, networks, estimators. Import each part by its name."""
