# One image for `rowcast migrate`, `rowcast bridge` and `rowcast web`. docker-compose.yml shows them together.
# The embedded servers are left out: Postgres and Redis or Valkey come from ROWCAST_DATABASE_URL and ROWCAST_REDIS_URL.

FROM python:3.13-slim AS build
WORKDIR /src
COPY requirements requirements
RUN python -m pip install --no-cache-dir --constraint requirements/constraints.txt --requirement requirements/build.in
COPY pyproject.toml README.md LICENSE ./
COPY core core
COPY db db
COPY fanout fanout
COPY bridge bridge
COPY web web
COPY rowcast rowcast
RUN python -m pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
 && python -m venv /opt/rowcast \
 && /opt/rowcast/bin/python -m pip install --no-cache-dir --constraint requirements/constraints.txt /wheels/rowcast-*.whl

FROM python:3.13-slim
RUN groupadd --system --gid 10001 rowcast \
 && useradd --system --uid 10001 --gid rowcast --no-create-home --home-dir / --shell /usr/sbin/nologin rowcast
COPY --from=build /opt/rowcast /opt/rowcast
# The root file system is meant to be read-only: nothing is written beside the code.
ENV PATH=/opt/rowcast/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /opt/rowcast
USER 10001:10001
EXPOSE 8000
ENTRYPOINT ["rowcast"]
CMD ["--help"]
