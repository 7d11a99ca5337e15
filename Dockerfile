# The worker in an image: a glibc, CA certificates, one binary, and no shell.
#   docker build --tag trailkeeper .
#   docker buildx build --platform linux/amd64,linux/arm64 --tag REGISTRY/trailkeeper --push .
# What `--version` says beside the number: --build-arg TRAILKEEPER_COMMIT="$(git log -1 --format='%h %cs')"
# For an image that is only tested, built in less time: --build-arg PROFILE=image-test

FROM rust:1.95-slim-trixie AS build
WORKDIR /build
# Cargo's, for the dependencies and the worker alike.
ARG PROFILE=release

# The dependencies alone, in a layer that outlives changes of the sources. Cargo wants every declared target to
# be there, so empty ones stand in.
COPY Cargo.toml Cargo.lock build.rs ./
RUN mkdir src benches \
    && echo '//! Empty.' >src/lib.rs \
    && echo 'fn main() {}' | tee src/main.rs >benches/throughput.rs \
    && cargo build --profile "$PROFILE" --locked --bin trailkeeper

# There is no repository in here to ask.
ARG TRAILKEEPER_COMMIT
# Cargo goes by the time of change, and the real files are older than the empty ones.
COPY src src
RUN touch src/lib.rs src/main.rs \
    && cargo build --profile "$PROFILE" --locked --bin trailkeeper \
    && cp "target/$PROFILE/trailkeeper" .

FROM gcr.io/distroless/cc-debian13:nonroot
LABEL org.opencontainers.image.title="trailkeeper" \
      org.opencontainers.image.description="Keeps AWS CloudTrail switched on: restarts a stopped trail within seconds and tells Slack who stopped it." \
      org.opencontainers.image.licenses="Apache-2.0 OR MIT"
COPY --from=build /build/trailkeeper /trailkeeper
# The base image's own user, said again for those who read only this: nothing here writes files or takes a low port.
USER nonroot
EXPOSE 9090
# ECS ignores this and goes by the task definition's; docker and compose do not.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/trailkeeper", "healthcheck"]
ENTRYPOINT ["/trailkeeper"]
CMD ["run"]
