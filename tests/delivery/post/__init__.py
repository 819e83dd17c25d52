"""Post: chunks to the HTTPS sink, first with an agent that answers as it is told, then over TLS on loopback."""

import pytest

pytest.register_assert_rewrite("tests.delivery.post.loopback", "tests.delivery.post.net")
