"""The control socket's application: POST /OPERATION with a JSON object of arguments."""

import asyncio
import json

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from postalynk.errors import PostalynkError
from postalynk.service.operations import Operations


def control_app(operations: Operations) -> Starlette:
    """Carries out operations in threads, so a long audit delays nobody."""

    async def call(request: Request) -> JSONResponse:
        try:
            arguments = json.loads(await request.body() or b"{}")
            name = request.path_params["name"]
            answer = await asyncio.to_thread(operations.call, name, arguments)
        except PostalynkError as error:
            return JSONResponse({"message": error.message, "fix": error.fix}, status_code=400)
        except ValueError as error:
            return JSONResponse({"message": f"not understood: {error}"}, status_code=400)
        return JSONResponse(answer)

    return Starlette(routes=[Route("/{name}", call, methods=["POST"])])
