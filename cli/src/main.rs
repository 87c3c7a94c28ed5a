//! The program `logpipe`.

use std::process::ExitCode;

/// Allocation is a third of the cost of parsing with the system's allocator (docs/performance).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    logpipe_cli::main()
}
