//! The program as the launcher of cells.

use gptoss_tools::cell::{Cell, End, Launcher, Program};

/// The launcher of the tests takes the name of a wall that it leaves out; the program knows no such argument.
#[test]
fn the_program_leaves_out_no_wall() {
    let path = env!("CARGO_BIN_EXE_gptoss").into();
    let launcher = Launcher { path, args: ["__cell", "network"].map(str::to_owned).into() };
    let program =
        Program { argv: ["readlink", "/proc/self/ns/net"].map(str::to_owned).into(), ..Program::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ran = runtime.block_on(async {
        let cell = Cell::stand(launcher).unwrap_or_else(|error| panic!("{error}"));
        cell.run(&program, b"").await.unwrap()
    });
    assert_eq!(ran.end, End::Exited(0), "{}", ran.stderr.text());
    let ours = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_ne!(ran.stdout.text().trim(), ours.to_str().unwrap());
}
