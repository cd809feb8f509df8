"""`dear serve`: the page that restores photos in the browser, on this machine."""

import argparse
import secrets
import socket
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from dear_jax.errors import InputError

DESCRIPTION = """\
Opens a page in the browser on which photos are restored: mark what is damaged, or have
it found, choose the size, and save. All of it happens on this machine: nothing is sent
anywhere. Photos lie in a private temporary folder, which goes with the program, and
each after an hour in which nobody looked at it. Ctrl-C ends it.

It needs the extra "serve": pip install 'dear_jax[serve]'"""
EXAMPLES = """\
examples:
  dear serve --open
      starts it and opens the browser
  dear serve --port 9000 --model runs/mine
  dear serve --host 0.0.0.0
      other machines of the network may use it too, by the link that is printed: who
      has the link can see and use the page"""
PORT = 8642
_TRIED = 20  # Ports from the usual one on, unless one is given.


def add_parser(commands) -> None:
    """Adds the command to those of `dear`."""
    parser = commands.add_parser(
        "serve",
        help="restore photos on a page in the browser",
        description=DESCRIPTION,
        epilog=EXAMPLES,
    )
    parser.set_defaults(prepare=_prepare, parser=parser)
    add = parser.add_argument
    add("--open", action="store_true", help="open the page in the browser")
    add(
        "--port",
        type=int,
        metavar="N",
        help=f"where it listens; 0: any free one (default {PORT}, or one after it)",
    )
    add(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="of this machine; another than the default lets others in, who need the "
        "printed link (default 127.0.0.1)",
    )
    add(
        "--model",
        metavar="NAME|FILE|WORKDIR",
        help="see `dear models` (default dear-lite)",
    )
    add(
        "--weights",
        default="weights",
        metavar="FOLDER",
        help="where systems such as misf+elan find theirs (default weights)",
    )


def _prepare(flags: argparse.Namespace) -> Callable[[], int]:
    """Takes the port; the rest is loaded when the address has been printed."""
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"dear serve needs {error.name}, which is not installed; pip install "
            "'dear_jax[serve]'"
        ) from None
    listening = _listening(flags.host, flags.port)
    return partial(_serve, listening, flags)


def _listening(host: str, port: int | None) -> socket.socket:
    """A socket that listens there.

    Raises:
      InputError: if the address or port cannot be had.
    """
    if port is not None and not 0 <= port < 65536:
        raise InputError(f"--port {port}: give a number from 0 to 65535")
    tried = [port] if port is not None else range(PORT, PORT + _TRIED)
    try:
        family, *_ = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
    except OSError:
        raise InputError(f"--host {host}: no address of this machine") from None
    reason = ""
    for number in tried:
        try:
            return socket.create_server((host, number), family=family, backlog=128)
        except OSError as error:
            reason = error.strerror or str(error)
    named = f"--port {port}" if port is not None else f"ports {PORT} to {tried[-1]}"
    raise InputError(f"--host {host} {named}: cannot be had ({reason}); give another")


def _serve(listening: socket.socket, flags: argparse.Namespace) -> int:
    """Serves until Ctrl-C or SIGTERM; returns the exit status."""
    from dear_jax.serve.guard import is_loopback

    token = "" if is_loopback(flags.host) else secrets.token_urlsafe(16)
    host, port = flags.host, listening.getsockname()[1]
    if host in ("0.0.0.0", "::"):  # Any address of this machine; others know its name.
        host = socket.gethostname()
    host = f"[{host}]" if ":" in host else host
    address = f"http://{host}:{port}/" + (f"?token={token}" if token else "")
    print(f"dear_jax is at {address} (Ctrl-C ends it)", flush=True)
    if token:
        print("whoever has this link can use it; others cannot", flush=True)
    import uvicorn

    from dear_jax.serve.app import make_app
    from dear_jax.serve.server import Server

    server = Server(flags.model, flags.weights)
    try:
        config = uvicorn.Config(
            make_app(server, token), log_level="warning", timeout_graceful_shutdown=1
        )
        if flags.open:
            webbrowser.open(address)
        with suppress(KeyboardInterrupt):  # Raised again when all is closed.
            uvicorn.Server(config).run([listening])
    finally:
        server.close()
    print("ended; its temporary files are removed")
    return 0
