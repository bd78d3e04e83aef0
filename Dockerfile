# celltrain without a GPU, from the lock:
#
#   docker build -t celltrain --build-arg TORCH_INDEX=ADDRESS .
#   docker run --rm --read-only --tmpfs /tmp -v celltrain-cache:/cache -v "$PWD:/work" celltrain run
#
# ADDRESS is what PyTorch's install page gives for pip and CPU. Runs are written in the folder that
# is mounted at /work, which user 1000 (or the one of --user) must be able to write.
FROM python:3.11-slim-bookworm AS build
WORKDIR /source
COPY lock/run.txt lock/
RUN python -m venv /opt/celltrain \
    && /opt/celltrain/bin/pip install --no-cache-dir --require-hashes -r lock/run.txt
ARG TORCH=torch==2.13.0
ARG TORCH_INDEX
RUN test -n "$TORCH_INDEX" \
    || { echo "name --build-arg TORCH_INDEX=..., PyTorch's address for CPU builds" >&2; exit 1; }
RUN /opt/celltrain/bin/pip install --no-cache-dir --index-url "$TORCH_INDEX" "$TORCH"
COPY . .
RUN /opt/celltrain/bin/pip install --no-cache-dir --no-build-isolation --no-deps . \
    && /opt/celltrain/bin/pip check

FROM python:3.11-slim-bookworm
# The compiler builds the lattice step for the processor it meets, once, into the cache.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 celltrain \
    && install --directory --mode 1777 /cache /work
COPY --from=build /opt/celltrain /opt/celltrain
ENV PATH=/opt/celltrain/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_CACHE_HOME=/cache \
    TORCHINDUCTOR_CACHE_DIR=/cache/inductor
USER 1000
WORKDIR /work
VOLUME ["/cache"]
ENTRYPOINT ["celltrain"]
CMD ["--help"]
