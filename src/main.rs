//! The binary: hands the arguments to the library and its answer to the system. No logic.

fn main() -> std::process::ExitCode {
    akv_archiver::cli::main(std::env::args_os().collect())
}
