//! What is asked for.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};

use super::super::CliError;
use crate::replay::{self, Fitted, TestKind};

/// What a retest is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Accounting {
    /// As in the paper: every retest re-uses the features of its members, also where another checkpoint computed them.
    Paper,
    /// A retest pays for every stage whose features its own checkpoint has not computed before.
    Honest,
}

impl Accounting {
    /// A line under the table.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::Paper => {
                "Accounting of the paper: every retest re-uses features, also where another checkpoint computed them."
            }
            Self::Honest => "Honest accounting: stages that were not cached are charged.",
        }
    }
}

impl From<Accounting> for replay::Accounting {
    fn from(accounting: Accounting) -> Self {
        match accounting {
            Accounting::Paper => Self::Paper,
            Accounting::Honest => Self::Honest,
        }
    }
}

/// A policy that has to be fitted before it is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Policy {
    /// Scores are evidence: what is tested next follows from how likely each set holds a positive.
    Planned,
}

/// Arguments of `replay`.
#[derive(Debug, Args)]
#[command(after_long_help = HELP, group(ArgGroup::new("what").required(true).multiple(true).args(["table1", "folder", "policy"])))]
pub(in crate::cli) struct ReplayArgs {
    /// The recordings: a folder with an `index.csv` and a folder for each order of the items.
    #[arg(long, value_name = "DIR")]
    pub(super) data: PathBuf,
    /// Every row of the paper's Table 1.
    #[arg(long, conflicts_with_all = ["folder", "policy", "design", "chain", "threshold"])]
    table1: bool,
    /// Instead of the table, a plan on the items of this folder, as the index names it.
    #[arg(long, value_name = "NAME", requires = "chain")]
    pub(super) folder: Option<String>,
    /// Whose scores answer tests of several images, as the index names designs. Those of one image are the plain network's.
    #[arg(long, value_name = "NAME", requires = "folder")]
    pub(super) design: Option<String>,
    /// Sizes of the plan's tests, falling to 1; `d2:4` takes those of a size from another design. 1 alone tests every image alone.
    #[arg(long, value_name = "SIZES", value_delimiter = ',', requires = "folder")]
    pub(super) chain: Vec<TestKind>,
    /// From which score on a test is positive, 0 to 1: one for all sizes, or one for each [default: 0.5].
    #[arg(long, value_name = "S", value_delimiter = ',', requires = "folder")]
    threshold: Vec<f32>,
    /// A policy fitted on a random half of the groups and judged on the other, the mean over many halvings; beside it a chain whose
    /// thresholds are fitted on the same halves. On the items of --folder, or on D3 and D2 at a prevalence of 0.1 % and 0.05 %.
    #[arg(long, value_enum, value_name = "POLICY", conflicts_with = "threshold")]
    pub(super) policy: Option<Policy>,
    /// What finding a positive is worth to the planned policy, in individual tests: a row for each [default: 200,500,1000].
    #[arg(long, value_name = "TESTS", value_delimiter = ',', requires = "policy")]
    worth: Vec<f64>,
    /// How far the chain's thresholds are below the least score of a positive group, in log odds: a row for each [default: 0,1,2].
    #[arg(long, value_name = "M", value_delimiter = ',', requires = "policy")]
    margin: Vec<f64>,
    /// How many halvings.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..), requires = "policy")]
    pub(super) halvings: u64,
    /// Which halvings: the same number, the same halves.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "policy")]
    pub(super) seed: u64,
    /// What a retest is charged [default: paper, but honest with --policy].
    #[arg(long, value_enum, value_name = "HOW")]
    accounting: Option<Accounting>,
    /// The rows as a JSON array instead of the table; recall, fpr and relative are shares, 0 to 1.
    #[arg(long)]
    pub(super) json: bool,
}

const HELP: &str = "\
The scores were recorded for fixed groups of the same images, and the policies are those of the worker: a plan is answered by the recorded \
score of exactly the images that it asks for. So it needs recorded sizes, each of which divides the one before it.

Costs are multiply-adds, from the index: a test pays gmac_per_test, a retest on cached features only the layers after the last merge. Each \
design is a checkpoint of its own. The paper takes the second round of two rows from another checkpoint than the first, whose features \
were never computed, and charges it as cached all the same; with --accounting honest it pays in full.

Examples:
  dorfman replay --data recorded/ --table1
  dorfman replay --data recorded/ --table1 --accounting honest --json
  dorfman replay --data recorded/ --folder p0.10_seed42 --design d3 --chain 16,8,4,1 --threshold 0.5
  dorfman replay --data recorded/ --folder p0.10_seed42 --chain d3:16,d2:4,1 --threshold 0.9,0.7,0.5
  dorfman replay --data recorded/ --policy planned
  dorfman replay --data recorded/ --policy planned --worth 300 --folder p0.10_seed42 --design d3 --chain 16,8,4,1";

impl ReplayArgs {
    /// The thresholds.
    ///
    /// # Errors
    /// [`CliError::Usage`] if one is no score.
    pub(super) fn thresholds(&self) -> Result<Vec<f32>, CliError> {
        match self.threshold.iter().find(|t| !(0.0..=1.0).contains(*t)) {
            Some(threshold) => Err(CliError::Usage(format!("--threshold is {threshold}, must be 0 to 1"))),
            None if self.threshold.is_empty() => Ok(vec![0.5]),
            None => Ok(self.threshold.clone()),
        }
    }

    /// What a retest is charged.
    pub(super) fn accounting(&self) -> Accounting {
        let usual = if self.policy.is_some() { Accounting::Honest } else { Accounting::Paper };
        self.accounting.unwrap_or(usual)
    }

    /// The chains' margins and then what a positive is worth to the planned policies.
    ///
    /// # Errors
    /// [`CliError::Usage`] if a margin is no number; what a positive can be worth the policy itself checks.
    pub(super) fn fitted(&self) -> Result<Vec<Fitted>, CliError> {
        if let Some(margin) = self.margin.iter().find(|margin| !margin.is_finite()) {
            return Err(CliError::Usage(format!("--margin is {margin}, must be a number")));
        }
        let margins = if self.margin.is_empty() { &[0.0, 1.0, 2.0] } else { &self.margin[..] };
        let worths = if self.worth.is_empty() { &[200.0, 500.0, 1000.0] } else { &self.worth[..] };
        let margins = margins.iter().copied().map(Fitted::Margin);
        Ok(margins.chain(worths.iter().copied().map(Fitted::Worth)).collect())
    }
}
