"""A process that runs verbs in forks of itself, so that all of them share one import of libraries.

It never runs a verb itself, so that a fork is cheap and holds no locks. For a verb it is sent the
arguments, folder and environment as JSON, with the standard streams; it answers with the exit code.

    python verb_server.py SOCKET                  serve
    python verb_server.py SOCKET VERB ARGUMENT…   run a verb
"""

import contextlib
import importlib
import json
import os
import socket
import sys
import traceback
from pathlib import Path

LONGEST = 1 << 20  # bytes of a message


def serve(address):
    import nanosae.cli  # noqa: F401 (for the forks)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            client, _ = listener.accept()
            with client:
                message, streams, *_ = socket.recv_fds(client, LONGEST, 3)
                code, modules = forked(json.loads(message), streams)
                client.sendall(bytes([code]))
            import_all(modules)


def forked(request, streams):
    """Run a verb; return its exit code and the modules that it has imported."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        child(request, streams, writing)
    os.close(writing)
    for stream in streams:
        os.close(stream)
    with os.fdopen(reading) as pipe:
        modules = json.loads(pipe.read() or "[]")
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) & 255, modules


def child(request, streams, writing):
    from nanosae.cli import main

    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(0),
        os.fdopen(1, "w"),
        os.fdopen(2, "w"),
    )
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    code = 1
    try:
        code = main(request["arguments"])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(writing, json.dumps(list(sys.modules)).encode())
        os._exit(code)


def import_all(modules):
    """Import what a verb has imported, for the next forks, but nothing that starts threads."""
    for name in modules:
        starts_threads = name.startswith("nanosae.kernels.cpu") or name.endswith("pool")
        if name not in sys.modules and not starts_threads:
            with contextlib.suppress(Exception):  # some are made by other modules
                importlib.import_module(name)


def run(address, arguments):
    request = {
        "arguments": arguments,
        "folder": str(Path.cwd()),
        "environment": dict(os.environ),
    }
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        socket.send_fds(server, [json.dumps(request).encode()], [0, 1, 2])
        return server.recv(1)[0]


if __name__ == "__main__":
    _, address, *arguments = sys.argv
    sys.exit(run(address, arguments) if arguments else serve(address))
