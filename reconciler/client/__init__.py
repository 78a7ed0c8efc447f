"""A thin typed client of the REST API, for the command line and for programs.

    with Client("https://kvm.example.org:8440", token="…") as client:
        for machine in client.objects("virtualmachines", selector="app=web"):
            print(machine["metadata"]["name"], machine["status"]["host"])
        client.patch("virtualmachines", "web-1", {"spec": {"memory": "4Gi"}}, message="more room")

What goes wrong is one of `reconciler.errors`, with the exit code that a command here would have had.
"""

from reconciler.client.client import Client
from reconciler.client.words import Lease, Operation, Stored

__all__ = ["Client", "Lease", "Operation", "Stored"]
