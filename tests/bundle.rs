//! Opening an invalid bundle fails with an error that names the wrong file or field.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use dorfman_core::calibration::JointExit;
use dorfman_core::engine::Network;
use dorfman_model::{Bundle, BundleError, OnnxNetwork, Runtime, RuntimeError, Target};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/fashion-bag")
}

/// A copy of the shipped bundle with its manifest changed.
fn changed(change: impl FnOnce(&mut Value)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(shipped()).unwrap() {
        let entry = entry.unwrap();
        // Folders are skipped. There is a folder of profiles if this device was measured.
        if entry.path().is_file() {
            std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
        }
    }
    let file = dir.path().join("bundle.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    change(&mut manifest);
    std::fs::write(&file, serde_json::to_vec(&manifest).unwrap()).unwrap();
    dir
}

/// A copy of the shipped bundle with a file as its confirm network; its threshold is 0.5.
fn with_confirm(file: &Path, change: impl FnOnce(&mut Value)) -> tempfile::TempDir {
    let bytes = std::fs::read(file).unwrap();
    let dir = changed(|m| {
        m["confirm"] = json!({
            "file": "confirm.onnx", "sha256": format!("{:x}", Sha256::digest(&bytes)), "macs": 784,
            "calibration": [{
                "label": "bag", "arity": 1, "positives": 1000, "negatives": 1000,
                "positive_scores": [0.2, 0.8, 1.0], "negative_scores": [0.0, 0.1, 0.7],
                "operating_points": [{"sensitivity": 0.99, "specificity": 0.98, "threshold": 0.5}]
            }]
        });
        change(m);
    });
    std::fs::write(dir.path().join("confirm.onnx"), bytes).unwrap();
    dir
}

/// A confirm network whose score is the sigmoid of an image's mean.
fn confirm_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/confirm/confirm.onnx")
}

/// Makes a manifest state that the networks read float32.
fn floats(manifest: &mut Value, mean: Value, std: Value) {
    let input = &mut manifest["input"];
    (input["dtype"], input["mean"], input["std"]) = (json!("float32"), mean, std);
}

/// The error of the shipped bundle with its manifest changed.
fn refusal(change: impl FnOnce(&mut Value)) -> String {
    Bundle::open(changed(change).path()).unwrap_err().to_string()
}

#[test]
fn every_shipped_bundle_opens() {
    let models = shipped().parent().unwrap().to_owned();
    let folders = std::fs::read_dir(models).unwrap().map(|entry| entry.unwrap().path());
    let names: BTreeSet<String> =
        folders.map(|folder| Bundle::open(&folder).unwrap().manifest.name.clone()).collect();
    assert_eq!(names, BTreeSet::from(["fashion-bag".to_owned(), "shoes".to_owned()]));
}

#[test]
fn the_shipped_bundle_has_thresholds_for_every_arity() {
    let bundle = Bundle::open(&shipped()).unwrap();
    assert_eq!(bundle.labels(), ["bag"]);
    let strict = bundle.thresholds(0.9, 0.9).unwrap();
    let lenient = bundle.thresholds(0.99, 0.99).unwrap();
    for arity in 1..=16 {
        assert!(
            lenient.threshold(arity, 0) <= strict.threshold(arity, 0),
            "at arity {arity}, a higher sensitivity has a lower threshold"
        );
        assert!(lenient.threshold(arity, 0) > 0.0);
    }
}

#[test]
fn errors_name_the_wrong_field_of_the_manifest() {
    let set = |pointer: &'static str, value: Value| {
        refusal(move |m| *m.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value)
    };
    for (message, words) in [
        (set("/format", json!(2)), ["`format`", "format 1"]),
        (set("/merge", json!("sum")), ["`merge`", "max"]),
        (set("/labels/0/positive", json!(false)), ["`labels`", "positive"]),
        (set("/input/width", json!(0)), ["`input.width`", "1 to 8192"]),
        (refusal(|m| m["input"]["mean"] = json!([1])), ["`input.mean`", "uint8"]),
        (refusal(|m| floats(m, json!([1, 2]), json!([1]))), ["`input.mean`", "1 channels"]),
        (refusal(|m| floats(m, json!([0]), json!([0]))), ["`input.std`", "above 0"]),
        (set("/stages", json!([])), ["`stages`", "at least one"]),
        (set("/stages/0/features", json!([0])), ["`stages[0].features`", "shape"]),
        (set("/stages/0/file", json!("../stage0.onnx")), ["`stages[0].file`", "inside the bundle"]),
        (set("/stages/0/macs", json!("many")), ["`stages[0].macs`", "u64"]),
        (set("/calibration", json!([])), ["`calibration`", "arity 1"]),
        (set("/calibration/1/label", json!("hat")), ["`calibration[1].label`", "hat"]),
    ] {
        assert!(words.iter().all(|w| message.contains(w)), "{message} lacks one of {words:?}");
    }
    assert!(
        refusal(|m| m["colour"] = json!("red")).contains("colour"),
        "unknown fields are refused"
    );
}

#[test]
fn errors_name_the_wrong_field_of_the_confirm_network() {
    let set = |pointer: &'static str, value: Value| {
        let dir = with_confirm(&confirm_file(), |m| {
            *m.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value
        });
        Bundle::open(dir.path()).unwrap_err().to_string()
    };
    for (message, words) in [
        (set("/confirm/file", json!("a/confirm.onnx")), ["`confirm.file`", "inside the bundle"]),
        (set("/confirm/sha256", json!("00")), ["confirm.onnx", "SHA-256"]),
        (set("/confirm/macs", json!(-1)), ["`confirm.macs`", "u64"]),
        (
            set("/confirm/calibration", json!([])),
            ["`confirm.calibration`", "0 entries for label \"bag\""],
        ),
        (
            set("/confirm/calibration/0/arity", json!(4)),
            ["`confirm.calibration[0].arity`", "must be 1"],
        ),
        (
            set("/confirm/calibration/0/label", json!("hat")),
            ["`confirm.calibration[0].label`", "hat"],
        ),
        (
            set("/confirm/calibration/0/operating_points", json!([])),
            ["`confirm.calibration[0]", "at least one"],
        ),
        (set("/confirm", json!({"colour": "red"})), ["confirm", "colour"]),
    ] {
        assert!(words.iter().all(|w| message.contains(w)), "{message} lacks one of {words:?}");
    }
    let dir = with_confirm(&confirm_file(), |_| {});
    std::fs::remove_file(dir.path().join("confirm.onnx")).unwrap();
    let error = Bundle::open(dir.path()).unwrap_err();
    assert!(matches!(&error, BundleError::Read { file, .. } if file == "confirm.onnx"), "{error}");
}

#[test]
fn the_confirm_network_has_its_own_thresholds() {
    let mut without = Bundle::open(&shipped()).unwrap();
    without.manifest.confirm = None;
    assert_eq!(without.confirm_thresholds(0.99).unwrap(), None);
    let dir = with_confirm(&confirm_file(), |_| {});
    let bundle = Bundle::open(dir.path()).unwrap();
    assert_eq!(bundle.confirm_thresholds(0.98).unwrap().unwrap().threshold(1, 0), 0.5);
    let error = bundle.confirm_thresholds(0.999).unwrap_err().to_string();
    assert!(error.contains("`confirm.calibration`") && error.contains("0.999"), "{error}");
}

#[test]
fn the_confirm_network_scores_single_images() {
    let runtime = Runtime::load(None, 2).unwrap();
    let dir = with_confirm(&confirm_file(), |_| {});
    let bundle = Bundle::open(dir.path()).unwrap();
    let mut network = OnnxNetwork::new(&bundle, &runtime, &Target::default(), 16).unwrap();
    assert_eq!(network.shape().confirm_macs, Some(784));
    let dark = vec![0; 784];
    let light = vec![255; 784];
    let mut scores = vec![7.0];
    network.confirm(&[&dark, &light], &mut scores).unwrap();
    // The input's mean is 72.9 and its deviation 90.
    let sigmoid = |level: f32| 1.0 / (1.0 + (-(level - 72.9) / 90.0).exp());
    let expected = [7.0, sigmoid(0.0), sigmoid(255.0)];
    assert!(
        scores.len() == 3 && scores.iter().zip(expected).all(|(s, e)| (s - e).abs() < 1e-6),
        "{scores:?}"
    );
    let error = network.confirm(&[&dark[1..]], &mut scores).unwrap_err().to_string();
    assert!(error.contains("confirm") && error.contains("783"), "{error}");

    let mut plain = Bundle::open(&shipped()).unwrap();
    plain.manifest.confirm = None;
    let mut without = OnnxNetwork::new(&plain, &runtime, &Target::default(), 16).unwrap();
    assert!(
        without.shape().confirm_macs.is_none() && without.confirm(&[&dark], &mut scores).is_err()
    );
}

#[test]
fn a_confirm_network_of_another_shape_is_refused() {
    let runtime = Runtime::load(None, 2).unwrap();
    for (file, expected) in [("stage0.onnx", "no output `scores`"), ("stage1.onnx", "has 2 inputs")]
    {
        let dir = with_confirm(&shipped().join(file), |_| {});
        let bundle = Bundle::open(dir.path()).unwrap();
        let error =
            OnnxNetwork::new(&bundle, &runtime, &Target::default(), 16).unwrap_err().to_string();
        assert!(error.contains("confirm.onnx") && error.contains(expected), "{error}");
    }
}

#[test]
fn errors_name_missing_and_changed_files() {
    let dir = changed(|_| {});
    std::fs::write(dir.path().join("stage1.onnx"), b"other").unwrap();
    let error = Bundle::open(dir.path()).unwrap_err();
    assert!(
        matches!(&error, BundleError::Checksum { file, .. } if file == "stage1.onnx"),
        "{error}"
    );
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
fn stages_that_contradict_the_manifest_are_refused() {
    let runtime = Runtime::load(None, 2).unwrap();
    let open = |dir: &tempfile::TempDir| {
        let bundle = Bundle::open(dir.path()).unwrap();
        OnnxNetwork::new(&bundle, &runtime, &Target::default(), 64).map(|n| n.shape().clone())
    };
    let dir = changed(|m| m["stages"][0]["features"] = json!([3, 3, 3]));
    let error = open(&dir).unwrap_err().to_string();
    assert!(
        error.contains("stage0.onnx")
            && error.contains("`features`")
            && error.contains("[N, 3, 3, 3]"),
        "{error}"
    );

    let error = open(&changed(|m| floats(m, json!([72.9]), json!([90])))).unwrap_err().to_string();
    assert!(
        error.contains("has type uint8; it must have type float32")
            && error.contains("`dtype` of the input"),
        "{error}"
    );

    let dir = changed(|m| {
        // The files of the first two stages are exchanged.
        let stages = m["stages"].as_array_mut().unwrap();
        for field in ["file", "sha256"] {
            let first = stages[0][field].take();
            stages[0][field] = stages[1][field].take();
            stages[1][field] = first;
        }
    });
    let error = open(&dir).unwrap_err().to_string();
    assert!(error.contains("no input `images`"), "{error}");
    assert!(matches!(open(&changed(|_| {})), Ok(shape) if shape.item_top() == 3 && shape.repeats));
}

#[test]
fn exits_that_contradict_the_manifest_are_refused() {
    let message =
        |change: &dyn Fn(&mut Value)| Bundle::open(changed(change).path()).unwrap_err().to_string();
    let without_joint = message(&|m| drop(m.as_object_mut().unwrap().remove("joint")));
    assert!(without_joint.contains("`joint`: is missing"), "{without_joint}");
    let in_last = message(&|m| m["stages"][4]["exit"] = m["stages"][0]["exit"].clone());
    assert!(in_last.contains("`stages[4].exit`"), "{in_last}");
    let merging = message(&|m| m["stages"][1]["fan_in"] = json!(2));
    assert!(merging.contains("`stages[1].exit`: must be in a stage before"), "{merging}");
    let arity = message(&|m| m["stages"][1]["exit"]["calibration"][0]["arity"] = json!(2));
    assert!(arity.contains("`stages[1].exit.calibration[0].arity`: is 2; it must be 1"), "{arity}");
    let label = message(&|m| m["stages"][0]["exit"]["calibration"] = json!([]));
    assert!(label.contains("0 entries for label"), "{label}");

    // The model of the last stage has no output `exit`.
    let runtime = Runtime::load(None, 2).unwrap();
    let dir = changed(|m| {
        for field in ["file", "sha256"] {
            m["stages"][0][field] = m["stages"][4][field].clone();
        }
    });
    let bundle = Bundle::open(dir.path()).unwrap();
    assert!(OnnxNetwork::new(&bundle, &runtime, &Target::default(), 64).is_err());
}

#[test]
fn exits_of_the_shipped_bundles_have_joint_scores() {
    for (name, exits) in [("fashion-bag", 4), ("shoes", 1)] {
        let bundle = Bundle::open(&shipped().with_file_name(name)).unwrap();
        let calibration = bundle.exit_calibration().unwrap().unwrap();
        assert_eq!((bundle.exits().len(), calibration.joint.exits().len()), (exits, exits));
        assert!(!calibration.passed.is_empty(), "{name}");
        // At the highest sensitivity of every exit no positive is lost, and most negatives are.
        let highest = |exit: &JointExit| Some(exit.sensitivities.len() - 1);
        let used: Vec<_> = calibration.joint.exits().iter().map(highest).collect();
        let passage = calibration.joint.passage(&used, 0);
        assert_eq!(passage.positive.last(), Some(&1.0), "{name}");
        assert!(*passage.negative.last().unwrap() < 0.2, "{name}: {passage:?}");
    }
}

#[test]
fn a_file_that_is_not_a_model_is_refused() {
    let runtime = Runtime::load(None, 2).unwrap();
    let dir = changed(|m| {
        m["stages"][0]["sha256"] =
            json!("0a041b9462caa4a31bac3567e0b6e6fd9100787db2ab433d96f6d178cabfce90");
    });
    std::fs::write(dir.path().join("stage0.onnx"), b"user1").unwrap();
    let error = Bundle::open(dir.path())
        .map_err(|e| e.to_string())
        .and_then(|b| {
            OnnxNetwork::new(&b, &runtime, &Target::default(), 64)
                .map_err(|e: RuntimeError| e.to_string())
        })
        .map(|_| ())
        .unwrap_err();
    assert!(error.contains("stage0.onnx"), "{error}");
}
