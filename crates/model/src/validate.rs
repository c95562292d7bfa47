//! Checks of a manifest beyond its JSON types (pure).

use super::manifest::{Calibration, InputSpec, Manifest, Merge, PixelType, Resize, Stage};
use dorfman_core::policy::MAX_GROUP;

/// Checks a manifest. The error is the path of the first wrong field, and a message that states
/// what is wrong and what would be right.
pub(super) fn check(m: &Manifest) -> Result<(), (String, String)> {
    let wrong = |field: &str, what: String| Err((field.to_owned(), what));
    if m.format != 1 {
        return wrong(
            "format",
            format!("is {}; this version of dorfman reads only format 1", m.format),
        );
    }
    for (field, value) in [("name", &m.name), ("version", &m.version), ("licence", &m.licence)] {
        if value.trim().is_empty() {
            return wrong(field, "must not be empty".into());
        }
    }
    if !m.labels.iter().any(|l| l.positive) {
        return wrong("labels", "at least one label must have \"positive\": true".into());
    }
    check_input("input", &m.input)?;
    check_stages(m)?;
    for label in m.labels.iter().filter(|l| l.positive) {
        let alone = |c: &&Calibration| c.arity == 1 && c.exit_sensitivity.is_none();
        if !m.calibration.iter().filter(alone).any(|c| c.label == label.name) {
            return wrong(
                "calibration",
                format!(
                    "has no entry for label \"{}\" at arity 1; every positive label needs one",
                    label.name
                ),
            );
        }
    }
    for (i, c) in m.calibration.iter().enumerate() {
        check_calibration(m, &format!("calibration[{i}]"), c)?;
    }
    if let Some(confirm) = &m.confirm {
        check_single(m, "confirm", &confirm.file, &confirm.calibration)?;
    }
    if let Some(screen) = &m.screen {
        check_input("screen.input", &screen.input)?;
        check_single(m, "screen", &screen.file, &screen.calibration)?;
    }
    check_exits(m)
}

/// Checks an input. `at` is the path of the input in the manifest.
fn check_input(at: &str, input: &InputSpec) -> Result<(), (String, String)> {
    let wrong = |field: &str, what: String| Err((format!("{at}.{field}"), what));
    if input.width == 0 || input.height == 0 || input.width > 8192 || input.height > 8192 {
        return wrong(
            "width",
            format!(
                "is {} and the height is {}; each must be 1 to 8192",
                input.width, input.height
            ),
        );
    }
    let channels = input.channels.count();
    for (field, values) in [("mean", &input.mean), ("std", &input.std)] {
        if input.dtype == PixelType::Uint8 && !values.is_empty() {
            return wrong(
                field,
                "must be absent, because a network that reads uint8 normalises the pixels itself"
                    .into(),
            );
        }
        if input.dtype == PixelType::Float32 && values.len() != channels {
            return wrong(
                field,
                format!(
                    "has {} values; it must have one per channel: {channels} channels",
                    values.len()
                ),
            );
        }
    }
    if input.std.iter().any(|s| !s.is_finite() || *s <= 0.0) {
        return wrong("std", "every value must be a finite number above 0".into());
    }
    if let Resize::ShortSide { short_side, .. } = input.resize
        && short_side < input.width.max(input.height)
    {
        let needed = input.width.max(input.height);
        return wrong(
            "resize.short_side",
            format!("is {short_side}; it must be at least {needed}, the longer side of the input"),
        );
    }
    Ok(())
}

fn check_stages(m: &Manifest) -> Result<(), (String, String)> {
    let wrong =
        |i: usize, field: &str, what: &str| Err((format!("stages[{i}].{field}"), what.to_owned()));
    let Some(last) = m.stages.len().checked_sub(1) else {
        return Err(("stages".into(), "at least one stage is needed".into()));
    };
    for (i, stage) in m.stages.iter().enumerate() {
        if !is_file_name(&stage.file) {
            return wrong(i, "file", NOT_A_NAME);
        }
        if stage.features.is_some() != (i < last) {
            return wrong(
                i,
                "features",
                "every stage except the last must have the shape of its features",
            );
        }
        if stage.features.as_ref().is_some_and(|f| f.is_empty() || f.contains(&0)) {
            return wrong(i, "features", "must be the shape of one row, such as [32, 14, 14]");
        }
        let between = i > 0 && i < last;
        if stage.fan_in.is_some() != between {
            return wrong(
                i,
                "fan_in",
                "must be in every stage between the first and the last, and in no other stage",
            );
        }
        if stage.fan_in.is_some_and(|f| !(1..=MAX_GROUP).contains(&f)) {
            return wrong(i, "fan_in", "must be 1 to 64");
        }
        let merges = |stage: &Stage| stage.fan_in.is_some_and(|f| f > 1);
        let merged = m.stages[..i].iter().any(merges);
        if merged && stage.fan_in == Some(1) {
            return wrong(i, "fan_in", "must be 2 to 64, because an earlier stage merges rows");
        }
        if merges(stage) && stage.exit.is_some() {
            return wrong(
                i,
                "exit",
                "must be in a stage before the first merge, because an exit clears single images",
            );
        }
        if i == last && stage.exit.is_some() {
            return wrong(i, "exit", "must not be in the last stage, which has the scores");
        }
    }
    if last == 0 && m.merge != Merge::Mean {
        return Err((
            "merge".into(),
            "must be \"mean\", because a network of one stage merges pixels".into(),
        ));
    }
    Ok(())
}

fn is_file_name(file: &str) -> bool {
    let path = std::path::Path::new(file);
    path.file_name() == Some(path.as_os_str())
}

/// Checks the exits, their calibration, and that there is a file of joint scores if there are any.
fn check_exits(m: &Manifest) -> Result<(), (String, String)> {
    for (i, stage) in m.stages.iter().enumerate() {
        if let Some(exit) = &stage.exit {
            check_entries(m, &format!("stages[{i}].exit"), &exit.calibration)?;
        }
    }
    let exits = m.screen.is_some() || m.stages.iter().any(|stage| stage.exit.is_some());
    match &m.joint {
        None if exits => Err((
            "joint".into(),
            "is missing; a bundle with a screen or an early exit needs the file of joint scores"
                .into(),
        )),
        Some(joint) if !is_file_name(&joint.file) => Err(("joint.file".into(), NOT_A_NAME.into())),
        Some(_) if !exits => Err((
            "joint".into(),
            "must be absent, because the bundle has no screen and no early exit".into(),
        )),
        _ => Ok(()),
    }
}

const NOT_A_NAME: &str = "must be the name of a file inside the bundle, without a folder";

/// Checks the file and the calibration of a network of its own. `at` is its path in the manifest.
fn check_single(
    m: &Manifest,
    at: &str,
    file: &str,
    calibration: &[Calibration],
) -> Result<(), (String, String)> {
    if !is_file_name(file) {
        return Err((format!("{at}.file"), NOT_A_NAME.into()));
    }
    check_entries(m, at, calibration)
}

/// Checks the calibration of tests of one image, with one entry per positive label.
fn check_entries(
    m: &Manifest,
    at: &str,
    calibration: &[Calibration],
) -> Result<(), (String, String)> {
    let wrong = |field: &str, what: String| Err((format!("{at}.{field}"), what));
    for (i, c) in calibration.iter().enumerate() {
        if c.arity != 1 {
            let what = format!("is {}; it must be 1, because each image is scored alone", c.arity);
            return wrong(&format!("calibration[{i}].arity"), what);
        }
        if c.exit_sensitivity.is_some() {
            let what = "must only be in entries of the bundle's `calibration`";
            return wrong(&format!("calibration[{i}].exit_sensitivity"), what.into());
        }
        check_calibration(m, &format!("{at}.calibration[{i}]"), c)?;
    }
    for label in m.labels.iter().filter(|l| l.positive) {
        let entries = calibration.iter().filter(|c| c.label == label.name).count();
        if entries != 1 {
            return wrong(
                "calibration",
                format!(
                    "has {entries} entries for label \"{}\"; it must have exactly one",
                    label.name
                ),
            );
        }
    }
    Ok(())
}

/// Checks one entry of a calibration. `at` is the path of the entry in the manifest.
fn check_calibration(m: &Manifest, at: &str, c: &Calibration) -> Result<(), (String, String)> {
    let wrong = |field: &str, what: String| Err((format!("{at}.{field}"), what));
    if !m.labels.iter().any(|l| l.positive && l.name == c.label) {
        return wrong(
            "label",
            format!("\"{}\" is not a positive label; name one of `labels`", c.label),
        );
    }
    if !(1..=MAX_GROUP).contains(&c.arity) {
        return wrong("arity", format!("is {}; it must be 1 to {MAX_GROUP}", c.arity));
    }
    if c.exit_sensitivity.is_some_and(|s| !(0.0..=1.0).contains(&s)) {
        return wrong("exit_sensitivity", "must be 0 to 1".into());
    }
    if c.operating_points.is_empty() {
        return wrong("operating_points", "at least one is needed".into());
    }
    for p in &c.operating_points {
        let shares = [p.sensitivity, p.specificity];
        if shares.iter().any(|s| !(0.0..=1.0).contains(s)) || !p.threshold.is_finite() {
            return wrong(
                "operating_points",
                "sensitivity and specificity must be 0 to 1, and the threshold a finite number"
                    .into(),
            );
        }
    }
    for (field, scores) in
        [("positive_scores", &c.positive_scores), ("negative_scores", &c.negative_scores)]
    {
        if scores.len() < 3 || !scores.is_sorted() {
            return wrong(field, "must be at least 3 quantiles in ascending order".into());
        }
    }
    Ok(())
}
