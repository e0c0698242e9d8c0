"""useapi-mcp: upscale video, raise its frame rate and upscale images on useapi.net, for agents."""

__version__ = "0.1.0"
