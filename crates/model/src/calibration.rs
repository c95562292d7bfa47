//! The calibration and costs of a bundle, in the form that planners and policies use.

use dorfman_core::calibration::{
    CalibrationError, Evidence, LikelihoodRatio, OperatingPoint, OperatingPoints,
};
use dorfman_core::cost::{StageCosts, TestCosts, TierCost};
use dorfman_core::engine::NetworkPart;
use dorfman_core::policy::{MAX_GROUP, PolicyInputs};

use super::manifest::{CalibratedThreshold, Calibration, Stage};
use super::{Bundle, Profile};

impl Bundle {
    /// The operating points of tests, for every calibrated arity. With several positive labels, a
    /// test is negative only if it is negative for each label. The errors of the labels are assumed
    /// to be independent. Arities and sensitivities that a label lacks are left out.
    ///
    /// # Errors
    /// [`CalibrationError`] if the calibration lacks a required arity or operating point.
    pub fn operating_points(&self) -> Result<OperatingPoints, CalibrationError> {
        let of_all = |c: &&Calibration| c.exit_sensitivity.is_none();
        let entries: Vec<&Calibration> = self.manifest.calibration.iter().filter(of_all).collect();
        self.points_of(&entries)
    }

    /// The inputs of policies that choose tests by probability and cost, with costs in
    /// multiply-adds. `prior` is the share of positives in the stream, 0 to 1.
    ///
    /// # Errors
    /// [`CalibrationError::Cost`] if a cost is not above 0. If the calibration yields no likelihood
    /// ratios, the error is in [`PolicyInputs::evidence`].
    pub fn policy_inputs(&self, prior: f64) -> Result<PolicyInputs, CalibrationError> {
        let stages = self.mac_costs();
        let costs = TestCosts::new(|arity| stages.test(arity))?;
        Ok(PolicyInputs { evidence: self.evidence(), costs, prior })
    }

    /// The likelihood ratios of scores. A bundle with several positive labels has none, because the
    /// score of a test does not name its label.
    fn evidence(&self) -> Result<Evidence, CalibrationError> {
        if self.positive_labels().count() > 1 {
            return Err(CalibrationError::SeveralLabels);
        }
        let ratio = |c: &Calibration| {
            let (positive, negative) = (&c.positive_scores, &c.negative_scores);
            LikelihoodRatio::from_quantiles(positive, c.positives, negative, c.negatives)
                .map(|ratio| (c.arity, ratio))
                .map_err(|error| error.at_arity(c.arity))
        };
        let of_all = |c: &&Calibration| c.exit_sensitivity.is_none();
        let ratios: Result<Vec<_>, CalibrationError> =
            self.manifest.calibration.iter().filter(of_all).map(ratio).collect();
        Evidence::new(ratios?)
    }

    /// The costs of tests in seconds, at the preferred batch size on the device of `profile`.
    /// `None` if the profile lacks a stage.
    pub fn second_costs(&self, profile: &Profile) -> Option<StageCosts> {
        let stages = &self.manifest.stages;
        let last = stages.len() - 1;
        let items = self.item_stages();
        let mut span = 1;
        let tier = |(i, stage): (usize, &Stage)| {
            let fan_in = stage.fan_in.unwrap_or(2);
            span *= fan_in;
            Some(TierCost { span, row: profile.seconds_per_row(NetworkPart::Stage(i), fan_in)? })
        };
        let between = stages[..last].iter().enumerate().skip(items);
        let tiers: Option<Vec<TierCost>> = between.map(tier).collect();
        // A pixel network has no ONNX file for stage 0, but its profile has a stage 0.
        let item = |stage: usize| profile.seconds_per_row(NetworkPart::Stage(stage), 1);
        let items: Option<Vec<f64>> = (0..items).map(item).collect();
        let screen = match self.manifest.screen {
            Some(_) => profile.seconds_per_row(NetworkPart::Screen, 1)?,
            None => 0.0,
        };
        let score = NetworkPart::Stage(last.max(1));
        // A test is padded to the next power of two, if repeats do not change it.
        let padded = |rows: usize| {
            if self.manifest.merge.takes_repeats() { rows.next_power_of_two() } else { rows }
        };
        let cost = |rows: usize| Some((rows, profile.seconds_per_row(score, padded(rows))?));
        let last: Option<Vec<(usize, f64)>> = (1..=MAX_GROUP).map(cost).collect();
        Some(StageCosts { screen, items: items?, tiers: tiers?, last: last? })
    }

    /// The costs of tests in multiply-adds, from the manifest.
    pub fn mac_costs(&self) -> StageCosts {
        let stages = &self.manifest.stages;
        let last = stages.len() - 1;
        let items = self.item_stages();
        let mut span = 1;
        let tiers = stages[..last].iter().skip(items).map(|stage| {
            span *= stage.fan_in.unwrap_or(2);
            TierCost { span, row: stage.macs as f64 }
        });
        let tiers = tiers.collect();
        let macs = |stage: usize| if last == 0 { 0.0 } else { stages[stage].macs as f64 };
        StageCosts {
            screen: self.manifest.screen.as_ref().map_or(0.0, |screen| screen.macs as f64),
            items: (0..items).map(macs).collect(),
            tiers,
            last: vec![(1, stages[last].macs as f64)],
        }
    }

    /// The number of stages that run on single images: stage 0, and the stages behind it that
    /// refine one image. A pixel network has one, which only keeps the images.
    pub fn item_stages(&self) -> usize {
        1 + self.manifest.stages.iter().skip(1).take_while(|s| s.fan_in == Some(1)).count()
    }
}

/// The operating points at the sensitivities that all labels have, each with the product of the
/// labels' specificities.
pub(super) fn points(labels: &[&Calibration]) -> Vec<OperatingPoint> {
    let Some((first, others)) = labels.split_first() else { return Vec::new() };
    let combined = |p: &CalibratedThreshold| {
        let mut specificity = p.specificity;
        for other in others {
            specificity *=
                other.operating_points.iter().find(|o| o.sensitivity == p.sensitivity)?.specificity;
        }
        Some(OperatingPoint { sensitivity: p.sensitivity, specificity })
    };
    first.operating_points.iter().filter_map(combined).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::manifest::Label;

    fn shipped() -> Bundle {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
        Bundle::open(&models.join("fashion-bag")).unwrap()
    }

    #[test]
    fn the_shipped_bundle_has_operating_points_and_costs() {
        let bundle = shipped();
        let point = bundle.operating_points().unwrap().at(16, 0.99).unwrap();
        assert!(point.sensitivity == 0.99 && (0.8..1.0).contains(&point.specificity), "{point:?}");
        let macs: u64 = bundle.manifest.stages.iter().map(|s| s.macs).sum();
        assert_eq!(bundle.mac_costs().individual(), macs as f64);
    }

    #[test]
    fn the_scores_of_the_shipped_bundle_are_evidence() {
        let mut bundle = shipped();
        let inputs = bundle.policy_inputs(0.001).unwrap();
        let evidence = inputs.evidence.unwrap();
        assert!(evidence.log(16, 0.999) > 2.0 && evidence.log(16, 0.001) < -2.0);
        assert_eq!(inputs.costs.full(1), bundle.mac_costs().individual());
        bundle.manifest.labels.push(Label { name: "hat".into(), positive: true });
        assert_eq!(bundle.evidence().unwrap_err(), CalibrationError::SeveralLabels);
    }

    #[test]
    fn specificities_of_several_labels_are_multiplied() {
        let mut bundle = shipped();
        bundle.manifest.labels.push(Label { name: "hat".into(), positive: true });
        let mut second = bundle.manifest.calibration.clone();
        second.iter_mut().for_each(|c| c.label = "hat".into());
        second.retain(|c| c.arity != 16);
        second.iter_mut().for_each(|c| c.operating_points.retain(|p| p.sensitivity != 0.9));
        let one = bundle.operating_points().unwrap_err();
        assert_eq!(one, CalibrationError::NoIndividualTest);
        let alone = shipped().operating_points().unwrap();
        bundle.manifest.calibration.extend(second);
        let both = bundle.operating_points().unwrap();
        let points = |of: &OperatingPoints| of.of(4).unwrap().points.len();
        assert!(both.of(16).is_none() && points(&both) + 1 == points(&alone));
        let (a, b) = (alone.at(4, 0.99).unwrap(), both.at(4, 0.99).unwrap());
        assert!((b.specificity - a.specificity * a.specificity).abs() < 1e-12);
    }
}
