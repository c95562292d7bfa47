//! The plans that the planner picks: their exits, and the groups of the images that pass.
//!
//! An image meets the exits alone, so the images are first divided into those that pass and those
//! that an exit clears. The images that pass are estimated by the two strata of the module above,
//! at the prevalence among them: p' = p P / (p P + (1 - p) N), where P and N are the shares of the
//! positives and of the negatives that pass. The cost of an image that an exit clears is measured
//! on the negatives that are cleared. The screen, if the plan uses it, runs on every image.

use dorfman_core::cost::StageCosts;
use dorfman_core::engine::{ExitRule, Network, NetworkPart};
use dorfman_core::planner::{ChainPlan, ExitLink, PlanKind, Planner};
use dorfman_core::policy::{Individual, MultiRound, Plan};

use super::bundle_run::{BundleEvaluation, confirm_thresholds};
use super::estimate::{Tally, Weights};
use super::row::{Case, ReportRow, Sensitivities, Stratum, StratumShare};
use super::sampling::GroupSampler;
use super::timing::TestRules;
use crate::LabError;

/// A plan with what it is among the plans of its prevalence.
pub(super) struct PlannedPlan {
    /// `best`, `pooled`, `exits`, `cascade`: several, if they are the same plan.
    roles: Vec<&'static str>,
    plan: ChainPlan,
}

/// The images that pass some exits.
#[derive(Clone)]
struct Passing {
    /// By image: whether it passes the screen, if the plan uses it.
    screen: Vec<bool>,
    /// By image: whether it passes everything.
    all: Vec<bool>,
}

/// The exits whose images were divided, and the division.
#[derive(Default)]
pub(super) struct PassingCache(Vec<(Vec<ExitLink>, Passing)>);

/// The cheapest plan at a prevalence, and the cheapest of each kind.
fn plans(planner: &Planner, prevalence: f64) -> Vec<PlannedPlan> {
    let roles = [
        ("best", Some(planner.best(prevalence))),
        ("pooled", planner.best_of_kind(PlanKind::Pooled, prevalence)),
        ("exits", planner.best_of_kind(PlanKind::Exits, prevalence)),
        ("cascade", planner.cascade(prevalence)),
    ];
    let mut found: Vec<PlannedPlan> = Vec::new();
    for (role, plan) in roles {
        let Some(plan) = plan.filter(|plan| !plan.is_individual()) else { continue };
        let same = |known: &&mut PlannedPlan| {
            known.plan.exits == plan.exits && known.plan.chain == plan.chain
        };
        match found.iter_mut().find(same) {
            Some(known) => known.roles.push(role),
            None => found.push(PlannedPlan { roles: vec![role], plan }),
        }
    }
    found
}

impl<N: Network> BundleEvaluation<'_, N> {
    /// The rows of the planner's plans for every prevalence. `individual` has the verdicts of
    /// individual testing by its sensitivity.
    ///
    /// # Errors
    /// [`LabError`].
    pub(super) fn planned_rows(
        &mut self,
        individual: &[(f64, Stratum)],
    ) -> Result<Vec<ReportRow>, LabError> {
        let mut rows = Vec::new();
        let mut cache = PassingCache::default();
        for (sensitivity, stratum) in individual {
            // The rows have the multiply-adds that are expected, even if the plans are those with
            // the least seconds.
            let macs = self.planner(self.bundle.mac_costs(), *sensitivity)?;
            let seconds = self.profile.as_ref().and_then(|p| self.bundle.second_costs(p));
            let planner = match seconds {
                Some(seconds) => self.planner(seconds, *sensitivity)?,
                None => macs.clone(),
            };
            for prevalence in self.request.prevalences.clone() {
                for planned in plans(&planner, prevalence) {
                    for confirm in self.request.confirm(self.bundle) {
                        let sensitivities =
                            Sensitivities { pooled: None, individual: *sensitivity, confirm };
                        let row = self.planned_row(
                            &planned,
                            prevalence,
                            sensitivities,
                            &stratum.tally,
                            &mut cache,
                        )?;
                        let expected = macs.expected(&planned.plan, prevalence);
                        rows.push(row.with_expected(&expected, macs.costs().individual()));
                    }
                }
            }
        }
        Ok(rows)
    }

    /// A planner that counts `costs`, at a sensitivity of the individual test.
    fn planner(&self, costs: StageCosts, individual_sensitivity: f64) -> Result<Planner, LabError> {
        let mut constraints = self.request.constraints;
        constraints.individual_sensitivity = individual_sensitivity;
        Ok(self.bundle.planner(costs, constraints, self.request.exits)?)
    }

    fn planned_row(
        &mut self,
        planned: &PlannedPlan,
        prevalence: f64,
        sensitivities: Sensitivities,
        individual: &Tally,
        cache: &mut PassingCache,
    ) -> Result<ReportRow, LabError> {
        let PlannedPlan { roles, plan } = planned;
        let words = plan.describe();
        self.progress.note(&format!("{}: {}, {words}", self.summary.bundle, roles.join(", ")));
        let exits = self.bundle.exit_rules(&plan.exits)?;
        let thresholds = self.bundle.plan_thresholds(plan, sensitivities.individual)?;
        let rules = TestRules {
            thresholds,
            confirm: confirm_thresholds(self.bundle, sensitivities.confirm)?,
            exits: exits.levels.clone(),
        };
        let passing = self.passing(&plan.exits, exits.screen.as_ref(), &exits.levels, cache)?;
        let sizes = plan.sizes();
        let policy = || -> Result<Box<dyn Plan>, LabError> {
            let valid = "a bug: the planner made a chain that is not valid";
            let plan = MultiRound::new(&sizes).map_err(|_| LabError::Bug(valid.into()))?;
            Ok(Box::new(plan))
        };
        self.runner.warm_up(policy()?)?;
        let strata = self.planned_strata(&policy, &rules, &passing, prevalence, sizes[0])?;
        let screen = match exits.screen {
            Some(_) => Some(self.screen_scores()?.screening.clone()),
            None => None,
        };
        let shares: Vec<StratumShare<'_>> = strata.iter().map(Weighted::share).collect();
        let macs = self.runner.network.shape().individual_macs();
        let case = Case {
            bundle: self.summary.bundle.clone(),
            design: self.summary.design,
            stages: self.summary.stages,
            prevalence,
            group_size: sizes[0],
            policy: "planner".into(),
            plan: words,
            plan_kind: plan.kind().name(),
            roles: roles.clone(),
            prior: None,
            worth: None,
            sensitivities,
        };
        let row = ReportRow::new(case, &shares, self.split, macs, individual);
        let row = row.with_passing(&|image| passing.all[image], &shares, self.split);
        Ok(match &screen {
            Some(screen) => row.with_screen(screen, macs),
            None => row,
        })
    }

    /// The strata of a plan with their weights: images that an exit behind the screen clears, and
    /// groups of images that pass, without and with a positive.
    fn planned_strata(
        &mut self,
        policy: &dyn Fn() -> Result<Box<dyn Plan>, LabError>,
        rules: &TestRules,
        passing: &Passing,
        prevalence: f64,
        size: usize,
    ) -> Result<Vec<Weighted>, LabError> {
        let split = self.split;
        let of = |images: &[usize], wanted: &dyn Fn(usize) -> bool| -> Vec<usize> {
            images.iter().copied().filter(|&image| wanted(image)).collect()
        };
        let passes = |image: usize| passing.all[image];
        let cleared = |image: usize| passing.screen[image] && !passing.all[image];
        let (positives, negatives) = (of(&split.positives, &passes), of(&split.negatives, &passes));
        let share = |part: &[usize], of: &[usize]| part.len() as f64 / of.len() as f64;
        let (p, n) = (share(&positives, &split.positives), share(&negatives, &split.negatives));
        let passed = prevalence * p + (1.0 - prevalence) * n;
        let mut strata = Vec::new();
        let cold_cleared = of(&split.negatives, &cleared);
        if !cold_cleared.is_empty() {
            let hot_cleared = of(&split.positives, &cleared);
            let groups = prevalence * share(&hot_cleared, &split.positives)
                + (1.0 - prevalence) * share(&cold_cleared, &split.negatives);
            let stratum = self.run(policy, rules, &cold_cleared)?;
            strata.push(Weighted { name: "cleared", groups, weights: (0.0, 0.0), stratum });
        }
        if positives.is_empty() || passed <= 0.0 {
            return Ok(strata);
        }
        let among = prevalence * p / passed;
        let (request, weights) = (self.request, Weights::new(size, among));
        let sampler = || GroupSampler::new(size, &positives, &negatives, request.seed);
        // With few negatives that pass, a group may contain one of them several times.
        if !negatives.is_empty() {
            let cold = self.run(policy, rules, &sampler().cold(request.cap))?;
            let weight = (0.0, weights.cold_negatives);
            let groups = passed * weights.cold_groups;
            strata.push(Weighted { name: "cold", groups, weights: weight, stratum: cold });
        }
        let hot = self.run(policy, rules, &sampler().hot(among, request.cap))?;
        let weight = (1.0, weights.hot_negatives);
        let groups = passed * weights.hot_groups;
        strata.push(Weighted { name: "hot", groups, weights: weight, stratum: hot });
        Ok(strata)
    }

    /// Which images pass some exits. Each image meets them alone, with individual tests behind.
    fn passing(
        &mut self,
        links: &[ExitLink],
        screen: Option<&ExitRule>,
        levels: &[ExitRule],
        cache: &mut PassingCache,
    ) -> Result<Passing, LabError> {
        if let Some((_, known)) = cache.0.iter().find(|(exits, _)| exits == links) {
            return Ok(known.clone());
        }
        let mut passing = Passing { screen: vec![true; self.images], all: vec![true; self.images] };
        if let Some(rule) = screen {
            let scores = &self.screen_scores()?.scores;
            for (image, passes) in passing.screen.iter_mut().enumerate() {
                *passes = scores[image].is_empty() || !rule.clears(&scores[image]);
            }
        }
        passing.all.clone_from(&passing.screen);
        if links.iter().any(|link| link.part != NetworkPart::Screen) {
            let rules = TestRules {
                thresholds: self.runner.pass_all.clone(),
                confirm: None,
                exits: levels.to_vec(),
            };
            let images: Vec<usize> =
                self.runner.reference.iter().copied().filter(|&i| passing.screen[i]).collect();
            let all = &mut passing.all;
            self.runner.exits(Box::new(Individual), &rules, &images, &mut |image, cleared| {
                all[image] = !cleared;
            })?;
        }
        cache.0.push((links.to_vec(), passing.clone()));
        Ok(passing)
    }
}

/// A stratum with its weights.
struct Weighted {
    name: &'static str,
    groups: f64,
    /// Of the positives and of the negatives that pass.
    weights: (f64, f64),
    stratum: Stratum,
}

impl Weighted {
    fn share(&self) -> StratumShare<'_> {
        StratumShare {
            name: self.name,
            groups: self.groups,
            positives: self.weights.0,
            negatives: self.weights.1,
            stratum: &self.stratum,
        }
    }
}
