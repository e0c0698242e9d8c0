"""Streamable HTTP: the MCP server behind a port."""
