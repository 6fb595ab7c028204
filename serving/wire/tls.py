"""By which certificates a server is known, for both transports of the client."""

import os
import ssl

GRPCS = "grpcs://"
"""How a target of the client begins that is asked by gRPC with TLS."""


def trusting(file: str | os.PathLike[str]) -> ssl.SSLContext:
    """Returns what trusts the certificates of a file, and nobody else; names of servers are checked too.

    Args:
        file: In PEM: the server's own certificate, or that of who signed it; several may follow each other.

    Raises:
        ValueError: The file cannot be read, or has no certificate in it; the message begins with its name.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=file)
    except ssl.SSLError as error:
        raise ValueError(f"{os.fspath(file)}: expected certificates in PEM, found none") from error
    except OSError as error:
        raise ValueError(f"{os.fspath(file)}: cannot be read: {error.strerror}") from error
    # As gRPC does: a server's own certificate is enough, though somebody else has signed it.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
