# The MCP server over Streamable HTTP at :8000/mcp. Nothing secret goes into the image:
#   docker run -p 8000:8000 -v useapi-mcp:/data -e USEAPI_TOKEN -e USEAPI_HTTP_TOKEN <image>
FROM python:3.13.13-slim-bookworm@sha256:355bfa66770995d7e9a0da4b3473b44d0cb451f6b56f5615ad9c39e3c4eca03f

LABEL io.modelcontextprotocol.server.name="io.github.useapi-mcp/useapi-mcp" \
      org.opencontainers.image.source="https://github.com/useapi-mcp/useapi-mcp" \
      org.opencontainers.image.licenses="MIT"

RUN useradd --uid 10001 --create-home --home-dir /data useapi

WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY mcp_server ./mcp_server
# For what is installed and for what builds it: older pips take the first for both.
ARG PIP_CONSTRAINT=constraints.txt
ARG PIP_BUILD_CONSTRAINT=constraints.txt
# hadolint takes this for a package without a version; constraints.txt has them all.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir .[team]

# The journal must outlive the container: it is what keeps a job from being paid for twice.
VOLUME /data
ENV USEAPI_STATE_DIR=/data/state USEAPI_OUTPUT_DIR=/data/output
USER 10001
WORKDIR /data

EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=3)"]
ENTRYPOINT ["useapi-mcp"]
CMD ["http", "--host", "0.0.0.0", "--port", "8000"]
