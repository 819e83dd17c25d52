"""What ``end_to_end`` is made of: a server with and without metrics, who asks it, and who takes its reports."""

HOST = "127.0.0.1"
CONNECTIONS = 32
BODY = b"Hello, world!\n"
