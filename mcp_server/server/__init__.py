"""The MCP server: what it is put together of, beside the tools."""
