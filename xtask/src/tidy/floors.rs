//! Which room may use which.
//!
//! [`ROOMS`] is the one table of rooms, floors and allowed edges; ARCHITECTURE.md shows it by [`table`], and
//! [`check`] compares it with what `cargo metadata` says the manifests ask for. An edge that is not in the
//! table is refused whatever its direction, because a room's reach is a decision and not an accident of need.
//!
//! Dev-dependencies are exempt: a test may stand on any floor. Async runtimes stop at `turn`, so that the
//! rooms below stay plain functions that a test can call; `tools`, which waits for others, is the exception.

use std::path::Path;

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, MetadataCommand};

use super::Violation;

/// A room of the house: one crate `gptoss-NAME` in `crates/NAME`.
pub struct Room {
    /// A room uses only rooms of lower floors.
    pub floor: u8,
    pub name: &'static str,
    /// The rooms it may depend on.
    pub uses: &'static [&'static str],
}

const fn room(floor: u8, name: &'static str, uses: &'static [&'static str]) -> Room {
    Room { floor, name, uses }
}

/// The house, top floor first. What each room answers is told in ARCHITECTURE.md.
pub const ROOMS: &[Room] = &[
    room(
        7,
        "cli",
        &[
            "server",
            "worker",
            "gateway",
            "eval",
            "agent",
            "guard",
            "govern",
            "turn",
            "engine",
            "train",
            "model",
            "constrain",
            "tools",
            "api",
            "dataset",
            "redact",
            "checkpoint",
            "kernels",
            "gpu",
            "harmony",
            "formats",
            "egress",
        ],
    ),
    room(6, "server", &["guard", "gateway", "govern", "turn", "api", "harmony"]),
    room(6, "worker", &["engine", "constrain", "harmony"]),
    room(6, "eval", &["tools", "harmony"]),
    room(5, "agent", &["turn", "tools", "harmony"]),
    room(5, "guard", &["turn", "harmony"]),
    room(4, "turn", &["engine", "constrain", "harmony"]),
    room(4, "gateway", &["api", "harmony", "egress"]),
    room(3, "engine", &["model"]),
    room(3, "dataset", &["api", "harmony"]),
    room(2, "model", &["kernels", "gpu", "checkpoint", "formats"]),
    room(2, "train", &["kernels", "checkpoint", "formats"]),
    room(2, "redact", &["kernels", "checkpoint", "harmony"]),
    room(2, "constrain", &["harmony"]),
    room(2, "tools", &["harmony", "egress"]),
    room(2, "api", &["harmony"]),
    room(2, "govern", &[]),
    room(1, "checkpoint", &["formats"]),
    room(1, "kernels", &["formats"]),
    room(0, "gpu", &[]),
    room(0, "harmony", &[]),
    room(0, "formats", &[]),
    room(0, "egress", &[]),
];

/// Async runtimes: only `turn`, the floors above and `tools`, which waits for processes and pages, may
/// depend on them.
const RUNTIMES: &[&str] = &["tokio", "async-std", "smol"];
const RUNTIME_FLOOR_MIN: u8 = 4;
const RUNTIME_ROOM: &str = "tools";

/// A workspace crate and what its manifest asks for, dev-dependencies left out.
#[derive(Debug, Clone)]
pub struct Crate {
    pub name: String,
    /// The manifest's path from the root.
    pub manifest: String,
    pub dependencies: Vec<String>,
    /// Kind (`test`, `example`, `bin`, ...) and name of what it builds.
    pub targets: Vec<(String, String)>,
}

/// The workspace's crates, by `cargo metadata` without network and without resolving.
///
/// Errors: when cargo fails, with its message.
pub fn workspace(root: &Path) -> Result<Vec<Crate>> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .context("cargo metadata")?;
    let manifest = |path: &Path| {
        let relative = path.strip_prefix(metadata.workspace_root.as_std_path()).unwrap_or(path);
        relative.to_string_lossy().replace('\\', "/")
    };
    Ok(metadata
        .packages
        .iter()
        .map(|package| Crate {
            name: package.name.to_string(),
            manifest: manifest(package.manifest_path.as_std_path()),
            dependencies: package
                .dependencies
                .iter()
                .filter(|dependency| dependency.kind != DependencyKind::Development)
                .map(|dependency| dependency.name.clone())
                .collect(),
            targets: package
                .targets
                .iter()
                .flat_map(|target| target.kind.iter().map(|kind| (kind.to_string(), target.name.clone())))
                .collect(),
        })
        .collect())
}

/// Edges and runtimes that the table does not allow, and crates without a floor.
pub fn check(crates: &[Crate]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for package in crates.iter().filter(|package| package.name != "xtask") {
        let file = &package.manifest;
        let Some(room) = room_of(&package.name) else {
            let message =
                format!("crate `{}` has no floor: add it to ROOMS in xtask, with its edges", package.name);
            violations.push(Violation::of(file, "floors", message));
            continue;
        };
        for dependency in &package.dependencies {
            let in_house = crates.iter().any(|other| other.name == *dependency);
            let allowed = room.uses.iter().any(|used| *dependency == format!("gptoss-{used}"));
            if in_house && !allowed {
                violations.push(Violation::of(file, "floors", edge_message(room, dependency)));
            }
            if RUNTIMES.contains(&dependency.as_str())
                && room.floor < RUNTIME_FLOOR_MIN
                && room.name != RUNTIME_ROOM
            {
                let message =
                    format!("`{dependency}` below turn: `{}` stays synchronous, the caller waits", room.name);
                violations.push(Violation::of(file, "floors", message));
            }
        }
    }
    violations
}

fn edge_message(room: &Room, dependency: &str) -> String {
    let uses = if room.uses.is_empty() { "no other room".to_owned() } else { room.uses.join(", ") };
    format!(
        "`{}` (floor {}) may not depend on `{dependency}`; it may use {uses}. Move the code to the floor that needs \
         both, or pass the data in",
        room.name, room.floor
    )
}

fn room_of(crate_name: &str) -> Option<&'static Room> {
    let name = crate_name.strip_prefix("gptoss-")?;
    ROOMS.iter().find(|room| room.name == name)
}

/// The table as ARCHITECTURE.md shows it; a room without a crate yet says so.
pub fn table(crates: &[Crate]) -> String {
    let mut text = String::from("| floor | room | may use |\n| --- | --- | --- |\n");
    for room in ROOMS {
        let built = crates.iter().any(|package| package.name == format!("gptoss-{}", room.name));
        let name =
            if built { format!("`{}`", room.name) } else { format!("`{}` (not built yet)", room.name) };
        let uses = match (room.name, room.uses) {
            ("cli", _) => "every room".to_owned(),
            (_, []) => "none".to_owned(),
            (_, uses) => uses.iter().map(|used| format!("`{used}`")).collect::<Vec<_>>().join(", "),
        };
        text.push_str(&format!("| {} | {name} | {uses} |\n", room.floor));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[&str]) -> Crate {
        let dependencies = dependencies.iter().map(|name| (*name).to_owned()).collect();
        let manifest = format!("crates/{name}/Cargo.toml");
        Crate { name: name.to_owned(), manifest, dependencies, targets: Vec::new() }
    }

    fn messages(crates: &[Crate]) -> Vec<String> {
        check(crates).into_iter().map(|violation| violation.message).collect()
    }

    #[test]
    fn every_edge_of_the_table_goes_down() {
        for room in ROOMS {
            for used in room.uses {
                let below = ROOMS.iter().find(|other| other.name == *used).expect("a room of the table");
                assert!(below.floor < room.floor, "{} -> {used}", room.name);
            }
        }
        let cli = &ROOMS[0];
        assert_eq!(cli.uses.len(), ROOMS.len() - 1, "the composition root may use every other room");
    }

    #[test]
    fn allowed_edges_pass_and_others_fail() {
        let kernels = package("gptoss-kernels", &["half"]);
        let model = package("gptoss-model", &["gptoss-kernels", "half"]);
        assert_eq!(messages(&[kernels.clone(), model]), Vec::<String>::new());

        let upwards = package("gptoss-kernels", &["gptoss-model"]);
        let found = messages(&[upwards, package("gptoss-model", &[])]);
        assert!(found.len() == 1 && found[0].contains("may not depend on `gptoss-model`"), "{found:?}");

        let skipping = package("gptoss-engine", &["gptoss-kernels"]);
        assert_eq!(messages(&[kernels, skipping]).len(), 1);
    }

    #[test]
    fn a_runtime_below_turn_and_a_crate_without_a_floor_fail() {
        assert!(messages(&[package("gptoss-engine", &["tokio"])])[0].contains("below turn"));
        assert!(messages(&[package("gptoss-turn", &["tokio"])]).is_empty());
        assert!(messages(&[package("gptoss-attic", &[])])[0].contains("has no floor"));
    }

    #[test]
    fn the_table_says_which_rooms_exist() {
        let text = table(&[package("gptoss-model", &[])]);
        assert!(text.contains("| 2 | `model` | `kernels`, `gpu`, `checkpoint`, `formats` |"));
        assert!(text.contains("`server` (not built yet)"));
    }
}
