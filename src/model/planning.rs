//! What a bundle says to the planner.

use super::manifest::{Calibration, Merge, Stage};
use super::{Bundle, Profile};
use crate::engine::Part;
use crate::planner::{StageCosts, Tier};
use crate::retest::{Answers, Cost, Costs, Evidence, Knowledge, MAX_GROUP, Point, Ratio, SizeAnswers};

impl Bundle {
    /// How its tests answer at every calibrated size and sensitivity. With several positive labels, a group is negative only if it is so
    /// for each of them, which are taken to err independently; sensitivities that some label lacks are left out.
    ///
    /// # Errors
    /// Says what the calibration lacks.
    pub fn answers(&self) -> Result<Answers, String> {
        let entries = &self.manifest.calibration;
        let mut arities: Vec<usize> = entries.iter().map(|c| c.arity).collect();
        arities.sort_unstable();
        arities.dedup();
        let labels = self.manifest.labels.iter().filter(|l| l.positive).count();
        let size = |&arity: &usize| {
            let of_arity: Vec<&Calibration> = entries.iter().filter(|c| c.arity == arity).collect();
            let known = of_arity.len() == labels;
            known.then(|| SizeAnswers { arity, points: points(&of_arity) })
        };
        Answers::new(arities.iter().filter_map(size).collect())
    }

    /// What policies that look ahead must know of it, for a stream with a share `prior` of positives.
    ///
    /// # Errors
    /// Says what its calibration lacks.
    pub fn knowledge(&self, prior: f64) -> Result<Knowledge, String> {
        let stages = self.mac_costs();
        let costs = Costs::new(|arity| Cost { full: stages.first(arity), cached: stages.retest(arity) })?;
        Ok(Knowledge { evidence: self.evidence(), answers: self.answers()?, costs, prior })
    }

    /// What its scores say; an error if its calibration lacks something, or if it has several positive labels: a test's score does not say
    /// whose it is.
    fn evidence(&self) -> Result<Evidence, String> {
        if self.manifest.labels.iter().filter(|l| l.positive).count() > 1 {
            return Err(
                "the planned policy takes scores of one positive label as evidence, the bundle has several".into()
            );
        }
        let ratio = |c: &Calibration| {
            let ratio = Ratio::from_quantiles(&c.positive_scores, c.positives, &c.negative_scores, c.negatives);
            ratio.map(|ratio| (c.arity, ratio)).map_err(|what| format!("calibration at arity {}: {what}", c.arity))
        };
        let ratios: Result<Vec<(usize, Ratio)>, String> = self.manifest.calibration.iter().map(ratio).collect();
        Evidence::new(ratios?)
    }

    /// What its tests cost in seconds, at the preferred batch on the device of a profile; none if the profile lacks a stage.
    pub fn second_costs(&self, profile: &Profile) -> Option<StageCosts> {
        let stages = &self.manifest.stages;
        let last = stages.len() - 1;
        let mut span = 1;
        let tier = |(i, stage): (usize, &Stage)| {
            let fan_in = stage.fan_in.unwrap_or(2);
            span *= fan_in;
            Some(Tier { span, row: profile.seconds_per_row(Part::Stage(i), fan_in)? })
        };
        let tiers: Option<Vec<Tier>> = stages[..last].iter().enumerate().skip(1).map(tier).collect();
        // What keeps pixels for a merge has no stage of its own, but a part.
        let item = profile.seconds_per_row(Part::Stage(0), 1)?;
        let score = Part::Stage(last.max(1));
        // A row that may repeat its members is padded to the next power of two.
        let padded = |rows: usize| if self.manifest.merge == Merge::Max { rows.next_power_of_two() } else { rows };
        let cost = |rows: usize| Some((rows, profile.seconds_per_row(score, padded(rows))?));
        let score: Option<Vec<(usize, f64)>> = (1..=MAX_GROUP).map(cost).collect();
        Some(StageCosts { item, tiers: tiers?, score: score? })
    }

    /// What its tests cost in multiply-adds.
    pub fn mac_costs(&self) -> StageCosts {
        let stages = &self.manifest.stages;
        let last = stages.len() - 1;
        let mut span = 1;
        let tiers = stages[..last].iter().skip(1).map(|stage| {
            span *= stage.fan_in.unwrap_or(2);
            Tier { span, row: stage.macs as f64 }
        });
        let tiers = tiers.collect();
        let item = if last == 0 { 0.0 } else { stages[0].macs as f64 };
        StageCosts { item, tiers, score: vec![(1, stages[last].macs as f64)] }
    }
}

/// The sensitivities that all labels have, each with the specificity of all together.
fn points(labels: &[&Calibration]) -> Vec<Point> {
    let Some((first, others)) = labels.split_first() else { return Vec::new() };
    let combined = |p: &super::manifest::OperatingPoint| {
        let mut specificity = p.specificity;
        for other in others {
            specificity *= other.operating_points.iter().find(|o| o.sensitivity == p.sensitivity)?.specificity;
        }
        Some(Point { sensitivity: p.sensitivity, specificity })
    };
    first.operating_points.iter().filter_map(combined).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn shipped() -> Bundle {
        Bundle::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models/fashion-bag")).unwrap()
    }

    #[test]
    fn the_shipped_bundle_can_be_planned_with() {
        let bundle = shipped();
        let answers = bundle.answers().unwrap();
        let point = answers.at(16, 0.99).unwrap();
        assert!(point.sensitivity == 0.99 && (0.8..1.0).contains(&point.specificity), "{point:?}");
        let macs: u64 = bundle.manifest.stages.iter().map(|s| s.macs).sum();
        assert_eq!(bundle.mac_costs().individual(), macs as f64);
    }

    #[test]
    fn its_scores_are_evidence() {
        let mut bundle = shipped();
        let known = bundle.knowledge(0.001).unwrap();
        let evidence = known.evidence.unwrap();
        assert!(evidence.log(16, 0.999) > 2.0 && evidence.log(16, 0.001) < -2.0);
        assert_eq!(known.costs.full(1), bundle.mac_costs().individual());
        bundle.manifest.labels.push(super::super::manifest::Label { name: "hat".into(), positive: true });
        assert!(bundle.evidence().unwrap_err().contains("several"));
    }

    #[test]
    fn several_labels_must_all_be_silent() {
        let mut bundle = shipped();
        bundle.manifest.labels.push(super::super::manifest::Label { name: "hat".into(), positive: true });
        let mut second = bundle.manifest.calibration.clone();
        second.iter_mut().for_each(|c| c.label = "hat".into());
        second.retain(|c| c.arity != 16);
        second.iter_mut().for_each(|c| c.operating_points.retain(|p| p.sensitivity != 0.9));
        let one = bundle.answers().unwrap_err();
        assert!(one.contains("one image"), "{one}");
        let alone = shipped().answers().unwrap();
        bundle.manifest.calibration.extend(second);
        let both = bundle.answers().unwrap();
        assert!(both.of(16).is_none() && both.of(4).unwrap().points.len() + 1 == alone.of(4).unwrap().points.len());
        let (a, b) = (alone.at(4, 0.99).unwrap(), both.at(4, 0.99).unwrap());
        assert!((b.specificity - a.specificity * a.specificity).abs() < 1e-12);
    }
}
