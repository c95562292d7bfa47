//! `dorfman evaluate` as users run it: it reads labelled images and writes tables, JSON and a
//! picture.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs the command on the shipped bundle. It uses at most 1024 images per stratum and does not
/// repeat runs for exact timings.
fn evaluate(data: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dorfman"));
    command
        .args([
            "evaluate",
            "--bundle",
            "models/fashion-bag",
            "--repeat",
            "0",
            "--cap",
            "1024",
            "--data",
        ])
        .arg(data)
        .args(more);
    command.current_dir(root()).env_remove("DORFMAN_CONFIG").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The images of the agreement test, each with its class. File names begin with the class.
fn images() -> Vec<(String, PathBuf)> {
    let entries =
        fs::read_dir(root().join("tests/data/agreement")).unwrap().map(|e| e.unwrap().path());
    let mut images: Vec<(String, PathBuf)> = entries
        .filter(|path| path.extension().is_some_and(|e| e == "png"))
        .map(|path| {
            (
                path.file_name().unwrap().to_str().unwrap().split('-').next().unwrap().to_owned(),
                path,
            )
        })
        .collect();
    images.sort();
    images
}

/// A folder with one subfolder of images per class.
fn folder(dir: &Path) -> PathBuf {
    for (class, path) in images() {
        let to = dir.join("set").join(class);
        fs::create_dir_all(&to).unwrap();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
    dir.join("set")
}

/// A list with every image `times` times, and with `broken` files that are not images.
fn list(dir: &Path, times: usize, broken: usize) -> PathBuf {
    let mut rows = String::from("class,source,path\n");
    for (class, path) in images() {
        (0..times).for_each(|i| rows += &format!("{class},camera {},{}\n", i % 2, path.display()));
    }
    (0..broken).for_each(|i| rows += &format!("other,camera 0,broken-{i}.png\n"));
    (0..broken).for_each(|i| fs::write(dir.join(format!("broken-{i}.png")), "no image").unwrap());
    let list = dir.join("list.csv");
    fs::write(&list, rows).unwrap();
    list
}

#[test]
fn evaluating_a_folder_writes_a_table_json_and_a_picture() {
    let dir = tempfile::tempdir().unwrap();
    let data = folder(dir.path());
    let json = dir.path().join("report.json");
    let svg = dir.path().join("recall.svg");
    let files = ["--json", json.to_str().unwrap(), "--picture", svg.to_str().unwrap()];
    let cases =
        ["--positive", "bag", "--prevalence", "0.001,0.05", "--group-size", "4,8", "--policy"];
    let policies = ["two-round,multi-round", "--chain", "2", "--by-class"];
    let output = evaluate(&data, &[&files[..], &cases, &policies].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    for word in [
        "feature, 5 stages",
        "| 8 > 2 > 1",
        "| 4 > 1",
        "| individual",
        "0.10 %",
        "| bag ",
        "| other ",
    ] {
        assert!(table.contains(word), "{word} is not in {table}");
    }
    let report: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert_eq!((&report["method"], &report["data"]["positives"]), (&"strata".into(), &4.into()));
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2 * (1 + 4));
    for row in rows {
        assert_eq!(row["recall"]["value"], 1.0, "{row}");
        assert_eq!(row["fpr"]["value"], 0.0, "{row}");
        assert_eq!(row["by_class"][0]["class"], "bag");
        assert!(row["relative_network_seconds"].as_f64().unwrap() > 0.0, "{row}");
        let grouped = row["policy"] != "individual";
        assert_eq!(row["strata"].as_array().unwrap().len(), if grouped { 2 } else { 0 });
        assert_eq!(row["relative_macs"].as_f64().unwrap() < 0.6, grouped, "{row}");
    }
    let two_rounds_of_eight =
        rows.iter().find(|r| r["plan"] == "8 > 1" && r["prevalence"] == 0.05).unwrap();
    let q = 1.0 - 0.95f64.powi(8);
    let tests = |field: &str| two_rounds_of_eight[field].as_f64().unwrap();
    let pooled = tests("tests_per_image") - tests("confirm_tests_per_image");
    assert!(
        (pooled - (1.0 / 8.0 + q)).abs() < 1e-9,
        "if no test errs, there are 1/M + q tests per image: {pooled}"
    );
    let confirm = tests("confirm_tests_per_image");
    assert!(
        (0.04..0.06).contains(&confirm),
        "the confirm network tests flagged images, one in twenty: {confirm}"
    );
    let picture = fs::read_to_string(&svg).unwrap();
    assert!(
        picture.contains("recall, %")
            && picture.contains("fashion-bag (feature), two-round, 5.00 %")
    );
}

#[test]
fn a_network_that_was_cut_into_stages_is_evaluated() {
    let dir = tempfile::tempdir().unwrap();
    let data = folder(dir.path());
    let cases = [
        "--positive",
        "bag",
        "--prevalence",
        "0.05",
        "--group-size",
        "4",
        "--bundle",
        "tests/data/cut",
    ];
    let output = evaluate(&data, &[&cases[..], &["--policy", "two-round", "--json", "-"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows: Vec<&Value> = report["rows"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|r| r["bundle"] == "tests/data/cut")
        .collect();
    assert_eq!(rows.len(), 2);
    for (row, plan) in rows.iter().zip(["individual", "4 > 1"]) {
        assert_eq!((&row["plan"], &row["design"]), (&plan.into(), &"feature".into()));
        assert_eq!(
            (&row["recall"]["value"], &row["fpr"]["value"]),
            (&1.0.into(), &0.0.into()),
            "{row}"
        );
    }
    let tests = rows[1]["tests_per_image"].as_f64().unwrap();
    assert!((0.25..0.9).contains(&tests), "pooling saves tests: {tests} per image");
}

#[test]
fn evaluating_a_list_reports_sources_and_broken_images() {
    let dir = tempfile::tempdir().unwrap();
    let list = list(dir.path(), 4, 1);
    let plain = ["--positive", "bag", "--prevalence", "0.02", "--group-size", "4", "--json", "-"];
    let output = evaluate(&list, &[&plain[..], &["--stream", "4000"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["method"], &report["data"]["images"]), (&"stream".into(), &49.into()));
    assert_eq!(report["data"]["undecodable"][0]["image"], "broken-0.png");
    let row = &report["rows"][1];
    assert_eq!(
        (&row["strata"][0]["name"], &row["strata"][0]["images"]),
        (&"stream".into(), &4000.into())
    );
    assert_eq!(row["by_source"][1]["source"], "camera 1");
    assert_eq!(row["by_source"][1]["recall"]["value"], 1.0);
}

#[test]
fn invalid_arguments_and_broken_images_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let data = folder(dir.path());
    let nowhere = dir.path().join("nowhere");
    for (data, more, word) in [
        (&data, &["--positive", "cat", "--prevalence", "0.01"][..], "only bag, other"),
        (&data, &["--positive", "bag,other", "--prevalence", "0.01"], "no negatives"),
        (&data, &["--positive", "bag", "--prevalence", "1"], "--prevalence is 1"),
        (&data, &["--positive", "bag", "--prevalence", "0.01", "--group-size", "65"], "1 to 64"),
        (&data, &["--positive", "bag", "--prevalence", "0.01", "--chain", "2,4"], "must fall"),
        (
            &data,
            &["--positive", "bag", "--prevalence", "0.01", "--pooled-sensitivity", "0.9999"],
            "arity 2",
        ),
        (&data, &["--positive", "bag", "--prevalence", "0.01", "--policy", "thrice"], "two-round"),
        (
            &data,
            &["--positive", "bag", "--prevalence", "0.01", "--json", "/nowhere/a.json"],
            "no folder /nowhere",
        ),
        (&nowhere, &["--positive", "bag", "--prevalence", "0.01"], "nowhere"),
    ] {
        let output = evaluate(data, more);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{more:?}: {message}");
        assert!(message.contains(word), "{more:?}: {message}");
    }
    let output = evaluate(&list(dir.path(), 1, 3), &["--positive", "bag", "--prevalence", "0.01"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("3 of 15 images can't be decoded"),
        "{}",
        text(&output.stderr)
    );
}
