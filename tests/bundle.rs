//! A bundle is what it says, or it is refused with the file or field that is wrong.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};

use dorfman::engine::Network;
use dorfman::model::{Bundle, BundleError, OnnxNetwork, Provider, Runtime, RuntimeError};
use serde_json::{Value, json};

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/fashion-bag")
}

/// A copy of the shipped bundle with its manifest changed.
fn changed(change: impl FnOnce(&mut Value)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(shipped()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    let file = dir.path().join("bundle.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    change(&mut manifest);
    std::fs::write(&file, serde_json::to_vec(&manifest).unwrap()).unwrap();
    dir
}

fn refusal(change: impl FnOnce(&mut Value)) -> String {
    Bundle::open(changed(change).path()).unwrap_err().to_string()
}

#[test]
fn the_shipped_bundle_opens_and_has_thresholds_for_every_size() {
    let bundle = Bundle::open(&shipped()).unwrap();
    assert_eq!(bundle.labels(), ["bag"]);
    let strict = bundle.thresholds(0.9, 0.9).unwrap();
    let lenient = bundle.thresholds(0.99, 0.99).unwrap();
    for arity in 1..=16 {
        assert!(
            lenient.threshold(arity, 0) <= strict.threshold(arity, 0),
            "more sensitivity, lower threshold, at {arity}"
        );
        assert!(lenient.threshold(arity, 0) > 0.0);
    }
}

#[test]
fn what_is_wrong_in_the_manifest_is_named() {
    let set = |pointer: &'static str, value: Value| {
        refusal(move |m| *m.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value)
    };
    for (message, words) in [
        (set("/format", json!(2)), ["`format`", "format 1"]),
        (set("/merge", json!("sum")), ["`merge`", "max"]),
        (set("/labels/0/positive", json!(false)), ["`labels`", "positive"]),
        (set("/input/width", json!(0)), ["`input.width`", "1 to 8192"]),
        (set("/input/mean", json!([1, 2])), ["`input.mean`", "1 channels"]),
        (set("/input/std", json!([0])), ["`input.std`", "above 0"]),
        (set("/stages", json!([])), ["`stages`", "at least one"]),
        (set("/stages/0/features", json!([0])), ["`stages[0].features`", "shape"]),
        (set("/stages/0/file", json!("../stage0.onnx")), ["`stages[0].file`", "inside the bundle"]),
        (set("/stages/0/macs", json!("many")), ["`stages[0].macs`", "u64"]),
        (set("/calibration", json!([])), ["`calibration`", "arity 1"]),
        (set("/calibration/1/label", json!("hat")), ["`calibration[1].label`", "hat"]),
    ] {
        assert!(words.iter().all(|w| message.contains(w)), "{message} lacks one of {words:?}");
    }
    assert!(refusal(|m| m["colour"] = json!("red")).contains("colour"), "unknown fields are refused");
}

#[test]
fn files_that_are_missing_or_other_ones_are_named() {
    let dir = changed(|_| {});
    std::fs::write(dir.path().join("stage1.onnx"), b"other").unwrap();
    let error = Bundle::open(dir.path()).unwrap_err();
    assert!(matches!(&error, BundleError::Checksum { file, .. } if file == "stage1.onnx"), "{error}");
    std::fs::remove_file(dir.path().join("stage0.onnx")).unwrap();
    let error = Bundle::open(dir.path()).unwrap_err();
    assert!(matches!(&error, BundleError::Read { file, .. } if file == "stage0.onnx"), "{error}");
    let error = Bundle::open(Path::new("/nowhere")).unwrap_err().to_string();
    assert!(error.contains("bundle.json"), "{error}");
}

#[test]
fn a_sensitivity_that_was_not_measured_is_refused() {
    let bundle = Bundle::open(&shipped()).unwrap();
    let error = bundle.thresholds(0.999_99, 0.98).unwrap_err().to_string();
    assert!(error.contains("sensitivity") && error.contains("bag"), "{error}");
}

#[test]
fn stages_that_are_not_as_the_manifest_says_are_refused() {
    let runtime = Runtime::load(None, 2).unwrap();
    let open = |dir: &tempfile::TempDir| {
        let bundle = Bundle::open(dir.path()).unwrap();
        OnnxNetwork::new(&bundle, &runtime, Provider::Cpu, 0, 64).map(|n| n.form().clone())
    };
    let dir = changed(|m| m["stages"][0]["features"] = json!([3, 3, 3]));
    let error = open(&dir).unwrap_err().to_string();
    assert!(error.contains("stage0.onnx") && error.contains("`features`") && error.contains("[N, 3, 3, 3]"), "{error}");

    let dir = changed(|m| m["stages"].as_array_mut().unwrap().swap(0, 1));
    let dir = {
        // The first stage has to say its features, whichever file it names.
        let file = dir.path().join("bundle.json");
        let mut m: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        m["stages"][0]["features"] = m["stages"][1]["features"].take();
        m["stages"][1].as_object_mut().unwrap().remove("features");
        std::fs::write(&file, serde_json::to_vec(&m).unwrap()).unwrap();
        dir
    };
    let error = open(&dir).unwrap_err().to_string();
    assert!(error.contains("no input `images`"), "{error}");
    assert!(matches!(open(&changed(|_| {})), Ok(form) if form.levels.len() == 1 && form.repeats));
}

#[test]
fn a_file_that_is_no_model_is_refused() {
    let runtime = Runtime::load(None, 2).unwrap();
    let dir = changed(|m| {
        m["stages"][0]["sha256"] = json!("0a041b9462caa4a31bac3567e0b6e6fd9100787db2ab433d96f6d178cabfce90");
    });
    std::fs::write(dir.path().join("stage0.onnx"), b"user1").unwrap();
    let error = Bundle::open(dir.path())
        .map_err(|e| e.to_string())
        .and_then(|b| OnnxNetwork::new(&b, &runtime, Provider::Cpu, 0, 64).map_err(|e: RuntimeError| e.to_string()))
        .map(|_| ())
        .unwrap_err();
    assert!(error.contains("stage0.onnx"), "{error}");
}
