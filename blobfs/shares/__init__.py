"""The network: one share asked over HTTP, the health of each share, and the built-in share server.

The only folder that imports httpx, h11, hypercorn and starlette. Their exceptions stop here:
whoever asks a share gets a value or a `ShareFailure`.
"""
