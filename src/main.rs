//! `maskcast`, the program: one subcommand a file in `cli`.

fn main() -> std::process::ExitCode {
    maskcast::cli::main()
}
