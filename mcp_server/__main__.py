"""`python -m mcp_server` is `useapi-mcp`."""

from mcp_server.cli.main import main

if __name__ == "__main__":
    main()
