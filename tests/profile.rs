//! `dorfman profile` as users run it, and the worker that reads the profile. No assertion depends
//! on a measured time.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use dorfman::config::Config;
use dorfman::worker::Model;
use dorfman_core::engine::NetworkPart;
use dorfman_model::profile::ProfileError;
use dorfman_model::{Bundle, Profile};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The command with its smallest measurement.
fn profile(bundle: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dorfman"));
    command
        .args(["profile", "--seconds", "0", "--batch", "1,4", "--bundle"])
        .arg(bundle)
        .args(more);
    command.current_dir(root()).env_remove("DORFMAN_CONFIG").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A copy of a bundle.
fn copy(bundle: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(root().join(bundle))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.is_file())
    {
        fs::copy(&entry, dir.path().join(entry.file_name().unwrap())).unwrap();
    }
    dir
}

/// The only profile in the folder of a bundle.
fn written(bundle: &Path) -> PathBuf {
    let mut files: Vec<PathBuf> =
        fs::read_dir(bundle.join("profiles")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

/// The arity and the batch size of each measurement of a part.
fn shapes(profile: &Profile, part: NetworkPart) -> Vec<(usize, usize)> {
    profile.part(part).unwrap().measured.iter().map(|p| (p.arity, p.rows)).collect()
}

/// A configuration of a worker on this bundle.
fn config(bundle: &Path) -> Config {
    let mut config = Config::parse("", std::iter::empty()).unwrap();
    config.model.bundle = bundle.to_owned();
    config.retest.pooled_sensitivity = 0.9;
    config.retest.individual_sensitivity = 0.9;
    config
}

#[test]
fn a_tree_is_profiled_stage_by_stage_and_the_worker_reads_the_profile() {
    let dir = copy("tests/data/tree");
    let output = profile(dir.path(), &["--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let file = written(dir.path());
    let measured = Profile::read(&file).unwrap();
    assert_eq!(measured, serde_json::from_slice(&output.stdout).unwrap());
    assert_eq!(
        measured.stages.iter().map(|s| s.macs).collect::<Vec<_>>(),
        [95_648, 112_896, 677_424]
    );
    assert_eq!(shapes(&measured, NetworkPart::Stage(0)), [(1, 1), (1, 4)]);
    assert_eq!(shapes(&measured, NetworkPart::Stage(1)), [(1, 1), (1, 4), (2, 1), (2, 4)]);
    // Tests of 1, 4 and 16 images merge 1, 2 and 8 pairs.
    assert_eq!(
        shapes(&measured, NetworkPart::Stage(2)),
        [(1, 1), (1, 4), (2, 1), (2, 4), (8, 1), (8, 4)]
    );
    assert!(measured.confirm.is_none());
    assert!(measured.seconds(NetworkPart::Stage(2), 4, 2).unwrap() > 0.0);

    let model = Model::open(&config(dir.path())).unwrap();
    assert_eq!(model.profile.as_ref(), Some(&measured));
    assert_eq!(file.file_stem().unwrap().to_str().unwrap(), measured.machine.key());
}

#[test]
fn the_table_has_rows_for_a_confirm_network() {
    let dir = copy("models/fashion-bag");
    let out = dir.path().join("elsewhere.json");
    let output = profile(dir.path(), &["--out", out.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    for word in [
        "fashion-bag 2.2.0 on",
        "MACs per row",
        "| 4       |    32 |    4 |",
        "| confirm |     1 |    4 |",
        "54.4 M",
    ] {
        assert!(table.contains(word), "no {word} in {table}");
    }
    assert!(!dir.path().join("profiles").exists());
    let measured = Profile::read(&out).unwrap();
    assert_eq!(
        (measured.stages.len(), shapes(&measured, NetworkPart::Confirm)),
        (5, vec![(1, 1), (1, 4)])
    );
}

#[test]
fn a_profile_of_another_bundle_is_refused_and_the_worker_starts_without_it() {
    let dir = copy("tests/data/tree");
    assert_eq!(profile(dir.path(), &[]).status.code(), Some(0));
    let file = written(dir.path());
    let mut stale = Profile::read(&file).unwrap();
    stale.bundle.stages[1] = "0".repeat(64);
    stale.write(&file).unwrap();
    let error = Profile::find(&Bundle::open(dir.path()).unwrap(), &stale.machine).unwrap_err();
    assert!(matches!(error, ProfileError::Stale { .. }));
    let message = error.to_string();
    assert!(
        message.contains("another stage 1") && message.contains("`dorfman profile`"),
        "{message}"
    );
    assert!(Model::open(&config(dir.path())).unwrap().profile.is_none());

    fs::write(&file, "{\"format\": 1, \"colour\": \"red\"}").unwrap();
    let error = Profile::find(&Bundle::open(dir.path()).unwrap(), &stale.machine).unwrap_err();
    assert!(error.to_string().contains("colour"), "{error}");
}

#[test]
fn errors_are_reported_before_the_measurement() {
    let dir = copy("tests/data/tree");
    // A file in place of the folder, so that even root cannot write a profile.
    fs::write(dir.path().join("profiles"), "").unwrap();
    let output = profile(dir.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("`--out FILE`"), "{}", text(&output.stderr));
    for (more, word) in [
        (["--out", "/nowhere/profile.json"], "no folder /nowhere"),
        (["--batch", "1000"], "`engine.slots`"),
        (["--seconds", "nan"], "--seconds is NaN"),
    ] {
        // An option that is given twice is an error, so the command has no other options.
        let mut command = Command::new(env!("CARGO_BIN_EXE_dorfman"));
        let output = command.arg("profile").args(more).current_dir(root()).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{more:?}");
        assert!(text(&output.stderr).contains(word), "{more:?}: {}", text(&output.stderr));
    }
}
