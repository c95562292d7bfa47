//! Unusual files are judged by the pixels that viewers show. The files are photos of a shoe, and the
//! network finds shoes.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const FOLDER: &str = "tests/data/viewers";

/// The verdicts of `dorfman scan` on the files, by their names.
fn verdicts(environment: &[(&str, &str)]) -> BTreeMap<String, Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_dorfman"))
        .args(["scan", FOLDER, "--bundle", "models/shoes", "--json"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("DORFMAN_CONFIG")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let verdict = |line: &str| {
        let verdict: Value = serde_json::from_str(line).unwrap();
        let path = Path::new(verdict["id"].as_str().unwrap());
        (path.file_name().unwrap().to_str().unwrap().to_owned(), verdict)
    };
    lines.lines().map(verdict).collect()
}

#[test]
fn unusual_files_are_flagged_as_the_photo_that_they_show() {
    let verdicts = verdicts(&[]);
    assert_eq!(verdicts.len(), 7, "{verdicts:#?}");
    for (name, verdict) in verdicts.iter().filter(|(name, _)| *name != "cut-short.jpg") {
        assert_eq!(verdict["verdict"], "flagged", "{name}: {verdict}");
        assert!(verdict["score"].as_f64().unwrap() > 0.99, "{name}: {verdict}");
    }
    let animation = &verdicts["second-frame-positive.gif"];
    assert_eq!((&animation["frame"], &animation["frames"]), (&1.into(), &2.into()), "{animation}");
    assert!(verdicts["shoe.avif"].get("frames").is_none());
}

#[test]
fn frames_after_the_first_one_are_not_judged_if_the_configuration_says_so() {
    let verdicts = verdicts(&[("DORFMAN_DECODE__FRAMES", "1")]);
    assert_eq!(verdicts["second-frame-positive.gif"]["verdict"], "cleared");
}

/// Also behind the screen, which sees each frame on its own.
#[test]
fn frames_are_judged_with_and_without_a_screen() {
    for mode in ["auto", "none"] {
        let verdicts = verdicts(&[("DORFMAN_EXITS__MODE", mode)]);
        let animation = &verdicts["second-frame-positive.gif"];
        assert_eq!(animation["verdict"], "flagged", "{mode}: {animation}");
    }
}

#[test]
fn a_file_that_ends_early_is_a_dead_letter_or_is_judged_and_marked() {
    let default = &verdicts(&[])["cut-short.jpg"];
    assert_eq!(
        (&default["verdict"], &default["reason"]),
        (&"failed".into(), &"undecodable".into())
    );
    let judged = verdicts(&[("DORFMAN_DECODE__INCOMPLETE", "judge")]);
    let cut = &judged["cut-short.jpg"];
    assert_eq!((&cut["verdict"], &cut["incomplete"]), (&"flagged".into(), &true.into()));
    assert!(judged["shoe.avif"].get("incomplete").is_none());
}
