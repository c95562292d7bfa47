//! The screen and the early exits of a bundle, in the form that planners and engines use.

use std::collections::HashMap;

use dorfman_core::calibration::{
    ArityPoints, CalibrationError, JointExit, JointRow, JointScores, LikelihoodRatio,
    OperatingPoints, Thresholds,
};
use dorfman_core::cost::StageCosts;
use dorfman_core::engine::{ExitRule, NetworkPart};
use dorfman_core::planner::{ExitLink, PassedPoints, PlanConstraints, Planner};

use super::bundle::{Bundle, BundleError, highest_sensitivity, read, same_point};
use super::calibration::points;
use super::manifest::{CalibratedThreshold, Calibration, Label};

/// What a planner knows about the exits of a bundle.
#[derive(Debug, Clone)]
pub struct ExitCalibration {
    /// The scores of the same images by the screen, the exits and the individual test.
    pub joint: JointScores,
    /// Operating points of tests of images that pass the screen and all exits.
    pub passed: Vec<PassedPoints>,
}

/// The rules of the exits of a plan.
#[derive(Debug, Clone, Default)]
pub struct ExitRules {
    /// The rule of the screen. `None` if the plan does not use the screen.
    pub screen: Option<ExitRule>,
    /// One rule per level of the network.
    pub levels: Vec<ExitRule>,
}

/// Scores that were written with six digits may be this share below an exact threshold.
const ROUNDING: f64 = 1e-5;

/// The most operating points of one part: [`JointRow`] counts them in one byte.
const MAX_POINTS: usize = u8::MAX as usize;

impl Bundle {
    /// The screen and the early exits, in the order in which an item meets them, each with its
    /// calibration.
    pub fn exits(&self) -> Vec<(NetworkPart, &[Calibration])> {
        let manifest = &self.manifest;
        let screen = manifest.screen.iter().map(|s| (NetworkPart::Screen, &s.calibration[..]));
        let exits = manifest.stages.iter().enumerate().filter_map(|(i, stage)| {
            Some((NetworkPart::Stage(i), &stage.exit.as_ref()?.calibration[..]))
        });
        screen.chain(exits).collect()
    }

    /// The highest sensitivity (0 to 1) for which the calibration of the screen or of an early exit
    /// has thresholds of every positive label. `None` if the bundle has no such exit.
    pub fn most_sensitive_exit(&self, part: NetworkPart) -> Option<f64> {
        let (_, calibration) = self.exits().into_iter().find(|(known, _)| *known == part)?;
        calibration.iter().map(highest_sensitivity).reduce(f64::min)
    }

    /// A planner of this bundle with `costs` (seconds or multiply-adds). `exits`: whether plans may
    /// use the screen and the early exits.
    ///
    /// # Errors
    /// [`BundleError::Calibration`] if the calibration does not suffice, and the errors of
    /// [`Bundle::exit_calibration`].
    pub fn planner(
        &self,
        costs: StageCosts,
        constraints: PlanConstraints,
        exits: bool,
    ) -> Result<Planner, BundleError> {
        let wrong = |source| BundleError::Calibration { dir: self.dir.clone(), source };
        let points = self.operating_points().map_err(wrong)?;
        let planner = Planner::new(points, costs, constraints).map_err(wrong)?;
        if !exits {
            return Ok(planner);
        }
        match self.exit_calibration()? {
            Some(ExitCalibration { joint, passed }) => {
                planner.with_exits(joint, passed).map_err(wrong)
            }
            None => Ok(planner),
        }
    }

    /// What a planner needs to know about the exits. `None` for a bundle without a screen and
    /// without early exits.
    ///
    /// # Errors
    /// [`BundleError`] if the file of joint scores cannot be read or does not fit the manifest, and
    /// if the calibration behind the exits has no test of one image.
    pub fn exit_calibration(&self) -> Result<Option<ExitCalibration>, BundleError> {
        let exits = self.exits();
        let (Some(file), false) = (&self.manifest.joint, exits.is_empty()) else {
            return Ok(None);
        };
        let wrong = |error: CalibrationError| self.wrong_joint(error.to_string());
        let joint = self.joint_scores(&exits, &file.file)?;
        let calibrations = self.manifest.calibration.iter();
        let mut sensitivities: Vec<f64> =
            calibrations.filter_map(|entry| entry.exit_sensitivity).collect();
        sensitivities.sort_by(f64::total_cmp);
        sensitivities.dedup();
        let mut passed = Vec::new();
        for exit_sensitivity in sensitivities {
            let Some(points) = self.points_behind(exit_sensitivity).map_err(wrong)? else {
                continue;
            };
            let point = |exit: &JointExit| {
                let at = |&s: &f64| s >= exit_sensitivity - 1e-9;
                exit.sensitivities.iter().position(at).or(exit.sensitivities.len().checked_sub(1))
            };
            let used: Vec<Option<usize>> = joint.exits().iter().map(point).collect();
            let negatives = joint.passage(&used, 0).negative[exits.len()];
            passed.push(PassedPoints { exit_sensitivity, negatives, points });
        }
        Ok(Some(ExitCalibration { joint, passed }))
    }

    /// The rules by which the exits in use clear images, and what the scores of all exits say about
    /// the risk of an image.
    ///
    /// # Errors
    /// [`BundleError::Sensitivity`] if an exit is not calibrated for the sensitivity of its link.
    pub fn exit_rules(&self, links: &[ExitLink]) -> Result<ExitRules, BundleError> {
        let mut rules = ExitRules {
            screen: None,
            levels: vec![ExitRule::default(); self.manifest.stages.len()],
        };
        for (part, calibration) in self.exits() {
            let link = links.iter().find(|link| link.part == part);
            let thresholds = link.map(|link| self.exit_thresholds(calibration, link.sensitivity));
            let rule = ExitRule {
                thresholds: thresholds.transpose()?,
                evidence: self.exit_evidence(calibration),
            };
            match part {
                NetworkPart::Stage(stage) => rules.levels[stage] = rule,
                NetworkPart::Screen => rules.screen = link.map(|_| rule),
                NetworkPart::Confirm => {}
            }
        }
        Ok(rules)
    }

    /// Thresholds of an exit with at least the given sensitivity for every positive label.
    fn exit_thresholds(
        &self,
        calibration: &[Calibration],
        sensitivity: f64,
    ) -> Result<Thresholds, BundleError> {
        let entries: Vec<&Calibration> = calibration.iter().collect();
        self.thresholds_of("exit.calibration", &entries, |_| sensitivity - 1e-9)
    }

    /// The likelihood ratio of an exit's score, with its column. `None` with several positive
    /// labels, and if the calibration has too few images.
    fn exit_evidence(&self, calibration: &[Calibration]) -> Option<(usize, LikelihoodRatio)> {
        let [entry] = calibration else { return None };
        let column = self.manifest.labels.iter().position(|l| l.name == entry.label)?;
        let Calibration { positive_scores, positives, negative_scores, negatives, .. } = entry;
        let ratio = LikelihoodRatio::from_quantiles(
            positive_scores,
            *positives,
            negative_scores,
            *negatives,
        );
        Some((column, ratio.ok()?))
    }

    /// The operating points that were measured on images that pass the screen and all exits at
    /// `sensitivity`.
    /// `None` if there are none.
    fn points_behind(&self, sensitivity: f64) -> Result<Option<OperatingPoints>, CalibrationError> {
        let same = |c: &&Calibration| same_point(c.exit_sensitivity, Some(sensitivity));
        let entries: Vec<&Calibration> = self.manifest.calibration.iter().filter(same).collect();
        if entries.is_empty() {
            return Ok(None);
        }
        self.points_of(&entries).map(Some)
    }

    /// The operating points of some entries of the calibration, by arity.
    pub(super) fn points_of(
        &self,
        entries: &[&Calibration],
    ) -> Result<OperatingPoints, CalibrationError> {
        let mut arities: Vec<usize> = entries.iter().map(|c| c.arity).collect();
        arities.sort_unstable();
        arities.dedup();
        let labels = self.positive_labels().count();
        let points_of = |&arity: &usize| {
            let of_arity: Vec<&Calibration> =
                entries.iter().copied().filter(|c| c.arity == arity).collect();
            let known = of_arity.len() == labels;
            known.then(|| ArityPoints { arity, points: points(&of_arity) })
        };
        OperatingPoints::new(arities.iter().filter_map(points_of).collect())
    }

    /// The positive labels, in order.
    pub(super) fn positive_labels(&self) -> impl Iterator<Item = &Label> {
        self.manifest.labels.iter().filter(|label| label.positive)
    }

    /// The sensitivities that all labels of a calibration at arity 1 have, rising, each with the
    /// thresholds in the order of the positive labels.
    fn combined(&self, calibration: &[Calibration]) -> Vec<(f64, Vec<f32>)> {
        let of = |label: &Label| {
            let same = |c: &&Calibration| {
                c.label == label.name && c.arity == 1 && c.exit_sensitivity.is_none()
            };
            calibration.iter().find(same).map(|c| &c.operating_points[..]).unwrap_or_default()
        };
        let labels: Vec<&[CalibratedThreshold]> = self.positive_labels().map(of).collect();
        let Some((first, _)) = labels.split_first() else { return Vec::new() };
        let thresholds = |point: &CalibratedThreshold| {
            let of = |points: &&[CalibratedThreshold]| {
                let same = |p: &&CalibratedThreshold| p.sensitivity == point.sensitivity;
                points.iter().find(same).map(|p| p.threshold)
            };
            Some((point.sensitivity, labels.iter().map(of).collect::<Option<Vec<f32>>>()?))
        };
        let mut found: Vec<(f64, Vec<f32>)> = first.iter().filter_map(thresholds).collect();
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        found
    }

    fn joint_scores(
        &self,
        exits: &[(NetworkPart, &[Calibration])],
        file: &str,
    ) -> Result<JointScores, BundleError> {
        let bytes = read(&self.dir, file)?;
        let columns = |of: &str| -> Vec<String> {
            self.positive_labels().map(|label| format!("{of}.{}", label.name)).collect()
        };
        let part = |&(part, calibration): &(NetworkPart, &[Calibration])| Part {
            columns: columns(&part.name()),
            points: self.combined(calibration),
        };
        let parts: Vec<Part> = exits.iter().map(part).collect();
        let individual = Part {
            columns: columns("individual"),
            points: self.combined(&self.manifest.calibration),
        };
        let wrong = |what: String| self.wrong_joint(what);
        if parts.iter().chain([&individual]).any(|part| part.points.len() > MAX_POINTS) {
            return Err(wrong(format!("a part has more than {MAX_POINTS} operating points")));
        }
        let rows = rows(&bytes, &parts, &individual).map_err(wrong)?;
        let exits = exits.iter().zip(&parts);
        let exits =
            exits.map(|(&(part, _), of)| JointExit { part, sensitivities: of.sensitivities() });
        JointScores::new(exits.collect(), individual.sensitivities(), rows)
            .map_err(|error| wrong(error.to_string()))
    }

    fn wrong_joint(&self, what: String) -> BundleError {
        BundleError::Joint { dir: self.dir.clone(), what }
    }
}

/// A part of the network in the file of joint scores.
struct Part {
    /// One column per positive label.
    columns: Vec<String>,
    /// By rising sensitivity: the sensitivity, and the thresholds of the positive labels.
    points: Vec<(f64, Vec<f32>)>,
}

impl Part {
    fn sensitivities(&self) -> Vec<f64> {
        self.points.iter().map(|(sensitivity, _)| *sensitivity).collect()
    }

    /// The first operating point that `scores`, one per positive label, reach, or the number of
    /// operating points.
    fn first(&self, scores: &[f64]) -> u8 {
        let reaches = |(_, thresholds): &(f64, Vec<f32>)| {
            let pair = |(&score, &threshold): (&f64, &f32)| {
                score >= f64::from(threshold) * (1.0 - ROUNDING)
            };
            scores.iter().zip(thresholds).any(pair)
        };
        self.points.iter().position(reaches).unwrap_or(self.points.len()) as u8
    }
}

/// Reads the rows of a file of joint scores. The error is a message for users.
fn rows(bytes: &[u8], parts: &[Part], individual: &Part) -> Result<Vec<JointRow>, String> {
    let mut reader = csv::Reader::from_reader(bytes);
    let header = reader.headers().map_err(|e| e.to_string())?.clone();
    let names: HashMap<&str, usize> =
        header.iter().enumerate().map(|(column, name)| (name, column)).collect();
    let column = |name: &str| {
        names.get(name).copied().ok_or_else(|| format!("the column `{name}` is missing"))
    };
    let columns = |part: &Part| -> Result<Vec<usize>, String> {
        part.columns.iter().map(|name| column(name)).collect()
    };
    let (source, positive) = (column("source")?, column("positive")?);
    let of_parts: Vec<Vec<usize>> = parts.iter().map(columns).collect::<Result<_, _>>()?;
    let of_individual = columns(individual)?;
    let mut found = Vec::new();
    for (line, record) in reader.records().enumerate() {
        let record = record.map_err(|e| e.to_string())?;
        let scores = |columns: &[usize]| -> Result<Vec<f64>, String> {
            let score = |&column: &usize| {
                let text = record.get(column).unwrap_or_default();
                let score = text.parse::<f64>().ok().filter(|s| (0.0..=1.0).contains(s));
                score.ok_or_else(|| {
                    format!("line {}: `{text}` is not a score from 0 to 1", line + 2)
                })
            };
            columns.iter().map(score).collect()
        };
        let first = |(part, columns): (&Part, &Vec<usize>)| Ok(part.first(&scores(columns)?));
        let exits = parts.iter().zip(&of_parts).map(first).collect::<Result<_, String>>()?;
        let trained = record.get(source) == Some("training");
        let individual =
            if trained { None } else { Some(individual.first(&scores(&of_individual)?)) };
        let positive = record.get(positive).is_some_and(|labels| !labels.is_empty());
        found.push(JointRow { positive, exits, individual });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str) -> Part {
        Part {
            columns: vec![format!("{name}.hat"), format!("{name}.bag")],
            points: vec![(0.9, vec![0.5, 0.8]), (1.0, vec![0.1, 0.2])],
        }
    }

    const HEADER: &str = "source,positive,stage0.hat,stage0.bag,individual.hat,individual.bag\n";

    #[test]
    fn a_row_passes_at_the_first_point_that_any_label_reaches() {
        let text = format!(
            "{HEADER}calibration,hat,0.6,0.0,0.2,0.1\ncalibration,,0.3,0.1,0.05,0.1\n\
             training,bag;hat,0.05,0.81,,\n"
        );
        let found = rows(text.as_bytes(), &[part("stage0")], &part("individual")).unwrap();
        let row = |positive, exit, individual| JointRow { positive, exits: vec![exit], individual };
        assert_eq!(found, [row(true, 0, Some(1)), row(false, 1, Some(2)), row(true, 0, None)]);
    }

    #[test]
    fn a_wrong_file_names_the_column_or_the_line() {
        let error =
            |text: &str| rows(text.as_bytes(), &[part("stage0")], &part("individual")).unwrap_err();
        assert!(error("source,positive,stage0.hat\n").contains("`stage0.bag`"));
        let line = format!("{HEADER}calibration,hat,0.6,x,0.2,0.1\n");
        assert!(error(&line).contains("line 2: `x` is not a score"), "{}", error(&line));
    }
}
