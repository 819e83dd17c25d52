"""A script in a directory of pages: twistd's web server runs it for each request, and answers with ``resource``."""

from twisted.web.resource import Resource


class Hello(Resource):
    def render_GET(self, request):
        world_size = int(request.args[b"world_size"][0])
        return b"hello " + b"o" * world_size + b"\n"


resource = Hello()
