# Each recipe is one plain command: see CONTRIBUTING.md.

fmt:
    cargo fmt --all

lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings

test:
    cargo test --workspace --locked

# Renews what is generated; look at the diff.
bless:
    LOGPIPE_BLESS=1 cargo test --workspace --locked

bench *ARGS:
    hack/bench-local {{ARGS}}

chaos *ARGS:
    hack/chaos-local {{ARGS}}

parts *ARGS:
    hack/test-parts {{ARGS}}

operator *ARGS:
    hack/test-operator {{ARGS}}

chaos-parts *ARGS:
    hack/chaos-parts {{ARGS}}

chart *ARGS:
    hack/test-chart {{ARGS}}

e2e *ARGS:
    hack/e2e --cluster local {{ARGS}}

kind-up:
    hack/kind up

kind-down:
    hack/kind down

# Hours: all that takes too long for each change.
nightly *ARGS:
    hack/nightly {{ARGS}}

release *ARGS:
    hack/release {{ARGS}}

docs:
    python3 hack/check_links.py

ci:
    .ci/run
