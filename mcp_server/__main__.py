"""`python -m mcp_server` is `useapi-mcp`."""


def main() -> None:
    """Run the command line; Ctrl-C ends it with 130 also while it is being imported."""
    try:
        from mcp_server.cli.main import main as run

        run()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
