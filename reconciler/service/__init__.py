"""What surrounds a daemon: systemd, metrics, logs, waking and signals. Knows nothing of machines' content.

notify.py   tells systemd that we are ready, alive and stopping
metrics.py  the Prometheus endpoint
logs.py     one line a record, which no text from outside can forge
wake.py     sleeps until the period is over or something happened
signals.py  SIGTERM asks to stop; a second one insists
"""
