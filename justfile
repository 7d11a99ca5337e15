# List the recipes.
default:
    @just --list --unsorted

# Check the formatting.
fmt:
    cargo fmt --check

# Run clippy; a warning fails.
lint:
    cargo clippy --all-targets -- -D warnings

# Build the documentation; a warning fails.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

# The folder says which calls the worker makes to AWS, as the tests see them: it is written anew.

# Run every test.
test:
    @rm -rf "${CARGO_TARGET_DIR:-target}/tmp/calls"
    cargo test

# Run the `aws` commands of README.md and docs/ against an emulated AWS. Needs Python.
docs-test:
    tests/docs/run

# Run the simulation on many seeds.
simulate:
    TRAILKEEPER_SEEDS=2000 cargo test --test it simulation

# Run the demo from start to end.
demo:
    cargo run --example demo

# Check the dependencies' licences and sources, and that no banned crate is among them.
deny:
    cargo deny check bans licenses sources

# Look for known vulnerabilities, offline if ADVISORY_DB names a copy of the advisory database.
audit:
    cargo audit ${ADVISORY_DB:+--db "$ADVISORY_DB" --no-fetch --stale}

# Measure the throughput: minutes, on a machine that does nothing else.
bench:
    cargo bench --bench throughput

# See that measuring works, with a handful of messages.
bench-test:
    cargo test --bench throughput

# Build the image, and test it and the compose stack. Needs Docker with compose.
compose-test:
    @docker info >/dev/null 2>&1 || { echo "compose-test needs Docker, and none answers: see \`docker info\`" >&2; exit 1; }
    @docker compose version >/dev/null 2>&1 || docker-compose version >/dev/null 2>&1 || { echo "compose-test needs Docker's compose" >&2; exit 1; }
    docker build --build-arg PROFILE=image-test --build-arg TRAILKEEPER_COMMIT="$(git log -1 --format='%h %cs')" --tag trailkeeper .
    cargo test --test compose -- --ignored --test-threads=1 --nocapture

# Test infra/, with a real apply to an emulated AWS. Needs Terraform and Python.
infra-test: test
    infra/test/run target/debug/trailkeeper

# Run all that CI runs.
ci: fmt lint doc test docs-test simulate bench-test demo deny audit compose-test
